//! The clients that hold a connection, one by one, as the kernel lists them (proc_pid_net(5)). No data plane is asked, so
//! looking costs it nothing; what only a data plane knows, such as questions, is not here.

use std::cmp::Reverse;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use admin::{Problem, body, query};
use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use zen::{Address, Endpoint, Transport};

use super::Control;

/// How many connections are shown where nobody says how many.
const SHOWN: usize = 100;

/// The most that are shown.
const MOST: usize = 10_000;

/// Where the tables are of the network namespace in which the server listens; this process shares it.
const TABLES: &str = "/proc/self/net";

/// One client's connection, at the server's end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Connection<'a> {
    endpoint: &'a Endpoint,
    state: &'static str,
    /// Whether a process has it. Without one it waits to be accepted, or was closed and the kernel finishes with it.
    is_held: bool,
    /// What is known of TCP only.
    tcp: Option<Tcp>,
}

/// One line of the kernel's table of TCP sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tcp {
    local: SocketAddr,
    peer: SocketAddr,
    state: u8,
    /// Bytes written that the client has not acknowledged.
    unacknowledged: u64,
    /// Bytes that the server has not read.
    unread: u64,
    /// How often in a row the oldest of the unacknowledged bytes were sent again.
    retransmits: u64,
    inode: u64,
}

pub(super) async fn connections(State(control): State<Arc<Control>>, uri: Uri) -> Result<Response, Problem> {
    let limit = limit(&uri)?;
    let listed = tokio::task::spawn_blocking(move || show(&control.start.listen, limit)).await;
    let listed = listed.map_err(io::Error::other).flatten();
    listed
        .map(|listed| Json(listed).into_response())
        .map_err(|why| Problem::internal(format!("the kernel's tables in {TABLES} cannot be read: {why}")))
}

fn limit(uri: &Uri) -> Result<usize, Problem> {
    let Some(text) = query::parameter(uri, "limit") else { return Ok(SHOWN) };
    text.parse()
        .ok()
        .filter(|limit| (1..=MOST).contains(limit))
        .ok_or_else(|| body::invalid("", format!("`limit` = {text:?} must be a number in 1..={MOST}")))
}

fn show(endpoints: &[Endpoint], limit: usize) -> io::Result<Value> {
    let mut all = Vec::new();
    for endpoint in endpoints {
        match endpoint.transport {
            Transport::Tcp => {
                all.extend(lines("tcp")?.filter_map(|line| tcp_client(endpoint, &line)));
                all.extend(lines("tcp6")?.filter_map(|line| tcp_client(endpoint, &line)));
            }
            Transport::Unix => all.extend(lines("unix")?.filter_map(|line| unix_client(endpoint, &line))),
            // Datagrams come from anywhere: there are no connections.
            Transport::Udp | Transport::Unixgram => {}
        }
    }
    all.sort_by_key(|connection| Reverse(connection.waiting()));
    Ok(json!({
        "total": all.len(),
        "shown": all.len().min(limit),
        "connections": all.iter().take(limit).map(Connection::show).collect::<Vec<_>>(),
    }))
}

/// The lines of a table but for its head; a kernel without that protocol has no table.
fn lines(table: &str) -> io::Result<impl Iterator<Item = String>> {
    let file = match File::open(format!("{TABLES}/{table}")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        opened => Some(opened?),
    };
    let lines = file.into_iter().flat_map(|file| BufReader::new(file).split(b'\n').skip(1)).map_while(Result::ok);
    // What is no text, such as the name of another's socket, is none of ours.
    Ok(lines.map(|line| String::from_utf8_lossy(&line).into_owned()))
}

impl Connection<'_> {
    /// Bytes that wait on either side.
    fn waiting(&self) -> u64 {
        self.tcp.map_or(0, |tcp| tcp.unread + tcp.unacknowledged)
    }

    fn show(&self) -> Value {
        let mut shown = json!({
            "endpoint": self.endpoint.to_string(),
            "transport": self.endpoint.transport.label(),
            "state": self.state,
            "held": self.is_held,
        });
        if let Some(tcp) = self.tcp {
            shown["peer"] = tcp.peer.to_string().into();
            shown["unread_bytes"] = tcp.unread.into();
            shown["unacknowledged_bytes"] = tcp.unacknowledged.into();
            shown["retransmits"] = tcp.retransmits.into();
        }
        shown
    }
}

