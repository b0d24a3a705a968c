//! Timers: a heap ordered by time, then by the order in which they were made.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Instant;

use crate::handle::{Callback, LoopHandle};

/// Sweep the heap when more than this many cancelled timers, and more than half of all, lie in it (asyncio's rule).
const SWEEP_ABOVE: usize = 100;

pub(crate) struct Timer {
    when: Instant,
    order: u64,
    in_heap: Cell<bool>,
    cancelled: Cell<bool>,
    call: Cell<Option<Callback>>,
}

impl Timer {
    /// The callback, if it has neither run nor been cancelled.
    pub(crate) fn take(&self) -> Option<Callback> {
        self.call.take()
    }
}

struct Entry(Rc<Timer>);

impl Ord for Entry {
    /// Reversed: `BinaryHeap` gives the greatest first, and the earliest is wanted.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.0.when, other.0.order).cmp(&(self.0.when, self.0.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Entry>,
    made: u64,
    cancelled: usize,
}

impl Timers {
    pub(crate) fn add(&mut self, when: Instant, call: Callback) -> Rc<Timer> {
        self.made += 1;
        let timer = Rc::new(Timer {
            when,
            order: self.made,
            in_heap: Cell::new(true),
            cancelled: Cell::new(false),
            call: Cell::new(Some(call)),
        });
        self.heap.push(Entry(Rc::clone(&timer)));
        timer
    }

    /// When the next timer is due.
    pub(crate) fn next(&mut self) -> Option<Instant> {
        while self.heap.peek()?.0.cancelled.get() {
            self.heap.pop();
            self.cancelled -= 1;
        }
        self.heap.peek().map(|entry| entry.0.when)
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Rc<Timer>> {
        if self.next()? > now {
            return None;
        }
        let Entry(timer) = self.heap.pop()?;
        timer.in_heap.set(false);
        Some(timer)
    }

    fn note_cancelled(&mut self) {
        self.cancelled += 1;
        if self.cancelled > SWEEP_ABOVE && self.cancelled * 2 > self.heap.len() {
            self.heap.retain(|entry| !entry.0.cancelled.get());
            self.cancelled = 0;
        }
    }
}

/// A call that is to come, and can be called off. Dropping it does not cancel the call.
pub struct TimerHandle {
    pub(crate) event_loop: LoopHandle,
    pub(crate) timer: Rc<Timer>,
}

impl TimerHandle {
    /// Calls it off. Does nothing if it has already been made or cancelled.
    pub fn cancel(&self) {
        let Some(call) = self.timer.take() else { return };
        self.timer.cancelled.set(true);
        if self.timer.in_heap.get() {
            self.event_loop.0.timers.borrow_mut().note_cancelled();
        }
        drop(call);
    }

    /// Whether it was cancelled before it was made.
    pub fn cancelled(&self) -> bool {
        self.timer.cancelled.get()
    }

    /// The moment at which it is due.
    pub fn when(&self) -> Instant {
        self.timer.when
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn equal_moments_keep_their_order_and_cancelled_ones_are_swept() {
        let mut timers = Timers::default();
        let start = Instant::now();
        let late = timers.add(start + Duration::from_secs(1), Box::new(|_| ()));
        let first = timers.add(start, Box::new(|_| ()));
        let second = timers.add(start, Box::new(|_| ()));
        assert_eq!(timers.next(), Some(start));
        assert!(Rc::ptr_eq(&timers.pop_due(start).unwrap(), &first));
        assert!(Rc::ptr_eq(&timers.pop_due(start).unwrap(), &second));
        assert!(timers.pop_due(start).is_none());
        for _ in 0..=SWEEP_ABOVE {
            timers.add(start, Box::new(|_| ())).cancelled.set(true);
            timers.note_cancelled();
        }
        assert_eq!(timers.heap.len(), 1);
        assert!(Rc::ptr_eq(&timers.pop_due(start + Duration::from_secs(1)).unwrap(), &late));
        assert_eq!(timers.next(), None);
    }
}
