//! Clients of every transport.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{PATIENCE, Server};

pub const Q: &[u8] = b"Beautiful is better than?";
pub const A: &[u8] = b"Ugly.";
pub const QUESTIONS: [(&[u8], &[u8]); 3] =
    [(Q, A), (b"Explicit is better than?", b"Implicit."), (b"Simple is better than?", b"Complex.")];
pub const UNKNOWN: &[u8] = b"Error: unknown aphorism.";
pub const TOO_LONG: &[u8] = b"Error: too long.";
pub const BAD_BYTE: &[u8] = b"Error: bad byte.";
pub const TIMEOUT: &[u8] = b"Error: timeout.";

/// A stream of either kind.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// How a stream went on.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    Reset,
}

impl Stream {
    pub fn connect(server: &Server, transport: &str) -> Self {
        Self::try_connect(server, transport).expect("a connection")
    }

    pub fn try_connect(server: &Server, transport: &str) -> io::Result<Self> {
        let stream = if transport == "tcp" {
            let stream = TcpStream::connect(server.address("tcp"))?;
            stream.set_nodelay(true)?;
            Self::Tcp(stream)
        } else {
            Self::Unix(UnixStream::connect(server.path("unix"))?)
        };
        stream.set_patience(PATIENCE);
        Ok(stream)
    }

    pub fn set_patience(&self, time: Duration) {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(time)).unwrap(),
            Self::Unix(stream) => stream.set_read_timeout(Some(time)).unwrap(),
        }
    }

    pub fn set_write_patience(&self, time: Duration) {
        match self {
            Self::Tcp(stream) => stream.set_write_timeout(Some(time)).unwrap(),
            Self::Unix(stream) => stream.set_write_timeout(Some(time)).unwrap(),
        }
    }

    pub fn say(&mut self, bytes: &[u8]) {
        self.write_all(bytes).expect("the server takes what is said");
    }

    /// Exactly as many bytes as are wanted.
    pub fn hear(&mut self, wanted: &[u8]) {
        let mut heard = vec![0; wanted.len()];
        self.read_exact(&mut heard)
            .unwrap_or_else(|error| panic!("no answer {:?}: {error}", String::from_utf8_lossy(wanted)));
        assert_eq!(String::from_utf8_lossy(&heard), String::from_utf8_lossy(wanted));
    }

    pub fn ask(&mut self, question: &[u8], answer: &[u8]) {
        self.say(question);
        self.hear(answer);
    }

    /// Everything to the end.
    pub fn hear_rest(&mut self) -> (Vec<u8>, End) {
        let mut heard = Vec::new();
        let mut buffer = [0; 65536];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return (heard, End::Closed),
                Ok(bytes) => heard.extend_from_slice(&buffer[..bytes]),
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return (heard, End::Reset);
                }
                Err(error) => panic!("the stream does not end: {error}; heard {:?}", String::from_utf8_lossy(&heard)),
            }
        }
    }

    /// Another handle of the same stream.
    pub fn copy(&self) -> Self {
        match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().unwrap()),
            Self::Unix(stream) => Self::Unix(stream.try_clone().unwrap()),
        }
    }

    pub fn finish(&self) {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write).unwrap(),
        }
    }

    /// Closes by a reset instead of a FIN; a Unix stream has no such thing and closes with unread bytes.
    pub fn reset(self) {
        if let Self::Tcp(stream) = self {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }

    /// A small buffer, so that a client that does not read, or does not read much, is noticed.
    pub fn shrink(&self, bytes: usize) {
        let socket = match self {
            Self::Tcp(stream) => socket2::SockRef::from(stream),
            Self::Unix(stream) => socket2::SockRef::from(stream),
        };
        socket.set_recv_buffer_size(bytes).unwrap();
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A datagram socket of either kind.
pub enum Datagram {
    Udp(UdpSocket),
    Unix(UnixDatagram, PathBuf),
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Datagram {
    pub fn connect(server: &Server, transport: &str) -> Self {
        if transport == "udp" {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(server.address("udp")).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            Self::Udp(socket)
        } else {
            let path = server.directory.0.join(format!("client.{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.connect(server.path("unixgram")).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            Self::Unix(socket, path)
        }
    }

    pub fn say(&self, bytes: &[u8]) {
        match self {
            Self::Udp(socket) => socket.send(bytes).map(drop).expect("a datagram is sent"),
            Self::Unix(socket, _) => socket.send(bytes).map(drop).expect("a datagram is sent"),
        }
    }

    pub fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; 65536];
        let bytes = match self {
            Self::Udp(socket) => socket.recv(&mut buffer),
            Self::Unix(socket, _) => socket.recv(&mut buffer),
        };
        buffer[..bytes.expect("a datagram comes")].to_vec()
    }

    /// What comes in this time, if anything does.
    pub fn receive_within(&self, time: Duration) -> Option<Vec<u8>> {
        let mut buffer = [0; 65536];
        let bytes = match self {
            Self::Udp(socket) => socket.set_read_timeout(Some(time)).and_then(|()| socket.recv(&mut buffer)),
            Self::Unix(socket, _) => socket.set_read_timeout(Some(time)).and_then(|()| socket.recv(&mut buffer)),
        };
        bytes.ok().map(|bytes| buffer[..bytes].to_vec())
    }

    pub fn ask(&self, question: &[u8], answer: &[u8]) {
        self.say(question);
        assert_eq!(String::from_utf8_lossy(&self.receive()), String::from_utf8_lossy(answer));
    }

    /// Says something that must not be answered: the next answer is that of the question after it.
    pub fn say_without_answer(&self, bytes: &[u8]) {
        self.say(bytes);
        self.ask(b"Simple is better than?", b"Complex.");
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}
