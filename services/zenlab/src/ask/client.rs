//! One client of one server, over any transport.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use zen::{Address, Endpoint, Transport};

/// How long is waited for an answer over a stream: a person's patience.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long is waited for an answer to a datagram before it is sent again, and how often it is sent.
const DATAGRAM_PATIENCE: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 3;

/// The longest answer is the echo of the longest question.
const LONGEST: usize = zen::MAX_MAX_QUESTION;

/// A client that can ask.
pub enum Client {
    /// Over a connection.
    Stream(Box<dyn ReadWrite>),
    /// Over a UDP socket that has one peer.
    Udp(UdpSocket),
    /// Over a Unix datagram socket that has one peer, and a name as long as it lives.
    Unixgram { socket: UnixDatagram, _name: BoundPath },
}

/// A stream of either family.
pub trait ReadWrite: Read + Write {}
impl<S: Read + Write> ReadWrite for S {}

/// The file of a bound Unix socket; removed when this value goes.
pub struct BoundPath(PathBuf);

impl Drop for BoundPath {
    fn drop(&mut self) {
        // Somebody may have been quicker.
        let _gone = std::fs::remove_file(&self.0);
    }
}

impl Client {
    /// Connects.
    pub fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        match (endpoint.transport, &endpoint.address) {
            (Transport::Tcp, Address::Host(host, port)) => Self::tcp(host, *port),
            (Transport::Udp, Address::Host(host, port)) => Self::udp(host, *port),
            (Transport::Unix, Address::Path(path)) => Self::unix(path),
            (Transport::Unixgram, Address::Path(path)) => Self::unixgram(path),
            _ => Err(io::Error::new(ErrorKind::InvalidInput, "the address is not of the transport's kind")),
        }
    }

    fn tcp(host: &str, port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((host, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self::Stream(Box::new(stream)))
    }

    fn udp(host: &str, port: u16) -> io::Result<Self> {
        let mut addresses = (host, port).to_socket_addrs()?;
        let peer = addresses.next().ok_or_else(|| io::Error::new(ErrorKind::NotFound, "the host has no address"))?;
        let socket = UdpSocket::bind(if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.connect(peer)?;
        socket.set_read_timeout(Some(DATAGRAM_PATIENCE))?;
        Ok(Self::Udp(socket))
    }

    fn unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self::Stream(Box::new(stream)))
    }

    /// The client needs a name to be answered at. It is bound beside the server, where both can see it, also from another
    /// container.
    fn unixgram(path: &Path) -> io::Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let own = path.with_file_name(format!("ask-{}-{number}", std::process::id()));
        let socket = UnixDatagram::bind(&own)?;
        let name = BoundPath(own);
        socket.connect(path)?;
        socket.set_read_timeout(Some(DATAGRAM_PATIENCE))?;
        Ok(Self::Unixgram { socket, _name: name })
    }

    /// Asks, and gives the answer: up to its `.`, or as many bytes as `length` says.
    pub fn ask(&mut self, question: &[u8], length: Option<usize>) -> io::Result<String> {
        match self {
            Self::Stream(stream) => {
                stream.write_all(question)?;
                read_answer(stream, length)
            }
            Self::Udp(socket) => exchange(|| socket.send(question), |answer| socket.recv(answer)),
            Self::Unixgram { socket, .. } => exchange(|| socket.send(question), |answer| socket.recv(answer)),
        }
    }
}

fn read_answer(stream: &mut dyn ReadWrite, length: Option<usize>) -> io::Result<String> {
    let mut answer = Vec::new();
    let is_whole = |answer: &[u8]| match length {
        Some(length) => answer.len() >= length,
        None => answer.last() == Some(&b'.'),
    };
    let mut chunk = [0; 256];
    while !is_whole(&answer) {
        match stream.read(&mut chunk) {
            // Something was said, though not what was waited for: better shown than lost.
            Err(error) if error.kind() == ErrorKind::WouldBlock && !answer.is_empty() => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(too_late(PATIENCE)),
            Err(error) => return Err(error),
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server has closed the connection")),
            Ok(read) => answer.extend_from_slice(&chunk[..read]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Datagrams are lost; a question may be asked again, since asking changes nothing.
fn exchange(
    send: impl Fn() -> io::Result<usize>,
    receive: impl Fn(&mut [u8]) -> io::Result<usize>,
) -> io::Result<String> {
    let mut answer = vec![0; LONGEST];
    for _ in 0..ATTEMPTS {
        send()?;
        match receive(&mut answer) {
            Ok(received) => return Ok(String::from_utf8_lossy(&answer[..received]).into_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Err(too_late(DATAGRAM_PATIENCE * ATTEMPTS))
}

fn too_late(after: Duration) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, format!("no answer within {} s", after.as_secs()))
}
