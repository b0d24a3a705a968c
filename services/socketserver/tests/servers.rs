//! The framework through real sockets: plain, and with a thread for each request. Processes are in `forking.rs`.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use common::{ANY, Echo, EchoDatagram, INTERVAL, PATIENCE, Running, any, ask, connect, tcp};
use socket2::{Domain, SockAddr, Socket, Type};
use socketserver::{
    BaseRequestHandler, DatagramRequests, Failure, ForkingMixIn, Listening, MixIn, Plain, Requests, Server, Shutdown,
    StreamRequest, StreamRequests, ThreadingMixIn, tcp_server, udp_server, unix_datagram_server, unix_stream_server,
};

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

/// Waits until nobody listens there any more. An attempt may also hang, in a queue that is full and that nobody empties.
fn wait_until_refused(address: SocketAddr) {
    let start = Instant::now();
    let refused = || TcpStream::connect_timeout(&address, INTERVAL * 20).map_err(|error| error.kind());
    while refused().err() != Some(ErrorKind::ConnectionRefused) {
        assert!(start.elapsed() < PATIENCE, "the listener is still open");
    }
}

#[test]
fn closing_waits_for_threads_and_the_listener_goes_first() {
    let (server, address, told) = holding();
    let server = Running::start(server.with(ThreadingMixIn::default()));
    let client = named(address, b'a');
    expect(&told, "start a");
    server.shutdown.shutdown();
    wait_until_refused(address);
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
fn a_time_without_a_request_is_told() {
    let timeouts = Arc::new(AtomicUsize::new(0));
    let count = timeouts.clone();
    let server = tcp_server(any(), Echo::new).unwrap();
    let mut server = server.on_handle_timeout(move |requests| {
        assert!(requests.socket().is_some());
        count.fetch_add(1, Ordering::Relaxed);
    });
    assert!(!server.handle_request(INTERVAL).unwrap());
    assert_eq!(timeouts.load(Ordering::Relaxed), 1);
    drop(connect(tcp(server.requests())));
    assert!(server.handle_request(PATIENCE).unwrap());
    assert_eq!(timeouts.load(Ordering::Relaxed), 1, "somebody came");
}

#[test]
fn a_server_can_be_bound_first_and_listen_later() {
    let bound = Listening::default().server_bind(&any().into()).unwrap();
    let address = bound.socket.local_addr().unwrap().as_socket().unwrap();
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let requests = bound.server_activate().unwrap();
    assert_eq!(tcp(&requests), address);
    let server = Running::start(Server::new::<Echo>(requests));
    ask(connect(address), "activated");
    server.stop();

    let socket = path("bound");
    let address = SockAddr::unix(&socket).unwrap();
    let requests = Listening::default().server_bind(&address).unwrap().server_activate().unwrap();
    let taken = Listening::default().server_bind(&address).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse, "a path that exists is taken");
    let server = Running::start(Server::new::<Echo>(requests));
    ask(UnixStream::connect(&socket).unwrap(), "activated");
    server.stop();
    std::fs::remove_file(socket).unwrap();
}

#[test]
fn the_queue_is_as_long_as_was_asked_for() {
    let short = Listening { request_queue_size: 1, ..Listening::default() };
    let requests = StreamRequests::unix(&path("queue"), short).unwrap();
    let address = requests.server_address().unwrap();
    // Nobody accepts: a Unix client that does not wait is told that the queue is full.
    let knock = || {
        let client = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
        client.connect(&address).map(|()| client)
    };
    let waiting: Vec<_> = std::iter::repeat_with(knock).map_while(Result::ok).take(10).collect();
    // The kernel lets one more than the number wait.
    assert_eq!(waiting.len(), 2);
    std::fs::remove_file(address.as_pathname().unwrap()).unwrap();
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

/// A source that has one thread made, and no other.
struct Stingy(Listed, usize);

impl Requests for Stingy {
    type Request = u32;
    type Ticket = Option<usize>;

    fn wait(&self, time: Duration) -> io::Result<bool> {
        self.0.wait(time)
    }

    fn get_request(&mut self) -> io::Result<Option<u32>> {
        self.0.get_request()
    }

    fn ticket(&self, request: &u32) -> Option<usize> {
        self.0.ticket(request)
    }

    fn start_thread(
        &mut self,
        start: impl FnOnce() -> io::Result<thread::JoinHandle<()>>,
    ) -> io::Result<thread::JoinHandle<()>> {
        self.1 += 1;
        if self.1 == 1 { start() } else { Err(io::Error::other("one was enough")) }
    }
}

#[test]
fn a_source_may_have_its_threads_made_in_its_own_way() {
    let sum = Arc::new(AtomicUsize::new(0));
    let (add, (report, failures)) = (sum.clone(), channel());
    let server = Server::with_function(Stingy(Listed([Ok(1), Ok(2)].into()), 0), move |number| {
        add.fetch_add(number as usize, Ordering::Relaxed);
        Ok(())
    });
    let server = server.with(ThreadingMixIn::default()).on_service_actions(|requests| requests.0.goes_on());
    server.on_handle_error(move |failure| report.send(failure.to_string()).unwrap()).serve_forever(INTERVAL).unwrap();
    assert_eq!(sum.load(Ordering::Relaxed), 1);
    let told: Vec<_> = failures.try_iter().collect();
    assert!(matches!(&told[..], [why] if why.ends_with("one was enough")), "{told:?}");
}
