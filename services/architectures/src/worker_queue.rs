//! One thread accepts clients and hands them over a queue to a fixed number of waiting workers.
//!
//! **Costs**: those of `thread_pool`, and a hand-over for each conversation. In return the queue is ours to bound and order.
//! **Choose it** where accepted work must be ordered, counted or refused before a worker is free for it.
//! **Watch** on the dashboard: context switches per question, threads, the clients' latency once all workers are taken.
//! **Chapter**: "Threaded and Multiprocess Servers": the "master thread with an accept() loop" and its "queue of workers".

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use chassis::{
    Architecture, Capacity, DatagramSocket, Endpoint, Family, Letter, Newcomer, Site, StreamListener, Workers,
};

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

/// Clients that may wait in the queue; the others wait in the kernel's.
const QUEUE: usize = 256;

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
    site.keep_a_slot();
    let queue = Arc::new(Queue::<C>::default());
    let mut team: Vec<Option<JoinHandle<()>>> = Vec::new();
    while site.proceed() {
        team.resize_with(team.len().max(site.workers()), || None);
        for (index, worker) in team.iter_mut().enumerate() {
            if worker.take_if(|thread| thread.is_finished()).is_some() {
                site.dismiss(index);
            }
            if worker.is_none() && index < site.workers() {
                *worker = site.hire(|| start(C::place(&site, index)?, queue.clone()));
            }
        }
        site.report_running(team.iter().flatten().count());
        if let Some(client) = C::take(&mut site)? {
            queue.put(client);
        }
    }
    queue.close();
    team.into_iter().flatten().for_each(|thread| drop(thread.join()));
    Ok(())
}

fn start<C: Client>(mut site: Site<C::Socket>, queue: Arc<Queue<C>>) -> io::Result<JoinHandle<()>> {
    let work = move || {
        while site.is_needed() && !queue.is_over() {
            if let Some(client) = queue.get(site.tick()) {
                client.serve(&site);
            }
        }
    };
    Builder::new().name("worker".into()).spawn(work)
}

/// Who finds it full waits, and who finds it empty waits too, a tick at the most.
struct Queue<C> {
    state: Mutex<(VecDeque<C>, bool)>,
    filled: Condvar,
    emptied: Condvar,
}

impl<C> Default for Queue<C> {
    fn default() -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new() }
    }
}

impl<C> Queue<C> {
    fn put(&self, client: C) {
        let waited = self.emptied.wait_while(self.lock(), |(queue, _)| queue.len() >= QUEUE);
        waited.unwrap_or_else(PoisonError::into_inner).0.push_back(client);
        self.filled.notify_one();
    }

    fn get(&self, tick: Duration) -> Option<C> {
        let idle = |(queue, closed): &mut (VecDeque<C>, bool)| queue.is_empty() && !*closed;
        let waited = self.filled.wait_timeout_while(self.lock(), tick, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.emptied.notify_one();
        state.0.pop_front()
    }

    fn close(&self) {
        self.lock().1 = true;
        self.filled.notify_all();
    }

    fn is_over(&self) -> bool {
        let (queue, closed) = &*self.lock();
        *closed && queue.is_empty()
    }

    /// Nothing in here can fail half-way, so a worker that panicked left it whole.
    fn lock(&self) -> MutexGuard<'_, (VecDeque<C>, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
