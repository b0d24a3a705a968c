//! The reactor: the one place where the thread waits. Everything that a coroutine can await comes down to a descriptor or a
//! moment, and whoever awaits one leaves its waker here.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::sleep::Timers;

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

/// What the reactor knows of a watched descriptor.
struct Source {
    happened: Cell<bool>,
    /// What the kernel watches it for; nothing before it was first awaited.
    watched_for: Cell<EventFlags>,
    waker: RefCell<Waker>,
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

    /// Lets something with a descriptor be awaited.
    pub fn watch<T: AsFd>(&self, inner: T) -> Watched<T> {
        let waker = RefCell::new(Waker::noop().clone());
        let source = Source { happened: Cell::new(false), watched_for: Cell::new(EventFlags::empty()), waker };
        let source = Rc::new(source);
        let mut sources = self.0.sources.borrow_mut();
        let number = inner.as_fd().as_raw_fd() as usize;
        if sources.len() <= number {
            sources.resize_with(number + 1, || None);
        }
        sources[number] = Some(Rc::clone(&source));
        Watched { reactor: self.clone(), source, inner }
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
            self.tell(event.data.u64() as usize);
        }
        self.0.events.set(events);
        self.0.timers.wake_due(self.0.now.get());
        Ok((count, self.0.now.get() - began))
    }

    fn tell(&self, descriptor: usize) {
        if let Some(Some(source)) = self.0.sources.borrow().get(descriptor) {
            source.happened.set(true);
            source.waker.borrow().wake_by_ref();
        }
    }
}

/// Something with a descriptor that can be awaited.
pub struct Watched<T: AsFd> {
    reactor: Reactor,
    source: Rc<Source>,
    inner: T,
}

impl<T: AsFd> Watched<T> {
    /// Waits until the descriptor can be read or written, or has failed.
    pub async fn ready(&self, wanted: EventFlags) -> io::Result<()> {
        self.watch_for(wanted)?;
        self.source.happened.set(false);
        poll_fn(|context| {
            if self.source.happened.take() {
                return Poll::Ready(Ok(()));
            }
            self.source.waker.borrow_mut().clone_from(context.waker());
            Poll::Pending
        })
        .await
    }

    /// Nobody will await it for a while: a descriptor that stays ready would be reported in every turn.
    pub fn rest(&self) -> io::Result<()> {
        // Even so the kernel reports a reset: once is enough.
        self.watch_for(EventFlags::ONESHOT)
    }

    /// Tells the kernel what is wanted, where that is something new: from question to question it is not.
    fn watch_for(&self, wanted: EventFlags) -> io::Result<()> {
        let before = self.source.watched_for.replace(wanted);
        let data = EventData::new_u64(self.inner.as_fd().as_raw_fd() as u64);
        if before.is_empty() {
            epoll::add(&self.reactor.0.epoll, &self.inner, data, wanted)?;
        } else if before != wanted {
            epoll::modify(&self.reactor.0.epoll, &self.inner, data, wanted)?;
        }
        Ok(())
    }
}

impl<T: AsFd> Deref for Watched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: AsFd> DerefMut for Watched<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: AsFd> Drop for Watched<T> {
    fn drop(&mut self) {
        let fd = self.inner.as_fd();
        self.reactor.0.sources.borrow_mut()[fd.as_raw_fd() as usize] = None;
        if !self.source.watched_for.get().is_empty() {
            // The socket may live on, as a copy or among those that linger.
            let _ = epoll::delete(&self.reactor.0.epoll, fd);
        }
    }
}
