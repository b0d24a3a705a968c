//! A server of the local fleet: its addresses, and the command line that serves there.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use zen::{Dialogue, Endpoint, Transport};

use crate::failure::Failure;
use crate::lab::Member;
use crate::output;
use crate::places::{self, HOST};
use crate::target::SWARM_PORT;

/// What `zenlab` is called with to serve as `member`, with its Unix sockets in `directory`.
pub fn arguments(member: &Member, directory: &Path) -> Vec<String> {
    let mut arguments = vec!["server".to_owned(), member.architecture.name.to_owned()];
    for endpoint in places::local(member, directory) {
        arguments.extend(["--listen".to_owned(), endpoint.to_string()]);
    }
    arguments.extend(["--admin".to_owned(), format!("{HOST}:{}", places::admin_port(member))]);
    if member.dialogue == Dialogue::Echo {
        arguments.extend(["--set".to_owned(), format!("name={}", member.name)]);
        arguments.extend(["--set".to_owned(), format!("dialogue={}", member.dialogue.label())]);
    }
    arguments.extend(["--set".to_owned(), "lab=true".to_owned()]);
    arguments
}

/// What the swarm is called with to load `members`.
pub fn swarm_arguments(members: &[Member], directory: &Path) -> Vec<String> {
    let names: Vec<&str> = members.iter().map(|member| member.name).collect();
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
                check_port(places::port(member), transport, member.name, "--only")?;
            }
        }
        check_port(places::admin_port(member), Transport::Tcp, member.name, "--only")?;
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
        let endpoints = places::local(member, directory);
        let unix: Vec<String> =
            endpoints.iter().filter(|endpoint| endpoint.transport.is_unix()).map(Endpoint::to_string).collect();
        rows.push(vec![
            member.name.to_owned(),
            format!("{HOST}:{}", places::port(member)),
            places::local_admin(member),
            unix.join(" "),
        ]);
    }
    output::table(&rows)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::path::Path;

    use zen::{Dialogue, Transport};

    use super::{HOST, arguments, check_port};
    use crate::lab;

    #[test]
    fn a_member_serves_on_its_own_ports() {
        for member in lab::fleet() {
            let line = arguments(&member, Path::new("/run")).join(" ");
            let (name, served, offset) = (member.name, member.architecture.name, member.offset);
            assert!(line.starts_with(&format!("server {served} --listen tcp://127.0.0.1:{}", 1060 + offset)), "{line}");
            assert!(line.contains(&format!("--listen unix:///run/{name}.stream")), "{line}");
            assert!(line.contains(&format!("--admin 127.0.0.1:{}", 9060 + offset)), "{line}");
            assert!(line.ends_with(" --set lab=true"), "{line}");
            let echoes = line.contains(&format!("--set name={name} --set dialogue=echo"));
            assert_eq!(echoes, member.dialogue == Dialogue::Echo, "{line}");
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
