//! The supervisor: process 1 of a container, single-threaded for life, so that it may fork at any time.
//!
//! It binds every endpoint, forks the control plane and a data plane for each endpoint, and then waits for signals, orders
//! and deaths. It keeps the listeners open, so clients that queue while a data plane is replaced find the new one.

mod signals;
mod watch;

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};
use zen::{Address, Endpoint};

use crate::activation::Inherited;
use crate::fork::{self, Ended};
use crate::page::{EndpointPage, LiveValue, MAX_ENDPOINTS, Order, Page, State, monotonic_ns};
use crate::settings::Start;
use crate::site::Site;
use crate::socket::{self, DatagramSocket, Options, StreamListener, TALK_TICK};
use crate::{Architecture, control, logs, trace};

use signals::Request;

/// How often the supervisor looks for orders.
const LOOK: Duration = Duration::from_millis(20);

/// How long after a drain's last deadline a data plane may live.
const DRAIN_MARGIN: Duration = Duration::from_millis(1500);

/// How long the control plane may take to finish its last answers.
const CONTROL_END: Duration = Duration::from_secs(3);

/// The exit codes of a server.
pub mod exit {
    /// An ordered stop.
    pub const OK: i32 = 0;
    /// Something failed while serving.
    pub const FAILED: i32 = 1;
    /// Settings or usage.
    pub const SETTINGS: i32 = 2;
    /// An address could not be bound, or a process not be started.
    pub const BIND: i32 = 3;
}

/// Runs a server container until it is told to stop; gives its exit code.
///
/// Must be called before the process has a second thread.
pub fn run(architecture: &'static Architecture, start: Start) -> i32 {
    match Supervisor::prepare(architecture, start) {
        Ok(mut supervisor) => supervisor.run(),
        Err(error) => {
            tracing::error!(event = "start_failed", "{error}");
            exit::BIND
        }
    }
}

struct Supervisor {
    architecture: &'static Architecture,
    start: Start,
    page: &'static Page,
    planes: Vec<Plane>,
    admin: TcpListener,
    traces: OwnedFd,
    trace_pipe: OwnedFd,
    control: Option<Running>,
    /// What follows the drain that goes on.
    after_drain: AfterDrain,
    /// How the container ends.
    code: i32,
    respawns: Respawns,
}

/// A data plane, or the place of one.
struct Plane {
    endpoint: Endpoint,
    page: &'static EndpointPage,
    /// The socket that was passed to us, if it was. It is not ours to close for good.
    passed: Option<OwnedFd>,
    /// `None` while the endpoint is closed: in a drain, and parked.
    socket: Option<OwnedFd>,
    /// The file that was made for a Unix socket.
    file: Option<OwnedFd>,
    /// Datagrams that found the buffers of earlier sockets full.
    drops_before: u64,
    running: Option<Running>,
    /// When its last leader died, for the time that the respawn took.
    died: Option<u64>,
    respawns: Respawns,
}

/// What binding an endpoint gives.
struct Bound {
    socket: OwnedFd,
    /// The endpoint with the port that the kernel chose.
    endpoint: Endpoint,
    /// See [`Plane::file`].
    file: Option<OwnedFd>,
}

#[derive(Clone, Copy)]
struct Running {
    pid: libc::pid_t,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterDrain {
    Park,
    Exit,
}

impl Supervisor {
    fn prepare(architecture: &'static Architecture, mut start: Start) -> io::Result<Self> {
        let page = Page::map()?;
        page.started.set(monotonic_ns());
        page.settings.set_max_question(start.max_question_bytes);
        page.settings.set_io_uring(start.io_uring);
        page.settings.write(&start.live);
        page.endpoint_count.store(start.listen.len() as u32, std::sync::atomic::Ordering::Relaxed);
        logs::init(page, architecture.name, "supervisor");
        enter(page, State::Starting);
        raise_descriptor_limit();
        // Before anything listens: a signal must find its handler (here: a blocked mask that sigtimedwait reads).
        signals::block()?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let planes = open_planes(&mut start, page, Inherited::from_environment())?;
        let admin = bind_admin(&mut start)?;
        let (traces, trace_pipe) = trace_pipe()?;
        Ok(Self {
            architecture,
            start,
            page,
            planes,
            admin,
            traces,
            trace_pipe,
            control: None,
            after_drain: AfterDrain::Exit,
            code: exit::OK,
            respawns: Respawns::default(),
        })
    }

    fn run(&mut self) -> i32 {
        loop {
            if let Some(request) = signals::wait(LOOK) {
                self.obey_signal(request);
            }
            self.reap();
            self.obey_order();
            if self.page.state() == State::Draining {
                if self.has_drained() && self.leave_drain() {
                    return self.end();
                }
            } else if self.page.state() != State::Parked {
                self.keep_serving();
            }
            self.keep_control();
            self.planes.iter().for_each(Plane::sample);
        }
    }

