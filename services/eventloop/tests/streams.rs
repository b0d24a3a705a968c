//! Stream connections through real sockets.

mod common;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use common::{Recorder, listener, pair, until};
use eventloop::{EventLoop, Failure, Protocol, Transport};

#[test]
fn echo_both_ways_over_tcp() {
    let mut event_loop = EventLoop::new().unwrap();
    let (listener, address) = listener();
    let server = event_loop.create_server(listener.into(), || Recorder { echo: true, ..Recorder::default() }).unwrap();
    let client = Recorder::default();
    let record = Rc::clone(&client.record);
    let transport = event_loop.create_connection(&address.into(), client).unwrap();
    transport.write(b"written before the connection stands, ");
    until(&mut event_loop, || record.borrow().transport.is_some());
    assert!(transport.socket_name().unwrap().as_socket().is_some());
    assert_eq!(transport.peer_name().unwrap().as_socket(), Some(address));
    transport.write(b"and after");
    until(&mut event_loop, || record.borrow().data == b"written before the connection stands, and after");
    assert_eq!(server.open_connections(), 1);
    transport.close();
    transport.write(b"dropped");
    until(&mut event_loop, || server.open_connections() == 0 && transport.raw_fd().is_none());
    assert_eq!(record.borrow().calls, ["made", "data", "lost"]);
    assert!(record.borrow().error.is_none());
    assert_eq!(server.accepted_connections(), 1);
}

#[test]
fn a_connection_that_is_refused_is_lost_without_being_made() {
    let mut event_loop = EventLoop::new().unwrap();
    let (listener, address) = listener();
    drop(listener);
    let client = Recorder::default();
    let record = Rc::clone(&client.record);
    event_loop.create_connection(&address.into(), client).unwrap();
    until(&mut event_loop, || record.borrow().calls.contains(&"lost"));
    assert_eq!(record.borrow().calls, ["lost"]);
    assert_eq!(record.borrow().error.as_ref().unwrap().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn half_closing_delivers_the_rest_first_and_leaves_the_other_half_open() {
    let mut event_loop = EventLoop::with_read_buffer(1000).unwrap();
    let (mut peer, ours) = pair();
    let protocol = Recorder { keep_open: true, ..Recorder::default() };
    let record = Rc::clone(&protocol.record);
    // More than fits one read, and the end of file, are there before the first wake-up.
    let sent: Vec<u8> = (0..50_000_u32).map(|n| n as u8).collect();
    peer.write_all(&sent).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let transport = event_loop.connect_accepted_socket(ours, protocol);
    until(&mut event_loop, || record.borrow().calls.contains(&"eof"));
    assert_eq!(record.borrow().data, sent);
    assert_eq!(event_loop.run_once(Some(Duration::ZERO)).unwrap(), 0, "a read end of file must not wake the loop");
    transport.write(b"answer");
    transport.write_eof();
    transport.write(b"too late");
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
    transport.close();
    until(&mut event_loop, || record.borrow().calls.contains(&"lost"));
    assert_eq!(record.borrow().calls, ["made", "data", "eof", "lost"]);
}

#[test]
fn an_end_of_file_closes_by_default_after_flushing() {
    let mut event_loop = EventLoop::new().unwrap();
    let (mut peer, ours) = pair();
    let protocol = Recorder { echo: true, ..Recorder::default() };
    let record = Rc::clone(&protocol.record);
    peer.write_all(b"question").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    event_loop.connect_accepted_socket(ours, protocol);
    until(&mut event_loop, || record.borrow().calls.contains(&"lost"));
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "question");
    assert_eq!(record.borrow().calls, ["made", "data", "eof", "lost"]);
}

#[test]
fn a_large_write_pauses_and_resumes_and_arrives_whole() {
    let mut event_loop = EventLoop::new().unwrap();
    let (mut peer, ours) = pair();
    let protocol = Recorder::default();
    let record = Rc::clone(&protocol.record);
    let transport = event_loop.connect_accepted_socket(ours, protocol);
    assert_eq!(transport.get_write_buffer_limits(), (65_536, 16_384), "asyncio's own");
    transport.set_write_buffer_limits(1_000, 10_000);
    assert_eq!(transport.get_write_buffer_limits(), (1_000, 1_000), "the low mark is never the higher one");
    transport.set_write_buffer_limits(10_000, 1_000);
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
    transport.write(&sent);
    transport.write_eof();
    assert!(transport.get_write_buffer_size() > 10_000);
    until(&mut event_loop, || record.borrow().calls.contains(&"pause"));
    peer.set_nonblocking(true).unwrap();
    let mut received = Vec::new();
    let mut ended = false;
    until(&mut event_loop, || {
        let mut piece = [0; 16_384];
        while let Ok(length) = peer.read(&mut piece) {
            received.extend_from_slice(&piece[..length]);
            ended = length == 0;
            if ended {
                break;
            }
        }
        ended
    });
    assert!(received == sent, "{} of {} bytes, or not the same", received.len(), sent.len());
    until(&mut event_loop, || record.borrow().calls.contains(&"resume"));
    assert_eq!(record.borrow().calls, ["made", "pause", "resume"]);
    assert_eq!(transport.get_write_buffer_size(), 0);
}

#[test]
fn close_flushes_and_abort_does_not() {
    let mut event_loop = EventLoop::new().unwrap();
    let big = vec![7; 3_000_000];
    for abort in [false, true] {
        let (mut peer, ours) = pair();
        let protocol = Recorder::default();
        let record = Rc::clone(&protocol.record);
        let transport = event_loop.connect_accepted_socket(ours, protocol);
        transport.write(&big);
        if abort {
            transport.abort();
        } else {
            transport.close();
        }
        transport.close();
        let reader = std::thread::Builder::new().name("reader".into()).spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).map(|_| received.len())
        });
        until(&mut event_loop, || record.borrow().calls.contains(&"lost"));
        let received = reader.unwrap().join().unwrap().unwrap();
        assert_eq!(received == big.len(), !abort, "{received} bytes");
        assert_eq!(record.borrow().calls, ["made", "lost"]);
        assert!(record.borrow().error.is_none());
    }
}

