//! Descriptors that can be awaited.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::event::epoll::{self, EventData, EventFlags};

use super::reactor::Reactor;

/// What the reactor knows of a watched descriptor.
pub struct Source {
    happened: Cell<bool>,
    /// What the kernel watches it for; nothing before it was first awaited.
    watched_for: Cell<EventFlags>,
    waker: RefCell<Waker>,
}

impl Source {
    fn new() -> Self {
        let waker = RefCell::new(Waker::noop().clone());
        Self { happened: Cell::new(false), watched_for: Cell::new(EventFlags::empty()), waker }
    }

    /// What was awaited has happened.
    pub fn ring(&self) {
        self.happened.set(true);
        self.waker.borrow().wake_by_ref();
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if self.happened.take() {
            return Poll::Ready(());
        }
        // From question to question it is the same one, and nothing is done.
        self.waker.borrow_mut().clone_from(context.waker());
        Poll::Pending
    }
}

impl Reactor {
    /// Lets something with a descriptor be awaited.
    pub fn watch<T: AsFd>(&self, inner: T) -> Watched<T> {
        let source = Rc::new(Source::new());
        self.register(inner.as_fd().as_raw_fd(), Some(Rc::clone(&source)));
        Watched { reactor: self.clone(), source, inner }
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
        poll_fn(|context| self.source.poll(context)).await;
        Ok(())
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
            epoll::add(self.reactor.epoll(), &self.inner, data, wanted)?;
        } else if before != wanted {
            epoll::modify(self.reactor.epoll(), &self.inner, data, wanted)?;
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
        self.reactor.register(fd.as_raw_fd(), None);
        if !self.source.watched_for.get().is_empty() {
            // The socket may live on, as a copy or among those that linger.
            let _ = epoll::delete(self.reactor.epoll(), fd);
        }
    }
}
