//! The shared memory between supervisor, control plane and data planes.
//!
//! One anonymous `MAP_SHARED` mapping, made before the first fork, that every process of a container has at the same
//! address. Orders and settings travel to the data planes through it, and what happens there comes back as counters, so a
//! question costs a few relaxed additions and no message. Counters outlive the worker that writes them: none ever falls.
//!
//! Who writes what, so that no counter needs a locked instruction:
//! - [`Slot`]: its one worker;
//! - [`Settings`] and [`Orders`]: the control plane;
//! - everything else: the supervisor, unless a field says otherwise.

mod buckets;
mod count;
mod faults;
mod journal;
mod runtime;
mod settings;
mod slot;

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use buckets::Buckets;
pub use count::{Counter, DURATION_BOUNDS, Gauge, Histogram, Usage};
pub use faults::{Fault, Faults, Target};
pub use journal::{EVENT_BYTES, Entry, Journal, KEPT};
pub use runtime::{RuntimeFigures, RuntimePage};
pub use settings::{IoUring, Live, LiveValue, Settings};
pub use slot::{Closed, Dropped, Made, Rejected, Slot};

/// The most endpoints that one container serves: one of each transport.
pub const MAX_ENDPOINTS: usize = 4;

/// The most workers of one endpoint, and so the most threads or processes that serve a connection each.
pub const MAX_SLOTS: usize = 4096;

/// Everything that the processes of one container share.
#[repr(C)]
pub struct Page {
    /// What the control plane asks the supervisor for.
    pub orders: Orders,
    /// The settings that hold now.
    pub settings: Settings,
    /// What the container does now; a [`State`]. Written by the supervisor, obeyed by the workers.
    state: AtomicU32,
    /// When `state` began, in nanoseconds of the monotonic clock.
    state_since: AtomicU64,
    /// Whether the drain that goes on is a fast one: no grace for anybody.
    drain_fast: AtomicU32,
    /// When the drain began, in nanoseconds of the monotonic clock.
    drain_began: AtomicU64,
    /// When the container started, in nanoseconds of the monotonic clock.
    pub started: Gauge,
    /// How many endpoints are in use.
    pub endpoint_count: AtomicU32,
    /// How often the control plane was started again.
    pub control_restarts: Counter,
    /// The process id of the control plane.
    pub control_pid: Gauge,
    /// How often SIGHUP asked for the settings file to be read again.
    pub reload_requests: Counter,
    /// Log lines that nobody read in time. Any process adds to it.
    pub log_lines_dropped: AtomicU64,
    /// CPU time and switches of control planes that have ended.
    pub control_ended: Usage,
    /// What has happened last. Any process adds to it.
    pub journal: Journal,
    /// What is left of `udp_replies_per_prefix`. Any worker takes from it.
    pub replies: Buckets,
    /// One area for each endpoint.
    endpoints: [EndpointPage; MAX_ENDPOINTS],
}

/// What the container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Not every data plane has begun to serve.
    Starting = 0,
    /// Serving.
    Ready = 1,
    /// Serving the clients it has, taking no new ones.
    Paused = 2,
    /// Finishing with its clients.
    Draining = 3,
    /// Drained; only the control plane is left, and `start` brings the rest back.
    Parked = 4,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Starting, Self::Ready, Self::Paused, Self::Draining, Self::Parked];

    /// The name that the API and the metrics use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Parked => "parked",
        }
    }
}

/// What the control plane can ask the supervisor for, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Exit without grace.
    FastExit,
    /// Finish, then exit.
    DrainToExit,
    /// Finish, then park.
    DrainToPark,
    /// Leave the parked state.
    Start,
    /// Take no new clients.
    Pause,
    /// Take new clients again.
    Resume,
}

impl Order {
    /// All of them, the strongest first.
    const ALL: [Self; 6] =
        [Self::FastExit, Self::DrainToExit, Self::DrainToPark, Self::Start, Self::Pause, Self::Resume];

