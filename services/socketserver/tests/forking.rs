//! `ForkingMixIn` through real sockets, and servers that get no thread or process. A process that forks must have one thread,
//! so this test has a main function of its own: each server is a child of this process, and its clients are here.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says what it does, and where it fails")]

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::id;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use socketserver::{
    DatagramRequest, DatagramRequests, Failure, ForkingMixIn, Listening, MixIn, Requests, Server, StreamRequest,
    StreamRequests, ThreadingMixIn,
};

const PATIENCE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(5);

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let tests: [(&str, fn()); 9] = [
        ("every_kind_of_server_answers_from_other_processes", every_kind_of_server_answers_from_other_processes),
        ("two_clients_are_served_at_once", two_clients_are_served_at_once),
        ("a_full_server_waits_for_whichever_child_ends_first", a_full_server_waits_for_whichever_child_ends_first),
        ("the_exit_code_says_how_a_handler_ended", the_exit_code_says_how_a_handler_ended),
        ("a_child_of_somebody_else_is_left_alone", a_child_of_somebody_else_is_left_alone),
        ("children_do_not_keep_the_listener", children_do_not_keep_the_listener),
        ("closing_waits_for_children", closing_waits_for_children),
        ("a_server_that_gets_no_process_goes_on", || goes_on_without(ForkingMixIn::default)),
        ("a_server_that_gets_no_thread_goes_on", || goes_on_without(ThreadingMixIn::default)),
    ];
    for (name, test) in tests.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        println!("test {name}");
        test();
    }
}

/// What a server's process has of the test: where to report to, and when to stop.
#[derive(Clone)]
struct Test {
    reports: Arc<Socket>,
    stop: Arc<UnixStream>,
}

impl Test {
    fn report(&self, text: impl AsRef<str>) {
        self.reports.send(text.as_ref().as_bytes()).unwrap();
    }

    fn serve<S: Requests + 'static, M: MixIn<S>>(&self, server: Server<S, M>) {
        let stop = self.stop.clone();
        let goes_on =
            move |_: &mut S| (&*stop).read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        server.on_service_actions(goes_on).serve_forever(INTERVAL).unwrap();
    }
}

/// A server in a process of its own.
struct Serving {
    pid: libc::pid_t,
    reports: Socket,
    stop: Option<UnixStream>,
}

impl Serving {
    fn start(serve: impl FnOnce(&Test)) -> Self {
        let (stop, told) = UnixStream::pair().unwrap();
        told.set_nonblocking(true).unwrap();
        let (reports, reporter) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        reports.set_read_timeout(Some(PATIENCE)).unwrap();
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "{}", io::Error::last_os_error());
        if pid == 0 {
            drop((stop, reports));
            let test = Test { reports: Arc::new(reporter), stop: Arc::new(told) };
            // SAFETY: a plain system call; no server outlives a test that failed.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let done = catch_unwind(AssertUnwindSafe(|| serve(&test)));
            // SAFETY: ends this process, which is not to return into the test.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        }
        Self { pid, reports, stop: Some(stop) }
    }

    /// The next report; empty if nobody is left who could report.
    fn report(&self) -> String {
        let mut buffer = [MaybeUninit::uninit(); 256];
        let bytes = self.reports.recv(&mut buffer).expect("a report");
        // SAFETY: so many bytes were received.
        buffer[..bytes].iter().map(|byte| char::from(unsafe { byte.assume_init() })).collect()
    }

    #[track_caller]
    fn expect(&self, report: &str) {
        assert_eq!(self.report(), report);
    }

    fn tell_to_stop(&mut self) {
        self.stop = None;
    }

    /// Stops the server; it must end in order.
    fn end(mut self) {
        self.tell_to_stop();
        assert_eq!(wait_for(self.pid), 0, "the server's wait status");
        self.pid = 0;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.pid > 0 {
            // SAFETY: a child of this process that was not waited for.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
            wait_for(self.pid);
        }
    }
}

fn wait_for(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: room for a status.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}

