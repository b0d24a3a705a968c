//! Servers: pausing, closing, the acceptor, churn, and want of descriptors.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use common::{Recorder, Shared, listener, until};
use eventloop::{Accepted, EventLoop, Failure, Protocol, Transport};

fn echo() -> Recorder {
    Recorder { echo: true, ..Recorder::default() }
}

/// Says something, and is done when it has come back; then the peer or the client itself closes.
struct Visitor {
    number: u32,
    heard: Vec<u8>,
    done: Rc<Cell<u32>>,
    address: SocketAddr,
    left: Rc<Cell<u32>>,
}

impl Visitor {
    fn come(event_loop: &eventloop::LoopHandle, address: SocketAddr, left: &Rc<Cell<u32>>, done: &Rc<Cell<u32>>) {
        if left.get() > 0 {
            left.set(left.get() - 1);
            let (left, done) = (Rc::clone(left), Rc::clone(done));
            let visitor = Self { number: left.get(), heard: Vec::new(), done, address, left };
            event_loop.create_connection(&address.into(), visitor).expect("connect");
        }
    }

    fn words(&self) -> Vec<u8> {
        format!("visitor {}", self.number).into_bytes()
    }
}

impl Protocol for Visitor {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(&self.words());
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.heard.extend_from_slice(data);
        if self.heard == self.words() {
            self.done.set(self.done.get() + 1);
            // Some leave by a reset, so that the server loses connections in every way, in the middle of batches.
            if self.number.is_multiple_of(3) {
                transport.abort();
            } else {
                transport.close();
            }
            Self::come(transport.event_loop(), self.address, &self.left, &self.done);
        }
    }

    fn connection_lost(&mut self, _transport: &Transport, error: Option<io::Error>) {
        assert!(error.is_none(), "visitor {}: {error:?}", self.number);
        assert_eq!(self.heard, self.words(), "visitor {} was not answered", self.number);
    }
}

#[test]
fn churn_of_two_thousand_loses_nobody() {
    let mut event_loop = EventLoop::new().unwrap();
    let failures = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&failures);
    event_loop.set_exception_handler(move |failure| heard.borrow_mut().push(failure.to_string()));
    let (listener, address) = listener();
    let server = event_loop.create_server(listener.into(), echo).unwrap();
    let (left, done) = (Rc::new(Cell::new(2000)), Rc::new(Cell::new(0)));
    for _ in 0..50 {
        Visitor::come(&event_loop, address, &left, &done);
    }
    until(&mut event_loop, || done.get() == 2000 && server.open_connections() == 0);
    assert_eq!(server.accepted_connections(), 2000);
    assert_eq!(*failures.borrow(), Vec::<String>::new());
}

#[test]
fn a_paused_server_leaves_clients_in_the_backlog() {
    let mut event_loop = EventLoop::new().unwrap();
    let (listener, address) = listener();
    let server = event_loop.create_server(listener.into(), echo).unwrap();
    let mut early = TcpStream::connect(address).unwrap();
    until(&mut event_loop, || server.open_connections() == 1);
    server.pause().expect("pause");
    assert!(!server.is_serving());
    let _late = TcpStream::connect(address).unwrap();
    early.write_all(b"still served").unwrap();
    early.set_nonblocking(true).unwrap();
    let mut answer = [0; 12];
    until(&mut event_loop, || early.peek(&mut answer).is_ok_and(|length| length == 12));
    assert_eq!(event_loop.run_once(Some(Duration::ZERO)).unwrap(), 0);
    assert_eq!(server.open_connections(), 1);
    server.resume().unwrap();
    until(&mut event_loop, || server.open_connections() == 2);
    // Closing: those in the backlog are taken first, if the owner wants.
    server.pause().expect("pause");
    let mut last = TcpStream::connect(address).unwrap();
    assert_eq!(server.accept_waiting(usize::MAX), 1);
    server.close();
    server.close();
    assert!(!server.is_serving() && server.raw_fd().is_none());
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    last.write_all(b"owed").unwrap();
    last.set_nonblocking(true).unwrap();
    until(&mut event_loop, || last.peek(&mut [0; 4]).is_ok_and(|length| length == 4));
    // The owner says good-bye to all three.
    let mut told = 0;
    server.for_each(|_: &mut Recorder, transport| {
        told += 1;
        transport.close();
    });
    assert_eq!(told, 3);
    until(&mut event_loop, || server.open_connections() == 0);
}

