//! Every way of serving that the chapter teaches, one file each.
//!
//! Open one file and you see one architecture; compare two files and you see how two architectures differ. What is the same
//! for all of them (the dialogue, limits, counters, orders) is in `zen` and `chassis`.
//!
//! To add one: write its file, and add its line to [`REGISTRY`]. Tests say what is still missing then.

mod callbacks;
mod coroutines;
mod epoll;
mod epoll_sharded;
mod fork_per_connection;
mod io_uring;
mod poll;
mod prefork;
mod select;
mod single_threaded;
mod socketserver;
mod socketserver_forking;
mod socketserver_threading;
mod thread_per_connection;
mod thread_pool;
mod tokio_current_thread;
mod tokio_multi_thread;
mod worker_queue;

use chassis::Architecture;

/// Every architecture, in the order of the chapter. The command line, the tests, the deployment and the documentation
/// follow this list.
pub const REGISTRY: &[&Architecture] = &[
    &single_threaded::ARCHITECTURE,
    &thread_pool::ARCHITECTURE,
    &worker_queue::ARCHITECTURE,
    &thread_per_connection::ARCHITECTURE,
    &fork_per_connection::ARCHITECTURE,
    &prefork::ARCHITECTURE,
    &socketserver::ARCHITECTURE,
    &socketserver_threading::ARCHITECTURE,
    &socketserver_forking::ARCHITECTURE,
    &select::ARCHITECTURE,
    &poll::ARCHITECTURE,
    &epoll::ARCHITECTURE,
    &epoll_sharded::ARCHITECTURE,
    &io_uring::ARCHITECTURE,
    &callbacks::ARCHITECTURE,
    &coroutines::ARCHITECTURE,
    &tokio_current_thread::ARCHITECTURE,
    &tokio_multi_thread::ARCHITECTURE,
];

/// The architecture of this name.
pub fn find(name: &str) -> Option<&'static Architecture> {
    REGISTRY.iter().copied().find(|architecture| architecture.name == name)
}
