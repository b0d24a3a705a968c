//! The four kinds of socket: what differs is how they are bound, and whether they accept or receive.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::requests::{DatagramRequest, Requests, StreamRequest, Waiting, if_any};

/// What is set before a stream socket listens (Python: attributes of the class).
#[derive(Debug, Clone, Copy)]
pub struct Listening {
    /// How many clients may wait to be accepted, 1..=`net.core.somaxconn`.
    pub request_queue_size: i32,
    /// Whether TCP may bind an address whose last connections are still fading (SO_REUSEADDR).
    pub allow_reuse_address: bool,
}

impl Default for Listening {
    fn default() -> Self {
        Self { request_queue_size: crate::REQUEST_QUEUE_SIZE, allow_reuse_address: true }
    }
}

impl Listening {
    /// Binds a stream socket, TCP or Unix, which does not listen yet (`server_bind`).
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn server_bind(self, address: &SockAddr) -> io::Result<Bound> {
        let socket = Socket::new(address.domain(), Type::STREAM, None)?;
        if !address.is_unix() {
            socket.set_reuse_address(self.allow_reuse_address)?;
        }
        socket.bind(address)?;
        Ok(Bound { socket, request_queue_size: self.request_queue_size })
    }
}

/// A stream socket that is bound and does not listen: its port is known and taken, and clients are refused.
#[derive(Debug)]
pub struct Bound {
    /// For options that must be set before it listens.
    pub socket: Socket,
    request_queue_size: i32,
}

impl Bound {
    /// Listens (`server_activate`).
    ///
    /// # Errors
    /// If the kernel refuses: another socket listens there by now.
    pub fn server_activate(self) -> io::Result<StreamRequests> {
        self.socket.listen(self.request_queue_size)?;
        Ok(StreamRequests::from_socket(self.socket))
    }
}

/// Clients of a listening socket, TCP or Unix.
#[derive(Debug)]
pub struct StreamRequests {
    /// `None` once it is closed.
    socket: Option<Socket>,
    waiting: Waiting,
}

/// TCP clients.
pub type TcpRequests = StreamRequests;
/// Clients of a Unix stream socket.
pub type UnixStreamRequests = StreamRequests;

impl StreamRequests {
    /// Binds a TCP address and listens.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn tcp(address: SocketAddr, listening: Listening) -> io::Result<Self> {
        listening.server_bind(&address.into())?.server_activate()
    }

    /// Binds a path, which must not exist, and listens. The path stays when the server is closed, as Python's does.
    ///
    /// # Errors
    /// If the path cannot be bound.
    pub fn unix(path: &Path, listening: Listening) -> io::Result<Self> {
        listening.server_bind(&SockAddr::unix(path)?)?.server_activate()
    }

    /// Requests from a socket that listens already.
    pub const fn from_socket(socket: Socket) -> Self {
        Self { socket: Some(socket), waiting: Waiting::Poll }
    }

    /// Waits in accept(2) itself, by SO_RCVTIMEO, instead of poll(2) before it: one call less for a client, and where several
    /// processes share a socket nobody is woken for nothing. A client may still be taken just after a shutdown.
    #[must_use]
    pub fn wait_in_accept(mut self) -> Self {
        self.waiting = Waiting::Receive(Cell::default());
        self
    }

    /// The listening socket; `None` once it is closed.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If it does no more.
    pub fn server_address(&self) -> io::Result<SockAddr> {
        self.socket.as_ref().map_or_else(|| Err(io::ErrorKind::NotConnected.into()), Socket::local_addr)
    }
}

impl Requests for StreamRequests {
    type Request = StreamRequest;
    type Ticket = ();

    fn wait(&self, time: Duration) -> io::Result<bool> {
        self.socket.as_ref().map_or(Ok(false), |socket| self.waiting.wait(socket, time))
    }

    fn get_request(&mut self) -> io::Result<Option<StreamRequest>> {
        let Some(listener) = &self.socket else { return Ok(None) };
        let Some((socket, client_address)) = if_any(listener.accept())? else { return Ok(None) };
        if matches!(self.waiting, Waiting::Receive(_)) {
            // TCP clients inherit the listener's timeout, which is none of theirs.
            socket.set_read_timeout(None)?;
        }
        Ok(Some(StreamRequest { socket, client_address }))
    }

    fn ticket(&self, _: &StreamRequest) {}

    fn close_in_child(&mut self) {
        self.socket = None;
    }

    /// Clients in the queue are refused now, instead of waiting for handlers that are not theirs.
    fn server_close(&mut self) {
        self.socket = None;
    }
}

/// Datagrams of a bound socket, UDP or Unix.
#[derive(Debug)]
pub struct DatagramRequests {
    /// The longest datagram that is received whole, in bytes; what is longer is cut off.
    pub max_packet_size: usize,
    socket: Arc<Socket>,
    waiting: Waiting,
}

/// UDP datagrams.
pub type UdpRequests = DatagramRequests;
/// Datagrams of a Unix socket.
pub type UnixDatagramRequests = DatagramRequests;

impl DatagramRequests {
    /// Binds a UDP address.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn udp(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        socket.bind(&address.into())?;
        Ok(Self::from_socket(socket))
    }

    /// Binds a path, which must not exist. The path stays when the server is closed, as Python's does.
    ///
    /// # Errors
    /// If the path cannot be bound.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        Ok(Self::from_socket(socket))
    }

    /// Requests from a socket that is bound already.
    pub fn from_socket(socket: Socket) -> Self {
        Self { max_packet_size: 8192, socket: Arc::new(socket), waiting: Waiting::Poll }
    }

    /// Waits in recvfrom(2) itself, by SO_RCVTIMEO, instead of poll(2) before it.
    #[must_use]
    pub fn wait_in_receive(mut self) -> Self {
        self.waiting = Waiting::Receive(Cell::default());
        self
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn server_address(&self) -> io::Result<SockAddr> {
        self.socket.local_addr()
    }
}

impl Requests for DatagramRequests {
    type Request = DatagramRequest;
    type Ticket = ();

    fn wait(&self, time: Duration) -> io::Result<bool> {
        self.waiting.wait(&self.socket, time)
    }

    fn get_request(&mut self) -> io::Result<Option<DatagramRequest>> {
        let mut data = Vec::with_capacity(self.max_packet_size);
        let room: &mut [MaybeUninit<u8>] = data.spare_capacity_mut();
        let Some((bytes, client_address)) = if_any(self.socket.recv_from(room))? else { return Ok(None) };
        // SAFETY: the kernel has written so many bytes into the spare capacity.
        unsafe { data.set_len(bytes) };
        Ok(Some(DatagramRequest { data, socket: self.socket.clone(), client_address }))
    }

    // The child closes nothing: a handler answers by this very socket.
    fn ticket(&self, _: &DatagramRequest) {}
}