/// The connection in a line of `tcp` or `tcp6`, if it is one to this endpoint. What the server has closed and nobody needs
/// any more (TIME_WAIT) is no client.
fn tcp_client<'a>(endpoint: &'a Endpoint, line: &str) -> Option<Connection<'a>> {
    let tcp = Tcp::parse(line)?;
    let state = tcp.state()?;
    is_at(endpoint, tcp.local).then_some(Connection { endpoint, state, is_held: tcp.inode != 0, tcp: Some(tcp) })
}

/// Many servers share one network namespace, so the address counts where the server listens on one alone.
fn is_at(endpoint: &Endpoint, local: SocketAddr) -> bool {
    let Address::Host(host, port) = &endpoint.address else { return false };
    let is_elsewhere = host.parse::<IpAddr>().is_ok_and(|host| !host.is_unspecified() && host != local.ip());
    *port == local.port() && !is_elsewhere
}

impl Tcp {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let (unacknowledged, unread) = fields.get(4)?.split_once(':')?;
        Some(Self {
            local: address(fields.get(1)?)?,
            peer: address(fields.get(2)?)?,
            state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
            unacknowledged: number(unacknowledged)?,
            unread: number(unread)?,
            retransmits: number(fields.get(6)?)?,
            inode: fields.get(9)?.parse().ok()?,
        })
    }

    /// The name of its state (`include/net/tcp_states.h`), if that is one in which there is a client.
    const fn state(&self) -> Option<&'static str> {
        Some(match self.state {
            0x01 => "established",
            0x03 | 0x0C => "syn_recv",
            0x04 => "fin_wait_1",
            0x05 => "fin_wait_2",
            0x07 => "close",
            0x08 => "close_wait",
            0x09 => "last_ack",
            0x0B => "closing",
            _ => return None,
        })
    }
}

