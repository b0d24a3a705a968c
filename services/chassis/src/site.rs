//! All that an architecture sees: an endpoint, its clients, and orders to obey.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketAddrAny;
use socket2::SockAddr;
use zen::{Transport, error};

use crate::desk::{self, Desk, Role, Tenure};
use crate::fork::Child;
use crate::letter::{Arrived, Letter};
use crate::linger::{self, linger};
use crate::page::{
    DrainClock, Dropped, EndpointPage, IoUring, MAX_SLOTS, Made, Page, Rejected, RuntimeFigures, State, Target,
};
use crate::socket::{DatagramSocket, Stream, StreamListener, TICK};
use crate::talk::Talk;
use crate::visit::Visit;

/// What [`Site::hire`] makes.
pub trait Worker {
    /// What it counts as.
    const MADE: Made;
}

impl<T> Worker for thread::JoinHandle<T> {
    const MADE: Made = Made::Thread;
}

impl Worker for Child {
    const MADE: Made = Made::Process;
}

/// How long a paused worker waits before it looks again whether the pause is over.
const PAUSE: Duration = Duration::from_millis(20);

/// How long after the last partial question's end a worker still takes clients that queue, in a drain under load.
const LAST_CLIENTS: Duration = Duration::from_secs(1);

/// How many clients or datagrams are turned away at once before those that are here have their turn.
const AT_ONCE: usize = 256;

/// Up to so many clients with slots of their own, the search for a free one begins at the first.
const FEW: u64 = 64;

/// How long a drained endpoint must stay empty: what was on its way arrives meanwhile.
const LAST_LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// An endpoint as one worker has it. `S` is the socket: [`StreamListener`] or [`DatagramSocket`].
///
/// Every method that waits does so for a tick at the most (100 ms), so that orders are heard in time. When it is dropped,
/// the streams that it closed first get their second to end.
pub struct Site<S> {
    desk: Desk,
    index: usize,
    transport: Transport,
    /// `None` when the worker has taken its last client: the endpoint must not stay open for its sake.
    socket: Option<Arc<S>>,
    /// The slot of the first worker: 1 where the leader keeps slot 0 for itself.
    first_slot: usize,
    /// Where the search for the next client's slot begins.
    next_seat: usize,
    /// The first descriptor number that is of no use; see [`Site::refuse_descriptors_from`].
    descriptor_limit: Option<RawFd>,
    /// Whether somebody may wait beyond the last one who was taken.
    more: bool,
    backoff: BackOff,
    /// When the worker last looked for orders.
    looked: Instant,
    /// What the async runtime has said last, and when it is asked again.
    runtime: (RuntimeFigures, Option<Instant>),
}

/// A socket that workers can share.
pub trait Endpoint: AsFd + Sized + Send + Sync {
    /// What it is reached by.
    fn transport(&self) -> Transport;

    /// Another handle of the same socket.
    fn share(&self) -> io::Result<Self>;

    /// Another socket at the same address, prepared as this one is; the kernel shares out who comes (SO_REUSEPORT). A Unix
    /// address has one socket only: there it is another handle.
    fn another(&self) -> io::Result<Self>;
}

impl Endpoint for StreamListener {
    fn transport(&self) -> Transport {
        self.transport()
    }

    fn share(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn another(&self) -> io::Result<Self> {
        self.another()
    }
}

impl Endpoint for DatagramSocket {
    fn transport(&self) -> Transport {
        self.transport()
    }

    fn share(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn another(&self) -> io::Result<Self> {
        self.another()
    }
}

impl<S: Endpoint> Site<S> {
    pub(crate) fn new(page: &'static Page, endpoint: &'static EndpointPage, socket: S) -> Self {
        let desk = Desk { page, endpoint, slot: endpoint.slot(0), role: Role::Leader, tenure: Tenure::Worker };
        desk.slot.take(std::process::id());
        endpoint.running.set(1);
        desk.sit();
        Self {
            desk,
            index: 0,
            transport: socket.transport(),
            socket: Some(Arc::new(socket)),
            first_slot: 0,
            next_seat: 0,
            descriptor_limit: None,
            more: false,
            backoff: BackOff::default(),
            looked: Instant::now(),
            runtime: Default::default(),
        }
    }

