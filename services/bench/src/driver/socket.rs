//! Sockets of a client: non-blocking, of all four kinds.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use zen::{Address, Endpoint, Transport};

/// Where a server is, as the kernel takes it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub transport: Transport,
    address: Where,
}

#[derive(Debug, Clone)]
enum Where {
    Host(SocketAddr),
    Path(SocketAddrUnix),
}

/// How far a new socket is.
#[derive(Debug)]
pub(super) enum Opened {
    /// It may be written to.
    Ready(OwnedFd),
    /// It may be written to once epoll says so.
    Connecting(OwnedFd),
    /// The server's queue is full: try later (Unix streams only).
    Later,
}

impl Place {
    /// Looks a host's name up.
    ///
    /// # Errors
    /// If the name is not known or the path is too long.
    pub fn of(endpoint: &Endpoint) -> io::Result<Self> {
        let address = match &endpoint.address {
            Address::Host(host, port) => {
                let named = |error| io::Error::other(format!("{endpoint}: {error}"));
                let found = (host.as_str(), *port).to_socket_addrs().map_err(named)?.next();
                Where::Host(found.ok_or_else(|| io::Error::other(format!("{endpoint}: no address is known")))?)
            }
            Address::Path(path) => Where::Path(SocketAddrUnix::new(path)?),
        };
        Ok(Self { transport: endpoint.transport, address })
    }

    /// Makes a socket and connects it.
    pub fn open(&self) -> io::Result<Opened> {
        let kind = if self.transport.is_stream() { SocketType::STREAM } else { SocketType::DGRAM };
        let socket = socket_with(self.family(), kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
        if self.transport == Transport::Tcp {
            sockopt::set_tcp_nodelay(&socket, true)?;
        }
        if self.transport == Transport::Unixgram {
            // Without a name of its own a client gets no answer.
            bind(&socket, &own_name()?)?;
        }
        let connected = match &self.address {
            Where::Host(address) => connect(&socket, address),
            Where::Path(address) => connect(&socket, address),
        };
        match connected {
            Ok(()) => Ok(Opened::Ready(socket)),
            Err(Errno::INPROGRESS) => Ok(Opened::Connecting(socket)),
            Err(Errno::AGAIN) => Ok(Opened::Later),
            Err(error) => Err(error.into()),
        }
    }

    /// Why nobody can connect, as the kernel says it of one client more; none if that one can, or hears nothing.
    pub fn trouble(&self) -> Option<io::Error> {
        let socket = match self.open() {
            Ok(Opened::Connecting(socket)) => socket,
            Ok(_) => return None,
            Err(error) => return Some(error),
        };
        let mut watched = [PollFd::new(&socket, PollFlags::OUT)];
        // What has no outcome by then has no error that could be told.
        let _ = poll(&mut watched, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }));
        sockopt::socket_error(&socket).ok()?.err().map(Into::into)
    }

    const fn family(&self) -> AddressFamily {
        match &self.address {
            Where::Host(SocketAddr::V4(_)) => AddressFamily::INET,
            Where::Host(SocketAddr::V6(_)) => AddressFamily::INET6,
            Where::Path(_) => AddressFamily::UNIX,
        }
    }
}

/// A name in the abstract namespace that nobody else has.
fn own_name() -> io::Result<SocketAddrUnix> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("zenlab.bench.{}.{number}", std::process::id());
    Ok(SocketAddrUnix::new_abstract_name(name.as_bytes())?)
}

/// Lets the next close be a reset.
pub(super) fn reset_on_close(socket: impl AsFd) {
    // A socket that is gone already cannot be reset, and need not be.
    let _ = sockopt::set_socket_linger(socket, Some(std::time::Duration::ZERO));
}

/// Whether a connect that was under way came about.
pub(super) fn connected(socket: impl AsFd) -> bool {
    matches!(sockopt::socket_error(socket), Ok(Ok(())))
}
