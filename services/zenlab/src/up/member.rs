//! One architecture of the local fleet: its addresses, and the command line that serves there.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use zen::{Endpoint, Transport};

use crate::failure::Failure;
use crate::lab::Architecture;
use crate::output;
use crate::places::{self, HOST};
use crate::target::SWARM_PORT;

/// An architecture on the ports that are its own.
#[derive(Debug, Clone, Copy)]
pub struct Member(pub &'static Architecture);

/// A member for each architecture.
pub fn all(architectures: &[&'static Architecture]) -> Vec<Member> {
    architectures.iter().copied().map(Member).collect()
}

impl Member {
    /// The architecture's name.
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    const fn port(self) -> u16 {
        places::port(self.0)
    }

    const fn admin_port(self) -> u16 {
        places::ADMIN_BASE_PORT + self.0.offset
    }

    /// The URL of its admin API.
    pub fn admin_url(self) -> String {
        places::local_admin(self.0)
    }

    /// Whether it serves this transport.
    pub fn supports(self, transport: Transport) -> bool {
        self.0.supports(transport)
    }

    /// Where it serves, with its Unix sockets in `directory`.
    pub fn endpoints(self, directory: &Path) -> Vec<Endpoint> {
        places::local(self.0, directory)
    }

    /// What `zenlab` is called with to serve it.
    pub fn arguments(self, directory: &Path) -> Vec<String> {
        let mut arguments = vec!["server".to_owned(), self.name().to_owned()];
        for endpoint in self.endpoints(directory) {
            arguments.extend(["--listen".to_owned(), endpoint.to_string()]);
        }
        arguments.extend(["--admin".to_owned(), format!("{HOST}:{}", self.admin_port())]);
        arguments.extend(["--set".to_owned(), "lab=true".to_owned()]);
        arguments
    }
}

/// What the swarm is called with to load `members`.
pub fn swarm_arguments(members: &[Member], directory: &Path) -> Vec<String> {
    let names: Vec<&str> = members.iter().map(|member| member.name()).collect();
    let directory = directory.display().to_string();
    let admin = format!("{HOST}:{SWARM_PORT}");
    ["swarm", "--fleet", "local", "--dir", &directory, "--only", &names.join(","), "--admin", &admin]
        .map(str::to_owned)
        .to_vec()
}

/// Fails when somebody else has a port that is needed.
pub fn check_ports(members: &[Member], with_swarm: bool) -> Result<(), Failure> {
    for member in members {
        for transport in [Transport::Tcp, Transport::Udp] {
            if member.supports(transport) {
                check_port(member.port(), transport, member.name(), "--only")?;
            }
        }
        check_port(member.admin_port(), Transport::Tcp, member.name(), "--only")?;
    }
    if with_swarm { check_port(SWARM_PORT, Transport::Tcp, "the swarm", "--no-swarm") } else { Ok(()) }
}

fn check_port(port: u16, transport: Transport, owner: &str, flag: &str) -> Result<(), Failure> {
    let tried = match transport {
        Transport::Udp => UdpSocket::bind((HOST, port)).map(drop),
        _ => TcpListener::bind((HOST, port)).map(drop),
    };
    tried.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Failure::runtime(format!(
            "{transport} port {port} of {owner} is already in use: end what holds it (another `zenlab up`, or `docker \
             compose down`), or do without {owner} ({flag})"
        )),
        _ => Failure::runtime(format!("{transport} port {port} of {owner} cannot be used: {error}")),
    })
}

/// Names, addresses and admin addresses.
pub fn endpoint_table(members: &[Member], directory: &Path) -> Vec<String> {
    let mut rows = vec![["NAME", "TCP AND UDP", "ADMIN", "UNIX"].map(String::from).to_vec()];
    for member in members {
        let endpoints = member.endpoints(directory);
        let unix: Vec<String> =
            endpoints.iter().filter(|endpoint| endpoint.transport.is_unix()).map(Endpoint::to_string).collect();
        rows.push(vec![
            member.name().to_owned(),
            format!("{HOST}:{}", member.port()),
            member.admin_url(),
            unix.join(" "),
        ]);
    }
    output::table(&rows)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::path::Path;

    use super::{HOST, Member, check_port};
    use crate::lab::REGISTRY;
    use zen::Transport;

    #[test]
    fn a_member_serves_on_its_own_ports() {
        for architecture in REGISTRY {
            let line = Member(architecture).arguments(Path::new("/run")).join(" ");
            let (name, offset) = (architecture.name, architecture.offset);
            assert!(line.starts_with(&format!("server {name} --listen tcp://127.0.0.1:{}", 1060 + offset)), "{line}");
            assert!(line.contains(&format!("--listen unix:///run/{name}.stream")), "{line}");
            assert!(line.ends_with(&format!("--admin 127.0.0.1:{} --set lab=true", 9060 + offset)), "{line}");
        }
    }

    #[test]
    fn a_port_in_use_is_named() {
        let tcp = TcpListener::bind((HOST, 0)).expect("loopback has a free port");
        let port = tcp.local_addr().expect("it is bound").port();
        let why = check_port(port, Transport::Tcp, "epoll", "--only").expect_err("it is in use").to_string();
        assert!(why.starts_with(&format!("tcp port {port} of epoll is already in use")), "{why}");
        let udp = UdpSocket::bind((HOST, 0)).expect("loopback has a free port");
        let port = udp.local_addr().expect("it is bound").port();
        assert!(check_port(port, Transport::Udp, "epoll", "--only").is_err());
    }
}
