//! One thread accepts clients and hands them over a queue to a fixed number of waiting workers.
//!
//! **Costs**: those of `thread_pool`, and a hand-over for each conversation. In return the queue is ours to bound and order.
//! **Choose it** where accepted work must be ordered, counted or refused before a worker is free for it.
//! **Watch** on the dashboard: how long a client waits in the queue, workers that have a client, context switches per question.
//! **Chapter**: "Threaded and Multiprocess Servers": the "master thread with an accept() loop" and its "queue of workers".

mod queue;

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use chassis::{
    Architecture, Capacity, DatagramSocket, Endpoint, Family, Letter, Newcomer, Site, StreamListener, Workers,
};
use queue::Queue;

pub const ARCHITECTURE: Architecture = Architecture {
    name: "worker_queue",
    summary: "one accept loop hands clients to waiting workers over a bounded queue",
    offset: 2,
    family: Family::Blocking,
    stream: Some(lead::<Newcomer>),
    datagram: Some(lead::<Letter>),
    workers: Workers::Threads(4),
    capacity: Capacity::PerWorker,
};

/// Who goes through the queue: somebody accepted, or a datagram.
trait Client: Send + Sized + 'static {
    type Socket: Endpoint + 'static;
    fn take(site: &mut Site<Self::Socket>) -> io::Result<Option<Self>>;
    fn place(site: &Site<Self::Socket>, worker: usize) -> io::Result<Site<Self::Socket>>;
    fn serve(self, site: &Site<Self::Socket>);
}

impl Client for Newcomer {
    type Socket = StreamListener;

    fn take(site: &mut Site<StreamListener>) -> io::Result<Option<Self>> {
        site.take()
    }

    fn place(site: &Site<StreamListener>, worker: usize) -> io::Result<Site<StreamListener>> {
        Ok(site.for_thread_inside(worker))
    }

    fn serve(self, site: &Site<StreamListener>) {
        site.admit(self).converse();
    }
}

impl Client for Letter {
    type Socket = DatagramSocket;

    fn take(site: &mut Site<DatagramSocket>) -> io::Result<Option<Self>> {
        site.receive()
    }

    fn place(site: &Site<DatagramSocket>, worker: usize) -> io::Result<Site<DatagramSocket>> {
        site.for_thread(worker)
    }

    fn serve(self, site: &Site<DatagramSocket>) {
        site.answer(&self);
    }
}

/// The accept loop: takes whoever comes, and keeps as many workers at work as there should be.
fn lead<C: Client>(mut site: Site<C::Socket>) -> io::Result<()> {
    site.hands_over();
    let queue = Arc::new(Queue::default());
    let mut team: Vec<Option<JoinHandle<()>>> = Vec::new();
    let mut kept = None;
    while site.proceed() || kept.is_some() {
        team.resize_with(team.len().max(site.workers()), || None);
        for (index, worker) in team.iter_mut().enumerate() {
            if worker.take_if(|thread| thread.is_finished()).is_some() {
                site.dismiss(index);
            }
            if worker.is_none() && index < site.workers() {
                *worker = site.hire(|| start(site.for_thread_inside(index), C::place(&site, index)?, queue.clone()));
            }
        }
        site.report_running(team.iter().flatten().count());
        // While the queue is full its first in line stays here, and orders are heard all the same.
        let first = match kept.take() {
            None => C::take(&mut site)?.map(|client| (client, Instant::now())),
            kept => kept,
        };
        kept = first.and_then(|first| queue.put(first, site.tick()));
    }
    queue.close();
    team.into_iter().flatten().for_each(|thread| drop(thread.join()));
    Ok(())
}

/// The site that hears orders gives its socket up in a drain; what the queue holds is answered all the same, at `place`.
fn start<C: Client>(
    mut site: Site<C::Socket>,
    place: Site<C::Socket>,
    queue: Arc<Queue<(C, Instant)>>,
) -> io::Result<JoinHandle<()>> {
    let work = move || {
        while site.is_needed() && !queue.is_over() {
            if let Some((client, since)) = queue.get(site.tick()) {
                place.count_hand_over(since.elapsed());
                client.serve(&place);
            }
        }
    };
    Builder::new().name("worker".into()).spawn(work)
}
