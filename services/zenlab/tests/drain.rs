//! A drain loses no answer.
//!
//! Lost is a question whose connection was accepted or waited when the drain began, that was sent completely before that
//! connection's FIN, and that was never answered in full. A connection that is refused, or closed without a byte, after a
//! question that was sent when the drain had begun, is retryable: its client may ask again elsewhere.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::json;
use support::client::{A, Datagram, End, Q, Stream, TIMEOUT};
use support::process::Frozen;
use support::{Architecture, Server, each, for_each, registry, wait_for};

const MID_QUESTION: usize = 50;
const MID_PIPELINE: usize = 50;
const IDLE: usize = 100;
const QUEUED: usize = 50;
const PIPELINE: usize = 20;

/// Clients that come and go all the time.
const CHURNING: usize = 3;

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
            let retryable = AtomicU64::new(0);
            for turn in 0..times {
                // In every other turn the server takes nobody when the drain begins, so everybody waits in its queue.
                let how = if turn % 2 == 0 { How::BySignal } else { How::ByOrderWithAQueue };
                let lost = drain(architecture, transport, how, &retryable);
                if !lost.is_empty() {
                    failed.push(format!("{} over {transport}, {how:?}: {}", architecture.name, lost.join(", ")));
                }
            }
            let retryable = retryable.into_inner();
            println!("{} over {transport}: {times} drains, {retryable} retryable", architecture.name);
        }
        failed
    });
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    BySignal,
    ByOrderWithAQueue,
}

fn drain(architecture: &Architecture, transport: &str, how: How, retryable: &AtomicU64) -> Vec<String> {
    let settings = ["max_connections=1000", "idle_timeout=30s", "question_deadline=30s"];
    let mut server = Server::start_on(&architecture.name, &[transport], &settings);
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
    let frozen = (how == How::ByOrderWithAQueue).then(|| Frozen::new(server.leader(transport) as u32));
    let queued = open(QUEUED, Q);
    let lost = Mutex::new(Vec::new());
    let expect = |what: &str, clients: Vec<Stream>, answers: usize| {
        for mut client in clients {
            let (heard, end) = client.hear_rest();
            if heard != A.repeat(answers) || end != End::Closed {
                let wanted = A.len() * answers;
                lost.lock().unwrap().push(format!("{what}: {} of {wanted} bytes, {end:?}", heard.len()));
            }
        }
    };
    let began = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..CHURNING {
            scope.spawn(|| churn(&server, transport, &began, retryable, &lost));
        }
        *began.lock().unwrap() = Some(Instant::now());
        match how {
            How::BySignal => server.signal(libc::SIGTERM),
            How::ByOrderWithAQueue => assert_eq!(server.post("/api/v1/drain", json!({})).0, 202),
        }
        server.wait_for_logged_state("draining");
        drop(frozen);
        for client in &mut mid_question {
            client.say(&Q[10..]);
        }
        expect("in the middle of a question", mid_question, 1);
        expect("in the middle of a pipeline", mid_pipeline, PIPELINE);
        expect("idle", idle, 0);
        expect("in the queue", queued, 1);
    });
    if how == How::ByOrderWithAQueue {
        server.wait_for_state("parked");
        let books = server.status()["drain"].clone();
        assert_eq!((&books["lost"], &books["forced"]), (&json!(0), &json!(0)), "{}: {books}", architecture.name);
        server.stop();
    } else {
        assert_eq!(server.wait().code(), Some(0), "{}", architecture.name);
    }
    lost.into_inner().unwrap()
}

/// Comes, asks and goes until nobody listens any more.
fn churn(
    server: &Server,
    transport: &str,
    began: &Mutex<Option<Instant>>,
    retryable: &AtomicU64,
    lost: &Mutex<Vec<String>>,
) {
    while let Ok(mut client) = Stream::try_connect(server, transport) {
        let sent = client.write_all(Q).map(|()| Instant::now());
        let mut heard = Vec::new();
        let end = client.take(A.len() as u64).read_to_end(&mut heard);
        if heard == A {
            continue;
        }
        let in_time = sent.is_ok_and(|sent| began.lock().unwrap().is_none_or(|began| sent < began));
        if in_time || !heard.is_empty() {
            lost.lock().unwrap().push(format!("one who comes and goes: {} bytes, {end:?}", heard.len()));
        } else {
            retryable.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_server_that_is_paused_answers_those_who_wait_before_it_ends() {
    each(|architecture| {
        let mut server = Server::start(architecture, &[]);
        assert_eq!(server.post("/api/v1/pause", json!({})).0, 200);
        let streams: Vec<_> = ["tcp", "unix"]
            .into_iter()
            .flat_map(|transport| (0..20).map(move |_| transport))
            .map(|transport| {
                let mut client = Stream::connect(&server, transport);
                client.say(Q);
                client
            })
            .collect();
        server.signal(libc::SIGTERM);
        for mut client in streams {
            assert_eq!(client.hear_rest(), (A.to_vec(), End::Closed), "{}", architecture.name);
        }
        assert_eq!(server.wait().code(), Some(0));
    });
}

#[test]
fn no_datagram_that_waits_is_lost() {
    each(|architecture| {
        for (transport, count) in [("udp", 100), ("unixgram", 8)] {
            if !architecture.serves(transport) {
                continue;
            }
            let mut server = Server::start_on(&architecture.name, &[transport], &[]);
            let frozen = Frozen::new(server.leader(transport) as u32);
            let client = Datagram::connect(&server, transport);
            for _ in 0..count {
                client.say(Q);
            }
            server.signal(libc::SIGTERM);
            server.wait_for_logged_state("draining");
            drop(frozen);
            for number in 0..count {
                assert_eq!(client.receive(), A, "{} over {transport}, answer {number}", architecture.name);
            }
            assert_eq!(server.wait().code(), Some(0));
        }
    });
}

#[test]
fn a_question_that_is_never_ended_does_not_hold_up_the_end() {
    each(|architecture| {
        let mut server = Server::start_on(&architecture.name, &["tcp"], &["question_deadline=60s"]);
        let mut client = Stream::connect(&server, "tcp");
        client.say(&Q[..10]);
        wait_for("the client to be taken", || (server.open("tcp") == 1).then_some(()));
        server.signal(libc::SIGTERM);
        assert_eq!(client.hear_rest(), (TIMEOUT.to_vec(), End::Closed), "{}", architecture.name);
        assert_eq!(server.wait().code(), Some(0));
    });
}

/// What it is owed is lost, and that is written down.
#[test]
fn a_client_that_never_reads_does_not_hold_up_the_end() {
    each(|architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &["write_stall=60s", "drain_timeout=1s"]);
        let mut client = Stream::connect(&server, "tcp");
        client.shrink(4096);
        client.set_write_patience(std::time::Duration::from_millis(500));
        while client.write(&[b'?'; 65536]).is_ok() {}
        assert_eq!(server.post("/api/v1/drain", json!({})).0, 202);
        server.wait_for_state("parked");
        let books = server.status()["drain"].clone();
        assert_eq!(
            (&books["forced"], &books["open_at_start"]),
            (&json!(1), &json!(1)),
            "{}: {books}",
            architecture.name
        );
        assert!(books["lost"].as_u64().unwrap() > 0, "{}: {books}", architecture.name);
        server.stop();
    });
}
