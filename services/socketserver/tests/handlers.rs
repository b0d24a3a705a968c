//! What handlers do, and what becomes of a server whose handlers fail.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::io::{self, BufRead, Read, Write};
use std::net::UdpSocket;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use common::{ANY, Echo, PATIENCE, Running, any, ask, connect, tcp};
use socketserver::{
    BaseRequestHandler, DatagramRequestHandler, DatagramRequests, MixIn, Plain, RequestHandler, Server,
    StreamRequestHandler, StreamRequests, ThreadingMixIn, tcp_server,
};

fn survives<M: MixIn<StreamRequests> + Send + 'static>(mix_in: M) {
    let server = tcp_server(any(), Echo::new).unwrap();
    let address = tcp(server.requests());
    let server = Running::start(server.with(mix_in));
    for (wish, failure) in
        [("panic", "the handler panicked: as the client wishes"), ("fail", "the handler failed: as he wishes")]
    {
        let mut client = connect(address);
        client.write_all(wish.as_bytes()).unwrap();
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "the request is closed");
        assert_eq!(server.failure(), failure);
        ask(connect(address), "still there");
    }
    server.stop();
}

#[test]
fn a_handler_that_panics_or_fails_ends_its_own_request() {
    survives(Plain);
    survives(ThreadingMixIn::default());
}

/// A handler with a list from outside, of the steps of its life.
struct Steps {
    list: Arc<Mutex<Vec<&'static str>>>,
    fail: &'static str,
}

impl Steps {
    fn step(&self, name: &'static str) -> io::Result<()> {
        self.list.lock().unwrap().push(name);
        assert!(self.fail != "panic" || name != "handle", "as it should");
        if self.fail == name { Err(io::Error::other(name)) } else { Ok(()) }
    }
}

impl RequestHandler for Steps {
    fn setup(&mut self) -> io::Result<()> {
        self.step("setup")
    }

    fn handle(&mut self) -> io::Result<()> {
        self.step("handle")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.step("finish")
    }
}

#[test]
fn a_handler_is_finished_when_it_was_set_up() {
    let all = ["setup", "handle", "finish"];
    for (fail, steps, failure) in [
        ("nothing", &all[..], None),
        ("setup", &all[..1], Some("the handler failed: setup")),
        ("handle", &all[..], Some("the handler failed: handle")),
        ("finish", &all[..], Some("the handler failed: finish")),
        ("panic", &all[..], Some("the handler panicked: as it should")),
    ] {
        let list = Arc::new(Mutex::new(Vec::new()));
        let given = list.clone();
        let (report, failures) = channel();
        let server = tcp_server(any(), move |_| Steps { list: given.clone(), fail }).unwrap();
        let mut server = server.on_handle_error(move |failure| report.send(failure.to_string()).unwrap());
        let client = connect(tcp(server.requests()));
        assert!(server.handle_request(PATIENCE).unwrap());
        assert_eq!(*list.lock().unwrap(), steps, "{fail}");
        assert_eq!(failures.try_recv().ok().as_deref(), failure);
        drop(client);
    }
}

#[test]
fn requests_can_be_read_and_written_as_files() {
    let shout = |request| {
        let mut handler = StreamRequestHandler::new(request, |client| {
            let mut line = String::new();
            while client.rfile.read_line(&mut line)? > 0 {
                client.wfile().write_all(line.to_uppercase().as_bytes())?;
                line.clear();
            }
            Ok(())
        });
        handler.timeout = Some(PATIENCE);
        handler.disable_nagle_algorithm = true;
        handler
    };
    let mut server = tcp_server(any(), shout).unwrap();
    let mut client = connect(tcp(server.requests()));
    client.write_all(b"one\ntwo\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(server.handle_request(PATIENCE).unwrap());
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "ONE\nTWO\n");

    let requests = DatagramRequests::udp(any()).unwrap();
    let address = requests.server_address().unwrap().as_socket().unwrap();
    let mut server = Server::with_factory(requests, |request| {
        DatagramRequestHandler::new(request, |packet| {
            let mut word = String::new();
            packet.rfile.read_to_string(&mut word)?;
            write!(packet.wfile, "{word}!")
        })
    });
    let client = UdpSocket::bind(ANY).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(b"word", address).unwrap();
    assert!(server.handle_request(PATIENCE).unwrap());
    let mut answer = [0; 8];
    let bytes = client.recv(&mut answer).unwrap();
    assert_eq!(&answer[..bytes], b"word!");
}
