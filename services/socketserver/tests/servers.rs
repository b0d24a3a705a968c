//! The framework through real sockets. `ForkingMixIn` needs a process with one thread, which no test is: it is tried through
//! the servers that use it.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socketserver::{
    BaseRequestHandler, DatagramRequest, MixIn, Requests, Server, Shutdown, StreamRequest, TcpRequests, ThreadingMixIn,
    tcp_server, udp_server, unix_datagram_server, unix_stream_server,
};

const PATIENCE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(5);

/// Sends back what it hears until the client is gone; the word `panic` makes it panic.
struct Echo(StreamRequest);

impl BaseRequestHandler for Echo {
    type Request = StreamRequest;

    fn new(request: StreamRequest) -> Self {
        Self(request)
    }

    fn handle(&mut self) -> io::Result<()> {
        let mut data = [0; 64];
        loop {
            let bytes = self.0.socket.read(&mut data)?;
            assert_ne!(&data[..bytes], b"panic", "as the client wishes");
            if bytes == 0 {
                return Ok(());
            }
            self.0.socket.write_all(&data[..bytes])?;
        }
    }
}

struct EchoDatagram(DatagramRequest);

impl BaseRequestHandler for EchoDatagram {
    type Request = DatagramRequest;

    fn new(request: DatagramRequest) -> Self {
        Self(request)
    }

    fn handle(&mut self) -> io::Result<()> {
        self.0.socket.send_to(&self.0.data, &self.0.client_address).map(drop)
    }
}

/// A server in a thread, made there: a server is not for more than one.
struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    failures: Receiver<String>,
    thread: JoinHandle<io::Result<()>>,
}

fn run<M: MixIn<TcpRequests>>(mix_in: impl FnOnce() -> M + Send + 'static) -> Running {
    let (tell, told) = channel();
    let (report, failures) = channel();
    let thread = thread::Builder::new().spawn(move || {
        let server =
            tcp_server::<Echo>("127.0.0.1:0".parse().unwrap())?.with(mix_in()).on_handle_error(move |failure| {
                report.send(format!("{failure:?}")).unwrap();
            });
        let address = server.requests().server_address()?.as_socket().unwrap();
        tell.send((address, server.shutdown_handle())).unwrap();
        server.serve_forever(INTERVAL)
    });
    let (address, shutdown) = told.recv_timeout(PATIENCE).unwrap();
    Running { address, shutdown, failures, thread: thread.unwrap() }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    fn stop(self) {
        self.shutdown.shutdown();
        self.thread.join().unwrap().unwrap();
    }
}

fn ask(mut client: impl Read + Write, text: &str) {
    client.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text.as_bytes());
}

fn plain() -> socketserver::Plain {
    socketserver::Plain
}

#[test]
fn a_plain_server_serves_one_after_the_other() {
    let server = run(plain);
    let first = server.connect();
    ask(&first, "one");
    let mut second = server.connect();
    second.write_all(b"two").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(second.read(&mut [0; 8]).is_err(), "the first one is still there");
    drop(first);
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 3];
    second.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"two");
    drop(second);
    server.stop();
}

#[test]
fn a_threading_server_serves_both_at_once() {
    let server = run(ThreadingMixIn::default);
    let (first, second) = (server.connect(), server.connect());
    ask(&second, "two");
    ask(&first, "one");
    ask(&second, "three");
    drop((first, second));
    server.stop();
}

#[test]
fn a_handler_that_panics_or_fails_ends_its_own_request() {
    for threading in [false, true] {
        let server = if threading { run(ThreadingMixIn::default) } else { run(plain) };
        let mut client = server.connect();
        client.write_all(b"panic").unwrap();
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
        assert!(server.failures.recv_timeout(PATIENCE).unwrap().contains("as the client wishes"));
        let next = server.connect();
        ask(&next, "still there");
        drop(next);
        server.stop();
    }
}

#[test]
fn an_idle_server_can_be_stopped() {
    run(plain).stop();
    run(ThreadingMixIn::default).stop();
}

#[test]
fn one_request_can_be_handled_by_hand() {
    let mut server = tcp_server::<Echo>("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = server.requests().server_address().unwrap().as_socket().unwrap();
    assert!(!server.handle_request(INTERVAL).unwrap(), "nobody came");
    let client = thread::Builder::new().spawn(move || ask(TcpStream::connect(address).unwrap(), "by hand")).unwrap();
    assert!(server.handle_request(PATIENCE).unwrap());
    client.join().unwrap();
}

#[test]
fn a_request_can_be_refused_and_actions_are_called_each_turn() {
    let turns = Arc::new(AtomicUsize::new(0));
    let count = turns.clone();
    let (tell, told) = channel();
    let thread = thread::Builder::new().spawn(move || {
        let server = tcp_server::<Echo>("127.0.0.1:0".parse().unwrap())?
            .on_verify_request(|_| false)
            .on_service_actions(move |_| count.fetch_add(1, Ordering::Relaxed) < 1000);
        tell.send(server.requests().server_address()?.as_socket().unwrap()).unwrap();
        // Ends by itself, when its actions say so.
        server.serve_forever(INTERVAL)
    });
    let mut client = TcpStream::connect(told.recv_timeout(PATIENCE).unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    thread.unwrap().join().unwrap().unwrap();
    assert_eq!(turns.load(Ordering::Relaxed), 1001);
}

#[test]
fn datagrams_are_answered_in_turn_and_in_threads() {
    for threading in [false, true] {
        let server = udp_server::<EchoDatagram>("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = server.requests().server_address().unwrap().as_socket().unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.connect(address).unwrap();
        client.send(b"hello").unwrap();
        if threading {
            handle_one(server.with(ThreadingMixIn::default()));
        } else {
            handle_one(server);
        }
        let mut answer = [0; 8];
        let bytes = client.recv(&mut answer).unwrap();
        assert_eq!(&answer[..bytes], b"hello");
    }
}

fn handle_one<S: Requests, M: MixIn<S>>(mut server: Server<S, M>) {
    assert!(server.handle_request(PATIENCE).unwrap());
}

fn path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("socketserver-test.{}.{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn unix_sockets_are_served_as_well() {
    let (stream, datagram, own) = (path("stream"), path("datagram"), path("client"));
    let mut streams = unix_stream_server::<Echo>(&stream).unwrap();
    let client = stream.clone();
    let client = thread::Builder::new().spawn(move || ask(UnixStream::connect(client).unwrap(), "unix")).unwrap();
    assert!(streams.handle_request(PATIENCE).unwrap());
    client.join().unwrap();

    let datagrams = unix_datagram_server::<EchoDatagram>(&datagram).unwrap();
    let client = UnixDatagram::bind(&own).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.connect(&datagram).unwrap();
    client.send(b"unix").unwrap();
    handle_one(datagrams);
    let mut answer = [0; 8];
    let bytes = client.recv(&mut answer).unwrap();
    assert_eq!(&answer[..bytes], b"unix");
    for path in [stream, datagram, own] {
        std::fs::remove_file(path).unwrap();
    }
}