/// An address as the kernel prints it: each 32 bits of it as a number in hexadecimal, in this machine's order of bytes.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(host.get(8 * at..8 * at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match host.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.as_flattened().try_into().ok()?;
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// The connection in a line of `unix`, if it is one to this endpoint: the server's end has the name of the socket that it
/// was accepted from. Of the client and of bytes that wait the kernel says nothing.
fn unix_client<'a>(endpoint: &'a Endpoint, line: &str) -> Option<Connection<'a>> {
    const LISTENS: u32 = 0x1_0000;
    let Address::Path(path) = &endpoint.address else { return None };
    let mut fields = line.splitn(7, ' ');
    let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    let state = match fields.nth(1)? {
        "03" => "connected",
        "02" => "connecting",
        "04" => "disconnecting",
        _ => return None,
    };
    // The inode is flush right in at least five places.
    let name = fields.next()?.trim_start().split_once(' ')?.1;
    let is_ours = path.to_str() == Some(name);
    (is_ours && flags & LISTENS == 0).then_some(Connection {
        endpoint,
        state,
        is_held: state == "connected",
        tcp: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.18 prints them.
    const TCP: [&str; 6] = [
        "   0: 0100007F:0424 00000000:0000 0A 00000000:00000001 00:00000000 00000000     0        0 718074 2 00000000006a3cf2 100 0 0 10 0",
        "   1: 0100007F:0424 0100007F:D560 01 00000000:00000005 00:00000000 00000000     0        0 0 1 0000000042e3777c 20 4 30 10 -1",
        "   2: 0100007F:0424 0100007F:D561 08 00001F40:00000000 01:00000021 00000003     0        0 718077 1 00000000d0167adf 20 4 30 10 -1",
        "   3: 0100007F:D560 0100007F:0424 01 00000000:00000000 00:00000000 00000000     0        0 718076 2 00000000313c0522 20 0 0 11 -1",
        "   4: 0100007F:0424 0100007F:8E64 06 00000000:00000000 03:00001180 00000000     0        0 0 3 00000000e8c2f462",
        "   5: 0200007F:0424 0100007F:8E65 01 00000000:00000000 00:00000000 00000000     0        0 718079 1 00000000d0167adf 20 4 30 10 -1",
    ];

    const TCP6: [&str; 2] = [
        "   1: 00000000000000000000000001000000:0424 00000000000000000000000001000000:D560 01 00000000:00000005 00:00000000 00000000     0        0 0 1 0000000042e3777c 20 4 30 10 -1",
        "   2: 0000000000000000FFFF00000100007F:0424 0000000000000000FFFF00000100007F:CCC6 01 00000000:00000003 00:00000000 00000000     0        0 718077 1 00000000d0167adf 20 4 30 10 -1",
    ];

    const UNIX: [&str; 6] = [
        "00000000e6e8881c: 00000002 00000000 00010000 0001 01 718067 /run/zen/epoll.stream",
        "00000000be2a2e40: 00000003 00000000 00000000 0001 03 718071 /run/zen/epoll.stream",
        "00000000cdfebf0d: 00000003 00000000 00000000 0001 02     0 /run/zen/epoll.stream",
        "00000000be2a2e41: 00000003 00000000 00000000 0001 03 718071 /run/zen/epoll.stream2",
        "00000000be2a2e42: 00000003 00000000 00000000 0001 03 718072",
        "000000006b7c4bb8: 00000003 00000000 00000000 0001 03  4666 @abstract name",
    ];

    fn endpoint(url: &str) -> Endpoint {
        url.parse().unwrap()
    }

    #[test]
    fn clients_of_this_server_are_told_from_all_other_sockets() {
        let listed = |url: &str, lines: &[&str]| -> Vec<(String, &str, bool, u64, u64, u64)> {
            let endpoint = endpoint(url);
            let clients = lines.iter().filter_map(|line| tcp_client(&endpoint, line));
            let tcp = clients.map(|client| (client.tcp.unwrap(), client.state, client.is_held));
            tcp.map(|(tcp, state, held)| {
                (tcp.peer.to_string(), state, held, tcp.unread, tcp.unacknowledged, tcp.retransmits)
            })
            .collect()
        };
        let first = ("127.0.0.1:54624".to_owned(), "established", false, 5, 0, 0);
        let second = ("127.0.0.1:54625".to_owned(), "close_wait", true, 0, 8000, 3);
        let third = ("127.0.0.1:36453".to_owned(), "established", true, 0, 0, 0);
        assert_eq!(listed("tcp://127.0.0.1:1060", &TCP), [first.clone(), second.clone()]);
        for anywhere in ["tcp://0.0.0.0:1060", "tcp://[::]:1060", "tcp://localhost:1060"] {
            assert_eq!(listed(anywhere, &TCP), [first.clone(), second.clone(), third.clone()], "{anywhere}");
        }
        assert_eq!(listed("tcp://127.0.0.1:1061", &TCP), []);
        let peers = |url| listed(url, &TCP6).into_iter().map(|client| client.0).collect::<Vec<_>>();
        assert_eq!(peers("tcp://[::]:1060"), ["[::1]:54624", "127.0.0.1:52422"]);
        assert_eq!(peers("tcp://[::1]:1060"), ["[::1]:54624"]);
    }

    #[test]
    fn clients_of_a_unix_socket_have_its_name() {
        let endpoint = endpoint("unix:///run/zen/epoll.stream");
        let listed: Vec<_> = UNIX.iter().filter_map(|line| unix_client(&endpoint, line)).collect();
        let seen: Vec<_> = listed.iter().map(|client| (client.state, client.is_held)).collect();
        assert_eq!(seen, [("connected", true), ("connecting", false)]);
        let shown = listed[0].show();
        assert_eq!((&shown["transport"], shown.get("peer"), shown.get("unread_bytes")), (&json!("unix"), None, None));
    }

    #[test]
    fn what_is_no_such_line_is_nobody() {
        let (tcp, unix) = (endpoint("tcp://0.0.0.0:1060"), endpoint("unix:///run/zen/epoll.stream"));
        for line in TCP.iter().chain(&TCP6).chain(&UNIX) {
            for end in 0..line.len() {
                let _ = (tcp_client(&tcp, &line[..end]), unix_client(&unix, &line[..end]));
            }
        }
        for line in ["", "   ", "1: x:y z:w 01 0:0 0:0 0 0 0 0", "a: 00000:1 0000:1 01 0:0 0 0 0 0 0"] {
            assert_eq!((tcp_client(&tcp, line), unix_client(&unix, line)), (None, None), "{line}");
        }
    }

    #[test]
    fn a_limit_is_a_number_in_its_range() {
        let limit = |query: &str| limit(&format!("/?{query}").parse().unwrap());
        assert_eq!((limit(""), limit("limit=7&x")), (Ok(SHOWN), Ok(7)));
        for wrong in ["limit=0", "limit=10001", "limit=", "limit=-1", "limit=all"] {
            assert_eq!(limit(wrong).unwrap_err().status, 422, "{wrong}");
        }
    }
}
