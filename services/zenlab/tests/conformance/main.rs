//! Every architecture, over every transport that it serves, says the same and counts the same: the dialogue's reference is the
//! crate `zen`, and what a client sees must not depend on how it is served.
//!
//! Some scenarios are written down, with what a client hears and what the server counts (`streams`, `datagrams`); the others
//! are random, and `zen` itself says what is right (`model`).

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod books;
mod datagrams;
mod model;
mod replies;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use books::{Books, books};
use datagrams::DATAGRAMS;
use streams::{STREAMS, asks_while_its_answers_are_stuck};

use support::process::{self, Process};
use support::{Architecture, Server, for_each, registry, wait_for};

/// Short, so that what waits for them is quick; long enough for a machine that is busy.
const SETTINGS: [&str; 4] = ["idle_timeout=2s", "question_deadline=1s", "write_stall=1s", "answer_work=block"];

/// Something that a client does, and what a server must have counted after it: see [`books::expect`].
type Scenario = (&'static str, fn(&Server, &str), &'static str);

/// Cells that cannot be: an architecture, and why it has no datagrams.
const NO_DATAGRAMS: [(&str, &str); 2] = [
    ("thread_per_connection", "a datagram is no connection that could have a thread"),
    ("fork_per_connection", "a datagram is no connection that could have a process"),
];

const TRANSPORTS: [&str; 4] = ["tcp", "unix", "udp", "unixgram"];

static RAN: AtomicUsize = AtomicUsize::new(0);
static SKIPPED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn every_architecture_says_the_same() {
    let architectures = registry();
    let cells: usize = TRANSPORTS.iter().map(|transport| scenarios(transport).len()).sum();
    let cells = architectures.len() * cells;
    for_each(architectures, conform);
    let (ran, skipped) = (RAN.load(Ordering::Relaxed), SKIPPED.load(Ordering::Relaxed));
    println!("{ran} cells ran, {skipped} skipped, {cells} in all");
    assert_eq!(ran + skipped, cells);
}

/// With clocks so long that none of them makes a server look at a client of whom it has heard nothing.
#[test]
fn what_is_asked_while_answers_are_stuck_is_answered() {
    for_each(registry(), |architecture| {
        let transports: Vec<_> = TRANSPORTS.into_iter().filter(|transport| is_stream(transport)).collect();
        let settings = ["idle_timeout=10m", "write_stall=60s"];
        let server = Server::start_on(&architecture.name, &transports, &settings);
        for transport in transports {
            asks_while_its_answers_are_stuck(&server, transport);
        }
        server.stop();
        Vec::new()
    });
}

fn conform(architecture: &Architecture) -> Vec<String> {
    let server = Server::start(architecture, &SETTINGS);
    let before = Resources::of(&server, architecture);
    // An endpoint has a process of its own, so they can be tried side by side.
    let mut failed: Vec<String> = thread::scope(|scope| {
        let server = &server;
        let threads = TRANSPORTS.map(|transport| scope.spawn(move || try_all(server, architecture, transport)));
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    if catch_unwind(AssertUnwindSafe(|| nothing_is_left(&server, architecture, &before))).is_err() {
        failed.push(format!("{}: something is left behind", architecture.name));
    }
    server.stop();
    failed
}

fn scenarios(transport: &str) -> Vec<Scenario> {
    if is_stream(transport) {
        [&STREAMS[..], &[("conversations of any kind", model::converse, &model::CONVERSATIONS_COUNTED)]].concat()
    } else {
        [&DATAGRAMS[..], &[("datagrams of any kind", model::send, &model::DATAGRAMS_COUNTED)]].concat()
    }
}

fn is_stream(transport: &str) -> bool {
    matches!(transport, "tcp" | "unix")
}

fn try_all(server: &Server, architecture: &Architecture, transport: &str) -> Vec<String> {
    let scenarios = scenarios(transport);
    if architecture.serves(transport) {
        RAN.fetch_add(scenarios.len(), Ordering::Relaxed);
        let mut before = books(server, transport);
        return scenarios.iter().filter_map(|scenario| run(server, transport, scenario, &mut before).err()).collect();
    }
    SKIPPED.fetch_add(scenarios.len(), Ordering::Relaxed);
    let name = &architecture.name;
    match NO_DATAGRAMS.iter().find(|(known, _)| known == name && !is_stream(transport)) {
        Some((_, why)) => {
            println!("skipped: {name} over {transport}, {} scenarios: {why}", scenarios.len());
            Vec::new()
        }
        None => vec![format!("{name} does not serve {transport}: NO_DATAGRAMS must say why")],
    }
}

/// Nobody else talks with this endpoint: what was counted after one scenario was counted `before` the next.
fn run(server: &Server, transport: &str, scenario: &Scenario, before: &mut Books) -> Result<(), String> {
    let (name, act, counted) = scenario;
    let cell = format!("{} over {transport}: {name}", server.architecture);
    let acted = catch_unwind(AssertUnwindSafe(|| act(server, transport))).map_err(|_| format!("{cell}: see above"));
    let found =
        acted.and_then(|()| books::expect(server, transport, before, counted).map_err(|why| format!("{cell}: {why}")));
    *before = found.as_ref().map_or_else(|_| books(server, transport), Books::clone);
    found.map(drop)
}

/// What a server's data planes hold when nobody is there.
struct Resources {
    planes: Vec<(Process, usize, usize)>,
    processes: usize,
}

impl Resources {
    fn of(server: &Server, architecture: &Architecture) -> Self {
        // A pool's workers are born one by one.
        wait_for("every worker to be there", || {
            let status = server.status();
            let endpoints = status["endpoints"].as_array()?;
            let all = |workers: &serde_json::Value| workers["running"] == workers["wanted"];
            let there = architecture.workers == "ignored" || endpoints.iter().all(|endpoint| all(&endpoint["workers"]));
            there.then_some(())
        });
        let leaders = architecture.transports.iter().map(|transport| server.leader(transport) as u32);
        let planes = leaders.map(|pid| Process::find(pid).expect("a data plane"));
        Self {
            planes: planes.map(|plane| (plane, plane.threads(), plane.descriptors())).collect(),
            processes: process::descendants(server.pid()).len(),
        }
    }
}

/// Books that balance, no panic, no zombie; no process, thread or descriptor more than before.
fn nothing_is_left(server: &Server, architecture: &Architecture, before: &Resources) {
    wait_for("all conversations to end", || (server.metric("zen_connections_active", &[]) == 0.0).then_some(()));
    let accepted = server.metric("zen_connections_accepted_total", &[]);
    let closed = server.metric("zen_connections_closed_total", &[]);
    assert_eq!(accepted, closed, "accepted and closed");
    assert_eq!(server.metric("zen_panics_total", &[]), 0.0);
    assert_eq!(server.metric("zen_worker_restarts_total", &[]), 0.0);
    wait_for("every process to be buried", || {
        (process::descendants(server.pid()).len() <= before.processes).then_some(())
    });
    for (plane, threads, descriptors) in &before.planes {
        assert!(plane.is_alive(), "{}: a data plane was replaced", architecture.name);
        wait_for(&format!("{}: {threads} threads again, not {}", architecture.name, plane.threads()), || {
            (plane.threads() <= *threads).then_some(())
        });
        // A stream that the server closed first keeps its descriptor for a second.
        wait_for(
            &format!("{}: {descriptors} descriptors again, not {}", architecture.name, plane.descriptors()),
            || (plane.descriptors() <= *descriptors).then_some(()),
        );
    }
}
