//! Where requests come from.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockAddr, Socket};

/// A source of requests: what Python's `get_request`, `close_request` and the selector are.
pub trait Requests {
    /// What a handler gets.
    type Request: Send + 'static;

    /// What the server remembers of a request whose handler runs in another process.
    type Ticket;

    /// Waits for a request, `time` at the most; whether there may be one.
    fn wait(&self, time: Duration) -> io::Result<bool>;

    /// Takes a request. `None` if there is none after all.
    fn get_request(&mut self) -> io::Result<Option<Self::Request>>;

    /// What to remember of this one.
    fn ticket(&self, request: &Self::Request) -> Self::Ticket;

    /// Another process has this request now: closes this copy of it.
    fn close_request(&mut self, request: Self::Request) {
        drop(request);
    }

    /// Nobody can handle this request: there was no thread or process for it.
    fn refuse_request(&mut self, request: Self::Request) {
        drop(request);
    }

    /// The process that had this request has ended.
    fn child_ended(&mut self, ticket: Self::Ticket) {
        drop(ticket);
    }

    /// In the child: closes what a handler must not keep open.
    fn close_in_child(&mut self);
}

/// Waits until `source` can be read, for `time` at the most: one poll(2), where Python's selector makes one.
pub(crate) fn wait(source: impl AsFd, time: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::new(&source, PollFlags::IN)];
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    match poll(&mut fds, Some(&time)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A client that was accepted.
#[derive(Debug)]
pub struct StreamRequest {
    /// The connection (`self.request`).
    pub socket: Socket,
    /// Who it is (`self.client_address`).
    pub client_address: SockAddr,
}

/// A client of a [`tcp_server`](crate::tcp_server).
pub type TcpRequest = StreamRequest;
/// A client of a [`unix_stream_server`](crate::unix_stream_server).
pub type UnixStreamRequest = StreamRequest;

/// A datagram that was received.
#[derive(Debug)]
pub struct DatagramRequest {
    /// Its bytes (`self.request[0]`).
    pub data: Vec<u8>,
    /// The server's socket, to answer by (`self.request[1]`).
    pub socket: Arc<Socket>,
    /// Who sent it (`self.client_address`).
    pub client_address: SockAddr,
}

/// The longest datagram that is received whole (`max_packet_size`).
const MAX_PACKET_SIZE: usize = 8192;

macro_rules! streams {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(pub(crate) Option<Socket>);

        impl Requests for $name {
            type Request = StreamRequest;
            type Ticket = ();

            fn wait(&self, time: Duration) -> io::Result<bool> {
                self.0.as_ref().map_or(Ok(false), |socket| wait(socket, time))
            }

            fn get_request(&mut self) -> io::Result<Option<StreamRequest>> {
                let Some(socket) = &self.0 else { return Ok(None) };
                match socket.accept() {
                    Ok((socket, client_address)) => Ok(Some(StreamRequest { socket, client_address })),
                    Err(error) if is_nothing(&error) => Ok(None),
                    Err(error) => Err(error),
                }
            }

            fn ticket(&self, _: &StreamRequest) {}

            fn close_in_child(&mut self) {
                self.0 = None;
            }
        }

        impl $name {
            /// Requests from a socket that listens already.
            pub const fn from_socket(socket: Socket) -> Self {
                Self(Some(socket))
            }

            /// The listening socket.
            pub fn socket(&self) -> Option<BorrowedFd<'_>> {
                self.0.as_ref().map(AsFd::as_fd)
            }

            /// Where it listens.
            pub fn server_address(&self) -> io::Result<SockAddr> {
                self.0.as_ref().map_or_else(|| Err(io::ErrorKind::NotConnected.into()), Socket::local_addr)
            }
        }
    };
}

streams! {
    /// TCP clients.
    TcpRequests
}
streams! {
    /// Clients of a Unix stream socket.
    UnixStreamRequests
}

macro_rules! datagrams {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(pub(crate) Arc<Socket>);

        impl Requests for $name {
            type Request = DatagramRequest;
            type Ticket = ();

            fn wait(&self, time: Duration) -> io::Result<bool> {
                wait(&*self.0, time)
            }

            fn get_request(&mut self) -> io::Result<Option<DatagramRequest>> {
                receive(&self.0)
            }

            fn ticket(&self, _: &DatagramRequest) {}

            // A handler answers by this very socket.
            fn close_in_child(&mut self) {}
        }

        impl $name {
            /// Requests from a socket that is bound already.
            pub fn from_socket(socket: Socket) -> Self {
                Self(Arc::new(socket))
            }

            /// Where it is bound.
            pub fn server_address(&self) -> io::Result<SockAddr> {
                self.0.local_addr()
            }
        }
    };
}

datagrams! {
    /// UDP datagrams.
    UdpRequests
}
datagrams! {
    /// Datagrams of a Unix socket.
    UnixDatagramRequests
}

fn receive(socket: &Arc<Socket>) -> io::Result<Option<DatagramRequest>> {
    let mut data = Vec::with_capacity(MAX_PACKET_SIZE);
    let room: &mut [MaybeUninit<u8>] = data.spare_capacity_mut();
    match socket.recv_from(room) {
        Ok((bytes, client_address)) => {
            // SAFETY: the kernel has written so many bytes into the spare capacity.
            unsafe { data.set_len(bytes) };
            Ok(Some(DatagramRequest { data, socket: socket.clone(), client_address }))
        }
        Err(error) if is_nothing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there was nobody, or nobody any more.
fn is_nothing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted | ConnectionAborted | ConnectionRefused)
}
