//! What operators do to servers, and what happens to servers by themselves, while clients are there.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use support::client::{A, Datagram, End, Q, Stream};
use support::process::descendants;
use support::{Architecture, Directory, Server, ZENLAB, for_each, kill, registry, wait_for};

/// Names the architecture of what fails in `work`.
fn each(work: impl Fn(&Architecture) + Sync) {
    for_each(registry(), |architecture| {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(architecture)));
        result.err().map(|_| format!("{}: see above", architecture.name)).into_iter().collect()
    });
}

/// Clients that come, ask and go until they are told to stop; gives right answers and failures.
struct Churn {
    stop: std::sync::Arc<AtomicBool>,
    right: std::sync::Arc<AtomicU64>,
    failed: std::sync::Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Churn {
    fn start(server: &Server) -> Self {
        let (stop, right, failed) = Default::default();
        let mut churn = Self { stop, right, failed, threads: Vec::new() };
        let address = server.address("tcp");
        for _ in 0..3 {
            let (stop, right, failed, address) =
                (churn.stop.clone(), churn.right.clone(), churn.failed.clone(), address.clone());
            let ask = move || {
                while !stop.load(Ordering::Relaxed) {
                    let counter = if visit(&address).is_some() { &right } else { &failed };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            };
            churn.threads.push(thread::Builder::new().spawn(ask).unwrap());
        }
        churn
    }

    fn right(&self) -> u64 {
        self.right.load(Ordering::Relaxed)
    }

    fn wait_for_more(&self, more: u64) {
        let before = self.right();
        wait_for("more right answers", || (self.right() >= before + more).then_some(()));
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.failed.load(Ordering::Relaxed)
    }
}

fn visit(address: &str) -> Option<()> {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(support::PATIENCE)).ok()?;
    stream.write_all(Q).ok()?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).ok()?;
    (answer == A).then_some(())
}

#[test]
fn a_paused_server_keeps_its_clients_waiting_and_answers_them_when_it_goes_on() {
    each(|architecture| {
        let server = Server::start(architecture, &["idle_timeout=30s"]);
        assert_eq!(server.post("/api/v1/pause", json!({})), (200, json!({"state": "paused"})));
        assert_eq!(server.get("/readyz").0, 503);
        // Whoever is in accept already takes one more client within its tick; after that nobody is taken.
        wait_for("every worker to have seen the pause", || {
            let mut probe = Stream::connect(&server, "tcp");
            probe.set_patience(Duration::from_millis(300));
            probe.say(Q);
            let mut buffer = [0; 5];
            probe.read(&mut buffer).is_err().then_some(())
        });
        let mut clients: Vec<_> = (0..5).map(|_| Stream::connect(&server, "tcp")).collect();
        for client in &mut clients {
            client.say(Q);
        }
        let letters: Vec<_> =
            architecture.serves("udp").then(|| Datagram::connect(&server, "udp")).into_iter().collect();
        for letter in &letters {
            letter.say(Q);
        }
        assert_eq!(server.post("/api/v1/resume", json!({})), (200, json!({"state": "ready"})));
        // Each goes when it is answered: a server that serves one client at a time serves the next one then.
        for mut client in clients {
            client.hear(A);
        }
        for letter in letters {
            assert_eq!(letter.receive(), A);
        }
        server.stop();
    });
}

#[test]
fn who_leaves_in_a_pause_makes_room() {
    for name in ["fork_per_connection", "socketserver_forking"] {
        let server = Server::start_on(name, &["tcp"], &["max_connections=2", "idle_timeout=30s"]);
        let processes = descendants(server.pid()).len();
        let clients = [(); 2].map(|()| {
            let mut client = Stream::connect(&server, "tcp");
            client.ask(Q, A);
            client
        });
        assert_eq!(server.post("/api/v1/pause", json!({})).0, 200);
        // One after the other: the first may still be buried in the turn before the pause.
        for (client, others) in clients.into_iter().zip([1, 0]) {
            drop(client);
            wait_for("the client's process to be buried", || {
                (descendants(server.pid()).len() == processes + others).then_some(())
            });
        }
        assert_eq!(server.post("/api/v1/resume", json!({})).0, 200);
        Stream::connect(&server, "tcp").ask(Q, A);
        server.stop();
    }
}

