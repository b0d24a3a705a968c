//! The framework through real sockets: plain, and with a thread for each request. Processes are in `forking.rs`.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::VecDeque;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socketserver::{
    BaseRequestHandler, DatagramRequest, DatagramRequestHandler, DatagramRequests, Failure, ForkingMixIn, Listening,
    MixIn, Plain, RequestHandler, Requests, Server, Shutdown, StreamRequest, StreamRequestHandler, StreamRequests,
    ThreadingMixIn, tcp_server, udp_server, unix_datagram_server, unix_stream_server,
};

const PATIENCE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(5);
const ANY: &str = "127.0.0.1:0";

/// Sends back what it hears until the client is gone; some words have effects.
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
            match &data[..bytes] {
                b"" => return Ok(()),
                b"panic" => panic!("as the client wishes"),
                b"fail" => return Err(io::Error::other("as he wishes")),
                words => self.0.socket.write_all(words)?,
            }
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

/// A server in a thread.
struct Running {
    shutdown: Shutdown,
    failures: Receiver<String>,
    thread: JoinHandle<io::Result<()>>,
}

impl Running {
    fn start<S, M>(server: Server<S, M>) -> Self
    where
        S: Requests + Send + 'static,
        M: MixIn<S> + Send + 'static,
    {
        let (report, failures) = channel();
        let server = server.on_handle_error(move |failure| report.send(failure.to_string()).unwrap());
        let shutdown = server.shutdown_handle();
        let thread = thread::Builder::new().spawn(move || server.serve_forever(INTERVAL)).unwrap();
        Self { shutdown, failures, thread }
    }

    fn failure(&self) -> String {
        self.failures.recv_timeout(PATIENCE).unwrap()
    }

    fn stop(self) {
        self.shutdown.shutdown();
        self.thread.join().unwrap().unwrap();
    }
}

fn any() -> SocketAddr {
    ANY.parse().unwrap()
}

fn tcp(requests: &StreamRequests) -> SocketAddr {
    requests.server_address().unwrap().as_socket().unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

fn ask(mut client: impl Read + Write, text: &str) {
    client.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text.as_bytes());
}

fn path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("socketserver-test.{}.{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn every_kind_answers<M>(name: &str, mix_in: fn() -> M)
where
    M: MixIn<StreamRequests> + MixIn<DatagramRequests> + Send + 'static,
{
    let server = tcp_server(any(), Echo::new).unwrap();
    let address = tcp(server.requests());
    let server = Running::start(server.with(mix_in()));
    ask(connect(address), "tcp");
    server.stop();

    let server = udp_server(any(), EchoDatagram::new).unwrap();
    let address = server.requests().server_address().unwrap().as_socket().unwrap();
    let server = Running::start(server.with(mix_in()));
    let client = UdpSocket::bind(ANY).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 16];
    client.send_to(b"udp", address).unwrap();
    let bytes = client.recv(&mut answer).unwrap();
    assert_eq!(&answer[..bytes], b"udp");
    server.stop();

    let stream = path(&format!("{name}.stream"));
    let server = Running::start(unix_stream_server(&stream, Echo::new).unwrap().with(mix_in()));
    let client = UnixStream::connect(&stream).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    ask(client, "unix");
    server.stop();

    let (datagram, own) = (path(&format!("{name}.datagram")), path(&format!("{name}.client")));
    let server = Running::start(unix_datagram_server(&datagram, EchoDatagram::new).unwrap().with(mix_in()));
    let client = UnixDatagram::bind(&own).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(b"unixgram", &datagram).unwrap();
    let bytes = client.recv(&mut answer).unwrap();
    assert_eq!(&answer[..bytes], b"unixgram");
    server.stop();
    for path in [stream, datagram, own] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn every_kind_of_server_answers_plainly() {
    every_kind_answers("plain", || Plain);
}

#[test]
fn every_kind_of_server_answers_with_threads() {
    every_kind_answers("threads", ThreadingMixIn::default);
}

/// A server whose handlers say when they start and end, and hold a client until he is gone.
fn holding() -> (Server<StreamRequests>, SocketAddr, Receiver<String>) {
    let (tell, told): (Sender<String>, _) = channel();
    let requests = StreamRequests::tcp(any(), Listening::default()).unwrap();
    let address = tcp(&requests);
    let server = Server::with_function(requests, move |mut request: StreamRequest| {
        let mut name = [0];
        request.socket.read_exact(&mut name)?;
        let name = char::from(name[0]);
        tell.send(format!("start {name}")).unwrap();
        let gone = request.socket.read(&mut [0]).map(drop);
        tell.send(format!("end {name}")).unwrap();
        gone
    });
    (server, address, told)
}

fn named(address: SocketAddr, name: u8) -> TcpStream {
    let mut client = connect(address);
    client.write_all(&[name]).unwrap();
    client
}

#[track_caller]
fn expect(told: &Receiver<String>, text: &str) {
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), text);
}