    /// The site as a worker thread with number `index` has it.
    pub fn for_thread(&self, index: usize) -> io::Result<Self> {
        self.worker(index, Role::Thread)
    }

    /// The site as a worker thread with number `index` has it that has a socket of its own, and so a queue of its own, at
    /// the endpoint's address: see [`Endpoint::another`]. Worker 0 has the endpoint's own, where clients find a successor
    /// should this process die.
    pub fn for_shard(&self, index: usize) -> io::Result<Self> {
        let open = |socket: &Arc<S>| if index == 0 { socket.share() } else { socket.another() };
        Ok(self.place(index, Role::Thread, self.socket.as_ref().map(open).transpose()?))
    }

    /// The site as a worker process with number `index` has it.
    pub fn for_process(&self, index: usize) -> io::Result<Self> {
        self.worker(index, Role::Child)
    }

    /// The site as a worker thread has it that gets its clients from the leader, and so must not keep the endpoint open.
    #[must_use]
    pub fn for_thread_inside(&self, index: usize) -> Self {
        self.place(index, Role::Thread, None)
    }

    /// For a runtime whose threads go on with each other's clients: from now on whoever goes on with a client counts in the
    /// slot of its own thread. Gives what each of these threads must call when it begins.
    pub fn roam(&mut self) -> impl Fn() + Send + Sync + 'static {
        linger::share();
        self.desk.tenure = Tenure::Roaming;
        let desk = Desk { role: Role::Thread, ..self.desk };
        let threads = AtomicUsize::new(0);
        move || {
            // Slot 0 is the leader's. More threads than slots share the last one; a runtime has some dozens.
            let index = 1 + threads.fetch_add(1, Ordering::Relaxed);
            Desk { slot: desk.endpoint.slot(index.min(MAX_SLOTS - 1)), ..desk }.sit();
        }
    }

    /// For a leader that takes clients itself and hands them over to its workers: it counts in slot 0, they in the following
    /// ones, and how long clients wait for a worker is told ([`Self::count_hand_over`]).
    pub fn hands_over(&mut self) {
        self.first_slot = 1;
        self.desk.endpoint.hands_over.set(1);
    }

    /// Counts a client that has waited so long in the server until this worker was free for it.
    pub fn count_hand_over(&self, waited: Duration) {
        self.desk.slot.queue_wait.record(waited, 1);
    }

    fn worker(&self, index: usize, role: Role) -> io::Result<Self> {
        Ok(self.place(index, role, self.socket.as_ref().map(|socket| socket.share()).transpose()?))
    }

    fn place(&self, index: usize, role: Role, socket: Option<S>) -> Self {
        let slot = self.desk.endpoint.slot(self.first_slot + index);
        Self {
            desk: Desk { slot, role, ..self.desk },
            index,
            transport: self.transport,
            socket: socket.map(Arc::new),
            first_slot: 0,
            next_seat: 0,
            descriptor_limit: None,
            more: false,
            backoff: BackOff::default(),
            looked: Instant::now(),
            runtime: Default::default(),
        }
    }

    /// The worker's number.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// How many workers the endpoint should have now.
    pub fn workers(&self) -> usize {
        self.desk.page.settings.choose(|live| live.workers)
    }

    /// For a worker that serves one client at a time: whether to go on. In a pause it waits a moment, and nobody is there to
    /// be taken: whoever has other things to do, such as children to bury, does them meanwhile. False when the server is
    /// drained and nobody waits any more, or when there are fewer workers to be than this one's number.
    pub fn proceed(&mut self) -> bool {
        self.look_for_orders();
        if self.state() == State::Paused {
            thread::sleep(PAUSE);
        }
        self.is_wanted() && !self.has_left()
    }

