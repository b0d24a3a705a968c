//! The loop's shared core, and the handle by which everybody reaches it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};

use crate::TimerHandle;
use crate::connection::Connection;
use crate::datagram::Endpoint;
use crate::server::ServerState;
use crate::slots::{Slots, Token};
use crate::timers::{Timer, Timers};

pub(crate) type Callback = Box<dyn FnOnce(&LoopHandle)>;
pub(crate) type Reader = Box<dyn FnMut(&LoopHandle)>;
pub(crate) type ExceptionHandler = Box<dyn FnMut(&Failure)>;

/// Something with a descriptor in the epoll set.
pub(crate) enum Source {
    Connection(Connection),
    Endpoint(Endpoint),
    Server(Rc<ServerState>),
    /// The callback is absent while it runs.
    Reader(Option<Reader>),
}

/// Something to be done before the loop waits again.
pub(crate) enum Ready {
    Call(Callback),
    Timer(Rc<Timer>),
    /// Tell the protocol that its buffer is too full (`true`), or no longer.
    PauseWriting(Token, bool),
    Lost(Token),
}

/// What the exception handler is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// A callback panicked. A stream connection whose method it was is being closed; all else goes on.
    Panic {
        /// The method or the kind of call, as `data_received` or `call_soon`.
        callback: &'static str,
        /// The panic's message.
        message: String,
    },
    /// `accept` failed; the server's listener is resting for a moment.
    Accept(io::Error),
    /// What a protocol or the loop's owner tells of, by [`LoopHandle::call_exception_handler`].
    Told {
        /// What failed, as `receiving`.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic { callback, message } => write!(formatter, "{callback} panicked: {message}"),
            Self::Accept(error) => write!(formatter, "accept failed: {error}"),
            Self::Told { what, error } => write!(formatter, "{what} failed: {error}"),
        }
    }
}

/// What the loop has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Turns taken, each with one wait.
    pub iterations: u64,
    /// Readiness events that the kernel reported.
    pub events: u64,
    /// Time spent waiting for them.
    pub waited: Duration,
}

impl Stats {
    /// What was done after `before`, an earlier reading of the same loop.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            iterations: self.iterations - before.iterations,
            events: self.events - before.events,
            waited: self.waited.saturating_sub(before.waited),
        }
    }
}

pub(crate) struct Core {
    pub(crate) epoll: OwnedFd,
    pub(crate) sources: RefCell<Slots<Source>>,
    pub(crate) ready: RefCell<VecDeque<Ready>>,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) readers: RefCell<HashMap<RawFd, Token>>,
    pub(crate) exception_handler: RefCell<Option<ExceptionHandler>>,
    pub(crate) stopping: Cell<bool>,
    pub(crate) stats: Cell<Stats>,
}

impl Core {
    pub(crate) fn later(&self, ready: Ready) {
        self.ready.borrow_mut().push_back(ready);
    }

    /// Makes the epoll set say `wanted` of a descriptor; wanting nothing takes it out.
    pub(crate) fn watch(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        current: &mut EventFlags,
        wanted: EventFlags,
    ) -> io::Result<()> {
        if *current == wanted {
            return Ok(());
        }
        let data = EventData::new_u64(token.to_bits());
        if wanted.is_empty() {
            epoll::delete(&self.epoll, fd)?;
        } else if current.is_empty() {
            epoll::add(&self.epoll, fd, data, wanted)?;
        } else {
            epoll::modify(&self.epoll, fd, data, wanted)?;
        }
        *current = wanted;
        Ok(())
    }
}

/// A handle to an event loop: everything but running it. Cheap to clone, not to be sent to another thread.
#[derive(Clone)]
pub struct LoopHandle(pub(crate) Rc<Core>);

