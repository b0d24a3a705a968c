//! Where a server of the fleet serves: on this machine, or in the compose project.

use std::net::Ipv4Addr;
use std::path::Path;

use zen::{BASE_PORT, Endpoint, Transport};

use crate::lab::Member;
use crate::target;

/// Where everything of the local fleet listens: it is for this machine only.
pub const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// An admin API's port is this plus the member's offset where many servers share a host.
pub const ADMIN_BASE_PORT: u16 = 9060;

/// Where compose mounts the Unix sockets of every server.
pub const COMPOSE_DIRECTORY: &str = "/run/zen";

/// The port of a server where many servers share a host.
pub const fn port(member: &Member) -> u16 {
    BASE_PORT + member.offset
}

/// Every endpoint in the local fleet, with the Unix sockets in `directory`.
pub fn local(member: &Member, directory: &Path) -> Vec<Endpoint> {
    endpoints(member, &HOST.to_string(), port(member), directory)
}

/// Every endpoint in the compose project, where each server is a host of its own.
pub fn compose(member: &Member) -> Vec<Endpoint> {
    endpoints(member, member.name, BASE_PORT, Path::new(COMPOSE_DIRECTORY))
}

/// The port of its admin API where many servers share a host.
pub const fn admin_port(member: &Member) -> u16 {
    ADMIN_BASE_PORT + member.offset
}

/// The URL of its admin API in the local fleet.
pub fn local_admin(member: &Member) -> String {
    format!("http://{HOST}:{}", admin_port(member))
}

/// The URL of its admin API in the compose project.
pub fn compose_admin(member: &Member) -> String {
    format!("http://{}:{ADMIN_BASE_PORT}", member.name)
}

/// Where its TCP clients go, as seen from where this program runs.
pub fn tcp(member: &Member) -> Endpoint {
    if target::in_compose() {
        Endpoint::host(Transport::Tcp, member.name, BASE_PORT)
    } else {
        Endpoint::host(Transport::Tcp, HOST.to_string(), port(member))
    }
}

fn endpoints(member: &Member, host: &str, port: u16, directory: &Path) -> Vec<Endpoint> {
    let name = member.name;
    let endpoint = |transport| match transport {
        Transport::Tcp | Transport::Udp => Endpoint::host(transport, host, port),
        Transport::Unix => Endpoint::path(transport, directory.join(format!("{name}.stream"))),
        Transport::Unixgram => Endpoint::path(transport, directory.join(format!("{name}.datagram"))),
    };
    Transport::ALL.into_iter().filter(|&transport| member.supports(transport)).map(endpoint).collect()
}
