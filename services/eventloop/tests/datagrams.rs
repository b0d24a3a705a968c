//! Datagram endpoints through real sockets.

mod common;

use std::cell::RefCell;
use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use std::time::Duration;

use common::until;
use eventloop::{DatagramProtocol, DatagramTransport, EventLoop};
use socket2::SockAddr;

#[derive(Default)]
struct Record {
    made: u32,
    received: Vec<(Vec<u8>, bool)>,
    errors: Vec<io::ErrorKind>,
    lost: bool,
}

#[derive(Default)]
struct Echo {
    record: Rc<RefCell<Record>>,
}

impl DatagramProtocol for Echo {
    fn connection_made(&mut self, _transport: &DatagramTransport) {
        self.record.borrow_mut().made += 1;
    }

    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: &SockAddr, truncated: bool) {
        self.record.borrow_mut().received.push((data.to_vec(), truncated));
        assert!(data != b"panic", "as told");
        let reply_to = Some(from).filter(|from| !from.is_unnamed());
        if let Err(error) = transport.sendto(data, reply_to) {
            self.record.borrow_mut().errors.push(error.kind());
        }
    }

    fn error_received(&mut self, _transport: &DatagramTransport, error: io::Error) {
        self.record.borrow_mut().errors.push(error.kind());
    }

    fn connection_lost(&mut self, _transport: &DatagramTransport, error: Option<io::Error>) {
        assert!(error.is_none());
        self.record.borrow_mut().lost = true;
    }
}

fn udp_pair() -> (UdpSocket, UdpSocket) {
    let server = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let client = UdpSocket::bind("127.0.0.1:0").expect("bind");
    client.connect(server.local_addr().expect("address")).expect("connect");
    (server, client)
}

#[test]
fn udp_is_echoed_and_truncation_is_told() {
    let mut event_loop = EventLoop::with_read_buffer(64).unwrap();
    let (server, client) = udp_pair();
    let echo = Echo::default();
    let record = Rc::clone(&echo.record);
    let transport = event_loop.create_datagram_endpoint(server.into(), echo).unwrap();
    for datagram in [&b"short"[..], b"", &[1; 64], &[2; 65]] {
        client.send(datagram).unwrap();
    }
    until(&mut event_loop, || record.borrow().received.len() == 4);
    let expected = [(b"short".to_vec(), false), (vec![], false), (vec![1; 64], false), (vec![2; 64], true)];
    assert_eq!(record.borrow().received, expected);
    let mut answer = [0; 100];
    assert_eq!(client.recv(&mut answer).unwrap(), 5);
    assert_eq!(&answer[..5], b"short");
    transport.close();
    until(&mut event_loop, || record.borrow().lost);
    assert_eq!(transport.sendto(b"x", None).unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert_eq!(record.borrow().made, 1);
}

#[test]
fn receiving_is_bounded_per_turn_and_can_be_paused() {
    let mut event_loop = EventLoop::new().unwrap();
    let (server, client) = udp_pair();
    let echo = Echo::default();
    let record = Rc::clone(&echo.record);
    let transport = event_loop.create_datagram_endpoint(server.into(), echo).unwrap();
    transport.pause_reading();
    for _ in 0..100 {
        client.send(b"x").unwrap();
    }
    assert_eq!(event_loop.run_once(Some(Duration::ZERO)).unwrap(), 0);
    transport.resume_reading();
    event_loop.run_once(None).unwrap();
    assert_eq!(record.borrow().received.len(), 64);
    until(&mut event_loop, || record.borrow().received.len() == 100);
}

#[test]
fn unix_datagrams_are_echoed_to_named_and_survive_unnamed_peers() {
    let directory = std::env::temp_dir().join(format!("eventloop-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let (server_path, client_path) = (directory.join("server"), directory.join("client"));
    let mut event_loop = EventLoop::new().unwrap();
    let echo = Echo::default();
    let record = Rc::clone(&echo.record);
    event_loop.create_datagram_endpoint(UnixDatagram::bind(&server_path).unwrap().into(), echo).unwrap();
    let client = UnixDatagram::bind(&client_path).unwrap();
    UnixDatagram::unbound().unwrap().send_to(b"nameless", &server_path).unwrap();
    client.send_to(b"named", &server_path).unwrap();
    until(&mut event_loop, || record.borrow().received.len() == 2);
    let mut answer = [0; 100];
    assert_eq!(client.recv(&mut answer).unwrap(), 5);
    assert_eq!(record.borrow().errors, [io::ErrorKind::NotConnected]);
    // A client that never reads: its buffer is full after a few, and we are told instead of waiting.
    let sent = (0..1000).find(|_| {
        client.send_to(b"unread", &server_path).unwrap();
        let before = record.borrow().received.len();
        until(&mut event_loop, || record.borrow().received.len() > before);
        record.borrow().errors.contains(&io::ErrorKind::WouldBlock)
    });
    assert!(sent.is_some(), "every datagram was taken");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_refusal_is_told_and_a_panic_costs_one_datagram() {
    let mut event_loop = EventLoop::new().unwrap();
    let failures = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&failures);
    event_loop.set_exception_handler(move |failure| heard.borrow_mut().push(failure.to_string()));
    let (server, client) = udp_pair();
    drop(server);
    let echo = Echo::default();
    let record = Rc::clone(&echo.record);
    let gone = client.peer_addr().unwrap();
    let transport = event_loop.create_datagram_endpoint(client.into(), echo).unwrap();
    assert_eq!(transport.peer_name().unwrap().as_socket(), Some(gone));
    transport.sendto(b"anybody?", None).unwrap();
    until(&mut event_loop, || !record.borrow().errors.is_empty());
    assert_eq!(record.borrow().errors, [io::ErrorKind::ConnectionRefused]);

    let (server, client) = udp_pair();
    let transport = event_loop.create_datagram_endpoint(server.into(), Echo { record: Rc::clone(&record) }).unwrap();
    assert_eq!(transport.peer_name().unwrap_err().kind(), io::ErrorKind::NotConnected, "it talks with everybody");
    client.send(b"panic").unwrap();
    client.send(b"go on").unwrap();
    until(&mut event_loop, || record.borrow().received.len() == 2);
    assert_eq!(*failures.borrow(), ["datagram_received panicked: as told"]);
    assert_eq!(client.recv(&mut [0; 100]).unwrap(), 5);
}