impl fmt::Debug for LoopHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LoopHandle").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl LoopHandle {
    /// Calls `call` in this turn if one is under way, else in the next; in order of asking. What it asks for itself
    /// comes a turn later, so that callbacks cannot starve sockets.
    pub fn call_soon(&self, call: impl FnOnce(&LoopHandle) + 'static) {
        self.0.later(Ready::Call(Box::new(call)));
    }

    /// Calls `call` after `delay`, or somewhat later if the loop is busy. Equal moments keep their order.
    pub fn call_later(&self, delay: Duration, call: impl FnOnce(&LoopHandle) + 'static) -> TimerHandle {
        self.call_at(Instant::now() + delay, call)
    }

    /// Calls `call` at `when`; if that is past, as soon as possible.
    pub fn call_at(&self, when: Instant, call: impl FnOnce(&LoopHandle) + 'static) -> TimerHandle {
        let timer = self.0.timers.borrow_mut().add(when, Box::new(call));
        TimerHandle { event_loop: self.clone(), timer }
    }

    /// Calls `callback` in every turn in which `fd` is readable, has an error or was hung up. A second call for the
    /// same descriptor replaces the callback. The descriptor must be removed before it is closed.
    pub fn add_reader(&self, fd: impl AsFd, callback: impl FnMut(&LoopHandle) + 'static) -> io::Result<()> {
        let fd = fd.as_fd();
        self.remove_reader(fd);
        let token = self.0.sources.borrow_mut().insert(Source::Reader(Some(Box::new(callback))));
        if let Err(error) = self.0.watch(fd, token, &mut EventFlags::empty(), EventFlags::IN) {
            self.forget(token);
            return Err(error);
        }
        self.0.readers.borrow_mut().insert(fd.as_raw_fd(), token);
        Ok(())
    }

    /// Forgets a reader; whether there was one.
    pub fn remove_reader(&self, fd: impl AsFd) -> bool {
        let fd = fd.as_fd();
        let Some(token) = self.0.readers.borrow_mut().remove(&fd.as_raw_fd()) else { return false };
        // Fails only if the kernel has forgotten the descriptor already.
        let _ = self.0.watch(fd, token, &mut EventFlags::IN.clone(), EventFlags::empty());
        self.forget(token);
        true
    }

    /// Ends [`run_forever`](crate::EventLoop::run_forever) after the present turn.
    pub fn stop(&self) {
        self.0.stopping.set(true);
    }

    /// Who is told of panics, of failed accepts, and of whatever
    /// [`call_exception_handler`](Self::call_exception_handler) is called with. Until there is somebody,
    /// [`default_exception_handler`](Self::default_exception_handler) is. An error of one connection is told to its own
    /// protocol alone, by `connection_lost`.
    pub fn set_exception_handler(&self, handler: impl FnMut(&Failure) + 'static) {
        let before = self.0.exception_handler.replace(Some(Box::new(handler)));
        drop(before);
    }

    /// Tells the exception handler; the default one, of what is told while it runs.
    pub fn call_exception_handler(&self, failure: &Failure) {
        let Some(mut handler) = self.0.exception_handler.take() else {
            return self.default_exception_handler(failure);
        };
        // A handler that panics has nobody left to tell, but the panic hook.
        let _ = catch_unwind(AssertUnwindSafe(|| handler(failure)));
        self.0.exception_handler.borrow_mut().get_or_insert(handler);
    }

    /// Writes a line to stderr; not of a panic, for the panic hook has spoken.
    #[allow(clippy::unused_self, reason = "a method as in asyncio, found beside the other one")]
    pub fn default_exception_handler(&self, failure: &Failure) {
        if !matches!(failure, Failure::Panic { .. }) {
            // Where nobody can be told, nobody is.
            let _ = writeln!(io::stderr(), "{failure}");
        }
    }

    /// What the loop has done so far.
    pub fn stats(&self) -> Stats {
        self.0.stats.get()
    }

    /// Removes a source; it is dropped when nothing is borrowed, for its owner's `Drop` may call us.
    pub(crate) fn forget(&self, token: Token) {
        let source = self.0.sources.borrow_mut().remove(token);
        drop(source);
    }

    /// Makes a call that may panic; `None` if it did.
    pub(crate) fn guard<R>(&self, callback: &'static str, call: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(result) => Some(result),
            Err(payload) => {
                self.call_exception_handler(&Failure::Panic { callback, message: panic_message(payload.as_ref()) });
                None
            }
        }
    }

    pub(crate) fn run_reader(&self, token: Token) {
        let found = match self.0.sources.borrow_mut().get_mut(token) {
            Some(Source::Reader(callback)) => callback.take(),
            _ => None,
        };
        let Some(mut callback) = found else { return };
        self.guard("add_reader", || callback(self));
        if let Some(Source::Reader(place)) = self.0.sources.borrow_mut().get_mut(token) {
            place.get_or_insert(callback);
        }
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}
