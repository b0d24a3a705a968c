//! Where requests come from.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockAddr, Socket};

use crate::forking::fork;

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

    /// Nobody handles this request: it was not to be, or there was no thread or process for it.
    fn refuse_request(&mut self, request: Self::Request) {
        drop(request);
    }

    /// The process that had this request has ended.
    fn child_ended(&mut self, ticket: Self::Ticket) {
        drop(ticket);
    }

    /// Has a thread started that will handle a request (a part of Python's `process_request`): calls `start`, and may do
    /// something before and after it.
    fn start_thread(&mut self, start: impl FnOnce() -> io::Result<JoinHandle<()>>) -> io::Result<JoinHandle<()>> {
        start()
    }

    /// Makes a process that does `work`, which says whether it went well, and ends then; gives its number. The process does
    /// [`close_in_child`](Self::close_in_child) first.
    fn fork(&mut self, work: impl FnOnce() -> bool) -> io::Result<libc::pid_t> {
        fork(|| {
            self.close_in_child();
            work()
        })
    }

    /// In the child: closes what a handler must not keep open.
    fn close_in_child(&mut self) {}

    /// The server is closed: takes no more requests. Handlers may still be at work in threads and processes.
    fn server_close(&mut self) {}
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

/// How a source waits for its socket.
#[derive(Debug, Default)]
pub(crate) enum Waiting {
    /// poll(2) before the call, as Python does.
    #[default]
    Poll,
    /// In the call itself; the time that SO_RCVTIMEO was last set to.
    Receive(Cell<Duration>),
}

/// SO_RCVTIMEO of nothing would be for ever.
const SHORTEST: Duration = Duration::from_millis(1);
/// A year: neither the kernel's interfaces nor anybody's patience goes much further.
const LONGEST: Duration = Duration::from_hours(365 * 24);

impl Waiting {
    /// Whether there may be something, after `time` at the most. One that waits in the call says so at once.
    pub(crate) fn wait(&self, socket: &Socket, time: Duration) -> io::Result<bool> {
        match self {
            Self::Poll => can_be_read(socket, time.min(LONGEST)),
            Self::Receive(set) => {
                let time = time.clamp(SHORTEST, LONGEST);
                if set.get() != time {
                    socket.set_read_timeout(Some(time))?;
                    set.set(time);
                }
                Ok(true)
            }
        }
    }
}

fn can_be_read(socket: &Socket, time: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    match poll(&mut fds, Some(&time)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Nobody there, or nobody any more, is no error.
pub(crate) fn if_any<T>(taken: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, Interrupted, WouldBlock};
    match taken {
        Ok(request) => Ok(Some(request)),
        Err(error) if matches!(error.kind(), WouldBlock | Interrupted | ConnectionAborted | ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
