//! What the tests share: a recording protocol and a way to run until something is true.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its part")]

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

use eventloop::{EventLoop, Protocol, Transport};
use socket2::{Domain, Socket, Type};

/// Long enough to be reached only by a loop that hangs.
pub const NEVER: Duration = Duration::from_mins(1);

/// Takes turns until `done`; a minute without it fails the test.
pub fn until(event_loop: &mut EventLoop, mut done: impl FnMut() -> bool) {
    let limit = Instant::now() + NEVER;
    while !done() {
        assert!(Instant::now() < limit, "nothing came of it in a minute");
        event_loop.run_once(Some(Duration::from_millis(100))).expect("a turn");
    }
}

pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    (listener, address)
}

/// Two connected Unix streams.
pub fn pair() -> (Socket, Socket) {
    Socket::pair(Domain::UNIX, Type::STREAM, None).expect("socketpair")
}

/// What a [`Recorder`] was told.
#[derive(Default)]
pub struct Record {
    pub calls: Vec<&'static str>,
    pub data: Vec<u8>,
    pub error: Option<io::Error>,
    pub transport: Option<Transport>,
}

pub type Shared = Rc<RefCell<Record>>;

/// Writes down every call; `keep_open` is its answer to an end of file, `echo` sends everything back.
#[derive(Default)]
pub struct Recorder {
    pub record: Shared,
    pub keep_open: bool,
    pub echo: bool,
}

impl Recorder {
    fn note(&self, call: &'static str) {
        self.record.borrow_mut().calls.push(call);
    }
}

impl Protocol for Recorder {
    fn connection_made(&mut self, transport: &Transport) {
        self.note("made");
        self.record.borrow_mut().transport = Some(transport.clone());
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        if self.record.borrow().calls.last() != Some(&"data") {
            self.note("data");
        }
        self.record.borrow_mut().data.extend_from_slice(data);
        if self.echo {
            transport.write(data);
        }
    }

    fn eof_received(&mut self, _transport: &Transport) -> bool {
        self.note("eof");
        self.keep_open
    }

    fn connection_lost(&mut self, transport: &Transport, error: Option<io::Error>) {
        assert!(transport.is_closing());
        self.note("lost");
        self.record.borrow_mut().error = error;
    }

    fn pause_writing(&mut self, _transport: &Transport) {
        self.note("pause");
    }

    fn resume_writing(&mut self, _transport: &Transport) {
        self.note("resume");
    }
}
