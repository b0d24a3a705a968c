//! The control plane. To be written.

/// What the control plane is given when it is born.
pub struct Context {
    /// The shared page.
    pub page: &'static crate::page::Page,
    /// What is served.
    pub architecture: &'static crate::Architecture,
    /// What the container was started with; its endpoints are those that were bound.
    pub start: crate::settings::Start,
    /// The admin socket, bound and listening.
    pub listener: std::net::TcpListener,
    /// The read end of the pipe of sampled exchanges; it does not block.
    pub traces: std::os::fd::OwnedFd,
}

/// Serves the admin API until the process is told to end by SIGTERM; gives its exit code.
pub fn run(_context: Context) -> i32 {
    0
}
