//! A bounded queue between the thread that accepts and those that serve.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Clients that may wait in the queue; the others wait in the kernel's.
const QUEUE: usize = 256;

/// Who finds it full waits, and who finds it empty waits too, a tick at the most.
pub(super) struct Queue<C> {
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
    /// Puts a client at the end. Gives it back if there was no room in this time.
    pub(super) fn put(&self, client: C, tick: Duration) -> Option<C> {
        let waited = self.emptied.wait_timeout_while(self.lock(), tick, |(queue, _)| queue.len() >= QUEUE);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Some(client);
        }
        state.0.push_back(client);
        self.filled.notify_one();
        None
    }

    /// Takes the first client. `None` if none came in this time.
    pub(super) fn get(&self, tick: Duration) -> Option<C> {
        let idle = |(queue, closed): &mut (VecDeque<C>, bool)| queue.is_empty() && !*closed;
        let waited = self.filled.wait_timeout_while(self.lock(), tick, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.emptied.notify_one();
        state.0.pop_front()
    }

    /// Nobody comes any more: those who wait for somebody need not.
    pub(super) fn close(&self) {
        self.lock().1 = true;
        self.filled.notify_all();
    }

    /// Whether it is closed and empty.
    pub(super) fn is_over(&self) -> bool {
        let (queue, closed) = &*self.lock();
        *closed && queue.is_empty()
    }

    /// Nothing in here can fail half-way, so a worker that panicked left it whole.
    fn lock(&self) -> MutexGuard<'_, (VecDeque<C>, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
