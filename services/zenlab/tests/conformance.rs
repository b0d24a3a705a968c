//! Every architecture, over every transport that it serves, says the same: the dialogue's reference is the crate `zen`, and
//! what a client sees must not depend on how it is served.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::client::{A, BAD_BYTE, Datagram, End, Q, QUESTIONS, Stream, TIMEOUT, TOO_LONG, UNKNOWN};
use support::process::{descendants, state};
use support::{Architecture, Server, for_each, registry, wait_for};

/// Short, so that what waits for them is quick; long enough for a machine that is busy.
const SETTINGS: [&str; 4] = ["idle_timeout=2s", "question_deadline=1s", "write_stall=1s", "answer_work=block"];

type StreamScenario = fn(&Server, &str);
type DatagramScenario = fn(&Server, &str);

const STREAMS: [(&str, StreamScenario); 27] = [
    ("three questions", three_questions),
    ("an unknown question", unknown),
    ("a lone question mark", lone_mark),
    ("500 questions at once", pipelined),
    ("a question byte by byte", byte_by_byte),
    ("two questions in one segment", two_at_once),
    ("a question split at every place", split_everywhere),
    ("line ends between questions", line_ends),
    ("half-closed with one answer owed", |server, transport| half_closed(server, transport, 1)),
    ("half-closed with three answers owed", |server, transport| half_closed(server, transport, 3)),
    ("half-closed with a hundred answers owed", |server, transport| half_closed(server, transport, 100)),
    ("half-closed in the middle of a question", half_closed_within),
    ("closed without a word", |server, transport| drop(Stream::connect(server, transport))),
    ("the longest question", longest_question),
    ("a question that is too long", |server, transport| refused(server, transport, &[b'x'; 64], TOO_LONG)),
    ("a question that is far too long", |server, transport| refused(server, transport, &[b'x'; 9000], TOO_LONG)),
    ("a NUL byte", |server, transport| refused(server, transport, b"Simple\0is", BAD_BYTE)),
    ("a byte above ASCII", |server, transport| {
        refused(server, transport, "Schön is better than?".as_bytes(), BAD_BYTE);
    }),
    ("a line end within a question", |server, transport| refused(server, transport, b"Simple\nis", BAD_BYTE)),
    ("HTTP", http),
    ("TLS", |server, transport| refused(server, transport, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", BAD_BYTE)),
    ("an answer before the fault", answer_then_fault),
    ("a reset in the middle of a question", reset_within),
    ("a reset with answers owed", reset_owed),
    ("a client that never reads", never_reads),
    ("a silent client", silent),
    ("a question that is never ended", never_ended),
];

const DATAGRAMS: [(&str, DatagramScenario); 10] = [
    ("three questions", datagram_questions),
    ("an unknown question", |server, transport| {
        Datagram::connect(server, transport).ask(b"Whatever is better than?", UNKNOWN);
    }),
    ("an unknown question shorter than its answer", |server, transport| silence(server, transport, b"Who?")),
    ("a lone question mark", |server, transport| silence(server, transport, b"?")),
    ("an empty datagram", |server, transport| silence(server, transport, b"")),
    ("a datagram that is too long", |server, transport| silence(server, transport, &[b'?'; 4097])),
    ("a datagram that does not end in a question mark", |server, transport| {
        silence(server, transport, b"Simple is better than? ");
    }),
    ("a byte above ASCII", |server, transport| silence(server, transport, "Schön is better than it was?".as_bytes())),
    ("a thousand datagrams of junk", junk),
    ("a client that is gone", gone),
];

static RAN: AtomicUsize = AtomicUsize::new(0);
static SKIPPED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn every_architecture_says_the_same() {
    for_each(registry(), conform);
    let (ran, skipped) = (RAN.load(Ordering::Relaxed), SKIPPED.load(Ordering::Relaxed));
    println!("{ran} cells ran, {skipped} skipped (a server for each connection has no datagrams)");
    assert!(ran > 600, "only {ran} cells ran");
}

fn conform(architecture: &Architecture) -> Vec<String> {
    let server = Server::start(architecture, &SETTINGS);
    let mut failed = Vec::new();
    let mut run = |transport: &str, name: &str, scenario: StreamScenario| {
        if !architecture.serves(transport) {
            SKIPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        RAN.fetch_add(1, Ordering::Relaxed);
        if catch_unwind(AssertUnwindSafe(|| scenario(&server, transport))).is_err() {
            failed.push(format!("{} over {transport}: {name}", architecture.name));
        }
    };
    for transport in ["tcp", "unix"] {
        for (name, scenario) in STREAMS {
            run(transport, name, scenario);
        }
    }
    for transport in ["udp", "unixgram"] {
        for (name, scenario) in DATAGRAMS {
            run(transport, name, scenario);
        }
    }
    if catch_unwind(AssertUnwindSafe(|| nothing_is_left(&server))).is_err() {
        failed.push(format!("{}: something is left behind", architecture.name));
    }
    server.stop();
    failed
}

/// Books that balance, no panic, no zombie.
fn nothing_is_left(server: &Server) {
    wait_for("all conversations to end", || (server.metric("zen_connections_active", &[]) == 0.0).then_some(()));
    let accepted = server.metric("zen_connections_accepted_total", &[]);
    let closed = server.metric("zen_connections_closed_total", &[]);
    assert_eq!(accepted, closed, "accepted and closed");
    assert_eq!(server.metric("zen_panics_total", &[]), 0.0);
    assert_eq!(server.metric("zen_worker_restarts_total", &[]), 0.0);
    wait_for("zombies to be buried", || {
        let zombies = descendants(server.pid()).into_iter().filter(|&pid| state(pid) == Some('Z')).count();
        (zombies == 0).then_some(())
    });
}

fn three_questions(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    for (question, answer) in QUESTIONS {
        client.ask(question, answer);
    }
}

fn unknown(server: &Server, transport: &str) {
    Stream::connect(server, transport).ask(b"Now is better than?", UNKNOWN);
}

fn lone_mark(server: &Server, transport: &str) {
    Stream::connect(server, transport).ask(b"?", UNKNOWN);
}

fn longest_question(server: &Server, transport: &str) {
    Stream::connect(server, transport).ask(&longest(64), UNKNOWN);
}

fn pipelined(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    let (questions, answers): (Vec<_>, Vec<_>) = QUESTIONS.into_iter().cycle().take(500).unzip();
    client.ask(&questions.concat(), &answers.concat());
}

fn byte_by_byte(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    for byte in Q {
        client.say(&[*byte]);
    }
    client.hear(A);
}

fn two_at_once(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    client.ask(b"Simple is better than?Explicit is better than?", b"Complex.Implicit.");
}

fn split_everywhere(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    for at in 1..Q.len() {
        client.say(&Q[..at]);
        client.say(&Q[at..]);
        client.hear(A);
    }
}

fn line_ends(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    client.ask(b"\r\nBeautiful is better than?\r\n", A);
    client.ask(b"Simple is better than?\n", b"Complex.");
}

fn half_closed(server: &Server, transport: &str, questions: usize) {
    let mut client = Stream::connect(server, transport);
    client.say(&Q.repeat(questions));
    client.finish();
    assert_eq!(client.hear_rest(), (A.repeat(questions), End::Closed));
}

fn half_closed_within(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    client.say(&Q[..10]);
    client.finish();
    assert_eq!(client.hear_rest(), (Vec::new(), End::Closed));
}

fn longest(bytes: usize) -> Vec<u8> {
    let mut question = vec![b'x'; bytes - 1];
    question.push(b'?');
    question
}

/// The fault is named, the stream ends, and the end is no reset, which could destroy the last words.
fn refused(server: &Server, transport: &str, bytes: &[u8], answer: &[u8]) {
    let mut client = Stream::connect(server, transport);
    client.say(bytes);
    assert_eq!(client.hear_rest(), (answer.to_vec(), End::Closed));
}

fn http(server: &Server, transport: &str) {
    refused(server, transport, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", BAD_BYTE);
    // A query has a question mark, so it is a question first.
    refused(server, transport, b"GET /?x HTTP/1.1\r\n\r\n", &[UNKNOWN, BAD_BYTE].concat());
}

fn answer_then_fault(server: &Server, transport: &str) {
    refused(server, transport, &[Q, b"\xff", Q].concat(), &[A, BAD_BYTE].concat());
}

fn reset_within(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    client.say(&Q[..10]);
    client.reset();
    three_questions(server, transport);
}

fn reset_owed(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    client.say(&Q.repeat(150));
    client.reset();
    three_questions(server, transport);
}

/// It is closed after `write_stall`, and others are served then if not before.
fn never_reads(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    client.shrink();
    client.set_write_patience(Duration::from_secs(5));
    let before =
        server.metric("zen_connections_closed_total", &["reason=\"write_stall\"", &format!("\"{transport}\"")]);
    // Lone question marks: each byte is owed 24.
    while client.write(&[b'?'; 65536]).is_ok() {}
    wait_for("the client to be closed", || {
        let closed =
            server.metric("zen_connections_closed_total", &["reason=\"write_stall\"", &format!("\"{transport}\"")]);
        (closed > before).then_some(())
    });
    three_questions(server, transport);
}

/// It is closed without a word: a text could be taken for the answer to a question that was just sent.
fn silent(server: &Server, transport: &str) {
    assert_eq!(Stream::connect(server, transport).hear_rest(), (Vec::new(), End::Closed));
}

fn never_ended(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    client.ask(Q, A);
    client.say(&Q[..10]);
    assert_eq!(client.hear_rest(), (TIMEOUT.to_vec(), End::Closed));
}

fn datagram_questions(server: &Server, transport: &str) {
    let client = Datagram::connect(server, transport);
    for (question, answer) in QUESTIONS {
        client.ask(question, answer);
    }
}

fn silence(server: &Server, transport: &str, bytes: &[u8]) {
    Datagram::connect(server, transport).say_without_answer(bytes);
}

fn junk(server: &Server, transport: &str) {
    let client = Datagram::connect(server, transport);
    for _ in 0..1000 {
        client.say(b"junk");
    }
    client.ask(Q, A);
}

/// Answers to somebody who is gone are the server's loss and nobody else's.
fn gone(server: &Server, transport: &str) {
    for _ in 0..50 {
        Datagram::connect(server, transport).say(Q);
    }
    datagram_questions(server, transport);
}