    const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Orders that this one takes back if they were not obeyed yet.
    const fn takes_back(self) -> u32 {
        match self {
            Self::Pause => Self::Resume.bit(),
            Self::Resume => Self::Pause.bit(),
            _ => 0,
        }
    }
}

/// The control plane's way to the supervisor: the orders that were not obeyed yet. None is lost to one that comes after it.
#[repr(C)]
pub struct Orders {
    pending: AtomicU32,
    /// When a pause ends by itself, in nanoseconds of the monotonic clock; 0 is never.
    pause_until: AtomicU64,
}

impl Orders {
    /// Gives an order. `pause_for` only matters for [`Order::Pause`].
    pub fn give(&self, order: Order, pause_for: Option<Duration>) {
        let until = pause_for.map_or(0, |time| monotonic_ns() + time.as_nanos() as u64);
        if order == Order::Pause {
            self.pause_until.store(until, Ordering::Relaxed);
        }
        self.pending.fetch_and(!order.takes_back(), Ordering::Relaxed);
        self.pending.fetch_or(order.bit(), Ordering::Release);
    }

    /// The strongest of the orders that were not taken yet.
    pub fn take(&self) -> Option<Order> {
        let pending = self.pending.load(Ordering::Acquire);
        let order = Order::ALL.into_iter().find(|order| pending & order.bit() != 0)?;
        self.pending.fetch_and(!order.bit(), Ordering::Relaxed);
        Some(order)
    }

    /// When a pause ends by itself.
    pub fn pause_until(&self) -> Option<u64> {
        Some(self.pause_until.load(Ordering::Relaxed)).filter(|&until| until != 0)
    }
}

/// What belongs to one endpoint.
#[repr(C, align(64))]
pub struct EndpointPage {
    /// The process id of the data plane's leader; 0 while there is none.
    pub leader: Gauge,
    /// Data planes or workers that ended by a signal or an error and were replaced. Written by whoever reaps them.
    pub restarts: AtomicU64,
    /// How long the last respawn of the leader took, from its death to its successor's first turn, in nanoseconds.
    pub last_respawn: Gauge,
    /// Which death of a leader `last_respawn` belongs to, in nanoseconds of the monotonic clock.
    pub respawn_of: Gauge,
    /// When a worker last looked for orders, in nanoseconds of the monotonic clock. Any worker writes it.
    pub heartbeat: Gauge,
    /// Clients that wait in the accept queue.
    pub queue_length: Gauge,
    /// How many may wait there.
    pub queue_limit: Gauge,
    /// Bytes of datagrams that wait in the socket's buffer.
    pub datagram_queue: Gauge,
    /// Size of that buffer as the kernel counts it, in bytes.
    pub datagram_buffer: Gauge,
    /// Datagrams that found the buffer full.
    pub datagram_drops: Gauge,
    /// How many workers there are. Written by the data plane's leader.
    pub running: Gauge,
    /// Whether clients wait in the server until a worker is free for them. Written by the leader.
    pub hands_over: Gauge,
    /// How long it took to make a worker, in the order of [`Made`]. Written by the leader.
    pub spawn: [Histogram; Made::ALL.len()],
    /// What the leader has used so far, with the children that it has reaped. Written by the leader.
    pub leading: Usage,
    /// What the processes used that the supervisor has reaped.
    pub ended: Usage,
    /// Answers that were owed when a conversation was closed by force in a drain. Any worker adds to it.
    pub drain_lost: AtomicU64,
    /// Conversations in mid-question that were closed in a drain. Any worker adds to it.
    pub drain_retryable: AtomicU64,
    /// Why epoll serves instead of what the architecture is named after, as an errno; 0 if it does not. Written by the leader.
    pub fallback_errno: Gauge,
    /// What an async runtime says of itself. Written by the leader.
    pub runtime: RuntimePage,
    /// Faults that were asked for. Written by the control plane, and by whoever they happen to.
    pub faults: Faults,
    /// Open conversations when the drain began.
    pub drain_open: Gauge,
    /// Answers up to the moment the drain began.
    pub drain_answered_before: Gauge,
    /// Forced closes up to the moment the drain began.
    pub drain_forced_before: Gauge,
    /// Clients that have a slot of their own now: see [`Self::take_seat`].
    seated: AtomicU64,
    /// How many slots were ever used. Control reads no further: reading a shared page allocates it.
    high_water: AtomicU32,
    slots: [Slot; MAX_SLOTS],
}

