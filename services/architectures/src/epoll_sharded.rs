//! An `epoll` loop for each core, and each loop with a queue of its own: the kernel shares out the clients by a hash of their
//! addresses (SO_REUSEPORT), so no loop wakes for another's client.
//!
//! **Costs**: a loop's costs for each core, and nothing that they share. But a client stays with the loop that its address
//! chose, even if that one is busy and the next one idle: with few clients the load is uneven. When the process dies, the
//! clients that queue at any but the first socket are reset (with two loops 193 to 202 of 400, as seen); those at the first,
//! which the supervisor keeps, find the successor. At a Unix path there can be only one socket: the loops share its queue
//! there, and each newcomer wakes them all.
//! **Choose it** for very many clients when one core is not enough and answers are short. On one core it is `epoll`.
//! **Watch** on the dashboard: CPU above one core (in compose with `SERVER_CPUS=4`), latency beside `epoll` and
//! `tokio_multi_thread`. Queue lengths and drops are those of the first socket: the supervisor sees no other.
//! **Chapter**: "Async Network Servers" once for each core. Datagrams come and go by the dozen: recvmmsg(2), sendmmsg(2).

mod batch;

use std::io;
use std::thread::{JoinHandle, available_parallelism};

use chassis::{
    Architecture, Capacity, DatagramSocket, Endpoint, Family, Site, StreamListener, Waiting, Workers, thread,
};

use crate::epoll::{Epoll, serve_clients};
use batch::Batch;

pub const ARCHITECTURE: Architecture = Architecture {
    name: "epoll_sharded",
    summary: "an epoll loop for each core, each with a queue of its own",
    offset: 12,
    family: Family::Readiness,
    stream: Some(|site: Site<StreamListener>| lead(site, serve_clients)),
    datagram: Some(|site: Site<DatagramSocket>| lead(site, answer_datagrams)),
    workers: Workers::Ignored("one loop for each core"),
    capacity: Capacity::Connections(10_000),
};

type Shard = JoinHandle<()>;
type Work<S> = fn(Site<S>) -> io::Result<()>;

/// Starts a shard for each core. One that ends before its time takes the process with it, and the supervisor replaces all.
fn lead<S: Endpoint + 'static>(mut site: Site<S>, work: Work<S>) -> io::Result<()> {
    let cores = available_parallelism().map_or(1, usize::from);
    let shards: Vec<Shard> = (0..cores).map(|index| start(site.for_shard(index)?, work)).collect::<io::Result<_>>()?;
    site.report_running(shards.len());
    // Only the shards hold sockets now, so that each queue is closed when it is empty, and at no other time.
    site.leave();
    while site.lead() {
        if shards.iter().any(Shard::is_finished) && !site.is_draining() {
            return Err(io::Error::other("a shard ended before its time"));
        }
    }
    for shard in shards {
        // What it ended with no longer matters: the process ends as well.
        let _ = shard.join();
    }
    Ok(())
}

fn start<S: Endpoint + 'static>(site: Site<S>, work: Work<S>) -> io::Result<Shard> {
    thread::spawn(format!("shard {}", site.index()), move || work(site))
}

fn answer_datagrams(mut site: Site<DatagramSocket>) -> io::Result<()> {
    site.set_blocking(false)?;
    let mut epoll = Epoll::new()?;
    let mut batch = Batch::new(site.datagram_room());
    let mut waiting = Waiting::default();
    let mut events = Vec::with_capacity(1);
    while site.turn() || !waiting.is_empty() {
        epoll.watch_endpoint(&site)?;
        epoll.wait(&site, waiting.next_timer(), &mut events)?;
        if events.drain(..).next().is_some() && site.is_open() {
            batch.receive(&site, &mut waiting)?;
            batch.answer(&site);
        }
        waiting.tend(&site);
    }
    Ok(())
}
