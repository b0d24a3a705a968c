//! Worker threads.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that does `work`. If that fails, the log says why.
///
/// # Errors
/// If there is no room for another thread (EAGAIN, ENOMEM).
pub fn spawn(name: String, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name).spawn(|| {
        if let Err(error) = work() {
            worker_failed(&error);
        }
    })
}

pub(crate) fn worker_failed(error: &io::Error) {
    tracing::error!(event = "worker_failed", %error, "a worker failed");
}