    /// For a leader of workers: waits a part of a tick. False when the server drains: its copy of the socket is closed
    /// then, and the workers that it waits for leave by themselves.
    pub fn lead(&mut self) -> bool {
        self.desk.role = Role::Manager;
        self.look_for_orders();
        if self.is_draining() {
            self.socket = None;
            return false;
        }
        thread::sleep(TICK / 4);
        true
    }

    /// Waits a part of a tick, for a leader whose workers finish.
    pub fn rest(&mut self) {
        self.look_for_orders();
        thread::sleep(TICK / 4);
    }

    /// Makes a worker by `spawn`, and notes how long that took.
    pub fn hire<W: Worker>(&self, spawn: impl FnOnce() -> io::Result<W>) -> Option<W> {
        let began = Instant::now();
        match spawn() {
            Ok(worker) => {
                self.desk.endpoint.spawn[W::MADE as usize].record(began.elapsed(), 1);
                Some(worker)
            }
            Err(error) => {
                worker_not_started(&error);
                None
            }
        }
    }

    /// Says that worker `index` has ended. One that was still wanted counts as crashed: whoever it served is gone.
    pub fn dismiss(&self, index: usize) {
        self.desk.endpoint.slot(self.first_slot + index).settle();
        if index < self.workers() && !self.is_draining() {
            self.desk.endpoint.restarts.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(event = "worker_lost", worker = index, "a worker ended before its time and is replaced");
        }
    }

    /// Takes back the slot of a client whose process has ended.
    pub fn vacate(&self, seat: usize) {
        let slot = self.desk.endpoint.slot(seat);
        slot.settle();
        self.desk.endpoint.leave_seat(slot);
    }

    /// How many clients have a slot of their own.
    pub fn seated(&self) -> usize {
        self.desk.endpoint.seated() as usize
    }

    /// For a worker without a socket: looks for orders. False when there are fewer workers to be than its number.
    pub fn is_needed(&mut self) -> bool {
        self.look_for_orders();
        self.is_wanted()
    }

    /// Says how many workers there are.
    pub fn report_running(&self, workers: usize) {
        self.desk.endpoint.running.set(workers as u64);
    }

    /// For a loop that serves many clients: looks for orders. False when no more clients are taken, because the server is
    /// drained; the loop ends when the clients it has are gone as well.
    pub fn turn(&mut self) -> bool {
        self.look_for_orders();
        if self.is_draining() && !self.somebody_waits() {
            self.socket = None;
        }
        !self.has_left()
    }

    /// Closes this copy of the endpoint: a child must not keep it open.
    pub fn leave(&mut self) {
        self.socket = None;
    }

    /// Whether a loop should watch the endpoint now: not in a pause, and not for a moment after accept(2) found no
    /// descriptor, for it would find none again at once (seen: 439,000 errors in 2 s).
    pub fn is_open(&self) -> bool {
        self.socket.is_some() && self.state() != State::Paused && self.backoff.is_over()
    }

    /// Whether the worker still holds the endpoint's socket, open for clients or not.
    pub const fn has_socket(&self) -> bool {
        self.socket.is_some()
    }

    /// Whether somebody may still wait after the last accept or receive: for loops that hear of news only once
    /// (edge-triggered).
    pub const fn may_have_more(&self) -> bool {
        self.more
    }

    /// How long a loop may wait for events, and no longer.
    pub fn tick(&self) -> Duration {
        self.backoff.left().map_or(TICK, |left| left.min(TICK))
    }

    /// The same as [`Self::tick`], but not beyond `moment`.
    pub fn tick_until(&self, moment: Option<Instant>) -> Duration {
        moment.map_or(self.tick(), |moment| self.tick().min(moment.saturating_duration_since(Instant::now())))
    }

    /// Counts one turn of a loop: how many events it brought after how long a wait.
    pub fn count_turn(&self, events: usize, waited: Duration) {
        self.turn_counter()(events, waited);
    }

