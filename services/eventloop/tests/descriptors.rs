//! Want of descriptors. Alone in its file, so alone in its process: it lowers the process's limit.

mod common;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use common::{Recorder, listener, until};
use eventloop::{EventLoop, Failure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn clients_beyond_the_limit_wait_and_are_served() {
    const CLIENTS: usize = 30;
    let mut event_loop = EventLoop::new().unwrap();
    let failures = Rc::new(Cell::new(0));
    let counter = Rc::clone(&failures);
    event_loop.set_exception_handler(move |failure| match failure {
        Failure::Accept(error) if error.raw_os_error() == Some(libc::EMFILE) => counter.set(counter.get() + 1),
        other => panic!("{other}"),
    });
    let (listener, address) = listener();
    let echo = || Recorder { echo: true, ..Recorder::default() };
    let server = event_loop.create_server(listener.into(), echo).unwrap();
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = TcpStream::connect(address).unwrap();
            client.set_nonblocking(true).unwrap();
            client.write_all(b"?").unwrap();
            client
        })
        .collect();
    let highest = clients.iter().map(AsRawFd::as_raw_fd).max().unwrap();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(highest as u64 + 5), ..before }).unwrap();

    until(&mut event_loop, || failures.get() > 0);
    assert!(server.open_connections() < CLIENTS);
    // Each that is answered leaves, and makes room for one that waits.
    until(&mut event_loop, || {
        clients.retain_mut(|client| client.read(&mut [0]).is_err());
        clients.is_empty()
    });
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(server.accepted_connections(), CLIENTS as u64);
    // A listener that is tried again at every turn fails thousands of times.
    assert!(failures.get() < CLIENTS, "{} failures", failures.get());
}