impl Page {
    /// Maps a page, all zero.
    pub fn map() -> io::Result<&'static Self> {
        // SAFETY: a fresh anonymous mapping of the struct's size, page-aligned, zero-filled by the kernel. Every field is
        // an atomic integer for which zero is valid. It is never unmapped, so 'static holds.
        unsafe {
            let memory = rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                size_of::<Self>(),
                rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
                rustix::mm::MapFlags::SHARED,
            )?;
            Ok(&*memory.cast::<Self>())
        }
    }

    /// The endpoints in use.
    pub fn endpoints(&self) -> &[EndpointPage] {
        &self.endpoints[..self.endpoint_count.load(Ordering::Relaxed) as usize]
    }

    /// Whether epoll serves an endpoint instead of what the architecture is named after: then no figure goes by its name.
    pub fn falls_back(&self) -> bool {
        self.endpoints().iter().any(|endpoint| endpoint.fallback().is_some())
    }

    /// What the container does.
    pub fn state(&self) -> State {
        let state = self.state.load(Ordering::Acquire);
        State::ALL.into_iter().find(|known| *known as u32 == state).unwrap_or(State::Starting)
    }

    /// How long it has done so.
    pub fn in_state(&self) -> Duration {
        Duration::from_nanos(monotonic_ns().saturating_sub(self.state_since.load(Ordering::Relaxed)))
    }

    /// Changes the state. Only the supervisor does.
    pub fn set_state(&self, state: State) {
        self.state_since.store(monotonic_ns(), Ordering::Relaxed);
        self.state.store(state as u32, Ordering::Release);
    }

    /// Begins a drain, or makes the one that goes on a fast one, without giving anybody more time.
    pub fn begin_drain(&self, fast: bool) {
        if self.state() != State::Draining {
            self.drain_fast.store(0, Ordering::Relaxed);
            self.drain_began.store(monotonic_ns(), Ordering::Relaxed);
        }
        if fast {
            self.drain_fast.store(1, Ordering::Relaxed);
        }
        if self.state() != State::Draining {
            self.set_state(State::Draining);
        }
    }

    /// How long the drain that goes on has taken, or the one that led to where we are.
    pub fn drain_time(&self) -> Duration {
        let end =
            if self.state() == State::Draining { monotonic_ns() } else { self.state_since.load(Ordering::Relaxed) };
        Duration::from_nanos(end.saturating_sub(self.drain_began.load(Ordering::Relaxed)))
    }

    /// The clock of the drain that goes on, if one does.
    pub fn drain(&self) -> Option<DrainClock> {
        (self.state() == State::Draining).then(|| DrainClock {
            began: instant_of(self.drain_began.load(Ordering::Relaxed)),
            fast: self.drain_fast.load(Ordering::Relaxed) != 0,
            timeout: self.settings.choose(|live| live.drain_timeout),
        })
    }
}

/// One clock for all clients of a drain (`reliability`: the ends are shared, nobody's wait begins anew).
#[derive(Debug, Clone, Copy)]
pub struct DrainClock {
    /// When it began.
    pub began: Instant,
    fast: bool,
    timeout: Duration,
}

impl DrainClock {
    /// How long an idle client may still ask.
    const IDLE_GRACE: Duration = Duration::from_millis(250);
    /// How long a question that was begun may take to end.
    const PARTIAL_GRACE: Duration = Duration::from_secs(2);
    /// How long a fast drain takes in all.
    const FAST: Duration = Duration::from_secs(1);

    /// When idle conversations end.
    pub fn idle_end(&self) -> Instant {
        self.began + if self.fast { Duration::ZERO } else { Self::IDLE_GRACE.min(self.timeout) }
    }