#[test]
fn reading_can_be_paused() {
    let mut event_loop = EventLoop::new().unwrap();
    let (mut peer, ours) = pair();
    let protocol = Recorder::default();
    let record = Rc::clone(&protocol.record);
    let transport = event_loop.connect_accepted_socket(ours, protocol);
    assert!(transport.is_reading());
    transport.pause_reading();
    transport.pause_reading();
    assert!(!transport.is_reading());
    peer.write_all(b"later").unwrap();
    drop(peer);
    for _ in 0..3 {
        assert_eq!(event_loop.run_once(Some(Duration::ZERO)).unwrap(), 0, "a paused, hung-up peer must not wake us");
    }
    transport.resume_reading();
    assert!(transport.is_reading());
    until(&mut event_loop, || record.borrow().calls.contains(&"lost"));
    assert!(!transport.is_reading(), "it is gone");
    assert_eq!(record.borrow().data, b"later");
    assert_eq!(record.borrow().calls, ["made", "data", "eof", "lost"]);
}

#[test]
fn a_reset_is_told_as_an_error() {
    let mut event_loop = EventLoop::new().unwrap();
    let (listener, address) = listener();
    let record = common::Shared::default();
    let shared = Rc::clone(&record);
    event_loop
        .create_server(listener.into(), move || Recorder { record: Rc::clone(&shared), ..Recorder::default() })
        .unwrap();
    let peer = TcpStream::connect(address).unwrap();
    until(&mut event_loop, || record.borrow().transport.is_some());
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    until(&mut event_loop, || record.borrow().calls.contains(&"lost"));
    assert_eq!(record.borrow().error.as_ref().unwrap().kind(), std::io::ErrorKind::ConnectionReset);
}

/// Panics when told to, in the method that it is told.
struct Fragile;

impl Protocol for Fragile {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        match data {
            b"panic" => panic!("as told"),
            b"later" => transport.call_soon(|_: &mut Self, _| panic!("as told")),
            _ => transport.write(data),
        }
    }

    fn connection_lost(&mut self, _transport: &Transport, _error: Option<std::io::Error>) {
        panic!("in connection_lost");
    }
}

