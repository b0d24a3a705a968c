//! A drain loses no answer.
//!
//! Lost is a question whose connection was accepted or waited when the drain began, that was sent completely before that
//! connection's FIN, and that was never answered in full. A client that comes later may find the door closed, but it must
//! be able to tell: it is refused before anybody has heard it, and may ask elsewhere.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use support::client::{A, End, Q, QUESTIONS, Stream};
use support::{Architecture, Server, for_each, registry, wait_for};

const MID_QUESTION: usize = 50;
const MID_PIPELINE: usize = 50;
const IDLE: usize = 100;
const QUEUED: usize = 50;
const PIPELINE: usize = 20;

#[test]
fn no_answer_is_lost() {
    drain_each(&["tcp"], 2);
}

#[test]
#[ignore = "takes minutes: ten drains of every architecture over both kinds of stream"]
fn no_answer_is_lost_ten_times_in_a_row() {
    drain_each(&["tcp", "unix"], 10);
}

fn drain_each(transports: &[&str], times: usize) {
    for_each(registry(), |architecture| {
        let mut failed = Vec::new();
        for transport in transports {
            for turn in 0..times {
                let lost = drain(architecture, transport);
                if !lost.is_empty() {
                    failed.push(format!("{} over {transport}, drain {turn}: {}", architecture.name, lost.join(", ")));
                }
            }
            println!("{} over {transport}: {times} drains, nothing lost", architecture.name);
        }
        failed
    });
}

fn drain(architecture: &Architecture, transport: &str) -> Vec<String> {
    let mut server = Server::start_on(
        &architecture.name,
        &[transport],
        &["max_connections=1000", "idle_timeout=30s", "question_deadline=30s"],
    );
    let open = |count: usize, first: &[u8]| -> Vec<Stream> {
        let connect = |_| {
            let mut stream = Stream::connect(&server, transport);
            stream.say(first);
            stream
        };
        (0..count).map(connect).collect()
    };
    let mut mid_question = open(MID_QUESTION, &Q[..10]);
    let mid_pipeline = open(MID_PIPELINE, &Q.repeat(PIPELINE));
    let idle = open(IDLE, b"");
    let queued = open(QUEUED, Q);
    server.signal(libc::SIGTERM);
    for client in &mut mid_question {
        client.say(&Q[10..]);
    }
    let mut lost = Vec::new();
    let mut expect = |what: &str, clients: Vec<Stream>, answers: usize| {
        for mut client in clients {
            let (heard, end) = client.hear_rest();
            if heard != A.repeat(answers) || end != End::Closed {
                lost.push(format!("{what}: {} of {} bytes, {end:?}", heard.len(), A.len() * answers));
            }
        }
    };
    expect("in the middle of a question", mid_question, 1);
    expect("in the middle of a pipeline", mid_pipeline, PIPELINE);
    expect("idle", idle, 0);
    expect("in the queue", queued, 1);
    assert_eq!(server.wait().code(), Some(0));
    lost
}

/// Answers that take longer than a drain may are lost, but in order: the drain ends in time, and the books say so.
#[test]
fn a_drain_does_not_wait_for_answers_that_cost_more_time_than_it_has() {
    for_each(registry(), |architecture| {
        let settings = ["answer_work=wait", "answer_delay=5s", "drain_timeout=1s"];
        let server = Server::start_on(&architecture.name, &["tcp"], &settings);
        let mut client = Stream::connect(&server, "tcp");
        client.say(&Q.repeat(PIPELINE));
        let received = (Q.len() * PIPELINE) as f64;
        wait_for("the questions", || (server.metric("zen_received_bytes_total", &[]) == received).then_some(()));
        assert_eq!(server.post("/api/v1/drain", json!({})).0, 202);
        wait_for("parked", || (server.status()["state"] == "parked").then_some(()));
        let forced = server.metric("zen_connections_closed_total", &["reason=\"forced\""]);
        let crashed = server.metric("zen_connections_closed_total", &["reason=\"crashed\""]);
        client.hear_rest();
        server.stop();
        let name = &architecture.name;
        let problem = format!("{name}: {forced} ended by force, {crashed} by a crash");
        (forced, crashed).ne(&(1.0, 0.0)).then_some(problem).into_iter().collect()
    });
}

/// Clients that come and go, each at once replaced by the next.
const CHURNING: usize = 16;

