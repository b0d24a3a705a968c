//! A drain loses no answer.
//!
//! Lost is a question whose connection was accepted or waited when the drain began, that was sent completely before that
//! connection's FIN, and that was never answered in full.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use support::client::{A, End, Q, Stream};
use support::{Architecture, Server, for_each, registry};

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