    fn obey_signal(&mut self, request: Request) {
        match request {
            Request::Stop => {
                let again = self.page.state() == State::Draining && self.after_drain == AfterDrain::Exit;
                self.drain(AfterDrain::Exit, again);
            }
            Request::StopNow => self.drain(AfterDrain::Exit, true),
            Request::Reload => self.page.reload_requests.add(1),
            Request::Nothing => {}
        }
    }

    fn obey_order(&mut self) {
        let state = self.page.state();
        match self.page.orders.take() {
            Some(Order::Pause) if state == State::Ready => self.enter(State::Paused),
            Some(Order::Resume) if state == State::Paused => self.enter(State::Ready),
            Some(Order::DrainToPark) if !matches!(state, State::Draining | State::Parked) => {
                self.drain(AfterDrain::Park, false);
            }
            Some(Order::DrainToExit) => self.drain(AfterDrain::Exit, false),
            Some(Order::FastExit) => self.drain(AfterDrain::Exit, true),
            Some(Order::Start) if state == State::Parked => self.start_again(),
            _ => {
                let over = self.page.orders.pause_until().is_some_and(|until| monotonic_ns() >= until);
                if state == State::Paused && over {
                    self.enter(State::Ready);
                }
            }
        }
    }

    fn enter(&self, state: State) {
        enter(self.page, state);
    }

    fn drain(&mut self, then: AfterDrain, fast: bool) {
        self.after_drain = then;
        let began = self.page.state() != State::Draining;
        if began {
            for plane in &mut self.planes {
                plane.note_drain();
                // Its workers hold the last copies now, and close them when nobody waits any more.
                plane.socket = None;
            }
        }
        self.page.begin_drain(fast);
        if began {
            tracing::info!(event = "state", state = State::Draining.label(), "draining");
        }
    }

    fn has_drained(&self) -> bool {
        let over = self.page.drain().is_none_or(|drain| Instant::now() > drain.end() + DRAIN_MARGIN);
        for plane in self.planes.iter().filter(|_| over) {
            plane.kill();
        }
        self.planes.iter().all(|plane| plane.running.is_none())
    }

    /// What comes after the drain; true if that is the end.
    fn leave_drain(&self) -> bool {
        for plane in &self.planes {
            plane.log_ledger();
            plane.unlink();
        }
        if self.after_drain == AfterDrain::Park {
            self.enter(State::Parked);
        }
        self.after_drain == AfterDrain::Exit
    }

    fn start_again(&mut self) {
        let options = options(&self.start);
        // All or none: an endpoint that is open while the server stays parked would keep its clients waiting for nobody.
        let bound: io::Result<Vec<Bound>> = self.planes.iter().map(|plane| plane.bind(options)).collect();
        match bound {
            Ok(bound) => {
                self.planes.iter_mut().zip(bound).for_each(|(plane, bound)| plane.open_with(bound));
                self.enter(State::Starting);
            }
            Err(error) => tracing::error!(event = "start_failed", "the server stays parked: {error}"),
        }
    }

    /// Replaces data planes that are missing; the container is ready when all are there.
    fn keep_serving(&mut self) {
        for at in 0..self.planes.len() {
            if self.planes[at].running.is_none() && self.planes[at].respawns.may_now() {
                self.spawn_plane(at);
            }
        }
        if self.page.state() == State::Starting && self.planes.iter().all(Plane::serves) {
            self.enter(State::Ready);
        }
    }

    fn spawn_plane(&mut self, at: usize) {
        self.planes[at].page.heartbeat.set(0);
        let spawned = fork::spawn_with_code(|| self.be_plane(at));
        let plane = &mut self.planes[at];
        match spawned {
            Ok(child) => {
                plane.page.leader.set(u64::from(child.id()));
                plane.running = Some(Running { pid: child.id() as libc::pid_t });
            }
            Err(error) => {
                tracing::error!(event = "fork_failed", url = %plane.endpoint, "a data plane could not be started: {error}");
                plane.respawns.died();
            }
        }
    }

    /// The life of a data plane.
    fn be_plane(&mut self, at: usize) -> i32 {
        logs::set_role(self.planes[at].endpoint.transport.label());
        if let Err(error) = become_leader() {
            tracing::error!(event = "start_failed", "a data plane could not be prepared: {error}");
            return exit::BIND;
        }
        trace::write_to(self.trace_pipe.as_raw_fd());
        let plane = &mut self.planes[at];
        let (page, transport, socket) = (plane.page, plane.endpoint.transport, plane.socket.take());
        let options = options(&self.start);
        // A descriptor that is inherited keeps an endpoint open; this process serves one.
        self.planes.clear();
        close(self.admin.as_fd());
        close(self.traces.as_fd());
        let Some(socket) = socket else { return exit::BIND };
        let ended = match (transport.is_stream(), self.architecture.stream, self.architecture.datagram) {
            (true, Some(serve), _) => {
                serve(Site::new(self.page, page, StreamListener::new(socket, transport, options)))
            }
            (false, _, Some(serve)) => {
                serve(Site::new(self.page, page, DatagramSocket::new(socket, transport, options)))
            }
            _ => Err(io::Error::other(format!("{} does not serve {transport}", self.architecture.name))),
        };
        match ended {
            Ok(()) => exit::OK,
            Err(error) => {
                tracing::error!(event = "data_plane_failed", "{error}");
                if error.kind() == io::ErrorKind::Unsupported { exit::BIND } else { exit::FAILED }
            }
        }
    }

