//! What goes wrong below the protocols, and who is told of it.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use common::{Recorder, listener, pair, until};
use eventloop::{DatagramProtocol, DatagramTransport, EventLoop, Failure, SockAddr};
use socket2::SockRef;

/// Set in the process of [`without_a_handler_stderr_is_told`] that has no handler.
const NO_HANDLER: &str = "EVENTLOOP_TEST_NO_HANDLER";

fn echo() -> Recorder {
    Recorder { echo: true, ..Recorder::default() }
}

#[test]
fn a_listener_that_fails_is_told_of_and_keeps_nobody_from_being_served() {
    let mut event_loop = EventLoop::new().unwrap();
    let told = Rc::new(RefCell::new(Vec::new()));
    let tell = Rc::clone(&told);
    event_loop.set_exception_handler(move |failure| match failure {
        Failure::Accept(error) => tell.borrow_mut().push(error.raw_os_error()),
        other => panic!("{other}"),
    });
    let (listener, address) = listener();
    let copy = listener.try_clone().unwrap();
    let server = event_loop.create_server(listener.into(), echo).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    until(&mut event_loop, || server.open_connections() == 1);

    // From now on accept(2) fails, and the kernel says in every turn that there is something to accept.
    SockRef::from(&copy).shutdown(std::net::Shutdown::Both).unwrap();
    until(&mut event_loop, || told.borrow().len() >= 3);
    assert!(told.borrow().iter().all(|error| *error == Some(libc::EINVAL)), "{:?}", told.borrow());
    assert!(server.is_serving());

    client.write_all(b"still here").unwrap();
    client.set_nonblocking(true).unwrap();
    let mut heard = [0; 10];
    until(&mut event_loop, || client.read(&mut heard).is_ok());
    assert_eq!(&heard, b"still here");
}

#[test]
fn an_error_of_one_connection_is_told_to_its_protocol_alone() {
    let mut event_loop = EventLoop::new().unwrap();
    event_loop.set_exception_handler(|failure| panic!("{failure}"));
    let (ours, theirs) = pair();
    let recorder = echo();
    let record = Rc::clone(&recorder.record);
    let transport = event_loop.connect_accepted_socket(ours, recorder);
    drop(theirs);
    transport.write(b"to nobody");
    until(&mut event_loop, || record.borrow().calls.last() == Some(&"lost"));
    assert_eq!(record.borrow().error.as_ref().unwrap().kind(), std::io::ErrorKind::BrokenPipe);
}

/// Tells of what it cannot deal with.
struct Teller;

impl DatagramProtocol for Teller {
    fn datagram_received(&mut self, _: &DatagramTransport, _: &[u8], _: &SockAddr, _: bool) {}

    fn error_received(&mut self, transport: &DatagramTransport, error: std::io::Error) {
        transport.event_loop().call_exception_handler(&Failure::Told { what: "receiving", error });
    }
}

#[test]
fn a_protocol_can_tell_of_what_went_wrong() {
    let mut event_loop = EventLoop::new().unwrap();
    let told = Rc::new(RefCell::new(String::new()));
    let tell = Rc::clone(&told);
    event_loop.set_exception_handler(move |failure| *tell.borrow_mut() = failure.to_string());
    let (ours, peer) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    ours.connect(peer.local_addr().unwrap()).unwrap();
    drop(peer);
    let transport = event_loop.create_datagram_endpoint(ours.into(), Teller).unwrap();
    transport.sendto(b"anybody?", None).unwrap();
    until(&mut event_loop, || !told.borrow().is_empty());
    assert_eq!(*told.borrow(), format!("receiving failed: {}", std::io::Error::from_raw_os_error(libc::ECONNREFUSED)));
}

#[test]
fn a_handler_may_hand_on_to_the_default_and_replace_itself() {
    let mut event_loop = EventLoop::new().unwrap();
    let (handle, told) = (event_loop.handle(), Rc::new(Cell::new(0)));
    let count = Rc::clone(&told);
    event_loop.set_exception_handler(move |failure| {
        handle.default_exception_handler(failure);
        let count = Rc::clone(&count);
        handle.set_exception_handler(move |_| count.set(count.get() + 1));
    });
    let fail = || Failure::Told { what: "a test", error: std::io::Error::other("on purpose") };
    event_loop.call_exception_handler(&fail());
    assert_eq!(told.get(), 0);
    event_loop.call_soon(move |event_loop| event_loop.call_exception_handler(&fail()));
    until(&mut event_loop, || told.get() == 1);
}

#[test]
fn without_a_handler_stderr_is_told() {
    if std::env::var_os(NO_HANDLER).is_some() {
        return fail_once_without_a_handler();
    }
    let mut this = Command::new(std::env::current_exe().unwrap());
    let output = this
        .args(["--exact", "without_a_handler_stderr_is_told", "--nocapture"])
        .env(NO_HANDLER, "yes")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let error = std::io::Error::from_raw_os_error(libc::EINVAL);
    assert!(
        output.status.success() && stderr.lines().any(|line| line == format!("accept failed: {error}")),
        "{stderr}"
    );
}

fn fail_once_without_a_handler() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let (listener, _) = listener();
    let copy = listener.try_clone().expect("a copy");
    event_loop.create_server(listener.into(), echo).expect("a server");
    SockRef::from(&copy).shutdown(std::net::Shutdown::Both).expect("a listener that fails");
    event_loop.run_once(Some(Duration::from_mins(1))).expect("a turn");
}

/// Hands its socket on when the connection is over.
struct Giver(Rc<RefCell<Option<eventloop::Socket>>>);

impl eventloop::Protocol for Giver {
    fn data_received(&mut self, transport: &eventloop::Transport, _: &[u8]) {
        assert!(transport.take_socket().is_none(), "the connection stands");
        transport.abort();
    }

    fn connection_lost(&mut self, transport: &eventloop::Transport, _: Option<std::io::Error>) {
        *self.0.borrow_mut() = transport.take_socket();
        assert!(transport.take_socket().is_none() && transport.raw_fd().is_none());
    }
}

#[test]
fn a_socket_can_be_taken_out_of_a_connection_that_is_over() {
    let mut event_loop = EventLoop::new().unwrap();
    let (ours, mut theirs) = pair();
    let taken = Rc::default();
    event_loop.connect_accepted_socket(ours, Giver(Rc::clone(&taken)));
    theirs.write_all(b"that is all").unwrap();
    until(&mut event_loop, || taken.borrow().is_some());
    taken.take().unwrap().write_all(b"goodbye").unwrap();
    let mut heard = String::new();
    theirs.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "goodbye");
}
