//! Sockets that somebody else bound for us: systemd's socket activation (sd_listen_fds(3)).
//!
//! Whoever starts us passes open sockets from descriptor 3 on, their number in `LISTEN_FDS`, and in `LISTEN_PID` whom they are
//! for. An endpoint of the command line that is bound to the same address gets that socket and binds none; what it did not
//! bind it never unlinks.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use socket2::{SockRef, Type};
use zen::{Address, Endpoint};

const FIRST: RawFd = 3;

/// Sockets that were passed to this process and not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Inherited(Vec<OwnedFd>);

impl Inherited {
    /// What the environment says was passed to us. To be called once, before any descriptor is opened.
    pub fn from_environment() -> Self {
        let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
        if number("LISTEN_PID") != Some(std::process::id()) {
            return Self::default();
        }
        let count = number("LISTEN_FDS").unwrap_or(0) as RawFd;
        Self((FIRST..FIRST + count).filter_map(adopt).collect())
    }

    /// The socket that is bound where `endpoint` wants to be.
    pub fn take(&mut self, endpoint: &Endpoint) -> Option<OwnedFd> {
        let at = self.0.iter().position(|fd| is_bound_to(fd, endpoint).unwrap_or(false))?;
        Some(self.0.remove(at))
    }
}

/// Takes a descriptor over, if there is one of that number.
fn adopt(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: fcntl(2) with F_GETFD only asks, whatever the number.
    let is_open = unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
    // SAFETY: the descriptor is open, and by the protocol of LISTEN_FDS it belongs to nobody else in this process.
    let fd = is_open.then(|| unsafe { OwnedFd::from_raw_fd(number) })?;
    // Our children get what they serve by fork; a program that they start gets nothing.
    SockRef::from(&fd).set_cloexec(true).ok()?;
    Some(fd)
}

fn is_bound_to(fd: impl AsFd, endpoint: &Endpoint) -> io::Result<bool> {
    let socket = SockRef::from(&fd);
    let kind = if endpoint.transport.is_stream() { Type::STREAM } else { Type::DGRAM };
    let address = socket.local_addr()?;
    let same_address = match &endpoint.address {
        Address::Path(path) => address.as_pathname() == Some(path),
        Address::Host(host, port) => address
            .as_socket()
            .is_some_and(|bound| bound.port() == *port && host.parse::<IpAddr>().is_ok_and(|ip| bound.ip() == ip)),
    };
    Ok(same_address && socket.r#type()? == kind)
}