fn bind() -> (Socket, SocketAddr) {
    let requests = StreamRequests::tcp("127.0.0.1:0".parse().unwrap(), Listening::default()).unwrap();
    let address = requests.server_address().unwrap().as_socket().unwrap();
    (requests.socket().unwrap().try_clone_to_owned().unwrap().into(), address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Says who it is, and reports its client's name when it starts and when the client is gone.
fn held(test: Test) -> impl Fn(StreamRequest) -> io::Result<()> + Send + Sync + 'static {
    move |mut request| {
        let mut name = [0];
        request.socket.read_exact(&mut name)?;
        test.report(format!("start {}", char::from(name[0])));
        request.socket.write_all(&id().to_ne_bytes())?;
        // Until the client is gone.
        request.socket.read(&mut name).map(drop)
    }
}

fn named(address: SocketAddr, name: u8) -> TcpStream {
    let mut client = connect(address);
    client.write_all(&[name]).unwrap();
    client
}

fn pid_of(mut client: impl Read) -> u32 {
    let mut pid = [0; 4];
    client.read_exact(&mut pid).unwrap();
    u32::from_ne_bytes(pid)
}

fn path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("socketserver-forking.{}.{name}", id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn every_kind_of_server_answers_from_other_processes() {
    let tell_pid = |mut request: StreamRequest| request.socket.write_all(&id().to_ne_bytes());
    let send_pid =
        |request: DatagramRequest| request.socket.send_to(&id().to_ne_bytes(), &request.client_address).map(drop);
    let (listener, address) = bind();
    let tcp = Serving::start(|test| {
        let requests = StreamRequests::from_socket(listener);
        test.serve(Server::with_function(requests, tell_pid).with(ForkingMixIn::default()));
    });
    let pids = [pid_of(connect(address)), pid_of(connect(address))];
    assert!(pids[0] != pids[1] && !pids.contains(&(tcp.pid as u32)), "{pids:?}");
    tcp.end();

    let (stream, datagram, own) = (path("stream"), path("datagram"), path("client"));
    let requests = StreamRequests::unix(&stream, Listening::default()).unwrap();
    let unix =
        Serving::start(|test| test.serve(Server::with_function(requests, tell_pid).with(ForkingMixIn::default())));
    assert_ne!(pid_of(UnixStream::connect(&stream).unwrap()), unix.pid as u32);
    unix.end();

    let requests = DatagramRequests::udp("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = requests.server_address().unwrap().as_socket().unwrap();
    let udp =
        Serving::start(|test| test.serve(Server::with_function(requests, send_pid).with(ForkingMixIn::default())));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 4];
    client.send_to(b"who", address).unwrap();
    client.recv(&mut answer).unwrap();
    assert_ne!(u32::from_ne_bytes(answer), udp.pid as u32);
    udp.end();

    let requests = DatagramRequests::unix(&datagram).unwrap();
    let unixgram =
        Serving::start(|test| test.serve(Server::with_function(requests, send_pid).with(ForkingMixIn::default())));
    let client = UnixDatagram::bind(&own).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(b"who", &datagram).unwrap();
    client.recv(&mut answer).unwrap();
    assert_ne!(u32::from_ne_bytes(answer), unixgram.pid as u32);
    unixgram.end();
    for path in [stream, datagram, own] {
        std::fs::remove_file(path).unwrap();
    }
}

fn two_clients_are_served_at_once() {
    let (listener, address) = bind();
    let serving = Serving::start(|test| {
        let requests = StreamRequests::from_socket(listener);
        test.serve(Server::with_function(requests, held(test.clone())).with(ForkingMixIn::default()));
    });
    let first = named(address, b'a');
    serving.expect("start a");
    let second = named(address, b'b');
    serving.expect("start b");
    // Both are held: neither has gone.
    assert_ne!(pid_of(&first), pid_of(&second));
    drop((first, second));
    serving.end();
}

fn a_full_server_waits_for_whichever_child_ends_first() {
    let (listener, address) = bind();
    let serving = Serving::start(|test| {
        let (told, requests) = (test.clone(), StreamRequests::from_socket(listener));
        let mix_in = ForkingMixIn::new(3).on_child_ended(move |ended| told.report(format!("ended {}", ended.pid)));
        test.serve(Server::with_function(requests, held(test.clone())).with(mix_in));
    });
    let [first, second, third] = b"abc".map(|name| {
        let client = named(address, name);
        serving.expect(&format!("start {}", char::from(name)));
        client
    });
    let fourth = named(address, b'd');
    let ended = format!("ended {}", pid_of(&second));
    drop(second);
    // The fourth one has its turn only now, and though the oldest and the youngest are still there.
    serving.expect(&ended);
    serving.expect("start d");
    assert_ne!(pid_of(&first), pid_of(&third));
    drop((first, third, fourth));
    serving.end();
}

fn the_exit_code_says_how_a_handler_ended() {
    let (listener, address) = bind();
    let serving = Serving::start(|test| {
        let (told, errors) = (test.clone(), test.clone());
        let handle = |request: StreamRequest| {
            let mut wish = [0];
            (&request.socket).read_exact(&mut wish)?;
            match wish[0] {
                b'p' => std::panic::panic_any("as the client wishes"),
                b'k' => std::process::abort(),
                b'f' => Err(io::Error::other("no")),
                _ => Ok(()),
            }
        };
        std::panic::set_hook(Box::new(|_| {}));
        let mix_in = ForkingMixIn::default().on_child_ended(move |ended| {
            let cost = ended.usage.ru_minflt > 0;
            told.report(format!(
                "{:?} {:?} {cost}",
                ended.status.code(),
                std::os::unix::process::ExitStatusExt::signal(&ended.status)
            ));
        });
        let server = Server::with_function(StreamRequests::from_socket(listener), handle).with(mix_in);
        test.serve(server.on_handle_error(move |failure| errors.report(failure.to_string())));
    });
    for (wish, reports) in [
        (b'o', &["Some(0) None true"][..]),
        (b'p', &["the handler panicked: as the client wishes", "Some(1) None true"]),
        (b'f', &["the handler failed: no", "Some(1) None true"]),
        (b'k', &["None Some(6) true"]),
        (b'o', &["Some(0) None true"]),
    ] {
        let mut client = named(address, wish);
        for report in reports {
            serving.expect(report);
        }
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the request is closed");
    }
    serving.end();
}

fn a_child_of_somebody_else_is_left_alone() {
    let (listener, address) = bind();
    let serving = Serving::start(|test| {
        // SAFETY: one thread; the child only ends.
        let foreign = unsafe { libc::fork() };
        if foreign == 0 {
            // SAFETY: as above.
            unsafe { libc::_exit(7) }
        }
        let (told, requests) = (test.clone(), StreamRequests::from_socket(listener));
        let mix_in = ForkingMixIn::new(1).on_child_ended(move |_| told.report("ended"));
        test.serve(Server::with_function(requests, held(test.clone())).with(mix_in));
        assert_eq!(libc::WEXITSTATUS(wait_for(foreign)), 7);
    });
    for name in *b"ab" {
        let client = named(address, name);
        serving.expect(&format!("start {}", char::from(name)));
        drop(client);
        serving.expect("ended");
    }
    serving.end();
}

fn children_do_not_keep_the_listener() {
    let (listener, address) = bind();
    let mut serving = Serving::start(|test| {
        let (told, requests) = (test.clone(), StreamRequests::from_socket(listener));
        let mut mix_in = ForkingMixIn::default().in_child(move || told.report("in child"));
        mix_in.block_on_close = false;
        test.serve(Server::with_function(requests, held(test.clone())).with(mix_in));
    });
    let client = named(address, b'a');
    serving.expect("in child");
    serving.expect("start a");
    serving.tell_to_stop();
    assert_eq!(wait_for(serving.pid), 0, "the server does not wait for its child");
    serving.pid = 0;
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // The child is still at work. It is the last one that could report.
    pid_of(&client);
    drop(client);
    serving.expect("");
}

/// Waits until nobody listens there any more. An attempt may also hang, in a queue that is full and that nobody empties.
fn wait_until_refused(address: SocketAddr) {
    let start = Instant::now();
    let refused = || TcpStream::connect_timeout(&address, INTERVAL * 20).map_err(|error| error.kind());
    while refused().err() != Some(ErrorKind::ConnectionRefused) {
        assert!(start.elapsed() < PATIENCE, "the listener is still open");
    }
}

fn closing_waits_for_children() {
    let (listener, address) = bind();
    let mut serving = Serving::start(|test| {
        let (told, requests) = (test.clone(), StreamRequests::from_socket(listener));
        let mix_in = ForkingMixIn::default().on_child_ended(move |ended| told.report(format!("ended {}", ended.pid)));
        test.serve(Server::with_function(requests, held(test.clone())).with(mix_in));
        test.report("closed");
    });
    let client = named(address, b'a');
    serving.expect("start a");
    serving.tell_to_stop();
    // The listener goes first, while the child is held. Clients that came before that have children, too.
    wait_until_refused(address);
    let held = format!("ended {}", pid_of(&client));
    drop(client);
    let reports: Vec<_> = std::iter::repeat_with(|| serving.report()).take_while(|report| report != "closed").collect();
    assert!(reports.contains(&held), "{reports:?}");
    serving.end();
}

/// The server's process gets a limit of no processes, until it is told that it has hit it.
fn goes_on_without<M: MixIn<StreamRequests>>(mix_in: fn() -> M) {
    let (listener, address) = bind();
    let serving = Serving::start(|test| {
        let before = limit_processes(0).and_then(|before| leave_root().map(|()| before));
        test.report(format!("{before:?}").split('(').next().unwrap());
        let Ok(before) = before else { return };
        let told = test.clone();
        let server = Server::with_function(StreamRequests::from_socket(listener), held(test.clone())).with(mix_in());
        test.serve(server.on_handle_error(move |failure| {
            let Failure::Spawn(error) = failure else { return };
            limit_processes(before).unwrap();
            told.report(format!("{:?}", error.raw_os_error() == Some(libc::EAGAIN)));
        }));
    });
    if serving.report() != "Ok" {
        println!("  skipped: this machine does not let a process limit its processes or leave root");
        return serving.end();
    }
    let mut refused = connect(address);
    serving.expect("true");
    assert_eq!(refused.read(&mut [0]).unwrap(), 0, "the request is closed");
    let client = named(address, b'a');
    serving.expect("start a");
    drop(client);
    serving.end();
}

/// Sets the soft limit; gives what it was.
fn limit_processes(to: libc::rlim_t) -> io::Result<libc::rlim_t> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: room for the limit.
    if unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let before = limit.rlim_cur;
    limit.rlim_cur = to;
    // SAFETY: a whole limit.
    match unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit) } {
        0 => Ok(before),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The limit does not hold for root.
fn leave_root() -> io::Result<()> {
    const NOBODY: libc::uid_t = 65534;
    // SAFETY: plain system calls.
    match unsafe { if libc::geteuid() == 0 { libc::setresuid(NOBODY, NOBODY, NOBODY) } else { 0 } } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
