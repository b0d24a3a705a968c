//! The loop itself: wait, tell, look at the clock, make the calls that were asked for; again.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem::{MaybeUninit, take};
use std::ops::Deref;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventFlags};
use rustix::io::Errno;

use crate::Protocol;
use crate::handle::{Core, LoopHandle, Ready, Source, Stats};
use crate::slots::{Slots, Token};
use crate::timers::Timers;

const READ_BUFFER: usize = 4096;
const EVENTS_PER_TURN: usize = 256;

/// A single-threaded event loop. Whoever owns it runs it; everything else is done by the [`LoopHandle`] it
/// dereferences to. Dropping it closes all its sockets and drops all its protocols, without further calls.
pub struct EventLoop {
    handle: LoopHandle,
    buffer: Box<[MaybeUninit<u8>]>,
    events: Vec<Event>,
}

impl EventLoop {
    /// A loop that reads up to 4 KiB at a time.
    pub fn new() -> io::Result<Self> {
        Self::with_read_buffer(READ_BUFFER)
    }

    /// A loop that reads up to `bytes` (at least 1) at a time; a longer datagram is cut to that.
    pub fn with_read_buffer(bytes: usize) -> io::Result<Self> {
        let core = Core {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            sources: RefCell::new(Slots::default()),
            ready: RefCell::new(VecDeque::new()),
            timers: RefCell::new(Timers::default()),
            readers: RefCell::new(HashMap::new()),
            exception_handler: RefCell::new(None),
            stopping: Cell::new(false),
            stats: Cell::new(Stats::default()),
        };
        Ok(Self {
            handle: LoopHandle(Rc::new(core)),
            buffer: vec![MaybeUninit::uninit(); bytes.max(1)].into_boxed_slice(),
            events: Vec::with_capacity(EVENTS_PER_TURN),
        })
    }

    /// A handle, to be kept by callbacks.
    pub fn handle(&self) -> LoopHandle {
        self.handle.clone()
    }

    /// Takes turns until somebody calls [`LoopHandle::stop`].
    pub fn run_forever(&mut self) -> io::Result<()> {
        loop {
            self.run_once(None)?;
            if self.handle.0.stopping.take() {
                return Ok(());
            }
        }
    }

    /// Takes turns until `done` says so; it is asked before each turn, so something must happen for it to be asked
    /// again: a timer, if nothing else.
    pub fn run_until(&mut self, mut done: impl FnMut(&LoopHandle) -> bool) -> io::Result<()> {
        while !done(&self.handle) {
            self.run_once(None)?;
        }
        Ok(())
    }

    /// Takes one turn: waits for events, at most `timeout` (`None`: until something happens) and no longer than the
    /// next timer allows, handles them, and makes the calls that are due. A signal ends the wait. Says how many events
    /// and calls there were; 0 means that the time passed, or the signal came, and nothing else.
    pub fn run_once(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let now = self.wait(timeout)?;
        let events = take(&mut self.events);
        for event in &events {
            self.dispatch(Token::from_bits(event.data.u64()), event.flags);
        }
        let handled = events.len();
        self.events = events;
        Ok(handled + self.run_ready(now))
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Instant> {
        let core = &self.handle.0;
        let start = Instant::now();
        let until_timer = core.timers.borrow_mut().next().map(|when| when.saturating_duration_since(start));
        let at_once = (!core.ready.borrow().is_empty() || core.stopping.get()).then_some(Duration::ZERO);
        let timeout = [timeout, until_timer, at_once].into_iter().flatten().min();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        self.events.clear();
        match epoll::wait(&core.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let now = Instant::now();
        let mut stats = core.stats.get();
        stats.iterations += 1;
        stats.events += self.events.len() as u64;
        stats.waited += now - start;
        core.stats.set(stats);
        Ok(now)
    }

    fn dispatch(&mut self, token: Token, flags: EventFlags) {
        enum Kind {
            Connection,
            Endpoint,
            Server(Rc<crate::server::ServerState>),
            Reader,
        }
        let kind = match self.handle.0.sources.borrow().get(token) {
            Some(Source::Connection(_)) => Kind::Connection,
            Some(Source::Endpoint(_)) => Kind::Endpoint,
            Some(Source::Server(state)) => Kind::Server(Rc::clone(state)),
            Some(Source::Reader(_)) => Kind::Reader,
            // Its addressee was closed earlier in this batch.
            None => return,
        };
        match kind {
            Kind::Connection => self.handle.on_stream_event(token, flags, &mut self.buffer),
            Kind::Endpoint => self.handle.on_datagram_event(token, &mut self.buffer),
            Kind::Server(state) => self.handle.on_server_event(state),
            Kind::Reader => self.handle.run_reader(token),
        }
    }

    /// Makes the calls that are due now, not those that they ask for: these come after the next look at the sockets.
    fn run_ready(&mut self, now: Instant) -> usize {
        let core = &self.handle.0;
        while let Some(timer) = { core.timers.borrow_mut().pop_due(now) } {
            core.later(Ready::Timer(timer));
        }
        let count = core.ready.borrow().len();
        for _ in 0..count {
            let Some(ready) = ({ core.ready.borrow_mut().pop_front() }) else { break };
            self.run(ready);
        }
        count
    }

    fn run(&self, ready: Ready) {
        let handle = &self.handle;
        match ready {
            Ready::Call(call) => {
                handle.guard("call_soon", || call(handle));
            }
            Ready::Timer(timer) => {
                if let Some(call) = timer.take() {
                    handle.guard("call_later", || call(handle));
                }
            }
            Ready::PauseWriting(token, pause) => {
                let open = handle.connection(token, |connection, _, _| !connection.closing) == Some(true);
                match (open, pause) {
                    (false, _) => None, // It may write no more anyway.
                    (true, true) => handle.with_protocol(token, "pause_writing", Protocol::pause_writing),
                    (true, false) => handle.with_protocol(token, "resume_writing", Protocol::resume_writing),
                };
            }
            Ready::Lost(token) => {
                handle.lose_connection(token);
                handle.lose_endpoint(token);
            }
        }
    }
}

impl Deref for EventLoop {
    type Target = LoopHandle;

    fn deref(&self) -> &LoopHandle {
        &self.handle
    }
}

impl Drop for EventLoop {
    /// Protocols, timers and acceptors may keep handles to this loop; emptying it breaks those circles.
    fn drop(&mut self) {
        let core = &self.handle.0;
        let sources = core.sources.take();
        for (_, source) in sources.iter() {
            if let Source::Server(state) = source {
                state.let_go();
            }
        }
        drop(sources);
        drop(core.ready.take());
        drop(core.timers.take());
        drop(core.exception_handler.take());
    }
}