#[test]
fn a_pause_can_end_by_itself() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    assert_eq!(server.post("/api/v1/pause", json!({"for": "100ms"})).0, 200);
    server.wait_until_ready();
    Stream::connect(&server, "tcp").ask(Q, A);
    let (status, problem) = server.post("/api/v1/pause", json!({"for": "soon"}));
    assert_eq!((status, problem["errors"][0]["pointer"].as_str()), (422, Some("/for")));
}

#[test]
fn workers_follow_the_setting_up_and_down_while_clients_come_and_go() {
    each(|architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &[]);
        if architecture.workers == "ignored" {
            let (status, problem) = server.patch(json!({"workers": 8}));
            assert_eq!(status, 409, "{problem}");
            return;
        }
        let churn = Churn::start(&server);
        for wanted in [8, 2, 5] {
            assert_eq!(server.patch(json!({"workers": wanted})).0, 200);
            wait_for(&format!("{wanted} workers of {}", architecture.name), || {
                (server.endpoint("tcp")["workers"]["running"] == wanted).then_some(())
            });
            churn.wait_for_more(20);
        }
        assert_eq!(churn.stop(), 0, "no client may notice");
        assert_eq!(server.metric("zen_worker_restarts_total", &[]), 0.0);
        server.stop();
    });
}

#[test]
fn who_has_a_thread_or_process_for_each_client_says_how_many() {
    for name in ["thread_per_connection", "fork_per_connection", "socketserver_threading", "socketserver_forking"] {
        let server = Server::start_on(name, &["tcp"], &["idle_timeout=10m"]);
        let clients = [(); 5].map(|()| {
            let mut client = Stream::connect(&server, "tcp");
            client.ask(Q, A);
            client
        });
        let running = || server.metric("zen_workers", &["state=\"running\""]) as usize;
        wait_for(&format!("{name}: five of them"), || (running() == clients.len()).then_some(()));
        drop(clients);
        wait_for(&format!("{name}: none"), || (running() == 0).then_some(()));
        server.stop();
    }
}

#[test]
fn a_full_queue_keeps_nobody_from_adding_workers() {
    // What the queue of `worker_queue` holds, one more in its leader's hand, and the kernel's.
    const QUEUED: usize = 257;
    const BEHIND: usize = 20;
    let settings = ["workers=1", "idle_timeout=10m", "max_connections=1000"];
    let server = Server::start_on("worker_queue", &["tcp"], &settings);
    let mut first = Stream::connect(&server, "tcp");
    first.ask(Q, A);
    let mut others: Vec<_> = (0..QUEUED + BEHIND).map(|_| Stream::connect(&server, "tcp")).collect();
    wait_for("the queue to be full", || (server.metric("zen_listen_queue_length", &[]) == BEHIND as f64).then_some(()));
    assert_eq!(server.patch(json!({"workers": 2})).0, 200);
    others[0].ask(Q, A);
    drop((first, others));
    server.stop();
}

#[test]
fn settings_hold_for_conversations_that_go_on() {
    each(|architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &["idle_timeout=1h"]);
        let mut silent = Stream::connect(&server, "tcp");
        silent.ask(Q, A);
        server.set("idle_timeout", json!("300ms"));
        assert_eq!(silent.hear_rest(), (Vec::new(), End::Closed));
        server.set("dialogue", json!("echo"));
        Stream::connect(&server, "tcp").ask(b"Hello, World!", b"Hello, World!");
        server.stop();
    });
}