    /// [`Self::count_turn`] for a loop that does not have the site itself.
    pub fn turn_counter(&self) -> impl Fn(usize, Duration) + 'static {
        let slot = self.desk.slot;
        move |events, waited| {
            slot.loop_iterations.add(1);
            slot.loop_events.add(events as u64);
            slot.loop_wait.add(waited.as_nanos() as u64);
        }
    }

    /// For the leader, once a turn: publishes what the async runtime says of itself, which is asked once a tick at the most.
    pub fn tell_of_runtime(&mut self, figures: impl FnOnce() -> RuntimeFigures) {
        let (before, due) = &mut self.runtime;
        if due.is_none_or(|due| self.looked >= due) {
            let now = figures();
            self.desk.endpoint.runtime.tell(&now, before);
            self.runtime = (now, Some(self.looked + TICK));
        }
    }

    /// What is to happen where the kernel refuses a ring.
    pub fn io_uring(&self) -> IoUring {
        self.desk.page.settings.io_uring()
    }

    /// Says whether epoll serves here instead of what the architecture is named after, and why: nobody is to take its
    /// figures for the other's.
    pub fn falls_back(&self, why: Option<&io::Error>) {
        let errno = why.map_or(0, |why| why.raw_os_error().unwrap_or(libc::EIO));
        self.desk.endpoint.fallback_errno.set(errno as u64);
        if let Some(why) = why {
            tracing::warn!(event = "backend_fallback", "epoll serves instead: {why}");
        }
    }

    /// Whether the server finishes with its clients.
    pub fn is_draining(&self) -> bool {
        self.state() == State::Draining
    }

    fn look_for_orders(&mut self) {
        self.desk.sit();
        self.take_slot();
        self.looked = Instant::now();
        desk::tick(self.looked);
        self.strike();
        linger::sweep();
        if self.drain().is_some_and(|drain| Instant::now() > drain.partial_end() + LAST_CLIENTS) {
            self.socket = None;
        }
    }

    /// A worker takes its slot when it looks for orders first: had it been taken for one that could not be started, nobody
    /// would give it back.
    fn take_slot(&self) {
        let Desk { slot, role, tenure, .. } = self.desk;
        if tenure == Tenure::Worker && role != Role::Manager && slot.owner.get() == 0 {
            slot.take(std::process::id());
        }
    }

    /// A slot for one client. Few clients share few slots, so that the page stays small; many are not searched from the
    /// beginning.
    fn take_seat(&mut self) -> Option<usize> {
        let from = if self.desk.endpoint.seated() < FEW { 0 } else { self.next_seat };
        self.next_seat = self.desk.endpoint.take_seat(from, std::process::id())?;
        Some(self.next_seat)
    }

    fn strike(&self) {
        let faults = &self.desk.endpoint.faults;
        if self.desk.role != Role::Manager {
            faults.strike(Target::Worker);
        }
        if matches!(self.desk.role, Role::Leader | Role::Manager) {
            faults.strike(Target::Data);
        }
    }

    fn state(&self) -> State {
        self.desk.page.state()
    }

    fn drain(&self) -> Option<DrainClock> {
        self.desk.page.drain()
    }

    fn is_wanted(&self) -> bool {
        self.index == 0 || self.index < self.workers()
    }

    const fn has_left(&self) -> bool {
        self.socket.is_none()
    }

    fn somebody_waits(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| {
            let mut fds = [PollFd::new(socket, PollFlags::IN)];
            !matches!(poll(&mut fds, Some(&LAST_LOOK)), Ok(0))
        })
    }

    /// Nobody waited: in a drain that was the last look.
    fn found_nobody(&mut self) {
        if self.is_draining() && !self.somebody_waits() {
            self.socket = None;
        }
    }
}

/// Says that there was no thread or process for a worker or a request. The limit of processes may have been reached; the
/// next one is tried all the same.
pub fn worker_not_started(error: &io::Error) {
    tracing::warn!(event = "worker_not_started", %error, "a worker could not be started");
}