/// How long a client waits before it comes again once the drain was ordered. Without a pause some hundred thousand connections
/// fill the table of a packet filter that follows them, which then drops everybody's.
const RETRY: Duration = Duration::from_millis(10);

/// Conversations before the drain begins.
const BEFORE: u64 = 300;

/// How conversations ended, as their clients saw it. Whoever was not lost may ask again elsewhere.
#[derive(Debug, Default)]
struct Ledger {
    begun: AtomicU64,
    /// Every answer came.
    answered: AtomicU64,
    /// Nobody has taken the client: it was not let in, or reset in the queue.
    refused: AtomicU64,
    /// The server closed in order before it had heard a word.
    sent_off: AtomicU64,
    /// Anything else, and whoever had asked when the drain was ordered and got no answer.
    lost: AtomicU64,
    ordered: AtomicBool,
}

#[test]
fn no_conversation_is_lost_while_clients_come_and_go() {
    for_each(registry(), |architecture| {
        ["tcp", "unix"].into_iter().filter_map(|transport| drain_under_churn(architecture, transport)).collect()
    });
}

fn drain_under_churn(architecture: &Architecture, transport: &str) -> Option<String> {
    let server = Server::start_on(&architecture.name, &[transport], &["max_connections=400", "idle_timeout=30s"]);
    let (ledger, over) = (Ledger::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let _ends = SetWhenLeft(&over);
        for _ in 0..CHURNING {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    ledger.begun.fetch_add(1, Ordering::Relaxed);
                    ledger.enter(&server, transport).fetch_add(1, Ordering::Relaxed);
                    if ledger.ordered.load(Ordering::Relaxed) {
                        thread::sleep(RETRY);
                    }
                }
            });
        }
        wait_for("some conversations", || (ledger.answered.load(Ordering::Relaxed) >= BEFORE).then_some(()));
        ledger.ordered.store(true, Ordering::SeqCst);
        assert_eq!(server.post("/api/v1/drain", json!({})).0, 202);
        wait_for("parked", || (server.status()["state"] == "parked").then_some(()));
    });
    let taken = server.metric("zen_connections_accepted_total", &[]);
    let closed = server.metric("zen_connections_closed_total", &[]);
    let problem = ledger.problem(taken as u64, closed as u64);
    println!("{} over {transport}: {ledger:?}", architecture.name);
    server.stop();
    problem.map(|problem| format!("{} over {transport}: {problem}; {ledger:?}", architecture.name))
}

/// Ends the clients also where a check fails: the scope would wait for them for ever.
struct SetWhenLeft<'a>(&'a AtomicBool);

impl Drop for SetWhenLeft<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Ledger {
    /// One conversation; gives where it is to be entered.
    fn enter(&self, server: &Server, transport: &str) -> &AtomicU64 {
        let Ok(mut client) = Stream::try_connect(server, transport) else { return &self.refused };
        let (questions, answers): (Vec<_>, Vec<_>) = QUESTIONS.into_iter().unzip();
        let said = client.write_all(&questions.concat());
        let was_before = !self.ordered.load(Ordering::SeqCst);
        let entry = if said.is_ok() { self.hear(client, &answers.concat()) } else { &self.refused };
        if was_before && !std::ptr::eq(entry, &raw const self.answered) { &self.lost } else { entry }
    }

    fn hear(&self, client: Stream, answers: &[u8]) -> &AtomicU64 {
        let mut heard = Vec::new();
        match client.take(answers.len() as u64).read_to_end(&mut heard) {
            Ok(_) if heard == answers => &self.answered,
            Ok(0) => &self.sent_off,
            Err(error) if heard.is_empty() && error.kind() == ErrorKind::ConnectionReset => &self.refused,
            _ => &self.lost,
        }
    }

    /// The clients' book, and the server's beside it.
    fn problem(&self, taken: u64, closed: u64) -> Option<String> {
        let [begun, answered, refused, sent_off, lost] =
            [&self.begun, &self.answered, &self.refused, &self.sent_off, &self.lost]
                .map(|number| number.load(Ordering::Relaxed));
        if lost > 0 || answered + refused + sent_off != begun {
            Some(format!("{lost} conversations are lost"))
        } else if taken != answered + sent_off || closed != taken {
            Some(format!("the server has taken {taken} clients and closed {closed}"))
        } else {
            None
        }
    }
}
