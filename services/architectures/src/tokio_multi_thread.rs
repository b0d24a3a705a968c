//! The same tasks as `tokio_current_thread`, on a runtime with a thread for each core: one that is idle steals from one
//! that is not.
//!
//! **Costs**: those of `tokio_current_thread`, and what threads pay to share: tasks move between cores, and whatever two of
//! them use must be safe to share. In return one client's long computation stops one thread and not the server.
//! **Choose it** for many clients when one core is not enough. With one core it only costs.
//! **Watch** on the dashboard: threads, CPU above one core (in compose with `SERVER_CPUS=4`), latency beside
//! `tokio_current_thread` under `answer_work = "spin"`.
//! **Chapter**: "Summary": an asynchronous server "does all of its work within a single thread", and what helps is to launch
//! coroutines "under an asynchronous framework".

use std::io;
use std::thread::available_parallelism;

use chassis::{Architecture, Capacity, DatagramSocket, Family, Site, StreamListener, Workers};
use tokio::runtime::{Builder, Runtime};

use crate::tokio_current_thread::{answer_datagrams, serve_clients};

pub const ARCHITECTURE: Architecture = Architecture {
    name: "tokio_multi_thread",
    summary: "tokio on all cores: tasks move to whichever thread is free",
    offset: 17,
    family: Family::Async,
    stream: Some(serve_clients_on_all_cores),
    datagram: Some(answer_datagrams_on_all_cores),
    workers: Workers::Ignored("a thread for each core runs the tasks"),
    capacity: Capacity::Connections(10_000),
};

fn serve_clients_on_all_cores(mut site: Site<StreamListener>) -> io::Result<()> {
    runtime(site.roam())?.block_on(serve_clients(site))
}

/// One task receives every datagram, as there is one socket; only answers that wait could be shared out.
fn answer_datagrams_on_all_cores(mut site: Site<DatagramSocket>) -> io::Result<()> {
    runtime(site.roam())?.block_on(answer_datagrams(site))
}

fn runtime(begin: impl Fn() + Send + Sync + 'static) -> io::Result<Runtime> {
    let threads = available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread().worker_threads(threads).thread_name("tokio").on_thread_start(begin).enable_all().build()
}