impl<S> Drop for Site<S> {
    fn drop(&mut self) {
        self.socket = None;
        linger::finish();
    }
}

impl<S: AsFd> AsFd for Site<S> {
    /// The endpoint's socket.
    ///
    /// # Panics
    /// When the last client was taken: see [`Site::is_open`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("an endpoint is only watched while it is open").as_fd()
    }
}

impl Site<StreamListener> {
    /// Switches between calls that wait for a client and calls that do not. For all workers of an endpoint at once.
    pub fn set_blocking(&self, blocking: bool) -> io::Result<()> {
        self.socket.as_ref().map_or(Ok(()), |socket| socket.set_blocking(blocking))
    }

    /// accept(2): waits for a client, whose stream will block. `None` after a tick.
    pub fn accept(&mut self) -> io::Result<Option<Visit>> {
        Ok(self.accept_stream(true)?.map(|newcomer| self.admit(newcomer)))
    }

    /// accept(2) without waiting, for a client whose stream will not block. `None` if nobody waits, or if nobody can be
    /// taken for a moment.
    pub fn accept_now(&mut self) -> io::Result<Option<Visit>> {
        Ok(self.accept_stream(false)?.map(|newcomer| self.admit(newcomer)))
    }

    /// As [`Self::accept_now`], for code that keeps the stream itself.
    pub fn greet(&mut self) -> io::Result<Option<(Stream, Talk)>> {
        Ok(self.accept_stream(false)?.map(|newcomer| {
            let talk = Talk::new(self.desk, newcomer.stream.transport(), newcomer.peer.as_ref());
            (newcomer.stream, talk)
        }))
    }

    /// As [`Self::greet`], for a connection that the kernel has accepted by other means. `None` if it had to be turned away.
    pub fn adopt(&mut self, fd: OwnedFd) -> Option<(Stream, Talk)> {
        let stream = Stream::new(fd, self.transport);
        self.backoff.end();
        if let Some(reason) = self.refusal(&stream) {
            self.turn_away(&stream, reason);
            linger(stream);
            return None;
        }
        let peer = rustix::net::getpeername(&stream).ok().flatten();
        let talk = Talk::new(self.desk, stream.transport(), peer.as_ref());
        Some((stream, talk))
    }

    /// Says that accepting by other means failed. The endpoint may not be [open](Self::is_open) for a moment then.
    ///
    /// # Errors
    /// The error itself, if no later attempt could do better.
    pub fn accept_refused(&mut self, error: &io::Error) -> io::Result<()> {
        self.accept_failed(error, false)
    }

    /// As [`Self::accept`], for a client that will have a thread of its own; it counts in a slot of its own.
    pub fn accept_for_thread(&mut self) -> io::Result<Option<Visit>> {
        self.accept_apart(Role::Thread)
    }

    /// As [`Self::accept`], for a client that will have a process of its own; it counts in a slot of its own, its
    /// [`seat`](Visit::seat), which the leader must [`vacate`](Site::vacate) when the process has ended.
    pub fn accept_for_process(&mut self) -> io::Result<Option<Visit>> {
        self.accept_apart(Role::Child)
    }

    fn accept_apart(&mut self, role: Role) -> io::Result<Option<Visit>> {
        let Some(newcomer) = self.accept_stream(true)? else { return Ok(None) };
        let Some(seat) = self.take_seat() else {
            self.turn_away(&newcomer.stream, Rejected::MaxConnections);
            linger(newcomer.stream);
            return Ok(None);
        };
        let slot = self.desk.endpoint.slot(seat);
        let desk = Desk { slot, role, tenure: Tenure::Client, ..self.desk };
        Ok(Some(newcomer.visit(desk)))
    }

    /// accept(2): waits for a client whom another worker will [`admit`](Self::admit). `None` after a tick.
    pub fn take(&mut self) -> io::Result<Option<Newcomer>> {
        self.accept_stream(true)
    }

