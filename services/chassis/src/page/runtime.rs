//! What the async runtime of a data plane says of itself.

use std::time::Duration;

use super::count::{Counter, Gauge};

/// Figures of an async runtime. The counters begin with the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuntimeFigures {
    /// Threads that run tasks.
    pub workers: usize,
    /// Tasks that have not ended.
    pub tasks: usize,
    /// Tasks that wait in the queue that all threads share.
    pub queue_length: usize,
    /// How long these threads did not wait for events, all together. A thread beside them that runs one task alone, as that of
    /// tokio's `block_on` on many threads, is none of them.
    pub busy: Duration,
    /// How often a thread began to wait for events.
    pub parks: u64,
}

/// The same in the page, where the counters go on when a data plane is replaced. Written by the leader.
#[repr(C)]
pub struct RuntimePage {
    /// See [`RuntimeFigures`]; 0 if there is no runtime.
    pub workers: Gauge,
    /// See [`RuntimeFigures`].
    pub tasks: Gauge,
    /// See [`RuntimeFigures`].
    pub queue_length: Gauge,
    /// See [`RuntimeFigures`]; in nanoseconds.
    pub busy: Counter,
    /// See [`RuntimeFigures`].
    pub parks: Counter,
}

impl RuntimePage {
    /// Writes what a runtime says now that has said `before`.
    pub fn tell(&self, now: &RuntimeFigures, before: &RuntimeFigures) {
        self.workers.set(now.workers as u64);
        self.tasks.set(now.tasks as u64);
        self.queue_length.set(now.queue_length as u64);
        self.busy.add(now.busy.saturating_sub(before.busy).as_nanos() as u64);
        self.parks.add(now.parks.saturating_sub(before.parks));
    }

    /// The runtime is gone.
    pub fn settle(&self) {
        self.tasks.set(0);
        self.queue_length.set(0);
    }
}
