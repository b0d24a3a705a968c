//! Each architecture makes the system calls that it is named after, and not its rivals'.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::client::{A, Datagram, Q, Stream};
use support::process::descendants;
use support::{Architecture, PATIENCE, Server, for_each, registry, wait_for};

type Set = &'static [&'static str];

/// The ways of an architecture that its rivals must not go: how to wait for many, and what to make for each client.
const WAYS: [Set; 6] = [&["select", "pselect6"], POLL, EPOLL, &["io_uring_enter"], THREAD, PROCESS];

const ACCEPT: Set = &["accept4", "accept"];
const RECEIVE: Set = &["recvmsg", "recvfrom"];
const SEND: Set = &["sendto", "sendmsg"];
const POLL: Set = &["poll", "ppoll"];
const EPOLL: Set = &["epoll_wait", "epoll_pwait", "epoll_pwait2"];
const THREAD: Set = &["clone3 thread", "clone thread"];
const PROCESS: Set = &["clone3 process", "clone process", "fork process", "vfork process"];

/// What must be seen of a data plane under load: one of each of these sets. A [way](WAYS) that is none of them must not be.
#[derive(Default)]
struct Proof {
    must: &'static [Set],
    /// Calls that may be seen besides: by their way.
    may: Set,
    takers: Takers,
}

/// Who takes clients or datagrams, by the first set of a proof.
#[derive(Clone, Copy, Default, PartialEq)]
enum Takers {
    #[default]
    Anybody,
    /// One thread of one process, whoever serves.
    One,
    /// Each worker: two of them at least.
    Workers,
}

fn proof(name: &str, transport: &str) -> Option<Proof> {
    if transport == "tcp" { streams(name) } else { datagrams(name) }
}

fn streams(name: &str) -> Option<Proof> {
    let must: &[Set] = match name {
        "single_threaded" | "thread_pool" | "worker_queue" | "prefork" => &[ACCEPT, &["recvfrom"]],
        "thread_per_connection" => &[ACCEPT, THREAD],
        "fork_per_connection" => &[ACCEPT, PROCESS],
        "socketserver_threading" => &[ACCEPT, POLL, THREAD],
        "socketserver_forking" => &[ACCEPT, POLL, PROCESS],
        "select" => &[ACCEPT, &["select", "pselect6"]],
        "poll" | "socketserver" => &[ACCEPT, POLL],
        "epoll" | "epoll_sharded" | "callbacks" | "coroutines" | "tokio_current_thread" | "tokio_multi_thread" => {
            &[ACCEPT, EPOLL]
        }
        "io_uring" => &[&["io_uring_enter"]],
        _ => return None,
    };
    // A linger list is polled at the end of a thread or process.
    let may: Set = if name.ends_with("per_connection") { POLL } else { &[] };
    Some(Proof { must, may, takers: takers(name) })
}

fn datagrams(name: &str) -> Option<Proof> {
    let must: &[Set] = match name {
        "single_threaded" | "thread_pool" | "worker_queue" | "prefork" => &[RECEIVE, SEND],
        "socketserver_threading" => &[RECEIVE, SEND, POLL, THREAD],
        "socketserver_forking" => &[RECEIVE, SEND, POLL, PROCESS],
        "select" => &[RECEIVE, SEND, &["select", "pselect6"]],
        "poll" | "socketserver" => &[RECEIVE, SEND, POLL],
        "epoll" | "callbacks" | "coroutines" | "tokio_current_thread" | "tokio_multi_thread" => &[RECEIVE, SEND, EPOLL],
        "epoll_sharded" => &[&["recvmmsg"], &["sendmmsg"], EPOLL],
        "io_uring" => &[&["io_uring_enter"]],
        _ => return None,
    };
    Some(Proof { must, takers: takers(name), ..Proof::default() })
}

fn takers(name: &str) -> Takers {
    match name {
        "worker_queue" => Takers::One,
        "thread_pool" | "prefork" => Takers::Workers,
        _ => Takers::Anybody,
    }
}