    /// Begins the conversation with a client.
    pub fn admit(&self, newcomer: Newcomer) -> Visit {
        newcomer.visit(self.desk)
    }

    /// Turns away a client for whom there was no thread or process, and sees it off.
    pub fn send_away(&self, visit: Visit) {
        let unborn = visit.seat().filter(|_| visit.is_for_process());
        let stream = visit.release();
        self.turn_away(&stream, Rejected::Resources);
        linger(stream);
        if let Some(seat) = unborn {
            self.vacate(seat);
        }
    }

    /// Refuses clients whose descriptor is `limit` or higher, because the caller has no place for it.
    pub const fn refuse_descriptors_from(&mut self, limit: RawFd) {
        self.descriptor_limit = Some(limit);
    }

    fn accept_stream(&mut self, blocking: bool) -> io::Result<Option<Newcomer>> {
        if !self.is_open() {
            return Ok(None);
        }
        self.more = true;
        for _ in 0..AT_ONCE {
            let Some(listener) = &self.socket else { break };
            match listener.accept(blocking) {
                Ok((stream, peer)) => {
                    self.backoff.end();
                    let Some(reason) = self.refusal(&stream) else { return Ok(Some(Newcomer { stream, peer })) };
                    self.turn_away(&stream, reason);
                    linger(stream);
                }
                Err(error) => {
                    self.accept_failed(&error, blocking)?;
                    break;
                }
            }
        }
        Ok(None)
    }

    /// Why this client cannot be served, if it cannot.
    fn refusal(&self, stream: &Stream) -> Option<Rejected> {
        let most = self.desk.page.settings.choose(|live| live.max_connections) as u64;
        if self.desk.endpoint.is_full(most) {
            Some(Rejected::MaxConnections)
        } else if self.descriptor_limit.is_some_and(|limit| stream.as_raw_fd() >= limit) {
            Some(Rejected::SelectLimit)
        } else {
            None
        }
    }

    fn turn_away(&self, stream: &Stream, reason: Rejected) {
        self.desk.slot.rejected[reason as usize].add(1);
        // One short write into an empty buffer; if even that fails, the client sees the end of the stream.
        let _ = stream.write(error::BUSY.as_bytes());
    }

    fn accept_failed(&mut self, error: &io::Error, blocking: bool) -> io::Result<()> {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::AGAIN) => {
                self.more = false;
                self.found_nobody();
            }
            // The client was gone before it was taken, or a signal came.
            Some(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                self.desk.slot.accept_errors.add(1);
                let pause = self.backoff.begin();
                if blocking {
                    thread::sleep(pause);
                }
            }
            _ => return Err(io::Error::new(error.kind(), format!("accept failed: {error}"))),
        }
        Ok(())
    }
}

impl Site<DatagramSocket> {
    /// Switches between calls that wait for a datagram and calls that do not.
    pub fn set_blocking(&self, blocking: bool) -> io::Result<()> {
        self.socket.as_ref().map_or(Ok(()), |socket| socket.set_blocking(blocking))
    }

    /// recvmsg(2): waits for a datagram that gets an answer. `None` after a tick, or if there is none.
    pub fn receive(&mut self) -> io::Result<Option<Letter>> {
        if !self.is_open() {
            return Ok(None);
        }
        self.more = true;
        for _ in 0..AT_ONCE {
            let Some(socket) = &self.socket else { break };
            match Letter::receive(self.desk, socket, !self.is_draining())? {
                Arrived::Letter(letter) => return Ok(Some(letter)),
                Arrived::Dropped => {}
                Arrived::Tick => break,
                Arrived::Nothing => {
                    self.more = false;
                    self.found_nobody();
                    break;
                }
            }
        }
        Ok(None)
    }

    /// Judges a datagram that was received by other means: the letter that it is, if it gets an answer.
    pub fn open(&self, bytes: &[u8], truncated: bool, from: SockAddr) -> Option<Letter> {
        Letter::open(self.desk, bytes, truncated, from)
    }

