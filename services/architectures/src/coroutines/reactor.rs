//! The reactor: the one place where the thread waits. Everything that a coroutine can await comes down to a descriptor or a
//! moment, and whoever awaits one leaves its waker here.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event};
use rustix::io::Errno;

use super::sleep::Timers;
use super::watched::Source;

/// Events taken in one turn.
const EVENTS: usize = 256;

/// A handle of the reactor.
#[derive(Clone)]
pub struct Reactor(Rc<Inner>);

struct Inner {
    epoll: OwnedFd,
    /// Who awaits a descriptor, by its number.
    sources: RefCell<Vec<Option<Rc<Source>>>>,
    /// Who awaits a moment.
    timers: Timers,
    /// The clock is read once a turn.
    now: Cell<Instant>,
    events: Cell<Vec<Event>>,
}

impl Reactor {
    pub fn new() -> io::Result<Self> {
        Ok(Self(Rc::new(Inner {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            sources: RefCell::default(),
            timers: Timers::default(),
            now: Cell::new(Instant::now()),
            events: Cell::new(Vec::with_capacity(EVENTS)),
        })))
    }

    /// Who awaits this descriptor from now on, if anybody.
    pub(super) fn register(&self, descriptor: RawFd, source: Option<Rc<Source>>) {
        let (mut sources, number) = (self.0.sources.borrow_mut(), descriptor as usize);
        if sources.len() <= number {
            sources.resize(number + 1, None);
        }
        sources[number] = source;
    }

    pub(super) fn epoll(&self) -> &OwnedFd {
        &self.0.epoll
    }

    /// The time of this turn.
    pub(super) fn now(&self) -> Instant {
        self.0.now.get()
    }

    pub(super) fn timers(&self) -> &Timers {
        &self.0.timers
    }

    /// Waits until something that is awaited happens, and wakes whoever awaits it; with `at_once` it only looks. Says how
    /// many events there were after how long a wait.
    pub fn wait(&self, at_once: bool) -> io::Result<(usize, Duration)> {
        let began = Instant::now();
        let until = if at_once { Some(began) } else { self.0.timers.next() };
        let timeout = until.and_then(|until| Timespec::try_from(until.saturating_duration_since(began)).ok());
        let mut events = self.0.events.take();
        match epoll::wait(&self.0.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.0.now.set(Instant::now());
        let count = events.len();
        for event in events.drain(..) {
            if let Some(Some(source)) = self.0.sources.borrow().get(event.data.u64() as usize) {
                source.ring();
            }
        }
        self.0.events.set(events);
        self.0.timers.wake_due(self.0.now.get());
        Ok((count, self.0.now.get() - began))
    }
}
