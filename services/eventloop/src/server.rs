//! Listening sockets, and the connections that came from them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{Domain, SockAddr, Socket};

use crate::connection::Connection;
use crate::handle::{Core, Failure, LoopHandle, Source};
use crate::slots::Token;
use crate::{Protocol, Transport};

/// The most clients accepted from one listener per turn; the others' sockets are waiting.
pub const ACCEPTS_PER_TURN: usize = 64;

const FIRST_REST: Duration = Duration::from_millis(10);
const LONGEST_REST: Duration = Duration::from_millis(100);

/// A client, and the protocol that will talk with it.
pub struct Accepted {
    /// The connected socket, blocking or not.
    pub socket: Socket,
    /// What its events are told to.
    pub protocol: Box<dyn Protocol>,
}

impl Accepted {
    /// A client for a protocol.
    pub fn new(socket: Socket, protocol: impl Protocol) -> Self {
        Self { socket, protocol: Box::new(protocol) }
    }
}

type Acceptor = Box<dyn FnMut(&Socket) -> io::Result<Option<Accepted>>>;

pub(crate) struct ServerState {
    /// Absent once closed.
    listener: RefCell<Option<Rc<Socket>>>,
    /// Absent once closed, and while it runs.
    acceptor: RefCell<Option<Acceptor>>,
    token: Cell<Option<Token>>,
    interest: Cell<EventFlags>,
    paused: Cell<bool>,
    resting: Cell<bool>,
    last_rest: Cell<Duration>,
    open: Cell<usize>,
    accepted: Cell<u64>,
}

impl ServerState {
    fn is_accepting(&self) -> bool {
        !(self.paused.get() || self.resting.get()) && self.listener.borrow().is_some()
    }

    fn update_interest(&self, core: &Core) -> io::Result<()> {
        let (Some(listener), Some(token)) = (self.listener.borrow().clone(), self.token.get()) else { return Ok(()) };
        let wanted = if self.is_accepting() { EventFlags::IN } else { EventFlags::empty() };
        let mut interest = self.interest.get();
        let watched = core.watch(listener.as_fd(), token, &mut interest, wanted);
        self.interest.set(interest);
        watched
    }

    /// Lets go of the listener, and of whatever the acceptor holds.
    pub(crate) fn let_go(&self) {
        drop(self.listener.take());
        drop(self.acceptor.take());
    }
}

/// Counts one connection for as long as it lives.
pub(crate) struct Membership(Rc<ServerState>);