    fn keep_control(&mut self) {
        if self.control.is_some() || !self.respawns.may_now() {
            return;
        }
        match fork::spawn_with_code(|| self.be_control()) {
            Ok(child) => {
                self.page.control_pid.set(u64::from(child.id()));
                self.control = Some(Running { pid: child.id() as libc::pid_t });
            }
            Err(error) => {
                tracing::error!(event = "fork_failed", "the control plane could not be started: {error}");
                self.respawns.died();
            }
        }
    }

    /// The life of the control plane.
    fn be_control(&mut self) -> i32 {
        logs::set_role("control");
        self.planes.clear();
        // In a group of its own, Ctrl-C at a terminal does not reach it: it answers until the drain is over.
        let context = become_leader().and_then(|()| {
            Ok(control::Context {
                page: self.page,
                architecture: self.architecture,
                start: self.start.clone(),
                listener: self.admin.try_clone()?,
                traces: self.traces.try_clone()?,
            })
        });
        match context {
            Ok(context) => control::run(context),
            Err(error) => {
                tracing::error!(event = "start_failed", "the control plane could not be prepared: {error}");
                exit::BIND
            }
        }
    }

    fn reap(&mut self) {
        while let Some(ended) = fork::reap() {
            self.bury(&ended);
        }
    }

    fn bury(&mut self, ended: &Ended) {
        if self.control.is_some_and(|control| control.pid == ended.pid) {
            self.bury_control(ended);
            return;
        }
        let Some(at) = self.planes.iter().position(|plane| plane.is_led_by(ended.pid)) else { return };
        if ended.exited_with(exit::BIND) {
            // It could not begin, and no successor could.
            self.code = exit::BIND;
            self.drain(AfterDrain::Exit, true);
        }
        let draining = self.page.state() == State::Draining;
        self.planes[at].bury_leader(ended, draining);
    }

    fn bury_control(&mut self, ended: &Ended) {
        self.control = None;
        self.page.control_pid.set(0);
        self.page.control_ended.add(&ended.usage);
        self.page.control_restarts.add(1);
        self.respawns.died();
        tracing::warn!(event = "control_lost", "the control plane ended by {} and is replaced", ended.describe());
    }