#[test]
fn a_drained_server_can_be_started_again() {
    each(|architecture| {
        let server = Server::start(architecture, &[]);
        Stream::connect(&server, "tcp").ask(Q, A);
        let before = server.metric("zen_requests_total", &[]);
        let is_parked = || server.status()["state"] == "parked";
        assert_eq!(server.post("/api/v1/drain", json!({})).0, 202);
        // It has nobody to finish with, and may be parked by now.
        let again = server.post("/api/v1/drain", json!({})).0;
        assert!(again == 202 || (again == 409 && is_parked()), "a second order changes nothing: {again}");
        wait_for("parked", || is_parked().then_some(()));
        assert_eq!(server.get("/readyz").0, 503);
        assert_eq!(server.get("/livez").0, 200);
        assert!(Stream::try_connect(&server, "tcp").is_err(), "a parked server listens to nobody");
        assert_eq!(server.post("/api/v1/pause", json!({})).0, 409);
        assert_eq!(server.post("/api/v1/start", json!({})).0, 202);
        server.wait_until_ready();
        assert_eq!(server.post("/api/v1/start", json!({})).0, 409);
        for transport in ["tcp", "unix"] {
            Stream::connect(&server, transport).ask(Q, A);
        }
        assert_eq!(server.metric("zen_requests_total", &[]), before + 2.0, "no counter begins anew");
        server.stop();
    });
}

#[test]
fn a_second_signal_does_not_wait() {
    each(|architecture| {
        let mut server =
            Server::start_on(&architecture.name, &["tcp"], &["question_deadline=60s", "drain_timeout=60s"]);
        let mut client = Stream::connect(&server, "tcp");
        client.say(&Q[..10]);
        wait_for("the client to be taken", || (server.open("tcp") == 1).then_some(()));
        server.signal(libc::SIGTERM);
        wait_for("the drain", || server.events("state").iter().any(|event| event["state"] == "draining").then_some(()));
        server.signal(libc::SIGTERM);
        assert_eq!(server.wait().code(), Some(0));
        client.hear_rest();
    });
}

#[test]
fn a_killed_data_plane_is_replaced_and_no_counter_falls() {
    each(|architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &[]);
        let churn = Churn::start(&server);
        churn.wait_for_more(20);
        let (leader, before) = (server.leader("tcp"), server.metric("zen_requests_total", &[]));
        kill(leader, libc::SIGKILL);
        churn.wait_for_more(50);
        wait_for("the restart to be counted", || {
            (server.metric("zen_worker_restarts_total", &[]) >= 1.0).then_some(())
        });
        assert_ne!(server.leader("tcp"), leader);
        assert!(server.metric("zen_requests_total", &[]) >= before);
        let failed = churn.stop();
        assert!(failed <= 3 + 64, "those who were being served are lost, and nobody else: {failed}");
        wait_for("the books to balance", || (server.open("tcp") == 0).then_some(()));
        println!(
            "{}: replaced after {:.1} ms, {failed} lost",
            architecture.name,
            server.endpoint("tcp")["last_respawn_ms"]
        );
        server.stop();
    });
}

#[test]
fn a_killed_control_plane_is_replaced_and_no_client_notices() {
    let mut server = Server::start_on("epoll", &["tcp"], &[]);
    let churn = Churn::start(&server);
    churn.wait_for_more(10);
    let leader = server.leader("tcp") as u32;
    let control = descendants(server.pid()).into_iter().find(|&pid| pid != leader).expect("a control plane");
    kill(control as i32, libc::SIGKILL);
    server.wait_for_event("control_lost", 1);
    server.wait_until_ready();
    churn.wait_for_more(10);
    assert_eq!(churn.stop(), 0);
    assert_eq!(server.status()["control_restarts"], 1);
    server.stop();
}

#[test]
fn a_killed_worker_of_prefork_takes_only_its_own_client_along() {
    let server = Server::start_on("prefork", &["tcp"], &["idle_timeout=30s"]);
    let mut clients: Vec<_> = (0..4).map(|_| Stream::connect(&server, "tcp")).collect();
    for client in &mut clients {
        client.ask(Q, A);
    }
    let leader = server.leader("tcp") as u32;
    kill(descendants(leader)[0] as i32, libc::SIGKILL);
    wait_for("the worker to be replaced", || {
        let replaced = server.metric("zen_worker_restarts_total", &[]) == 1.0;
        (replaced && descendants(leader).len() == 4).then_some(())
    });
    let mut lost = 0;
    for mut client in clients {
        client.say(Q);
        lost += usize::from(client_is_lost(&mut client));
    }
    assert_eq!(lost, 1);
    server.stop();
}

