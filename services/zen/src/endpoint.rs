//! Where a server listens, as a URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Transport;

/// A transport with an address, written `tcp://HOST:PORT`, `udp://HOST:PORT`, `unix:///PATH` or `unixgram:///PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The kind of socket.
    pub transport: Transport,
    /// Where it is.
    pub address: Address,
}

/// An address of one of the two families.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host (a name, or an IP address without brackets) and a port.
    Host(String, u16),
    /// An absolute path.
    Path(PathBuf),
}

/// Why a text is no endpoint: one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointError(String);

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EndpointError {}

impl Endpoint {
    /// A TCP or UDP endpoint.
    pub fn host(transport: Transport, host: impl Into<String>, port: u16) -> Self {
        Self { transport, address: Address::Host(host.into(), port) }
    }

    /// A Unix endpoint.
    pub fn path(transport: Transport, path: impl Into<PathBuf>) -> Self {
        Self { transport, address: Address::Path(path.into()) }
    }

    /// The same endpoint with another port; a Unix endpoint has none and stays as it is.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        if let Address::Host(_, old) = &mut self.address {
            *old = port;
        }
        self
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Host(host, port) if host.contains(':') => write!(f, "{}://[{host}]:{port}", self.transport),
            Address::Host(host, port) => write!(f, "{}://{host}:{port}", self.transport),
            Address::Path(path) => write!(f, "{}://{}", self.transport, path.display()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = |why: &str| EndpointError(format!("{text:?} is no endpoint: {why}"));
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| wrong("it is written tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH or unixgram:///PATH"))?;
        let transport: Transport = scheme.parse().map_err(|why: String| wrong(&why))?;
        let address = if transport.is_unix() { path(rest) } else { host(rest) };
        address.map(|address| Self { transport, address }).map_err(wrong)
    }
}

fn path(text: &str) -> Result<Address, &'static str> {
    // 107 bytes and a NUL is what `sun_path` holds (unix(7)).
    match text.len() {
        0 => Err("the path is empty"),
        108.. => Err("the path is longer than 107 bytes"),
        _ if !text.starts_with('/') => Err("the path must be absolute, as in unix:///run/zen/epoll.stream"),
        _ => Ok(Address::Path(text.into())),
    }
}

fn host(text: &str) -> Result<Address, &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
    let port = port.parse().map_err(|_| "the port must be 0..=65535")?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']').ok_or("the bracket of the IPv6 address is not closed")?,
        None if host.contains(':') => return Err("an IPv6 address needs brackets, as in tcp://[::1]:1060"),
        None => host,
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    Ok(Address::Host(host.to_owned(), port))
}
