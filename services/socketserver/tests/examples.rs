//! The examples, as their readers run them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says what it skips, and where it fails")]

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));

/// An example that serves until its owner goes.
struct Server {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Server {
    /// `cargo test` builds examples and `cargo test --test examples` does not.
    fn start(name: &str) -> Option<Self> {
        let here = std::env::current_exe().unwrap();
        let path = here.parent()?.parent()?.join("examples").join(name);
        if !path.exists() {
            println!("skipped: the example {name} is not built; cargo test -p socketserver builds it");
            return None;
        }
        let mut child = Command::new(path).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut server = Self { child, output, address: String::new() };
        server.says().strip_prefix("Serving on ").unwrap().clone_into(&mut server.address);
        Some(server)
    }

    fn says(&mut self) -> String {
        self.output.next().unwrap().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_chapters_tcp_server_sends_back_what_it_hears() {
    let Some(mut server) = Server::start("tcp_echo") else { return };
    for words in ["one\n", " the next \r\n"] {
        let mut client = TcpStream::connect(&server.address).unwrap();
        client.set_read_timeout(PATIENCE).unwrap();
        client.write_all(words.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, words.trim());
        assert_eq!(server.says(), format!("127.0.0.1 wrote: {}", words.trim()));
    }
}

#[test]
fn the_udp_server_answers_in_upper_case() {
    let Some(server) = Server::start("udp_upper") else { return };
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(PATIENCE).unwrap();
    client.send_to(b"quietly", &server.address).unwrap();
    let mut answer = [0; 16];
    let bytes = client.recv(&mut answer).unwrap();
    assert_eq!(&answer[..bytes], b"QUIETLY");
}
