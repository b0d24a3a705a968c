//! Each architecture makes the system calls that it is named after, and not its rivals'.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use support::client::{A, Q, Stream};
use support::process::descendants;
use support::{Server, for_each, registry, wait_for};

/// Ways of waiting for many: an architecture has one of them at the most.
const WAITS: [&str; 7] = ["select", "pselect6", "poll", "ppoll", "epoll_wait", "epoll_pwait", "io_uring_enter"];

/// What must be seen of a data plane under load: one of each of these sets. A wait of another set must not be.
struct Proof {
    must: &'static [&'static [&'static str]],
    /// Waits that may be seen besides: by their way.
    may: &'static [&'static str],
}

const ACCEPT: &[&str] = &["accept4", "accept"];
const EPOLL: &[&str] = &["epoll_wait", "epoll_pwait", "epoll_pwait2"];
const THREAD: &[&str] = &["clone3 thread", "clone thread"];
const PROCESS: &[&str] = &["clone3 process", "clone process", "fork process", "vfork process"];

fn proof(name: &str) -> Option<Proof> {
    let must: &[&[&str]] = match name {
        "single_threaded" | "thread_pool" | "worker_queue" | "prefork" => &[ACCEPT, &["recvfrom"]],
        "thread_per_connection" => &[ACCEPT, THREAD],
        "fork_per_connection" => &[ACCEPT, PROCESS],
        "socketserver_threading" => &[ACCEPT, &["poll", "ppoll"], THREAD],
        "socketserver_forking" => &[ACCEPT, &["poll", "ppoll"], PROCESS],
        "select" => &[ACCEPT, &["select", "pselect6"]],
        "poll" | "socketserver" => &[ACCEPT, &["poll", "ppoll"]],
        "epoll" | "epoll_sharded" | "callbacks" | "coroutines" | "tokio_current_thread" | "tokio_multi_thread" => {
            &[ACCEPT, EPOLL]
        }
        "io_uring" => &[&["io_uring_enter"]],
        _ => return None,
    };
    // A linger list is polled at the end of a thread or process.
    let may: &[&str] = if name.ends_with("per_connection") { &["poll", "ppoll"] } else { &[] };
    Some(Proof { must, may })
}

#[test]
fn each_architecture_has_a_proof() {
    for architecture in registry() {
        assert!(proof(&architecture.name).is_some(), "honest.rs lacks a proof for {}", architecture.name);
    }
}

#[test]
fn each_architecture_makes_its_own_calls_and_no_rivals() {
    if Command::new("strace").arg("--version").stdout(Stdio::null()).status().is_err() {
        return println!("skipped: strace is not installed");
    }
    for_each(registry(), |architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &[]);
        wait_for("all workers to be there", || {
            let workers = &server.endpoint("tcp")["workers"];
            (architecture.workers == "ignored" || workers["running"] == workers["wanted"]).then_some(())
        });
        let trace = server.directory.0.join("trace");
        let mut strace = attach(&server, &trace);
        for _ in 0..20 {
            let mut client = Stream::connect(&server, "tcp");
            for _ in 0..5 {
                client.ask(Q, A);
            }
        }
        wait_for("the clients to be gone", || (server.open("tcp") == 0).then_some(()));
        support::kill(strace.id() as i32, libc::SIGINT);
        strace.wait().unwrap();
        let calls = count(&std::fs::read_to_string(&trace).unwrap());
        server.stop();
        judge(&architecture.name, &calls)
    });
}

fn attach(server: &Server, trace: &std::path::Path) -> Child {
    let leader = server.leader("tcp") as u32;
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

/// Calls by name; a clone also by what it makes.
fn count(trace: &str) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for line in trace.lines() {
        let Some((_, call)) = line.split_once(' ').filter(|(_, call)| !call.trim_start().starts_with(['-', '+']))
        else {
            continue;
        };
        let name = call.trim_start().split('(').next().unwrap_or_default();
        let name = name.strip_prefix("<... ").map_or(name, |resumed| resumed.split(' ').next().unwrap_or_default());
        *calls.entry(name.to_owned()).or_insert(0) += 1;
        if matches!(name, "clone" | "clone3" | "fork" | "vfork") && call.contains('(') {
            let made = if call.contains("CLONE_THREAD") { "thread" } else { "process" };
            *calls.entry(format!("{name} {made}")).or_insert(0) += 1;
        }
    }
    calls
}

fn judge(name: &str, calls: &BTreeMap<String, usize>) -> Vec<String> {
    let Some(proof) = proof(name) else { return Vec::new() };
    let own = |call: &str| proof.must.iter().any(|set| set.contains(&call)) || proof.may.contains(&call);
    let mut failed = Vec::new();
    for set in proof.must {
        if !set.iter().any(|call| calls.contains_key(*call)) {
            failed.push(format!("{name} does not call {}: {calls:?}", set.join(" or ")));
        }
    }
    for rival in WAITS.iter().filter(|call| !own(call) && calls.contains_key(**call)) {
        failed.push(format!("{name} calls {rival}: {calls:?}"));
    }
    println!("{name}: {calls:?}");
    failed
}
