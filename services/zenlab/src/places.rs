//! Where an architecture serves: on this machine, or in the compose project.

use std::net::Ipv4Addr;
use std::path::Path;

use zen::{BASE_PORT, Endpoint, Transport};

use crate::lab::Architecture;
use crate::target;

/// Where everything of the local fleet listens: it is for this machine only.
pub const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// An admin API's port is this plus the architecture's offset where many servers share a host.
pub const ADMIN_BASE_PORT: u16 = 9060;

/// Where compose mounts the Unix sockets of every server.
pub const COMPOSE_DIRECTORY: &str = "/run/zen";

/// The port of an architecture where many servers share a host.
pub const fn port(architecture: &Architecture) -> u16 {
    BASE_PORT + architecture.offset
}

/// Every endpoint in the local fleet, with the Unix sockets in `directory`.
pub fn local(architecture: &Architecture, directory: &Path) -> Vec<Endpoint> {
    endpoints(architecture, &HOST.to_string(), port(architecture), directory)
}

/// Every endpoint in the compose project, where each server is a host of its own.
pub fn compose(architecture: &Architecture) -> Vec<Endpoint> {
    endpoints(architecture, architecture.name, BASE_PORT, Path::new(COMPOSE_DIRECTORY))
}

/// The URL of its admin API in the local fleet.
pub fn local_admin(architecture: &Architecture) -> String {
    format!("http://{HOST}:{}", ADMIN_BASE_PORT + architecture.offset)
}

/// The URL of its admin API in the compose project.
pub fn compose_admin(architecture: &Architecture) -> String {
    format!("http://{}:{ADMIN_BASE_PORT}", architecture.name)
}

/// Where its TCP clients go, as seen from where this program runs.
pub fn tcp(architecture: &Architecture) -> Endpoint {
    if target::in_compose() {
        Endpoint::host(Transport::Tcp, architecture.name, BASE_PORT)
    } else {
        Endpoint::host(Transport::Tcp, HOST.to_string(), port(architecture))
    }
}

fn endpoints(architecture: &Architecture, host: &str, port: u16, directory: &Path) -> Vec<Endpoint> {
    let name = architecture.name;
    let endpoint = |transport| match transport {
        Transport::Tcp | Transport::Udp => Endpoint::host(transport, host, port),
        Transport::Unix => Endpoint::path(transport, directory.join(format!("{name}.stream"))),
        Transport::Unixgram => Endpoint::path(transport, directory.join(format!("{name}.datagram"))),
    };
    Transport::ALL.into_iter().filter(|&transport| architecture.supports(transport)).map(endpoint).collect()
}