    /// When conversations in the middle of a question end.
    pub fn partial_end(&self) -> Instant {
        self.began + if self.fast { Duration::ZERO } else { Self::PARTIAL_GRACE.min(self.timeout) }
    }

    /// When every conversation ends, whatever is owed.
    pub fn end(&self) -> Instant {
        self.began + if self.fast { Self::FAST.min(self.timeout) } else { self.timeout }
    }
}

impl EndpointPage {
    /// Whether a data plane is there that has taken its first turn.
    pub fn is_served(&self) -> bool {
        self.leader.get() != 0 && self.heartbeat.get() != 0
    }

    /// Why epoll serves instead of what the architecture is named after, if it does.
    pub fn fallback(&self) -> Option<io::Error> {
        let errno = self.fallback_errno.get();
        (errno != 0).then(|| io::Error::from_raw_os_error(errno as i32))
    }

    /// The slots that were ever used.
    pub fn slots(&self) -> &[Slot] {
        &self.slots[..self.high_water.load(Ordering::Acquire) as usize]
    }

    /// The slot of worker `index`, which counts as used from now on.
    ///
    /// # Panics
    /// If `index` is not below [`MAX_SLOTS`]: `workers` is, by its range, and so is a [seat](Self::take_seat).
    pub fn slot(&self, index: usize) -> &Slot {
        self.high_water.fetch_max(index as u32 + 1, Ordering::AcqRel);
        &self.slots[index]
    }

    /// Gives process `pid` a slot that nobody uses, for one client; the search begins at `from`. Only the leader may. `None`
    /// if all are taken.
    pub fn take_seat(&self, from: usize, pid: u32) -> Option<usize> {
        // Slot 0 is the leader's own.
        let place = |step: usize| 1 + (from + step) % (MAX_SLOTS - 1);
        let free = (0..MAX_SLOTS - 1).map(place).find(|&index| self.slots[index].owner.get() == 0)?;
        self.slot(free).take(pid);
        self.seated.fetch_add(1, Ordering::AcqRel);
        Some(free)
    }

    /// Takes a seat back, of a client who is gone.
    pub fn leave_seat(&self, slot: &Slot) {
        slot.release();
        self.seated.fetch_sub(1, Ordering::AcqRel);
    }

    /// Clients that have a seat.
    pub fn seated(&self) -> u64 {
        self.seated.load(Ordering::Acquire)
    }

    /// Whether `most` clients are being served.
    pub fn is_full(&self, most: u64) -> bool {
        // The sum is exact, and cheap as long as there are few slots; many slots are seats.
        let open = if self.seated() > 0 { self.seated() } else { self.open() };
        open >= most
    }

    /// Sums one counter over all workers.
    pub fn sum(&self, counter: impl Fn(&Slot) -> u64) -> u64 {
        self.slots().iter().map(counter).sum()
    }

    /// Conversations that are open now.
    pub fn open(&self) -> u64 {
        // Closed first: what opens in between must not make the difference negative.
        let closed = self.sum(Slot::closed_in_all);
        self.sum(|slot| slot.accepted.get()).saturating_sub(closed)
    }

    /// Settles the books of a data plane that is gone: what it had open counts as crashed.
    pub fn settle(&self) {
        // Taken together: a client may have been counted in by one worker and out by another.
        let open = self.open();
        if let Some(first) = self.slots().first() {
            first.closed[Closed::Crashed as usize].add(open);
        }
        for slot in self.slots() {
            slot.usage.clear();
            slot.release();
        }
        self.seated.store(0, Ordering::Release);
        self.runtime.settle();
    }
}

/// The monotonic clock in nanoseconds; the same in every process of a machine.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// An instant of another process, given as [`monotonic_ns`].
pub fn instant_of(ns: u64) -> Instant {
    let now = Instant::now();
    let age = Duration::from_nanos(monotonic_ns().saturating_sub(ns));
    now.checked_sub(age).unwrap_or(now)
}
