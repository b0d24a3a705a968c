//! What clients do on streams.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

use super::Scenario;
use super::books::books;
use super::support::Server;
use super::support::client::{A, BAD_BYTE, End, Q, QUESTIONS, Stream, TIMEOUT, TOO_LONG, UNKNOWN};
use super::support::wait_for;

pub const STREAMS: [Scenario; 38] = [
    ("three questions", three_questions, "3 answered, 1 closed:eof"),
    (
        "an unknown question",
        |server, transport| ask_once(server, transport, b"Now is better than?", UNKNOWN),
        "1 unknown, 1 closed:eof",
    ),
    ("a lone question mark", |server, transport| ask_once(server, transport, b"?", UNKNOWN), "1 unknown, 1 closed:eof"),
    (
        "nearly a question",
        |server, transport| ask_once(server, transport, b" Simple is better than?", UNKNOWN),
        "1 unknown, 1 closed:eof",
    ),
    ("two hundred clients, one after the other", one_after_the_other, "200 answered, 200 closed:eof"),
    ("fifty clients at the same time", at_the_same_time, "50 answered, 50 closed:eof"),
    ("500 questions at once", pipelined, "500 answered, 1 closed:eof"),
    ("10,000 questions at once", heavily_pipelined, "10000 answered, 1 closed:eof"),
    ("answers that are read slowly", read_slowly, "20000 unknown, 1 closed:eof"),
    ("a question byte by byte", byte_by_byte, "1 answered, 1 closed:eof"),
    ("two questions in one segment", two_at_once, "2 answered, 1 closed:eof"),
    ("known and unknown questions in one segment", known_and_unknown, "2 answered, 2 unknown, 1 closed:eof"),
    ("a question split at every place", split_everywhere, "24 answered, 1 closed:eof"),
    ("line ends between questions", line_ends, "2 answered, 1 closed:eof"),
    (
        "half-closed with one answer owed",
        |server, transport| half_closed(server, transport, 1),
        "1 answered, 1 closed:eof",
    ),
    (
        "half-closed with three answers owed",
        |server, transport| half_closed(server, transport, 3),
        "3 answered, 1 closed:eof",
    ),
    (
        "half-closed with a hundred answers owed",
        |server, transport| half_closed(server, transport, 100),
        "100 answered, 1 closed:eof",
    ),
    ("half-closed in the middle of a question", half_closed_within, "1 closed:eof_partial"),
    ("closed without a word", |server, transport| drop(Stream::connect(server, transport)), "1 closed:eof"),
    ("closed in the middle of a question", closed_within, "1 answered, 1 closed:eof_partial"),
    (
        "the longest question",
        |server, transport| ask_once(server, transport, &longest(), UNKNOWN),
        "1 unknown, 1 closed:eof",
    ),
    ("a question that is too long by one byte", too_long_by_one, "1 too_long, 1 closed:too_long"),
    ("a question that is too long, byte by byte", too_long_byte_by_byte, "1 too_long, 1 closed:too_long"),
    (
        "a question that is far too long",
        |server, transport| refused(server, transport, &[b'x'; 9000], TOO_LONG),
        "1 too_long, 1 closed:too_long",
    ),
    (
        "a NUL byte",
        |server, transport| refused(server, transport, b"Simple\0is", BAD_BYTE),
        "1 bad_byte, 1 closed:bad_byte",
    ),
    (
        "a byte above ASCII",
        |server, transport| refused(server, transport, "Schön is better than?".as_bytes(), BAD_BYTE),
        "1 bad_byte, 1 closed:bad_byte",
    ),
    (
        "a line end within a question",
        |server, transport| refused(server, transport, b"Simple\nis", BAD_BYTE),
        "1 bad_byte, 1 closed:bad_byte",
    ),
    (
        "a line end too many",
        |server, transport| refused(server, transport, b"\r\n\nSimple is better than?", BAD_BYTE),
        "1 bad_byte, 1 closed:bad_byte",
    ),
    ("HTTP", http, "1 unknown, 2 bad_byte, 2 closed:bad_byte"),
    (
        "TLS",
        |server, transport| refused(server, transport, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", BAD_BYTE),
        "1 bad_byte, 1 closed:bad_byte",
    ),
    (
        "SSH",
        |server, transport| refused(server, transport, b"SSH-2.0-OpenSSH_10.0\r\n", BAD_BYTE),
        "1 bad_byte, 1 closed:bad_byte",
    ),
    (
        "an answer before the fault, and nothing after it",
        answer_then_fault,
        "1 answered, 1 bad_byte, 1 closed:bad_byte",
    ),
    // A Unix stream has no reset: its client's end is seen as such, or as a pipe that is broken.
    (
        "a reset in the middle of a question",
        reset_within,
        "3 answered, 1 closed:eof, 1 closed:reset|closed:eof_partial",
    ),
    ("a reset with answers owed", reset_owed, "3-153 answered, 2 closed:reset|closed:eof"),
    ("a client that never reads", never_reads, "1-9999999 unknown, 3 answered, 1 closed:eof, 1 closed:write_stall"),
    ("a silent client", silent, "1 closed:idle"),
    ("a question that is never ended", never_ended, "1 answered, 1 deadline, 1 closed:deadline"),
    ("a question that is never ended, byte by byte", slow, "1 deadline, 1 closed:deadline"),
];

fn ask_once(server: &Server, transport: &str, question: &[u8], answer: &[u8]) {
    Stream::connect(server, transport).ask(question, answer);
}

fn three_questions(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    for (question, answer) in QUESTIONS {
        client.ask(question, answer);
    }
}

fn one_after_the_other(server: &Server, transport: &str) {
    for _ in 0..200 {
        ask_once(server, transport, Q, A);
    }
}

/// Each goes when it is answered, so a server of one client at a time comes to all of them.
fn at_the_same_time(server: &Server, transport: &str) {
    let mut clients: Vec<_> = (0..50).map(|_| Stream::connect(server, transport)).collect();
    for client in &mut clients {
        client.say(Q);
    }
    for mut client in clients {
        client.hear(A);
    }
}

/// So many questions, in turn, with their answers.
fn many(count: usize) -> (Vec<u8>, Vec<u8>) {
    let (questions, answers): (Vec<_>, Vec<_>) = QUESTIONS.into_iter().cycle().take(count).unzip();
    (questions.concat(), answers.concat())
}

fn pipelined(server: &Server, transport: &str) {
    let (questions, answers) = many(500);
    ask_once(server, transport, &questions, &answers);
}

/// More than buffers hold: the client must read while it asks.
fn heavily_pipelined(server: &Server, transport: &str) {
    let (questions, answers) = many(10_000);
    let mut client = Stream::connect(server, transport);
    let mut asking = client.copy();
    thread::scope(|scope| {
        scope.spawn(move || asking.say(&questions));
        client.hear(&answers);
    });
}

/// The server's writes come to nothing or stop in the middle of an answer, over and over.
fn read_slowly(server: &Server, transport: &str) {
    const COUNT: usize = 20_000;
    let mut client = Stream::connect(server, transport);
    client.shrink(64 * 1024);
    let mut asking = client.copy();
    thread::scope(|scope| {
        scope.spawn(move || asking.say(&[b'?'; COUNT]));
        let mut heard = Vec::new();
        let mut buffer = [0; 777];
        while heard.len() < COUNT * UNKNOWN.len() {
            let bytes = client.read(&mut buffer).expect("an answer");
            assert_ne!(bytes, 0, "closed after {} bytes", heard.len());
            heard.extend_from_slice(&buffer[..bytes]);
        }
        assert!(heard == UNKNOWN.repeat(COUNT), "the answers are not those that were owed");
    });
}

fn byte_by_byte(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    for byte in Q {
        client.say(&[*byte]);
    }
    client.hear(A);
}

fn two_at_once(server: &Server, transport: &str) {
    ask_once(server, transport, b"Simple is better than?Explicit is better than?", b"Complex.Implicit.");
}

fn known_and_unknown(server: &Server, transport: &str) {
    ask_once(server, transport, &[Q, b"?", b"Now is better than?", Q].concat(), &[A, UNKNOWN, UNKNOWN, A].concat());
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

fn closed_within(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    client.ask(Q, A);
    client.say(&Q[..10]);
}

/// As long as a question may be: 64 bytes, its mark included.
fn longest() -> [u8; 64] {
    let mut question = [b'x'; 64];
    question[63] = b'?';
    question
}

/// The fault is named, the stream ends, and the end is no reset, which could destroy the last words.
fn refused(server: &Server, transport: &str, bytes: &[u8], answer: &[u8]) {
    let mut client = Stream::connect(server, transport);
    client.say(bytes);
    assert_eq!(client.hear_rest(), (answer.to_vec(), End::Closed));
}

fn too_long_by_one(server: &Server, transport: &str) {
    refused(server, transport, &[b"x", &longest()[..]].concat(), TOO_LONG);
}

fn too_long_byte_by_byte(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    for _ in 0..64 {
        client.say(b"x");
    }
    assert_eq!(client.hear_rest(), (TOO_LONG.to_vec(), End::Closed));
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
    client.shrink(4096);
    client.set_write_patience(Duration::from_secs(5));
    let stalled = || books(server, transport).get("closed:write_stall").copied();
    let before = stalled();
    // Lone question marks: each byte is owed 24.
    while client.write(&[b'?'; 65536]).is_ok() {}
    wait_for("the client to be closed", || (stalled() > before).then_some(()));
    three_questions(server, transport);
}

/// Asks on until its answers are stuck and its last questions lie unread; then it reads, and all of them are answered.
pub fn asks_while_its_answers_are_stuck(server: &Server, transport: &str) {
    // Less than one read takes, so that a server may believe that it has read everything.
    const CHUNK: usize = 4000;
    // What is owed for so many fills most of a usual TCP buffer.
    const FIRST: usize = 30 * CHUNK;
    let mut client = Stream::connect(server, transport);
    let received = || server.metric("zen_received_bytes_total", &[&format!("transport=\"{transport}\"")]) as usize;
    // A server that is merely slow only makes this scenario tell less.
    let reads_all = |asked| (0..20).any(|_| received() == asked);
    let mut asked = FIRST;
    client.say(&[b'?'; FIRST]);
    while reads_all(asked) {
        client.say(&[b'?'; CHUNK]);
        asked += CHUNK;
    }
    let mut heard = vec![0; asked * UNKNOWN.len()];
    client.read_exact(&mut heard).expect("all answers");
    assert!(heard == UNKNOWN.repeat(asked), "the answers are not those that were owed");
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

/// No further byte gives a question more time.
fn slow(server: &Server, transport: &str) {
    let mut client = Stream::connect(server, transport);
    client.set_patience(Duration::from_millis(40));
    let mut heard = [0; 1];
    let heard = loop {
        // Nobody hears what is said after the end, and that is the client's fault.
        let _ = client.write(b"x");
        match client.read(&mut heard) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            other => break other.map(|bytes| heard[..bytes].to_vec()).expect("the server's last words"),
        }
    };
    assert_eq!([heard, client.hear_rest().0].concat(), TIMEOUT);
}