impl Membership {
    fn new(state: &Rc<ServerState>) -> Self {
        state.open.set(state.open.get() + 1);
        state.accepted.set(state.accepted.get() + 1);
        Self(Rc::clone(state))
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// A server: a listener and its connections. Cheap to clone; dropping it does not close anything.
#[derive(Clone)]
pub struct ServerHandle {
    event_loop: LoopHandle,
    state: Rc<ServerState>,
}

impl ServerHandle {
    /// Takes no more clients for now; they wait in the kernel's backlog. Open connections go on.
    pub fn pause(&self) -> io::Result<()> {
        self.state.paused.set(true);
        self.state.update_interest(&self.event_loop.0)
    }

    /// Takes clients again, those that waited first.
    pub fn resume(&self) -> io::Result<()> {
        self.state.paused.set(false);
        self.state.update_interest(&self.event_loop.0)
    }

    /// Takes no more clients and closes the listener; the kernel resets those still in the backlog, unless another
    /// process holds the listener too. Open connections go on.
    pub fn close(&self) {
        self.state.paused.set(true);
        // Out of the epoll set before the descriptor is closed: a copy in another process would keep it there.
        let _ = self.state.update_interest(&self.event_loop.0);
        if let Some(token) = self.state.token.take() {
            self.event_loop.forget(token);
        }
        self.state.let_go();
    }

    /// Whether it takes clients: neither closed nor paused.
    pub fn is_serving(&self) -> bool {
        !self.state.paused.get() && self.state.listener.borrow().is_some()
    }

    /// How many of its connections are open.
    pub fn open_connections(&self) -> usize {
        self.state.open.get()
    }

    /// How many connections it has had.
    pub fn accepted_connections(&self) -> u64 {
        self.state.accepted.get()
    }

    /// Accepts up to `limit` waiting clients now, paused or not, and says how many there were: the last act before
    /// [`close`](Self::close) for a server that owes its backlog an answer.
    pub fn accept_waiting(&self, limit: usize) -> usize {
        self.accept(limit, |state| state.listener.borrow().is_some())
    }

    /// Calls `call` with each open connection's protocol that is a `P`, except one that is in a callback right now.
    pub fn for_each<P: Protocol>(&self, mut call: impl FnMut(&mut P, &Transport)) {
        let is_ours = |membership: &Membership| Rc::ptr_eq(&membership.0, &self.state);
        let sources = self.event_loop.0.sources.borrow();
        let tokens: Vec<Token> = sources
            .iter()
            .filter(|(_, source)| match source {
                Source::Connection(connection) => connection.membership.as_ref().is_some_and(is_ours),
                _ => false,
            })
            .map(|(token, _)| token)
            .collect();
        drop(sources);
        for token in tokens {
            self.event_loop.with_protocol_as(token, "for_each", &mut call);
        }
    }

    /// The listener's address.
    pub fn socket_name(&self) -> io::Result<SockAddr> {
        self.state.listener.borrow().as_ref().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// The listener's descriptor number, until it is closed.
    pub fn raw_fd(&self) -> Option<RawFd> {
        self.state.listener.borrow().as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Accepts until the queue is empty, `limit` is reached or `go_on` says no.
    fn accept(&self, limit: usize, go_on: impl Fn(&ServerState) -> bool) -> usize {
        let Some(listener) = self.state.listener.borrow().clone() else { return 0 };
        let Some(mut acceptor) = self.state.acceptor.take() else { return 0 };
        let mut accepted = 0;
        for _ in 0..limit {
            match self.event_loop.guard("accept", || acceptor(&listener)) {
                Some(Ok(Some(client))) => {
                    accepted += 1;
                    self.state.last_rest.set(Duration::ZERO);
                    self.welcome(client);
                }
                Some(Ok(None)) => break,
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Some(Err(error)) if is_about_the_client(&error) => {}
                Some(Err(error)) => {
                    self.event_loop.call_exception_handler(&Failure::Accept(error));
                    self.rest();
                    break;
                }
                None => {
                    self.rest();
                    break;
                }
            }
            if !go_on(&self.state) {
                break;
            }
        }
        if self.state.listener.borrow().is_some() {
            *self.state.acceptor.borrow_mut() = Some(acceptor);
        }
        accepted
    }

    fn welcome(&self, client: Accepted) {
        let membership = Membership::new(&self.state);
        self.event_loop.begin(Connection::new(client.socket, client.protocol, Some(membership)));
    }

    /// Takes the listener out of the epoll set for a moment: it stays readable, and would be tried at every turn.
    fn rest(&self) {
        let delay = (self.state.last_rest.get() * 2).clamp(FIRST_REST, LONGEST_REST);
        self.state.last_rest.set(delay);
        self.set_resting(true);
        let server = self.clone();
        self.event_loop.call_later(delay, move |_| server.set_resting(false));
    }

    fn set_resting(&self, resting: bool) {
        self.state.resting.set(resting);
        if let Err(error) = self.state.update_interest(&self.event_loop.0) {
            self.event_loop.call_exception_handler(&Failure::Accept(error));
            if !resting {
                self.rest();
            }
        }
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServerHandle")
            .field("fd", &self.raw_fd())
            .field("open", &self.open_connections())
            .finish_non_exhaustive()
    }
}

impl LoopHandle {
    /// Serves a listening stream socket: each client gets a protocol from `factory`. The listener is made non-blocking
    /// and, for TCP, `TCP_NODELAY`, which the kernel hands on to the accepted sockets.
    pub fn create_server<P: Protocol>(
        &self,
        listener: Socket,
        mut factory: impl FnMut() -> P + 'static,
    ) -> io::Result<ServerHandle> {
        if matches!(listener.domain()?, Domain::IPV4 | Domain::IPV6) {
            listener.set_tcp_nodelay(true)?;
        }
        self.create_server_with(listener, move |listener| {
            let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
            Ok(Some(Accepted::new(socket.into(), factory())))
        })
    }

    /// Serves a listening stream socket with the caller's own way of accepting. `acceptor` is called until it has
    /// nothing more, at most [`ACCEPTS_PER_TURN`] times a turn. `Ok(None)` and `WouldBlock` mean nothing more in this
    /// turn, after a client that was turned away too: if others wait, the next turn comes at once. Errors of a single
    /// client are passed over; any other makes the listener rest. The listener is made non-blocking.
    pub fn create_server_with(
        &self,
        listener: Socket,
        acceptor: impl FnMut(&Socket) -> io::Result<Option<Accepted>> + 'static,
    ) -> io::Result<ServerHandle> {
        listener.set_nonblocking(true)?;
        let state = Rc::new(ServerState {
            listener: RefCell::new(Some(Rc::new(listener))),
            acceptor: RefCell::new(Some(Box::new(acceptor))),
            token: Cell::new(None),
            interest: Cell::new(EventFlags::empty()),
            paused: Cell::new(false),
            resting: Cell::new(false),
            last_rest: Cell::new(Duration::ZERO),
            open: Cell::new(0),
            accepted: Cell::new(0),
        });
        state.token.set(Some(self.0.sources.borrow_mut().insert(Source::Server(Rc::clone(&state)))));
        let server = ServerHandle { event_loop: self.clone(), state };
        if let Err(error) = server.state.update_interest(&self.0) {
            server.close();
            return Err(error);
        }
        Ok(server)
    }

    pub(crate) fn on_server_event(&self, state: Rc<ServerState>) {
        ServerHandle { event_loop: self.clone(), state }.accept(ACCEPTS_PER_TURN, ServerState::is_accepting);
    }
}

/// Errors that `accept` reports of the client it would have returned (accept(2)): the next may be well.
fn is_about_the_client(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::INTR
                | Errno::CONNABORTED
                | Errno::PERM
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH
        )
    )
}
