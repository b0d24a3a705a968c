//! The addresses of servers: whose they are, and what becomes of them.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::json;
use support::churn::visit;
use support::client::{A, Q, Stream};
use support::{Directory, Server, ZENLAB, each, zenlab};

/// Tries to serve at this URL; it must not come to that, and the address must be named.
fn cannot_serve(architecture: &str, url: &str) {
    let (code, log) = zenlab(&["server", architecture, "--listen", url, "--admin", "127.0.0.1:0"]);
    assert_eq!(code, Some(3), "{url}: {log}");
    let named = log.lines().filter(|line| line.contains(url)).count();
    assert_eq!(named, 1, "{url} is to be named once: {log}");
}

#[test]
fn a_stale_unix_socket_is_replaced_and_nothing_else_is() {
    let directory = Directory::new();
    for scheme in ["unix", "unixgram"] {
        let path = directory.0.join(scheme);
        let url = format!("{scheme}://{}", path.display());
        // A socket whose owner is gone.
        if scheme == "unix" {
            drop(UnixListener::bind(&path).unwrap());
        } else {
            drop(UnixDatagram::bind(&path).unwrap());
        }
        let server = Server::start_with("epoll", &[], &[], |command| {
            command.args(["--listen", &url]);
        });
        cannot_serve("poll", &url);
        server.stop();
        assert!(!path.exists(), "its own file goes with the server");
        fs::write(&path, "a letter").unwrap();
        cannot_serve("epoll", &url);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a letter");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        cannot_serve("epoll", &url);
        assert!(path.is_dir());
    }
}

/// While a server is parked its file is not there, so another one may have put its own in its place.
#[test]
fn the_file_of_another_server_is_not_removed() {
    let first = Server::start_on("epoll", &["unix", "unixgram"], &[]);
    assert_eq!(first.post("/api/v1/drain", json!({})).0, 202);
    first.wait_for_state("parked");
    let urls = ["unix", "unixgram"].map(|scheme| format!("{scheme}://{}", first.path(scheme).display()));
    let second = Server::start_with("poll", &[], &[], |command| {
        command.args(["--listen", &urls[0], "--listen", &urls[1]]);
    });
    // The first cannot serve there now, and says so by staying as it is.
    first.post("/api/v1/start", json!({}));
    Stream::connect(&second, "unix").ask(Q, A);
    let mut first = first;
    first.signal(libc::SIGTERM);
    assert_eq!(first.wait().code(), Some(0));
    assert!(second.path("unix").exists() && second.path("unixgram").exists(), "the second server's files are gone");
    Stream::connect(&second, "unix").ask(Q, A);
    second.stop();
}

#[test]
fn two_servers_cannot_share_a_port() {
    each(|architecture| {
        let server = Server::start(architecture, &[]);
        for transport in &architecture.transports {
            if transport.starts_with("unix") {
                cannot_serve(&architecture.name, &format!("{transport}://{}", server.path(transport).display()));
            } else {
                cannot_serve(&architecture.name, &format!("{transport}://{}", server.address(transport)));
            }
        }
        Stream::connect(&server, "tcp").ask(Q, A);
        server.stop();
    });
}

#[test]
fn two_servers_cannot_share_an_admin_port() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    let admin = server.admin.strip_prefix("http://").unwrap();
    let (code, log) = zenlab(&["server", "poll", "--listen", "tcp://127.0.0.1:0", "--admin", admin]);
    assert_eq!(code, Some(3));
    assert!(log.contains(&format!("the admin address {admin} cannot be bound")), "{log}");
    server.stop();
}

#[test]
fn an_address_that_is_not_ours_is_named() {
    // TEST-NET-3 (RFC 5737) is nobody's.
    cannot_serve("epoll", "tcp://203.0.113.1:1060");
    cannot_serve("epoll", "udp://203.0.113.1:1060");
    cannot_serve("epoll", "unix:///nowhere/at/all");
    cannot_serve("epoll", "unixgram:///nowhere/at/all");
    cannot_serve("epoll", "tcp://nobody.invalid:1060");
}

#[test]
fn sockets_can_be_passed_by_whoever_starts_the_server() {
    use std::os::fd::AsRawFd;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let fd = listener.as_raw_fd();
    let pass = move || {
        // SAFETY: a plain system call between fork and exec; the number goes to the place where the protocol wants it.
        match unsafe { libc::dup2(fd, 3) } {
            3 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    let server = Server::start_with("epoll", &[], &[], |command| {
        // The shell knows its own number, which will be the server's.
        let mut shell = Command::new("sh");
        shell.args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh", ZENLAB]).args(command.get_args());
        shell.args(["--listen", &format!("tcp://{address}")]).env("LISTEN_FDS", "1");
        // SAFETY: see there.
        unsafe { shell.pre_exec(pass) };
        *command = shell;
    });
    // Nobody else could have bound that address: it is taken, by the very socket that was passed.
    visit(&address.to_string()).expect("an answer");
    assert_eq!(server.post("/api/v1/drain", json!({})).0, 202);
    server.wait_for_state("parked");
    assert_eq!(server.post("/api/v1/start", json!({})).0, 202);
    server.wait_until_ready();
    drop(listener);
    visit(&address.to_string()).expect("an answer after the restart");
    server.stop();
}
