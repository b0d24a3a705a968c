//! Sockets over TCP, UDP and both kinds of Unix sockets, so that no architecture's file knows which it serves.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::net::ToSocketAddrs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, SocketFlags};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use zen::{Address, Endpoint, Transport};

/// The longest a worker waits for a client before it looks for orders.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// The longest a worker waits for a client's next bytes before it looks for orders.
pub(crate) const TALK_TICK: Duration = Duration::from_secs(1);

/// How long a Unix address may still seem in use after its owner was killed: the kernel may be taking the owner apart.
const LAST_BREATHS: Duration = Duration::from_secs(1);

/// What a socket is asked for beyond its address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Clients that may wait to be accepted.
    pub backlog: u32,
    /// SO_RCVBUF of datagram sockets, in bytes.
    pub receive_buffer: usize,
    /// SO_SNDTIMEO of accepted sockets: how long one write may wait before the worker looks for orders.
    pub send_tick: Duration,
}

/// Makes a socket that somebody else bound ours.
pub(crate) fn adopt(fd: OwnedFd, endpoint: &Endpoint, options: Options) -> io::Result<OwnedFd> {
    let socket = Socket::from(fd);
    prepare(&socket, endpoint.transport, options)?;
    Ok(socket.into())
}

/// Binds an endpoint. Gives it back with the port that the kernel chose for port 0.
pub(crate) fn bind(endpoint: &Endpoint, options: Options) -> io::Result<(OwnedFd, Endpoint)> {
    let kind = if endpoint.transport.is_stream() { Type::STREAM } else { Type::DGRAM };
    let (socket, bound) = match &endpoint.address {
        Address::Host(host, port) => bind_host(endpoint, host, *port, kind)?,
        Address::Path(path) => (bind_path(path, kind)?, endpoint.clone()),
    };
    prepare(&socket, endpoint.transport, options)?;
    Ok((socket.into(), bound))
}

/// Holds on to the file of a Unix socket, so that no other file is taken for it: a filesystem may give a new one the number of
/// one that is gone (seen: ext4, each time).
pub(crate) fn hold(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Whether this file is at `path` now.
pub(crate) fn is_at(file: &OwnedFd, path: &Path) -> bool {
    let held = rustix::fs::fstat(file).map(|held| (held.st_dev, held.st_ino));
    held.ok() == fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

fn prepare(socket: &Socket, transport: Transport, options: Options) -> io::Result<()> {
    // The tick: every blocking wait ends in time to look for orders. What TCP accepts inherits these from its listener.
    socket.set_read_timeout(Some(TICK))?;
    socket.set_write_timeout(Some(options.send_tick))?;
    if transport.is_stream() {
        if transport == Transport::Tcp {
            // An answer is one write; Nagle's algorithm would hold back the next one (44 ms a question, RFC 896).
            socket.set_tcp_nodelay(true)?;
        }
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))
    } else {
        // The default holds about 280 small datagrams; what does not fit is lost without a word.
        socket.set_recv_buffer_size(options.receive_buffer)
    }
}

fn bind_host(endpoint: &Endpoint, host: &str, port: u16, kind: Type) -> io::Result<(Socket, Endpoint)> {
    let address = (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, format!("{host} has no address")))?;
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if endpoint.transport.is_stream() {
        // Connections of the last run that linger in TIME_WAIT must not keep the port. A second listener still cannot
        // bind. For UDP the option would let two servers share one port, so it stays off.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    let port = socket.local_addr()?.as_socket().map_or(port, |bound| bound.port());
    Ok((socket, endpoint.clone().with_port(port)))
}

/// Binds a second socket to the address of the first, so that the kernel shares out who comes (SO_REUSEPORT).
///
/// The first was bound without the option, so binding it failed if another server had the address; it joins only now. Who
/// comes later without the option fails in the same way.
fn bind_beside(first: &SockRef<'_>, transport: Transport, options: Options) -> io::Result<OwnedFd> {
    first.set_reuse_port(true)?;
    let address = first.local_addr()?;
    let second = Socket::new(address.domain(), first.r#type()?, None)?;
    second.set_reuse_port(true)?;
    second.set_reuse_address(first.reuse_address()?)?;
    second.bind(&address)?;
    prepare(&second, transport, options)?;
    Ok(second.into())
}

fn bind_path(path: &Path, kind: Type) -> io::Result<Socket> {
    remove_stale(path, kind)?;
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Clients in other containers run as the same user or group, and whoever may enter the directory may ask.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(socket)
}

/// Removes the socket file of a server that is gone, and only that: a file of another kind or owner, or one that somebody
/// still listens on, stays.
fn remove_stale(path: &Path, kind: Type) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    let in_use = |why: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{} {why}", path.display())));
    if !found.file_type().is_socket() {
        return in_use("exists and is no socket; it was left alone");
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return in_use("is a socket of another user; it was left alone");
    }
    let patience = Instant::now() + LAST_BREATHS;
    while is_answered(path, kind)? {
        if Instant::now() > patience {
            return in_use("is a socket that another server listens on");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::remove_file(path)
}

fn is_answered(path: &Path, kind: Type) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, kind, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // A full accept queue says EAGAIN: somebody is there.
        _ => Ok(true),
    }
}

/// A listening TCP or Unix stream socket.
#[derive(Debug)]
pub struct StreamListener {
    fd: OwnedFd,
    transport: Transport,
    options: Options,
}