#[test]
fn a_plain_server_serves_one_after_the_other() {
    let (server, address, told) = holding();
    // Both are there, and have asked, before the server starts.
    let (first, second) = (named(address, b'a'), named(address, b'b'));
    let server = Running::start(server);
    expect(&told, "start a");
    drop(first);
    expect(&told, "end a");
    expect(&told, "start b");
    drop(second);
    expect(&told, "end b");
    server.stop();
}

#[test]
fn a_threading_server_serves_both_at_once() {
    let (server, address, told) = holding();
    let server = Running::start(server.with(ThreadingMixIn::default()));
    let first = named(address, b'a');
    expect(&told, "start a");
    let second = named(address, b'b');
    expect(&told, "start b");
    drop(second);
    expect(&told, "end b");
    drop(first);
    expect(&told, "end a");
    server.stop();
}

#[test]
fn closing_waits_for_threads_and_the_listener_goes_first() {
    let (server, address, told) = holding();
    let server = Running::start(server.with(ThreadingMixIn::default()));
    let client = named(address, b'a');
    expect(&told, "start a");
    server.shutdown.shutdown();
    let start = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(start.elapsed() < PATIENCE, "the listener is still open");
        thread::yield_now();
    }
    drop(client);
    server.stop();
    // The handler has ended when the server has.
    assert_eq!(told.try_iter().last().unwrap(), "end a");
}

#[test]
fn closing_does_not_wait_for_daemon_threads() {
    let (server, address, told) = holding();
    let mut mix_in = ThreadingMixIn::default();
    mix_in.daemon_threads = true;
    let server = Running::start(server.with(mix_in));
    let client = named(address, b'a');
    expect(&told, "start a");
    server.stop();
    assert!(told.try_recv().is_err(), "the handler still holds its client");
    drop(client);
    expect(&told, "end a");
}

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
fn an_idle_server_can_be_stopped() {
    Running::start(tcp_server(any(), Echo::new).unwrap()).stop();
    Running::start(tcp_server(any(), Echo::new).unwrap().with(ThreadingMixIn::default())).stop();
    Running::start(udp_server(any(), EchoDatagram::new).unwrap()).stop();
}

/// Is told to stop while it waits.
struct Interrupted(Arc<OnceLock<Shutdown>>);

impl Requests for Interrupted {
    type Request = ();
    type Ticket = ();

    fn wait(&self, _: Duration) -> io::Result<bool> {
        self.0.get().unwrap().shutdown();
        Ok(true)
    }

    fn get_request(&mut self) -> io::Result<Option<()>> {
        panic!("nobody is to be taken any more")
    }

    fn ticket(&self, (): &()) {}

    fn close_in_child(&mut self) {}
}

#[test]
fn a_server_that_was_told_to_stop_takes_nobody() {
    let shutdown = Arc::new(OnceLock::new());
    let server = Server::with_function(Interrupted(shutdown.clone()), |()| Ok(()));
    shutdown.set(server.shutdown_handle()).unwrap();
    server.serve_forever(INTERVAL).unwrap();
}