#[test]
fn the_acceptor_may_turn_clients_away() {
    let mut event_loop = EventLoop::new().unwrap();
    let (listener, address) = listener();
    let (record, calls) = (Shared::default(), Rc::new(Cell::new(0)));
    let (shared, counter) = (Rc::clone(&record), Rc::clone(&calls));
    let server = event_loop
        .create_server_with(listener.into(), move |listener| {
            let (socket, _) = listener.accept()?;
            counter.set(counter.get() + 1);
            if counter.get() == 1 {
                return Ok(None);
            }
            Ok(Some(Accepted::new(socket, Recorder { record: Rc::clone(&shared), ..Recorder::default() })))
        })
        .unwrap();
    let mut refused = TcpStream::connect(address).unwrap();
    let mut taken = TcpStream::connect(address).unwrap();
    taken.write_all(b"hello").unwrap();
    until(&mut event_loop, || record.borrow().data == b"hello");
    assert_eq!(refused.read(&mut [0]).unwrap(), 0);
    assert_eq!((calls.get(), server.accepted_connections()), (2, 1));
}

#[test]
fn a_failing_accept_rests_and_comes_back() {
    for panics in [false, true] {
        let mut event_loop = EventLoop::new().unwrap();
        let failures = Rc::new(Cell::new(0));
        let counter = Rc::clone(&failures);
        event_loop.set_exception_handler(move |failure| {
            assert_eq!(panics, matches!(failure, Failure::Panic { callback: "accept", .. }), "{failure}");
            counter.set(counter.get() + 1);
        });
        let (listener, address) = listener();
        let mut tries = 0;
        let server = event_loop
            .create_server_with(listener.into(), move |listener| {
                tries += 1;
                if tries <= 3 {
                    assert!(!panics, "as told");
                    return Err(io::Error::from_raw_os_error(libc::EMFILE));
                }
                let (socket, _) = listener.accept()?;
                Ok(Some(Accepted::new(socket, echo())))
            })
            .unwrap();
        let _client = TcpStream::connect(address).unwrap();
        until(&mut event_loop, || server.open_connections() == 1);
        assert_eq!(failures.get(), 3, "one report a try");
        // Three rests, the client, and now and then a turn for the clock: not thousands.
        assert!(event_loop.stats().events < 10, "{:?}", event_loop.stats());
    }
}

#[test]
fn accepting_is_bounded_per_turn() {
    let mut event_loop = EventLoop::new().unwrap();
    let (listener, address) = listener();
    let server = event_loop.create_server(listener.into(), echo).unwrap();
    let clients: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    event_loop.run_once(None).unwrap();
    assert_eq!(server.open_connections(), eventloop::ACCEPTS_PER_TURN);
    until(&mut event_loop, || server.open_connections() == clients.len());
    drop(clients);
    until(&mut event_loop, || server.open_connections() == 0);
}

/// Pauses the server that it came from when it is the second.
struct Doorkeeper {
    server: Rc<RefCell<Option<eventloop::ServerHandle>>>,
}

impl Protocol for Doorkeeper {
    fn connection_made(&mut self, _transport: &Transport) {
        if let Some(server) = self.server.borrow().as_ref().filter(|server| server.open_connections() == 2) {
            server.pause().expect("pause");
        }
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}

    fn connection_lost(&mut self, _transport: &Transport, _error: Option<io::Error>) {
        self.server.borrow().as_ref().expect("a server").resume().expect("resume");
    }
}

#[test]
fn a_protocol_may_keep_the_door() {
    let mut event_loop = EventLoop::new().unwrap();
    let (listener, address) = listener();
    let slot = Rc::new(RefCell::new(None));
    let shared = Rc::clone(&slot);
    let server = event_loop.create_server(listener.into(), move || Doorkeeper { server: Rc::clone(&shared) }).unwrap();
    *slot.borrow_mut() = Some(server.clone());
    let mut clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    until(&mut event_loop, || server.open_connections() == 2);
    assert_eq!(event_loop.run_once(Some(Duration::ZERO)).unwrap(), 0, "the third waits outside");
    drop(clients.remove(0));
    until(&mut event_loop, || server.accepted_connections() == 3);
    assert_eq!(server.open_connections(), 2);
    slot.take();
    server.close();
}