    /// Counts what became of an answer that was sent by other means.
    pub fn answered(&self, letter: &Letter, result: io::Result<usize>) {
        letter.was_sent(self.desk, result);
    }

    /// Counts what receiving by other means reported of an earlier answer: it found nobody (ICMP).
    pub fn bounced(&self) {
        Letter::bounced(self.desk);
    }

    /// How many bytes a receive buffer needs: one more than the longest question, to see that there was more.
    pub fn datagram_room(&self) -> usize {
        self.desk.page.settings.max_question() + 1
    }

    /// As [`Self::receive`], for a datagram that will have a thread of its own.
    pub fn receive_for_thread(&mut self) -> io::Result<Option<Errand>> {
        self.receive_apart(Role::Thread)
    }

    /// As [`Self::receive`], for a datagram that will have a process of its own; the leader must
    /// [`vacate`](Site::vacate) its seat when the process has ended.
    pub fn receive_for_process(&mut self) -> io::Result<Option<Errand>> {
        self.receive_apart(Role::Child)
    }

    fn receive_apart(&mut self, role: Role) -> io::Result<Option<Errand>> {
        let (Some(letter), Some(socket)) = (self.receive()?, self.socket.clone()) else { return Ok(None) };
        let Some(seat) = self.take_seat() else {
            self.desk.slot.dropped[Dropped::WouldBlock as usize].add(1);
            return Ok(None);
        };
        let desk = Desk { slot: self.desk.endpoint.slot(seat), role, tenure: Tenure::Client, ..self.desk };
        Ok(Some(Errand { letter, desk, socket, seat }))
    }

    /// Counts a datagram as dropped for which there was no thread or process.
    pub fn give_up(&self, errand: Errand) {
        self.desk.slot.dropped[Dropped::WouldBlock as usize].add(1);
        let unborn = (errand.desk.role == Role::Child).then_some(errand.seat);
        drop(errand);
        if let Some(seat) = unborn {
            self.vacate(seat);
        }
    }

    /// sendto(2): answers a datagram, after whatever the answer costs.
    pub fn answer(&self, letter: &Letter) {
        if let crate::Wants::ToWait(until) = letter.wants() {
            thread::sleep(until.saturating_duration_since(Instant::now()));
        }
        self.answer_now(letter);
    }

    /// sendto(2): answers a datagram whose costs are paid.
    pub fn answer_now(&self, letter: &Letter) {
        if let Some(socket) = &self.socket {
            self.answer_from(socket, letter);
        }
    }

    pub(crate) fn answer_from(&self, socket: &DatagramSocket, letter: &Letter) {
        letter.send(self.desk, socket);
    }

    /// Another handle of the endpoint's socket.
    pub(crate) fn copy(&self) -> Option<DatagramSocket> {
        self.socket.as_ref()?.try_clone().ok()
    }
}

/// A datagram that somebody else than its receiver answers. It counts in a slot of its own.
#[derive(Debug)]
pub struct Errand {
    letter: Letter,
    desk: Desk,
    socket: Arc<DatagramSocket>,
    seat: usize,
}

impl Errand {
    /// The number of its slot.
    pub const fn seat(&self) -> usize {
        self.seat
    }

    /// sendto(2): answers it, after whatever the answer costs.
    pub fn answer(self) {
        if let crate::Wants::ToWait(until) = self.letter.wants() {
            thread::sleep(until.saturating_duration_since(Instant::now()));
        }
        self.letter.send(self.desk, &self.socket);
    }

    /// Another process has it now: frees this copy, and counts nothing.
    pub fn abandon(self) {
        // The seat is taken back when that process has ended.
        drop(self);
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        // The seat of a process is taken back by its parent: it may also die without a word.
        if self.desk.role == Role::Thread {
            self.desk.endpoint.leave_seat(self.desk.slot);
        }
    }
}

