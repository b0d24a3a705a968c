//! One client: a socket, and the question that is on its way.

use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use socket2::{Domain, SockAddr, Socket, Type};
use zen::trace::Origin;
use zen::{QUESTIONS, Transport, error};

use crate::tally::Outcome;

/// The longest answer is 24 bytes; more than this is a wrong one anyway.
const ANSWER: usize = 64;

/// Where a client connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Ip(SocketAddr),
    Path(PathBuf),
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Asks the three questions and leaves.
    Visitor,
    /// Asks when it is told to.
    Regular,
    /// Says nothing.
    Silent,
}

/// What its socket is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    Open,
}

/// A question on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// Its place in [`QUESTIONS`].
    pub which: usize,
    /// When it should have been asked.
    pub planned: Instant,
    /// When it was asked, if it was.
    pub sent: Option<Instant>,
    /// When it is given up.
    pub deadline: Instant,
}

/// A client of one endpoint.
pub(crate) struct Client {
    socket: Socket,
    /// Answers may come in parts; a datagram is one whole answer.
    is_stream: bool,
    pub lane: usize,
    pub role: Role,
    pub phase: Phase,
    pub began: Instant,
    pub question: Option<Question>,
    /// Questions asked on this socket.
    pub asked: u64,
    pub origin: Option<Origin>,
    heard: [u8; ANSWER],
    heard_bytes: usize,
    /// A file that the client has bound, to be removed with it.
    bound: Option<PathBuf>,
}

/// What an answer's bytes say so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Not all of it.
    Part,
    /// It is over: this is what became of the question.
    End(Outcome),
    /// The connection was closed with no question on its way.
    Closed,
}

/// Numbers for names that no two clients of this process share.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The beginning of the names of the swarm's own datagram sockets.
pub(crate) const NAME: &str = "zenlab-swarm.";

impl Client {
    /// Begins to connect.
    pub fn connect(transport: Transport, place: &Place, lane: usize, role: Role, traced: bool) -> io::Result<Self> {
        let now = Instant::now();
        let (address, domain) = match place {
            Place::Ip(address) => (SockAddr::from(*address), Domain::for_address(*address)),
            Place::Path(path) => (SockAddr::unix(path)?, Domain::UNIX),
        };
        let kind = if transport.is_stream() { Type::STREAM } else { Type::DGRAM };
        let socket = Socket::new(domain, kind, None)?;
        socket.set_nonblocking(true)?;
        let (bound, origin) = name(&socket, transport, place, traced)?;
        let mut client = Self {
            socket,
            is_stream: transport.is_stream(),
            lane,
            role,
            phase: Phase::Open,
            began: now,
            question: None,
            asked: 0,
            origin,
            heard: [0; ANSWER],
            heard_bytes: 0,
            bound,
        };
        match client.socket.connect(&address) {
            Ok(()) => Ok(client),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                client.phase = Phase::Connecting;
                Ok(client)
            }
            Err(error) => Err(error),
        }
    }

    /// The socket has become writable: whether the connection was made.
    pub fn finish_connecting(&mut self, transport: Transport, traced: bool) -> io::Result<()> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        self.phase = Phase::Open;
        self.find_origin(transport, traced);
        Ok(())
    }

    /// What both ends will make the same trace id of.
    pub fn find_origin(&mut self, transport: Transport, traced: bool) {
        if transport == Transport::Tcp && traced {
            let local = self.socket.local_addr().ok().and_then(|local| local.as_socket());
            self.origin = local.map(|local| Origin::of_socket(transport, local, unix_seconds()));
        }
    }

    /// Sends the question that is set.
    pub fn ask(&mut self, now: Instant) -> io::Result<()> {
        if let Some(question) = &mut self.question {
            let text = QUESTIONS[question.which].question.as_bytes();
            // 25 bytes fit into an empty buffer whole.
            self.socket.send_with_flags(text, libc_nosignal())?;
            question.sent = Some(now);
            self.asked += 1;
            self.heard_bytes = 0;
        }
        Ok(())
    }

    /// Reads what has come.
    pub fn hear(&mut self) -> Heard {
        if !self.is_stream {
            self.heard_bytes = 0;
        }
        loop {
            let room = &mut self.heard[self.heard_bytes..];
            match (&self.socket).read(room) {
                Ok(0) if room.is_empty() => return Heard::End(Outcome::WrongAnswer),
                Ok(0) if self.is_stream => {
                    return if self.question.is_some() { Heard::End(Outcome::Eof) } else { Heard::Closed };
                }
                Ok(bytes) => {
                    self.heard_bytes += bytes;
                    return self.judge();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Part,
                Err(error) => {
                    return if self.question.is_some() { Heard::End(outcome_of(&error)) } else { Heard::Closed };
                }
            }
        }
    }

    /// What was heard so far, byte for byte. A datagram that is not the whole answer is a wrong one.
    fn judge(&self) -> Heard {
        let heard = &self.heard[..self.heard_bytes];
        let Some(question) = self.question else {
            // A server that is full says so before it is asked; anything else that nobody has asked for is wrong.
            return if heard == error::BUSY.as_bytes() { Heard::Closed } else { Heard::End(Outcome::WrongAnswer) };
        };
        let wanted = QUESTIONS[question.which].answer.as_bytes();
        if heard == wanted {
            Heard::End(Outcome::Ok)
        } else if heard == error::BUSY.as_bytes() {
            Heard::End(Outcome::Refused)
        } else if self.is_stream && (wanted.starts_with(heard) || error::BUSY.as_bytes().starts_with(heard)) {
            Heard::Part
        } else {
            Heard::End(Outcome::WrongAnswer)
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(path) = &self.bound {
            // Somebody may have cleaned up before us.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Gives a Unix client a name: a datagram client needs a file so that it can be answered, a stream client a name by which
/// both ends know the connection.
fn name(
    socket: &Socket,
    transport: Transport,
    place: &Place,
    traced: bool,
) -> io::Result<(Option<PathBuf>, Option<Origin>)> {
    let name = format!("{NAME}{}.{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    match (transport, place) {
        (Transport::Unix, _) if traced => {
            socket.bind(&SockAddr::unix(format!("\0{name}"))?)?;
            Ok((None, Some(Origin::of_name(transport, name.as_bytes(), unix_seconds()))))
        }
        (Transport::Unixgram, Place::Path(server)) => {
            let path = server.with_file_name(name);
            // Left by a process of the same number, in another life of this container.
            let _ = std::fs::remove_file(&path);
            socket.bind(&SockAddr::unix(&path)?)?;
            Ok((Some(path), None))
        }
        _ => Ok((None, None)),
    }
}

/// What an error of a socket means for the question.
pub(crate) fn outcome_of(error: &io::Error) -> Outcome {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound | ErrorKind::WouldBlock => Outcome::Refused,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => Outcome::Reset,
        ErrorKind::TimedOut => Outcome::Timeout,
        _ => Outcome::Error,
    }
}

const fn libc_nosignal() -> i32 {
    rustix::net::SendFlags::NOSIGNAL.bits() as i32
}

pub(crate) fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