fn client_is_lost(client: &mut Stream) -> bool {
    let mut answer = [0; 5];
    client.read_exact(&mut answer).is_err()
}

#[test]
fn a_stale_unix_socket_is_replaced_and_nothing_else_is() {
    let directory = Directory::new();
    let path = directory.0.join("stale");
    let listen = format!("unix://{}", path.display());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let slow = ["answer_delay=1s", "answer_work=wait"];
    let mut server = Server::start_with("epoll", &[], &slow, |command| {
        command.args(["--listen", &listen]);
    });
    assert_eq!(
        exit_code(&["server", "poll", "--listen", &listen, "--admin", "127.0.0.1:0"]),
        3,
        "somebody listens there"
    );
    // While it finishes with its last client a successor may take its place.
    let mut client = Stream::connect(&server, "unix");
    client.say(Q);
    wait_for("the client to be taken", || (server.open("unix") == 1).then_some(()));
    server.signal(libc::SIGTERM);
    wait_for("the drain", || (server.status()["state"] == "draining").then_some(()));
    std::fs::remove_file(&path).unwrap();
    let successor = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert_eq!(server.wait().code(), Some(0));
    assert!(path.exists(), "the successor's file stays");
    drop(successor);
    let server = Server::start_with("epoll", &[], &[], |command| {
        command.args(["--listen", &listen]);
    });
    server.stop();
    assert!(!path.exists(), "its own file goes with the server");
    std::fs::write(&path, "a letter").unwrap();
    assert_eq!(exit_code(&["server", "epoll", "--listen", &listen, "--admin", "127.0.0.1:0"]), 3, "no socket");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a letter");
}

#[test]
fn a_server_that_cannot_bind_all_its_endpoints_stays_parked_and_can_start_later() {
    let server = Server::start_on("epoll", &["unix", "tcp"], &[]);
    let address = server.address("tcp");
    assert_eq!(server.post("/api/v1/drain", json!({})).0, 202);
    let is_in = |state: &str| (server.status()["state"] == state).then_some(());
    wait_for("it to be parked", || is_in("parked"));
    let squatter = std::net::TcpListener::bind(&address).unwrap();
    assert_eq!(server.post("/api/v1/start", json!({})), (202, json!({"state": "parked"})));
    assert!(Stream::try_connect(&server, "unix").is_err(), "no client is let in to wait for nobody");
    drop(squatter);
    assert_eq!(server.post("/api/v1/start", json!({})).0, 202);
    server.wait_until_ready();
    for transport in ["tcp", "unix"] {
        Stream::connect(&server, transport).ask(Q, A);
    }
    server.stop();
}

#[test]
fn two_servers_cannot_share_a_port() {
    each(|architecture| {
        let server = Server::start(architecture, &[]);
        for transport in architecture.transports.iter().filter(|transport| !transport.starts_with("unix")) {
            let listen = format!("{transport}://{}", server.address(transport));
            assert_eq!(
                exit_code(&["server", &architecture.name, "--listen", &listen, "--admin", "127.0.0.1:0"]),
                3,
                "{listen}"
            );
        }
    });
}

fn exit_code(arguments: &[&str]) -> i32 {
    let output = Command::new(ZENLAB).args(arguments).stdin(Stdio::null()).output().unwrap();
    output.status.code().expect("it ends by itself")
}

