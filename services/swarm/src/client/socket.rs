//! A client's socket, with the name by which the server knows it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};
use zen::Transport;
use zen::trace::Origin;

/// Where a client connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Ip(SocketAddr),
    Path(PathBuf),
}

/// How a client connects.
pub(crate) struct Connect<'a> {
    pub transport: Transport,
    pub place: &'a Place,
    pub traced: bool,
    /// How many addresses clients come from, where the place is on loopback.
    pub source_addresses: usize,
    /// Whether the kernel should keep little of what comes in.
    pub little_room: bool,
}

/// A socket that is connected, or that will be.
pub(super) struct Made {
    pub socket: Socket,
    pub is_open: bool,
    pub origin: Option<Origin>,
    pub bound: Option<PathBuf>,
}

/// Numbers for names that no two clients of this process share.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The beginning of the names of the swarm's own datagram sockets.
pub(crate) const NAME: &str = "zenlab-swarm.";

/// Nobody wants to be killed because a server has gone.
pub(super) const NO_SIGNAL: i32 = rustix::net::SendFlags::NOSIGNAL.bits() as i32;

pub(super) fn connect(how: &Connect<'_>) -> io::Result<Made> {
    let (address, domain) = match how.place {
        Place::Ip(address) => (SockAddr::from(*address), Domain::for_address(*address)),
        Place::Path(path) => (SockAddr::unix(path)?, Domain::UNIX),
    };
    let kind = if how.transport.is_stream() { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(domain, kind, None)?;
    socket.set_nonblocking(true)?;
    if how.transport == Transport::Tcp {
        // Parts of a question must not wait for each other.
        socket.set_tcp_nodelay(true)?;
    }
    if how.little_room {
        // The kernel makes it the least that it can.
        socket.set_recv_buffer_size(1)?;
    }
    let (bound, origin) = name(&socket, how)?;
    let is_open = match socket.connect(&address) {
        Ok(()) => true,
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => false,
        Err(error) => {
            if let Some(path) = &bound {
                // Somebody may have cleaned up before us.
                let _ = std::fs::remove_file(path);
            }
            return Err(error);
        }
    };
    Ok(Made { socket, is_open, origin, bound })
}

/// Gives a client a name: a Unix datagram client needs a file so that it can be answered, a Unix stream client a name by which
/// both ends know the connection, and many clients on loopback more than one address.
fn name(socket: &Socket, how: &Connect<'_>) -> io::Result<(Option<PathBuf>, Option<Origin>)> {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("{NAME}{}.{number}", std::process::id());
    match (how.transport, how.place) {
        (Transport::Unix, _) if how.traced => {
            socket.bind(&SockAddr::unix(format!("\0{name}"))?)?;
            Ok((None, Some(Origin::of_name(how.transport, name.as_bytes(), unix_seconds()))))
        }
        (Transport::Unixgram, Place::Path(server)) => {
            let path = server.with_file_name(name);
            // Left by a process of the same number, in another life of this container.
            let _ = std::fs::remove_file(&path);
            socket.bind(&SockAddr::unix(&path)?)?;
            Ok((Some(path), None))
        }
        (_, Place::Ip(server)) if how.source_addresses > 1 && server.is_ipv4() && server.ip().is_loopback() => {
            let last = 1 + (number % how.source_addresses as u64) as u8;
            socket.bind(&SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0).into())?;
            Ok((None, None))
        }
        _ => Ok((None, None)),
    }
}

/// What both ends of a TCP connection know of it.
pub(super) fn origin(socket: &Socket) -> Option<Origin> {
    let local = socket.local_addr().ok()?.as_socket()?;
    Some(Origin::of_socket(Transport::Tcp, local, unix_seconds()))
}

fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
