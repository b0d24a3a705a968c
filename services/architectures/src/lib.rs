//! Every way of serving that the chapter teaches, one file each.
//!
//! Open one file and you see one architecture; compare two files and you see how two architectures differ. What is the same
//! for all of them (the dialogue, limits, counters, orders) is in `zen` and `chassis`.
//!
//! To add one: write its file, and add its line to [`REGISTRY`]. Tests say what is still missing then.

mod epoll;
mod prefork;
mod single_threaded;
mod thread_pool;
mod tokio_current_thread;

use chassis::Architecture;

/// Every architecture, in the order of the chapter. The command line, the tests, the deployment and the documentation
/// follow this list.
pub const REGISTRY: &[&Architecture] = &[
    &single_threaded::ARCHITECTURE,
    &thread_pool::ARCHITECTURE,
    &prefork::ARCHITECTURE,
    &epoll::ARCHITECTURE,
    &tokio_current_thread::ARCHITECTURE,
];

/// The architecture of this name.
pub fn find(name: &str) -> Option<&'static Architecture> {
    REGISTRY.iter().copied().find(|architecture| architecture.name == name)
}