/// What an architecture is traced over: one transport of each kind that it serves.
fn transports(architecture: &Architecture) -> impl Iterator<Item = &'static str> {
    ["tcp", "udp"].into_iter().filter(|transport| architecture.serves(transport))
}

#[test]
fn each_architecture_has_a_proof() {
    for architecture in registry() {
        for transport in transports(&architecture) {
            let name = &architecture.name;
            assert!(proof(name, transport).is_some(), "honest.rs lacks a proof for {name} over {transport}");
        }
    }
}

#[test]
fn each_architecture_makes_its_own_calls_and_no_rivals() {
    if Command::new("strace").arg("--version").stdout(Stdio::null()).status().is_err() {
        return println!("skipped: strace is not installed");
    }
    for_each(registry(), |architecture| {
        transports(architecture).flat_map(|transport| look_at(architecture, transport)).collect()
    });
}

fn look_at(architecture: &Architecture, transport: &'static str) -> Vec<String> {
    let Some(proof) = proof(&architecture.name, transport) else { return Vec::new() };
    let server = Server::start_on(&architecture.name, &[transport], &[]);
    wait_for("all workers to be there", || all_are_there(architecture, &server, transport).then_some(()));
    ask(&server, transport);
    let trace = server.directory.0.join("trace");
    let mut strace = attach(&server, transport, &trace);
    load(&server, transport);
    // Who lacks something is judged by all that was seen meanwhile.
    let end = Instant::now() + PATIENCE;
    while !lacks(&proof, &Calls::read(&trace)).is_empty() && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
    support::kill(strace.id() as i32, libc::SIGINT);
    strace.wait().unwrap();
    let calls = Calls::read(&trace);
    server.stop();
    judge(&format!("{} over {transport}", architecture.name), &proof, &calls)
}

/// Whether those are made that are made once for all clients: no trace may tell of them.
fn all_are_there(architecture: &Architecture, server: &Server, transport: &str) -> bool {
    let workers = &server.endpoint(transport)["workers"];
    if architecture.name == "epoll_sharded" {
        return workers["running"].as_u64() == thread::available_parallelism().ok().map(|cores| cores.get() as u64);
    }
    architecture.workers == "ignored" || workers["running"] == workers["wanted"]
}

fn load(server: &Server, transport: &str) {
    (0..20).for_each(|_| ask(server, transport));
}

fn ask(server: &Server, transport: &str) {
    if transport == "udp" {
        let client = Datagram::connect(server, transport);
        (0..5).for_each(|_| client.ask(Q, A));
    } else {
        let mut client = Stream::connect(server, transport);
        (0..5).for_each(|_| client.ask(Q, A));
    }
    wait_for("the client to be gone", || (server.open(transport) == 0).then_some(()));
}

fn attach(server: &Server, transport: &str, trace: &Path) -> Child {
    let leader = server.leader(transport) as u32;
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(trace);
    // It follows those who are born from now on, and threads; children that are there already it must be told.
    for pid in [vec![leader], descendants(leader)].concat() {
        command.args(["-p", &pid.to_string()]);
    }
    let strace = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("strace starts");
    wait_for("strace to have begun", || std::fs::metadata(trace).is_ok_and(|trace| trace.len() > 0).then_some(()));
    strace
}

/// The threads that made a call, each as often as it did, by the call's name; a clone also by what it makes.
#[derive(Default)]
struct Calls(BTreeMap<String, BTreeMap<String, usize>>);

impl Calls {
    fn read(trace: &Path) -> Self {
        Self::of(&std::fs::read_to_string(trace).unwrap_or_default())
    }

    fn of(trace: &str) -> Self {
        let mut calls = Self::default();
        for line in trace.lines() {
            if let Some((thread, call)) = line.split_once(' ') {
                calls.add(thread, call.trim_start());
            }
        }
        calls
    }

    fn add(&mut self, thread: &str, call: &str) {
        // The end of a call that others' calls stood between was counted at its beginning; `-` and `+` are signals and ends.
        if call.starts_with(['-', '+', '<']) {
            return;
        }
        let name = call.split('(').next().unwrap_or_default();
        let mut note = |name: String| *self.0.entry(name).or_default().entry(thread.to_owned()).or_insert(0) += 1;
        if matches!(name, "clone" | "clone3" | "fork" | "vfork") {
            let made = if call.contains("CLONE_THREAD") { "thread" } else { "process" };
            note(format!("{name} {made}"));
        }
        note(name.to_owned());
    }