/// A client that was taken but not greeted yet.
#[derive(Debug)]
pub struct Newcomer {
    stream: Stream,
    peer: Option<SocketAddrAny>,
}

impl Newcomer {
    fn visit(self, desk: Desk) -> Visit {
        Visit::new(Talk::new(desk, self.stream.transport(), self.peer.as_ref()), self.stream)
    }
}

/// A pause after accept(2) failed for want of something: 10 ms, doubling to 75 ms for each worker of this process that is in
/// the same trouble, until it succeeds. Descriptors are the process's, so together its workers try 13 times a second.
#[derive(Debug, Default)]
struct BackOff {
    pause: Duration,
    until: Option<Instant>,
}

/// Workers of this process that wait until accept(2) may succeed.
static BACKED_OFF: AtomicU32 = AtomicU32::new(0);

impl BackOff {
    const FIRST: Duration = Duration::from_millis(10);
    const MOST: Duration = Duration::from_millis(75);

    fn begin(&mut self) -> Duration {
        if self.until.is_none() {
            BACKED_OFF.fetch_add(1, Ordering::Relaxed);
        }
        let most = Self::MOST * BACKED_OFF.load(Ordering::Relaxed).max(1);
        self.pause = (self.pause * 2).clamp(Self::FIRST, most);
        self.until = Some(Instant::now() + self.pause);
        self.pause
    }

    fn end(&mut self) {
        if self.until.take().is_some() {
            BACKED_OFF.fetch_sub(1, Ordering::Relaxed);
        }
        self.pause = Duration::ZERO;
    }

    fn left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    fn is_over(&self) -> bool {
        self.left().is_none()
    }
}

impl Drop for BackOff {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::page::LiveValue;
    use crate::settings::Source;
    use crate::socket::{self, Options, TALK_TICK};

    fn endpoint() -> (Site<DatagramSocket>, &'static EndpointPage, (String, u16)) {
        let page = Page::map().unwrap();
        page.settings.set_max_question(zen::MAX_MAX_QUESTION);
        page.settings
            .write(&[(LiveValue::MaxConnections, 10, Source::Default), (LiveValue::Workers, 4, Source::Default)]);
        page.endpoint_count.store(1, Ordering::Relaxed);
        let endpoint = &page.endpoints()[0];
        let options = Options { backlog: 10, receive_buffer: 65536, send_tick: TALK_TICK };
        let (fd, at) = socket::bind(&"udp://127.0.0.1:0".parse().unwrap(), options).unwrap();
        let site = Site::new(page, endpoint, DatagramSocket::new(fd, at.transport, options));
        let zen::Address::Host(host, port) = at.address else { panic!("{at}") };
        (site, endpoint, (host, port))
    }

    #[test]
    fn a_worker_has_its_slot_from_when_it_looks_for_orders() {
        let (site, endpoint, _) = endpoint();
        drop(site.for_thread_inside(3));
        assert_eq!(endpoint.slot(3).owner.get(), 0, "it could not be started");
        assert!(site.for_thread_inside(3).is_needed());
        assert_eq!(endpoint.slot(3).owner.get(), u64::from(std::process::id()));
    }

    #[test]
    fn a_datagram_that_nobody_can_answer_is_counted_and_leaves_its_seat() {
        let (mut site, endpoint, (host, port)) = endpoint();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (receive, dropped) in [Site::receive_for_thread, Site::receive_for_process].into_iter().zip(1..) {
            client.send_to(b"Simple is better than?", (host.as_str(), port)).unwrap();
            let errand = std::iter::repeat_with(|| receive(&mut site).unwrap()).find_map(|errand| errand).unwrap();
            assert_eq!(site.seated(), 1);
            site.give_up(errand);
            let counted = endpoint.sum(|slot| slot.dropped[Dropped::WouldBlock as usize].get());
            assert_eq!((site.seated(), counted), (0, dropped));
            assert_eq!(endpoint.slot(1).owner.get(), 0);
        }
    }
}
