//! A client that plays a script without ever waiting, so that one thread plays many.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::PollFlags;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::script::{Expected, Script, Step, sort_lines};

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum Place {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(PathBuf),
    Unixgram(PathBuf),
}

impl Place {
    pub fn label(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Udp(_) => "udp",
            Self::Unix(_) => "unix",
            Self::Unixgram(_) => "unixgram",
        }
    }

    fn connect(&self, script: &Script) -> io::Result<Socket> {
        let socket = match self {
            Self::Tcp(address) => connected(Domain::IPV4, Type::STREAM, None, &(*address).into()),
            Self::Unix(path) => connected(Domain::UNIX, Type::STREAM, None, &SockAddr::unix(path)?),
            Self::Udp(address) => {
                connected(Domain::IPV4, Type::DGRAM, Some(&udp_source(script).into()), &(*address).into())
            }
            Self::Unixgram(path) => {
                let name = format!("\0zenlab-test.{}.{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
                connected(Domain::UNIX, Type::DGRAM, Some(&SockAddr::unix(name)?), &SockAddr::unix(path)?)
            }
        }?;
        if matches!(self, Self::Tcp(_)) {
            // Each step is a segment of its own.
            socket.set_tcp_nodelay(true)?;
        }
        if script.bytes() > 2_000 && script.is_stream() {
            // Whoever is owed much takes it slowly.
            socket.set_recv_buffer_size(32 * 1024)?;
        }
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

/// The next client may get the port of one who is gone, and must not get its answers.
fn udp_source(script: &Script) -> SocketAddr {
    let host = if script.steps.last() == Some(&Step::Reset) { 2 } else { 1 };
    SocketAddr::from(([127, 0, 0, host], 0))
}

fn connected(domain: Domain, kind: Type, from: Option<&SockAddr>, to: &SockAddr) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, None)?;
    if let Some(from) = from {
        socket.bind(from)?;
    }
    socket.connect(to)?;
    Ok(socket)
}

/// Whether a client has more to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// At once.
    More,
    /// When its socket is ready for this.
    Waits(PollFlags),
    /// Nothing: here is what it found wrong, if anything.
    Over(Result<(), String>),
}

/// A client in the middle of its script.
pub struct Talker {
    pub seed: u64,
    pub script: Script,
    expected: Expected,
    socket: Socket,
    /// The step that is to be done next, and how much of what it says is said.
    at: usize,
    said: usize,
    heard: Vec<u8>,
    /// Where the datagrams begin that have not been put in order yet.
    group: usize,
    /// How the stream ended, if it did.
    end: Option<Result<(), ErrorKind>>,
}

impl Talker {
    pub fn start(seed: u64, script: Script, place: &Place) -> io::Result<Self> {
        let socket = place.connect(&script)?;
        let expected = script.expected();
        Ok(Self { seed, script, expected, socket, at: 0, said: 0, heard: Vec::new(), group: 0, end: None })
    }

    pub fn expected(&self) -> &Expected {
        &self.expected
    }

    /// One step at the most, so that whatever is said in two steps may arrive in two.
    pub fn go_on(&mut self) -> Progress {
        self.listen();
        match self.script.steps.get(self.at) {
            Some(Step::Say(_)) => self.say(),
            Some(Step::Hear) => self.hear(),
            Some(Step::Finish) => {
                // It may be closed already, by a server that was told nonsense.
                let _ = self.socket.shutdown(Shutdown::Write);
                self.next()
            }
            Some(Step::Reset) => Progress::Over(self.reset()),
            None if self.script.is_stream() && self.end.is_none() => Progress::Waits(PollFlags::IN),
            None => Progress::Over(self.verdict()),
        }
    }

    fn next(&mut self) -> Progress {
        self.at += 1;
        self.said = 0;
        Progress::More
    }

    fn say(&mut self) -> Progress {
        let Some(Step::Say(bytes)) = self.script.steps.get(self.at) else { return self.next() };
        match self.socket.write(&bytes[self.said..]) {
            Ok(written) if self.said + written < bytes.len() => {
                self.said += written;
                Progress::Waits(PollFlags::IN | PollFlags::OUT)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Progress::Waits(PollFlags::IN | PollFlags::OUT),
            // A server that was told nonsense need not take more of it; whether it answered right is seen below.
            Ok(_) | Err(_) => self.next(),
        }
    }

    fn hear(&mut self) -> Progress {
        if self.heard.len() < self.expected.owed[self.at] && self.end.is_none() {
            return Progress::Waits(PollFlags::IN);
        }
        if !self.script.is_stream() {
            self.group = sort_lines(&mut self.heard, self.group);
        }
        self.next()
    }

    /// Takes whatever has come.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while self.end.is_none() {
            match self.socket.read(&mut buffer) {
                Ok(0) if self.script.is_stream() => self.end = Some(Ok(())),
                Ok(bytes) => {
                    self.heard.extend_from_slice(&buffer[..bytes]);
                    if !self.script.is_stream() {
                        self.heard.push(b'\n');
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => self.end = Some(Err(error.kind())),
            }
        }
    }

    fn reset(&self) -> Result<(), String> {
        // A Unix stream has no such thing; it is closed with whatever is unread.
        let _ = self.socket.set_linger(Some(Duration::ZERO));
        let is_prefix = !self.script.is_stream() || self.expected.replies.starts_with(&self.heard);
        if is_prefix { Ok(()) } else { Err(self.difference()) }
    }

    fn verdict(&self) -> Result<(), String> {
        let ended_well = !self.script.is_stream() || self.end == Some(Ok(()));
        if self.heard == self.expected.replies && ended_well { Ok(()) } else { Err(self.difference()) }
    }

    /// What was to be heard and what was, from where they differ.
    pub fn difference(&self) -> String {
        let wanted = &self.expected.replies;
        let same = wanted.iter().zip(&self.heard).take_while(|(wanted, heard)| wanted == heard).count();
        let rest = |bytes: &[u8]| bytes[same..bytes.len().min(same + 200)].escape_ascii().to_string();
        format!(
            "expected {} bytes, from {same} on \"{}\"\n     got {} bytes, from {same} on \"{}\", {}",
            wanted.len(),
            rest(wanted),
            self.heard.len(),
            rest(&self.heard),
            match (&self.end, self.script.steps.get(self.at)) {
                (Some(Ok(())), _) => "then the end".to_owned(),
                (Some(Err(kind)), _) => format!("then an error: {kind}"),
                (None, Some(step)) => format!("and no end; before {step:?}"),
                (None, None) => "and no end".to_owned(),
            }
        )
    }
}

impl AsFd for Talker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