    fn any(&self, set: Set) -> bool {
        set.iter().any(|call| self.0.contains_key(*call))
    }

    /// The threads that take clients.
    fn takers(&self, proof: &Proof) -> BTreeSet<&str> {
        let take = proof.must.first().copied().unwrap_or_default();
        take.iter().filter_map(|call| self.0.get(*call)).flat_map(BTreeMap::keys).map(String::as_str).collect()
    }

    /// Each call with how often it was made by how many.
    fn show(&self) -> String {
        let show = |(name, threads): (&String, &BTreeMap<_, _>)| {
            format!("{name} {} by {}", threads.values().sum::<usize>(), threads.len())
        };
        self.0.iter().map(show).collect::<Vec<_>>().join(", ")
    }
}

/// What of a proof was not seen yet.
fn lacks(proof: &Proof, calls: &Calls) -> Vec<String> {
    let missing = proof.must.iter().filter(|set| !calls.any(set));
    let mut lacks: Vec<_> = missing.map(|set| format!("does not call {}", set.join(" or "))).collect();
    if proof.takers == Takers::Workers && calls.takers(proof).len() < 2 {
        lacks.push("has no second worker that takes clients".into());
    }
    lacks
}

fn judge(name: &str, proof: &Proof, calls: &Calls) -> Vec<String> {
    let own = |way: &Set| proof.must.contains(way) || proof.may == *way;
    let mut wrong = lacks(proof, calls);
    let rivals = WAYS.iter().filter(|way| !own(way) && calls.any(way));
    wrong.extend(rivals.map(|way| format!("calls {}", way.join(" or "))));
    if proof.takers == Takers::One && calls.takers(proof).len() > 1 {
        wrong.push("has more than one thread that takes clients".into());
    }
    let shown = calls.show();
    println!("{name}: {shown}");
    wrong.into_iter().map(|why| format!("{name} {why}: {shown}")).collect()
}

#[test]
fn the_judge_sees_who_is_not_what_they_say() {
    let cases = [
        ("worker_queue", "tcp", "1 accept4(3)\n2 recvfrom(4)", ""),
        ("worker_queue", "tcp", "1 accept4(3)\n2 accept4(3)\n2 recvfrom(4)", "more than one thread"),
        ("thread_pool", "udp", "1 recvmsg(3)\n2 sendto(3)", "no second worker"),
        ("prefork", "udp", "1 recvmsg(3 <unfinished ...>\n2 recvmsg(3)\n2 sendto(3)\n1 <... recvmsg resumed>)", ""),
        (
            "thread_per_connection",
            "tcp",
            "1 accept4(3)\n1 clone3(CLONE_THREAD)\n1 clone(SIGCHLD)",
            "calls clone3 process",
        ),
        ("fork_per_connection", "tcp", "1 accept4(3)\n1 clone(SIGCHLD)\n2 poll(4)\n2 +++ exited", ""),
        ("fork_per_connection", "tcp", "1 accept4(3)\n1 clone3(CLONE_THREAD)", "does not call clone3 process"),
        ("poll", "udp", "1 poll(3)\n1 recvmsg(3)\n1 sendto(3)\n1 epoll_wait(4)", "calls epoll_wait"),
        ("epoll_sharded", "udp", "1 epoll_wait(3)\n1 recvmsg(4)\n1 sendmmsg(4)", "does not call recvmmsg"),
        ("io_uring", "udp", "1 io_uring_enter(3)\n1 poll(4)", "calls poll"),
    ];
    for (name, transport, trace, expected) in cases {
        let wrong = judge(name, &proof(name, transport).expect("a proof"), &Calls::of(trace)).join("\n");
        assert!(wrong.is_empty() == expected.is_empty() && wrong.contains(expected), "{name} {trace}: {wrong}");
    }
}
