//! The examples, as their readers run them: each client talks with its server.
#![allow(clippy::print_stdout, reason = "what was skipped belongs into the test's output")]

use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A server that is ended with its owner.
struct Server {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Server {
    fn start(program: PathBuf) -> Self {
        let mut child = Command::new(program).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut server = Self { child, output, address: String::new() };
        server.says().strip_prefix("Serving on ").expect("its address").clone_into(&mut server.address);
        server
    }

    fn says(&mut self) -> String {
        self.output.next().expect("it goes on").expect("text")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where `cargo test` leaves its examples. `cargo test --test examples` makes none.
fn example(name: &str) -> Option<PathBuf> {
    let here = std::env::current_exe().expect("a path");
    let path = here.parent()?.parent()?.join("examples").join(name);
    if !path.exists() {
        println!("skipped: the example {name} is not built; cargo test -p eventloop builds it");
        return None;
    }
    Some(path)
}

fn client_says(program: PathBuf, address: &str) -> String {
    let output = Command::new(program).args([address, "Hi there"]).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_tcp_client_hears_its_echo() {
    let (Some(server), Some(client)) = (example("tcp_echo_server"), example("tcp_echo_client")) else { return };
    let mut server = Server::start(server);
    let heard = client_says(client, &server.address);
    assert_eq!(heard, "Sent \"Hi there\"\nReceived \"Hi there\"\nConnection closed\n");
    assert!(server.says().starts_with("Connection from "));
    assert_eq!(server.says(), "Received \"Hi there\", sending it back");
    assert_eq!(server.says(), "Connection closed");
}

#[test]
fn the_udp_client_hears_its_echo() {
    let (Some(server), Some(client)) = (example("udp_echo_server"), example("udp_echo_client")) else { return };
    let mut server = Server::start(server);
    let heard = client_says(client, &server.address);
    assert_eq!(heard, "Sent \"Hi there\"\nReceived \"Hi there\"\nClosed\n");
    assert!(server.says().starts_with("Received \"Hi there\" from "));
}
