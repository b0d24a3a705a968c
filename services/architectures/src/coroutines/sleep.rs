//! Moments that can be awaited.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::reactor::Reactor;

/// Who awaits a moment. The number tells equal moments apart.
#[derive(Default)]
pub struct Timers {
    wakers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    made: Cell<u64>,
}

impl Timers {
    /// The next moment that somebody awaits.
    pub fn next(&self) -> Option<Instant> {
        self.wakers.borrow().keys().next().map(|&(until, _)| until)
    }

    /// Wakes those whose moment has come.
    pub fn wake_due(&self, now: Instant) {
        let mut wakers = self.wakers.borrow_mut();
        while let Some(first) = wakers.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().wake();
        }
    }

    fn add(&self, until: Instant, waker: Waker) -> u64 {
        self.made.update(|made| made + 1);
        self.wakers.borrow_mut().insert((until, self.made.get()), waker);
        self.made.get()
    }

    fn remove(&self, until: Instant, number: u64) {
        self.wakers.borrow_mut().remove(&(until, number));
    }
}

/// A moment that can be awaited: a future written by hand, as the innermost ones are. A coroutine keeps its waker for life,
/// so the timers are told of it once.
pub struct Sleep {
    reactor: Reactor,
    until: Instant,
    number: Option<u64>,
}

impl Reactor {
    pub fn sleep(&self, time: Duration) -> Sleep {
        self.sleep_until(Instant::now() + time)
    }

    pub fn sleep_until(&self, until: Instant) -> Sleep {
        Sleep { reactor: self.clone(), until, number: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.reactor.now() >= self.until {
            return Poll::Ready(());
        }
        if self.number.is_none() {
            self.number = Some(self.reactor.timers().add(self.until, context.waker().clone()));
        }
        Poll::Pending
    }
}

impl Sleep {
    /// Awaits another moment from now on.
    pub fn reset(&mut self, until: Instant) {
        self.forget();
        self.until = until;
    }

    fn forget(&mut self) {
        if let Some(number) = self.number.take() {
            self.reactor.timers().remove(self.until, number);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}
