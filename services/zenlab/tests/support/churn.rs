//! Clients that come, ask and go, over and over.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::client::{A, Q};
use super::{PATIENCE, Server, wait_for};

/// Clients over TCP, until they are told to stop.
pub struct Churn {
    counts: Arc<Counts>,
    threads: Vec<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    right: AtomicU64,
    failed: AtomicU64,
}

impl Churn {
    /// How many there are at a time.
    pub const CLIENTS: u64 = 3;

    pub fn start(server: &Server) -> Self {
        let counts = Arc::new(Counts::default());
        let ask = |counts: Arc<Counts>, address: String| {
            move || {
                while !counts.stop.load(Ordering::Relaxed) {
                    let counter = if visit(&address).is_ok() { &counts.right } else { &counts.failed };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let threads = (0..Self::CLIENTS)
            .map(|_| thread::Builder::new().spawn(ask(counts.clone(), server.address("tcp"))).expect("a thread"))
            .collect();
        Self { counts, threads }
    }

    pub fn wait_for_more(&self, more: u64) {
        let right = || self.counts.right.load(Ordering::Relaxed);
        let before = right();
        wait_for("more right answers", || (right() >= before + more).then_some(()));
    }

    /// Ends it; gives how many had no right answer.
    pub fn stop(mut self) -> u64 {
        self.counts.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("clients do not panic");
        }
        self.counts.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.counts.stop.store(true, Ordering::Relaxed);
    }
}

/// One client with one question.
pub fn visit(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(Q)?;
    let mut answer = [0; A.len()];
    stream.read_exact(&mut answer)?;
    if answer == A { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}