#[test]
fn the_settings_file_is_read_again_on_sighup() {
    let directory = Directory::new();
    let file = directory.0.join("settings.toml");
    std::fs::write(&file, "idle_timeout = \"20s\"\n").unwrap();
    let mut server = Server::start_with("epoll", &["tcp"], &[], |command| {
        command.arg("--config").arg(&file);
    });
    let idle_timeout = |server: &Server| server.get("/api/v1/config").1["settings"]["idle_timeout"].clone();
    assert_eq!(idle_timeout(&server), "20s");
    std::fs::write(&file, "idle_timeout = \"25s\"\n").unwrap();
    server.signal(libc::SIGHUP);
    wait_for("the new value", || (idle_timeout(&server) == "25s").then_some(()));
    std::fs::write(&file, "idle_timeout = \"never\"\n").unwrap();
    server.signal(libc::SIGHUP);
    server.wait_for_event("reload_failed", 1);
    assert_eq!(idle_timeout(&server), "25s", "the old settings stay");
    assert_eq!(server.metric("zen_config_last_reload_successful", &[]), 0.0);
    Stream::connect(&server, "tcp").ask(Q, A);
    server.stop();
}

#[test]
fn sockets_can_be_passed_by_whoever_starts_the_server() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::start_with_listener("epoll", &listener);
    // Nobody else could have bound that address: it is taken, by the very socket that was passed.
    let mut client = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut client, Q).unwrap();
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, A);
    assert_eq!(server.post("/api/v1/drain", json!({})).0, 202);
    wait_for("parked", || (server.status()["state"] == "parked").then_some(()));
    assert_eq!(server.post("/api/v1/start", json!({})).0, 202);
    server.wait_until_ready();
    drop(listener);
    visit(&address.to_string()).expect("an answer after the restart");
    server.stop();
}

/// Of those who wait for a listener in rings the kernel wakes one for each client. What a process that died had begun is still
/// waiting for a moment, and its successor hears nothing of whom it was woken for.
#[test]
fn a_ring_finds_clients_of_whom_another_was_told() {
    use std::os::fd::AsRawFd;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let accept = io_uring::opcode::AcceptMulti::new(io_uring::types::Fd(listener.as_raw_fd())).build();
    let made: std::io::Result<io_uring::IoUring> =
        io_uring::IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(1);
    let Ok(mut other) = made else { return println!("skipped: this kernel gives no ring") };
    // SAFETY: the operation names no memory. Nobody looks after this ring, so it is woken and takes nobody.
    unsafe { other.submission().push(&accept).unwrap() };
    assert_eq!(other.submit().unwrap(), 1);
    let server = Server::start_with_listener("io_uring", &listener);
    assert!(visit(&listener.local_addr().unwrap().to_string()).is_some());
    server.stop();
}

#[test]
fn where_there_is_no_ring_epoll_serves_and_no_figure_goes_by_the_other_name() {
    let server = Server::start_on("io_uring", &["tcp", "udp"], &["io_uring=off"]);
    assert!(visit(&server.address("tcp")).is_some());
    Datagram::connect(&server, "udp").ask(Q, A);
    assert_eq!(server.metric("zen_backend_fallback", &["architecture=\"io_uring_on_epoll\""]), 2.0);
    let (_, text) = server.get("/metrics");
    assert!(!text.as_str().expect("text").contains("architecture=\"io_uring\""), "{text}");
    let (status, ready) = server.get("/readyz");
    assert_eq!(status, 200);
    assert!(ready["fallback"].as_str().expect("it says so").contains("epoll"), "{ready}");
    let (_, verbose) = server.get("/readyz?verbose");
    assert!(verbose["endpoints"][1]["fallback"].is_string(), "{verbose}");
    server.stop();
}

#[test]
fn a_ring_can_be_required() {
    let directory = Directory::new();
    let mut command = Command::new(ZENLAB);
    command.args(["server", "io_uring", "--admin", "127.0.0.1:0", "--set", "io_uring=require"]);
    command.arg("--listen").arg(format!("unix://{}", directory.0.join("stream").display()));
    // SAFETY: prctl and the filter are async-signal-safe.
    unsafe { command.pre_exec(forbid_io_uring) };
    let output = command.stdin(Stdio::null()).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{log}");
    assert!(log.contains("the kernel gives no ring"), "{log}");
}

/// As many container engines do: io_uring_setup(2) fails with EPERM.
fn forbid_io_uring() -> std::io::Result<()> {
    const fn step(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt, jf, k }
    }
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut steps = [
        // The number of the system call comes first in seccomp_data.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, refuse),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the program outlives the calls; each call only reads it.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if set { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
