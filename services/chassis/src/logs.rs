//! Logs. To be written.

/// Sends this process' `tracing` events to stderr as JSON lines.
pub fn init(_page: &'static crate::page::Page, _architecture: &'static str, _role: &'static str) {}

/// Says what this process is, after a fork.
pub fn set_role(_role: &'static str) {}
