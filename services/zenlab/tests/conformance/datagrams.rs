//! What clients do with datagrams.

use std::thread;
use std::time::Duration;

use super::Scenario;
use super::support::client::{A, Datagram, Q, QUESTIONS, UNKNOWN};
use super::support::{Server, wait_for};

/// After a scenario that wants no answer comes a question: what is heard then must be its answer.
pub const DATAGRAMS: [Scenario; 17] = [
    ("three questions", three_questions, "3 answered"),
    (
        "an unknown question",
        |server, transport| Datagram::connect(server, transport).ask(b"Whatever is better than?", UNKNOWN),
        "1 unknown",
    ),
    (
        "a question within a question",
        |server, transport| Datagram::connect(server, transport).ask(b"What? Simple is better than?", UNKNOWN),
        "1 unknown",
    ),
    (
        "two questions in one datagram",
        |server, transport| Datagram::connect(server, transport).ask(&Q.repeat(2), UNKNOWN),
        "1 unknown",
    ),
    (
        "an unknown question shorter than its answer",
        |server, transport| silence(server, transport, b"Who?"),
        "1 dropped:short, 1 answered",
    ),
    ("a lone question mark", |server, transport| silence(server, transport, b"?"), "1 dropped:short, 1 answered"),
    ("an empty datagram", |server, transport| silence(server, transport, b""), "1 dropped:empty, 1 answered"),
    ("questions of every length", every_length, "41 unknown, 23 dropped:short, 1 dropped:truncated, 1 answered"),
    (
        "a datagram that is far too long",
        |server, transport| silence(server, transport, &[b'?'; 4097]),
        "1 dropped:truncated, 1 answered",
    ),
    (
        "a datagram that does not end in a question mark",
        |server, transport| silence(server, transport, b"Simple is better than? "),
        "1 dropped:no_question, 1 answered",
    ),
    ("an answer", |server, transport| silence(server, transport, UNKNOWN), "1 dropped:no_question, 1 answered"),
    (
        "a NUL byte",
        |server, transport| silence(server, transport, b"Simple\0is better than it was?"),
        "1 dropped:bad_byte, 1 answered",
    ),
    (
        "a byte above ASCII",
        |server, transport| silence(server, transport, "Schön is better than it was?".as_bytes()),
        "1 dropped:bad_byte, 1 answered",
    ),
    (
        "a line end",
        |server, transport| silence(server, transport, b"Simple is better than it was?\n"),
        "1 dropped:no_question, 1 answered",
    ),
    ("a thousand datagrams of junk", junk, "0-1000 dropped:no_question, 1-150 answered"),
    ("a client that is gone", gone, "53-103 answered|dropped:unreachable|dropped:would_block"),
    ("a client that never reads", never_reads, "53-103 answered|dropped:unreachable|dropped:would_block"),
];

fn three_questions(server: &Server, transport: &str) {
    let client = Datagram::connect(server, transport);
    for (question, answer) in QUESTIONS {
        client.ask(question, answer);
    }
}

fn silence(server: &Server, transport: &str, bytes: &[u8]) {
    Datagram::connect(server, transport).say_without_answer(bytes);
}

/// Up to the longest and one byte beyond. No reply is ever longer than its question.
fn every_length(server: &Server, transport: &str) {
    let client = Datagram::connect(server, transport);
    for length in 1..=65 {
        let mut question = vec![b'x'; length];
        question[length - 1] = b'?';
        if (UNKNOWN.len()..=64).contains(&length) {
            client.ask(&question, UNKNOWN);
        } else {
            client.say(&question);
        }
    }
    client.ask(Q, A);
}

/// The kernel may throw junk away when it comes too fast, and the question after it as well: then it is asked again.
fn junk(server: &Server, transport: &str) {
    let client = Datagram::connect(server, transport);
    for _ in 0..1000 {
        client.say(b"junk");
    }
    wait_for("an answer after the junk", || {
        client.say(Q);
        client.receive_within(Duration::from_millis(200))
    });
    // Where several receive, one may answer while another still has junk in its hands.
    let mut looks = [f64::NAN; 5];
    wait_for("the last of the junk to be counted", || {
        thread::sleep(Duration::from_millis(20));
        looks.rotate_left(1);
        looks[4] = server.metric("zen_datagrams_received_total", &[&format!("transport=\"{transport}\"")]);
        looks.iter().all(|look| *look == looks[4]).then_some(())
    });
}

/// Answers to somebody who is gone are the server's loss and nobody else's. UDP may report one after it was sent.
fn gone(server: &Server, transport: &str) {
    for _ in 0..50 {
        Datagram::connect(server, transport).say(Q);
    }
    three_questions(server, transport);
}

/// A Unix datagram that does not fit into its receiver's queue makes a sender wait that does not take care.
fn never_reads(server: &Server, transport: &str) {
    let client = Datagram::connect(server, transport);
    for _ in 0..50 {
        client.say(Q);
    }
    three_questions(server, transport);
}