    /// The last act: the control plane answers to the very end.
    fn end(&mut self) -> i32 {
        if let Some(control) = self.control.take() {
            signal(control.pid, Signal::TERM);
            let patience = Instant::now() + CONTROL_END;
            while fork::wait4(control.pid, libc::WNOHANG).is_none() {
                if Instant::now() > patience {
                    signal(control.pid, Signal::KILL);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        tracing::info!(event = "stopped", "stopped");
        self.code
    }
}

impl Plane {
    /// A place whose socket was passed to us, or is bound now.
    fn open(
        endpoint: &Endpoint,
        page: &'static EndpointPage,
        options: Options,
        passed: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let mut plane = Self {
            endpoint: endpoint.clone(),
            page,
            passed: passed.map(|socket| socket::adopt(socket, endpoint, options)).transpose()?,
            socket: None,
            file: None,
            drops_before: 0,
            running: None,
            died: None,
            respawns: Respawns::default(),
        };
        let bound = plane.bind(options)?;
        plane.open_with(bound);
        Ok(plane)
    }

    /// A socket at the endpoint, which clients can reach from now on.
    fn bind(&self, options: Options) -> io::Result<Bound> {
        if let Some(passed) = &self.passed {
            return Ok(Bound { socket: passed.try_clone()?, endpoint: self.endpoint.clone(), file: None });
        }
        let (socket, endpoint) = socket::bind(&self.endpoint, options)
            .map_err(|error| io::Error::new(error.kind(), format!("{} cannot be bound: {error}", self.endpoint)))?;
        let file = match &endpoint.address {
            Address::Path(path) => Some(socket::hold(path)?),
            Address::Host(..) => None,
        };
        Ok(Bound { socket, endpoint, file })
    }

    fn open_with(&mut self, bound: Bound) {
        self.endpoint = bound.endpoint;
        self.socket = Some(bound.socket);
        self.file = bound.file;
        self.drops_before = self.page.datagram_drops.get();
    }

    /// Whether its leader has taken its first turn.
    fn serves(&self) -> bool {
        self.running.is_some() && self.page.is_served()
    }

    fn is_led_by(&self, pid: libc::pid_t) -> bool {
        self.running.is_some_and(|running| running.pid == pid)
    }

    fn kill(&self) {
        if let Some(running) = self.running {
            kill_group(running.pid);
        }
    }

    /// A leader has ended: ends its group, settles its books.
    fn bury_leader(&mut self, ended: &Ended, draining: bool) {
        self.running = None;
        kill_group(ended.pid);
        // What a dead leader leaves becomes ours (subreaper). Nobody may write its slots when the next leader begins.
        let orphans: Vec<Ended> = std::iter::from_fn(|| fork::wait4(-ended.pid, 0)).collect();
        // First: whoever looks in between may miss something for a moment, but must not see it twice.
        self.page.leading.clear();
        self.page.settle();
        orphans.iter().chain([ended]).for_each(|ended| self.page.ended.add(&ended.usage));
        self.page.leader.set(0);
        self.page.running.set(0);
        if !draining {
            self.died = Some(monotonic_ns());
            self.respawns.died();
            self.page.restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tracing::warn!(event = "data_plane_lost", url = %self.endpoint, "a data plane ended by {} and is replaced", ended.describe());
        } else if !ended.was_orderly() {
            tracing::warn!(event = "data_plane_forced", url = %self.endpoint, "a data plane ended by {} while it drained", ended.describe());
        }
    }
}

/// Deaths in a short time: the successor comes at once, but not over and over.
#[derive(Debug, Default)]
struct Respawns {
    deaths: Vec<Instant>,
}

impl Respawns {
    const WINDOW: Duration = Duration::from_secs(10);
    const MANY: usize = 5;
    const PAUSE: Duration = Duration::from_secs(5);

    fn died(&mut self) {
        let now = Instant::now();
        self.deaths.retain(|&death| now - death < Self::WINDOW);
        self.deaths.push(now);
    }

    fn may_now(&self) -> bool {
        self.deaths.len() < Self::MANY || self.deaths.last().is_none_or(|last| last.elapsed() >= Self::PAUSE)
    }
}

fn enter(page: &Page, state: State) {
    page.set_state(state);
    tracing::info!(event = "state", state = state.label(), "{}", state.label());
}

fn open_planes(start: &mut Start, page: &'static Page, mut inherited: Inherited) -> io::Result<Vec<Plane>> {
    let options = options(start);
    let mut planes = Vec::new();
    for (endpoint, page) in start.listen.iter_mut().zip(page.endpoints()) {
        let plane = Plane::open(endpoint, page, options, inherited.take(endpoint))?;
        *endpoint = plane.endpoint.clone();
        tracing::info!(event = "listening", url = %endpoint, "listening");
        planes.push(plane);
    }
    Ok(planes)
}

fn options(start: &Start) -> Options {
    let stall = start.live.iter().find(|(which, ..)| *which == LiveValue::WriteStall);
    let stall = stall.map_or(TALK_TICK, |(_, ns, _)| Duration::from_nanos(*ns));
    Options { backlog: start.backlog, receive_buffer: start.receive_buffer, send_tick: TALK_TICK.min(stall) }
}

fn bind_admin(start: &mut Start) -> io::Result<TcpListener> {
    let wanted = start.admin_listen;
    let admin = TcpListener::bind(wanted).map_err(|error| {
        io::Error::new(error.kind(), format!("the admin address {wanted} cannot be bound: {error}"))
    })?;
    start.admin_listen = admin.local_addr()?;
    tracing::info!(event = "admin_listening", url = format!("http://{}", start.admin_listen), "admin API");
    Ok(admin)
}

/// The pipe of sampled exchanges: read end, write end. The supervisor keeps both, so that neither side sees it closed.
fn trace_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::{PipeFlags, pipe_with};
    Ok(pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

/// A soft limit below the hard one helps nobody here: select's bound is its own.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(event = "descriptor_limit", %error, "the limit of descriptors stays at {:?}", limit.current);
    }
}

fn become_leader() -> io::Result<()> {
    signals::restore()?;
    Ok(rustix::process::setpgid(None, None)?)
}

fn close(fd: std::os::fd::BorrowedFd<'_>) {
    // SAFETY: called in a data plane only, which never returns to the owner of this descriptor and leaves by _exit.
    unsafe { rustix::io::close(fd.as_raw_fd()) };
}

fn signal(pid: libc::pid_t, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended a moment ago.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn kill_group(leader: libc::pid_t) {
    if let Some(group) = Pid::from_raw(leader) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}

const _: () = assert!(MAX_ENDPOINTS == zen::Transport::ALL.len(), "one endpoint of each transport");