#[test]
fn a_panic_costs_one_connection() {
    let mut event_loop = EventLoop::new().unwrap();
    let (listener, address) = listener();
    let failures = Rc::new(std::cell::RefCell::new(Vec::new()));
    let heard = Rc::clone(&failures);
    event_loop.set_exception_handler(move |failure| match failure {
        Failure::Panic { callback, message } => heard.borrow_mut().push((*callback, message.clone())),
        other => panic!("{other}"),
    });
    let server = event_loop.create_server(listener.into(), || Fragile).unwrap();
    let mut good = TcpStream::connect(address).unwrap();
    for (order, callback) in [(b"panic", "data_received"), (b"later", "call_soon")] {
        let mut bad = TcpStream::connect(address).unwrap();
        bad.write_all(order).unwrap();
        until(&mut event_loop, || failures.borrow().len() == 2);
        assert_eq!(bad.read(&mut [0]).unwrap(), 0);
        let expected = [(callback, "as told".to_owned()), ("connection_lost", "in connection_lost".to_owned())];
        assert_eq!(failures.take(), expected);
    }
    event_loop.call_soon(|_| panic!("nobody's"));
    good.write_all(b"still here").unwrap();
    until(&mut event_loop, || failures.borrow().len() == 1);
    good.set_nonblocking(true).unwrap();
    let mut answer = [0; 10];
    until(&mut event_loop, || good.peek(&mut answer).is_ok_and(|length| length == 10));
    assert_eq!(&answer, b"still here");
    assert_eq!(server.open_connections(), 1);
}

/// Answers after a while, by a timer on its own transport.
struct Slow {
    answered: Rc<Cell<u32>>,
}

impl Protocol for Slow {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let answer = data.to_vec();
        transport.call_later(Duration::from_millis(1), move |me: &mut Self, transport| {
            me.answered.set(me.answered.get() + 1);
            transport.write(&answer);
        });
    }
}

#[test]
fn a_protocol_answers_later_and_not_after_its_end() {
    let mut event_loop = EventLoop::new().unwrap();
    let answered = Rc::new(Cell::new(0));
    let (mut peer, ours) = pair();
    event_loop.connect_accepted_socket(ours, Slow { answered: Rc::clone(&answered) });
    peer.write_all(b"one").unwrap();
    until(&mut event_loop, || answered.get() == 1);
    let mut answer = [0; 3];
    peer.read_exact(&mut answer).unwrap();
    peer.write_all(b"two").unwrap();
    drop(peer);
    let passed = Rc::new(Cell::new(false));
    let seen = Rc::clone(&passed);
    // Both are read, the connection ends, and the timer of "two" finds nobody; then comes ours.
    until(&mut event_loop, || Rc::strong_count(&answered) == 1);
    event_loop.call_later(Duration::from_millis(2), move |_| seen.set(true));
    until(&mut event_loop, || passed.get());
    assert_eq!(answered.get(), 1);
}

#[test]
fn dropping_the_loop_drops_protocols_that_hold_its_handles() {
    let record = common::Shared::default();
    let (peer, ours) = pair();
    {
        let event_loop = EventLoop::new().unwrap();
        event_loop.connect_accepted_socket(ours, Recorder { record: Rc::clone(&record), ..Recorder::default() });
        let kept = Rc::clone(&record);
        event_loop.call_later(common::NEVER, move |_| drop(kept));
        let (listener, _) = listener();
        let (kept, handle) = (Rc::clone(&record), event_loop.handle());
        let server = event_loop.create_server(listener.into(), move || {
            let _ = &handle;
            Recorder { record: Rc::clone(&kept), ..Recorder::default() }
        });
        assert!(server.unwrap().is_serving());
    }
    assert_eq!(Rc::strong_count(&record), 1);
    let transport = record.borrow_mut().transport.take().unwrap();
    transport.write(b"nobody");
    assert!(transport.is_closing());
    assert_eq!((&peer).read(&mut [0]).unwrap(), 0);
}