impl StreamListener {
    pub(crate) const fn new(fd: OwnedFd, transport: Transport, options: Options) -> Self {
        Self { fd, transport, options }
    }

    /// TCP or Unix.
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether accept(2) waits for a client (up to a tick). Readiness loops and async code switch it off.
    pub fn set_blocking(&self, blocking: bool) -> io::Result<()> {
        set_blocking(&self.fd, blocking)
    }

    /// accept4(2). The stream blocks if `blocking`.
    pub(crate) fn accept(&self, blocking: bool) -> io::Result<(Stream, Option<SocketAddrAny>)> {
        let flags = if blocking { SocketFlags::CLOEXEC } else { SocketFlags::CLOEXEC | SocketFlags::NONBLOCK };
        let (fd, peer) = rustix::net::acceptfrom_with(&self.fd, flags)?;
        let stream = Stream { fd, transport: self.transport };
        if blocking && self.transport == Transport::Unix {
            stream.set_read_tick(TICK)?;
            stream.set_write_tick(TALK_TICK)?;
        }
        Ok((stream, peer))
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, ..*self })
    }

    /// See [`Endpoint::another`](crate::Endpoint::another).
    pub(crate) fn another(&self) -> io::Result<Self> {
        if self.transport.is_unix() {
            return self.try_clone();
        }
        let fd = bind_beside(&SockRef::from(&self.fd), self.transport, self.options)?;
        Ok(Self { fd, ..*self })
    }
}

impl AsFd for StreamListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<StreamListener> for OwnedFd {
    fn from(listener: StreamListener) -> Self {
        listener.fd
    }
}

/// A connected TCP or Unix stream.
#[derive(Debug)]
pub struct Stream {
    fd: OwnedFd,
    transport: Transport,
}

impl Stream {
    /// A stream that somebody else accepted.
    pub const fn new(fd: OwnedFd, transport: Transport) -> Self {
        Self { fd, transport }
    }

    /// TCP or Unix.
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// recv(2).
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(&self.fd, buffer, RecvFlags::empty())?.0)
    }

    /// recv(2) that does not wait.
    pub fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(&self.fd, buffer, RecvFlags::DONTWAIT)?.0)
    }

    /// send(2). A client that is gone is an error and no signal.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.fd, bytes, SendFlags::NOSIGNAL)?)
    }

    pub(crate) fn set_read_tick(&self, tick: Duration) -> io::Result<()> {
        let tick = tick.max(Duration::from_millis(1)); // zero would be for ever
        Ok(rustix::net::sockopt::set_socket_timeout(&self.fd, rustix::net::sockopt::Timeout::Recv, Some(tick))?)
    }

    pub(crate) fn set_write_tick(&self, tick: Duration) -> io::Result<()> {
        Ok(rustix::net::sockopt::set_socket_timeout(&self.fd, rustix::net::sockopt::Timeout::Send, Some(tick))?)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> Self {
        stream.fd
    }
}

/// A bound UDP or Unix datagram socket.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: Socket,
    transport: Transport,
    options: Options,
}

/// What recvmsg(2) tells of one datagram.
pub(crate) struct Received {
    pub bytes: usize,
    pub truncated: bool,
    pub from: SockAddr,
}

impl DatagramSocket {
    pub(crate) fn new(fd: OwnedFd, transport: Transport, options: Options) -> Self {
        Self { socket: fd.into(), transport, options }
    }

    /// UDP or Unix datagram.
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether recvmsg(2) waits for a datagram (up to a tick). Readiness loops and async code switch it off.
    pub fn set_blocking(&self, blocking: bool) -> io::Result<()> {
        set_blocking(&self.socket, blocking)
    }

    /// recvmsg(2). `wait` is ignored by a socket that does not block.
    pub(crate) fn receive(&self, buffer: &mut [u8], wait: bool) -> io::Result<Received> {
        // SAFETY: initialised bytes are valid MaybeUninit bytes, and recvmsg only writes initialised ones into them.
        let buffer = unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
        let mut parts = [socket2::MaybeUninitSlice::new(buffer)];
        let flags = if wait { 0 } else { libc::MSG_DONTWAIT };
        let (bytes, flags, from) = self.socket.recv_from_vectored_with_flags(&mut parts, flags)?;
        Ok(Received { bytes, truncated: flags.is_truncated(), from })
    }

    /// sendto(2) that does not wait: a Unix client that never reads would hold up everybody else.
    pub(crate) fn send(&self, bytes: &[u8], to: &SockAddr) -> io::Result<usize> {
        self.socket.send_to_with_flags(bytes, to, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, ..*self })
    }

    /// See [`Endpoint::another`](crate::Endpoint::another).
    pub(crate) fn another(&self) -> io::Result<Self> {
        if self.transport.is_unix() {
            return self.try_clone();
        }
        let fd = bind_beside(&SockRef::from(&self.socket), self.transport, self.options)?;
        Ok(Self { socket: fd.into(), ..*self })
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<DatagramSocket> for OwnedFd {
    fn from(socket: DatagramSocket) -> Self {
        socket.socket.into()
    }
}

/// Whether a connected stream has something to tell that was not read yet: bytes, its end or an error.
pub(crate) fn has_news(stream: impl AsFd) -> bool {
    let glance = rustix::net::recv(stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    !matches!(glance, Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR))
}

fn set_blocking(fd: impl AsFd, blocking: bool) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, !blocking)?)
}