#[test]
fn one_request_can_be_handled_by_hand() {
    let mut server = tcp_server(any(), Echo::new).unwrap();
    let address = tcp(server.requests());
    assert!(!server.handle_request(INTERVAL).unwrap(), "nobody came");
    assert!(!server.handle_request(Duration::ZERO).unwrap(), "nobody is there");
    let client = thread::Builder::new().spawn(move || ask(connect(address), "by hand")).unwrap();
    assert!(server.handle_request(Duration::MAX).unwrap());
    client.join().unwrap();
    server.server_close();
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_request_can_be_refused_and_actions_are_called_each_turn() {
    let turns = Arc::new(AtomicUsize::new(0));
    let count = turns.clone();
    let refused = Arc::new(AtomicUsize::new(0));
    let (looked, verified) = (refused.clone(), refused);
    let server = tcp_server(any(), Echo::new)
        .unwrap()
        .on_verify_request(move |request| {
            assert!(request.client_address.as_socket().unwrap().ip().is_loopback());
            verified.fetch_add(1, Ordering::Relaxed);
            false
        })
        .on_service_actions(move |requests| {
            assert!(requests.socket().is_some());
            count.fetch_add(1, Ordering::Relaxed);
            looked.load(Ordering::Relaxed) == 0
        });
    let mut client = connect(tcp(server.requests()));
    // Ends by itself, when its actions say so.
    Running::start(server).thread.join().unwrap().unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    assert!(turns.load(Ordering::Relaxed) >= 2);
}

#[test]
fn an_owner_can_have_it_wait_in_the_call_itself() {
    let bound = || StreamRequests::tcp(any(), Listening { request_queue_size: 1, allow_reuse_address: false }).unwrap();
    let requests = bound().wait_in_accept();
    let address = tcp(&requests);
    let (tell, told) = channel();
    let server = Running::start(Server::with_function(requests, move |request: StreamRequest| {
        tell.send(request.socket.read_timeout().unwrap()).unwrap();
        BaseRequestHandler::handle(&mut Echo::new(request))
    }));
    for _ in 0..2 {
        // The second one comes when the listener has its timeout for sure.
        ask(connect(address), "tcp");
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), None, "the listener's timeout is not the client's");
    }
    server.stop();
    // Idle; and a time of nothing is not for ever.
    Running::start(Server::new::<Echo>(bound().wait_in_accept())).stop();
    let requests = DatagramRequests::udp(any()).unwrap().wait_in_receive();
    let mut server = Server::new::<EchoDatagram>(requests);
    assert!(!server.handle_request(Duration::ZERO).unwrap());
    assert!(!server.handle_request(INTERVAL).unwrap());
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

/// Requests that come from no socket: anything can be a source.
struct Listed(VecDeque<io::Result<u32>>);

impl Listed {
    fn goes_on(&mut self) -> bool {
        !self.0.is_empty()
    }
}

impl Requests for Listed {
    type Request = u32;
    type Ticket = Option<usize>;

    fn wait(&self, _: Duration) -> io::Result<bool> {
        Ok(true)
    }

    fn get_request(&mut self) -> io::Result<Option<u32>> {
        self.0.pop_front().transpose()
    }

    fn ticket(&self, _: &u32) -> Option<usize> {
        None
    }

    fn close_in_child(&mut self) {}
}

#[test]
fn anything_can_be_a_source_and_one_that_fails_is_told_of() {
    let list = [Ok(1), Err(io::Error::other("no descriptor")), Ok(2)];
    let sum = Arc::new(AtomicUsize::new(0));
    let (add, (report, failures)) = (sum.clone(), channel());
    let server = Server::with_function(Listed(list.into()), move |number| {
        add.fetch_add(number as usize, Ordering::Relaxed);
        Ok(())
    });
    let server = server.on_service_actions(Listed::goes_on).on_handle_error(move |failure| {
        assert!(matches!(failure, Failure::Request(_)));
        report.send(failure.to_string()).unwrap();
    });
    server.serve_forever(INTERVAL).unwrap();
    assert_eq!(sum.load(Ordering::Relaxed), 3);
    assert_eq!(failures.try_iter().collect::<Vec<_>>(), ["no request could be taken: no descriptor"]);
    // One without requests needs no process, and so does no harm here.
    let server = Server::with_function(Listed(VecDeque::new()), |_| Ok(())).with(ForkingMixIn::new(3));
    server.on_service_actions(Listed::goes_on).serve_forever(INTERVAL).unwrap();
}
