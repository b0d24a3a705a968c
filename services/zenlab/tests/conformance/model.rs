//! What a server says to anything at all must be what the crate `zen` says, byte for byte, however it comes.
//!
//! The conversations are random, and the same in every run: their seeds are their numbers.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use zen::datagram::{Verdict, judge};
use zen::{Conversation, Dialogue, End, Limits, Next, Said};

use super::support::Server;
use super::support::client::{Datagram, End as Ended, QUESTIONS, Stream};

const CONVERSATIONS: u64 = 60;

const DATAGRAMS: u64 = 150;

/// The servers' own: what they begin with.
const LIMITS: Limits =
    Limits { max_question: 64, idle_timeout: Duration::from_secs(2), question_deadline: Duration::from_secs(1) };

/// What servers must have counted after [`converse`].
pub static CONVERSATIONS_COUNTED: LazyLock<String> =
    LazyLock::new(|| count((0..CONVERSATIONS).flat_map(|seed| replies_to(&speech(seed)).1)));

/// What servers must have counted after [`send`].
pub static DATAGRAMS_COUNTED: LazyLock<String> = LazyLock::new(|| {
    count((0..DATAGRAMS).flat_map(|seed| match verdict(&datagram(seed)) {
        Verdict::Reply(_, said) => vec![label(said).to_owned()],
        // The question after it.
        Verdict::Drop(reason) => vec![format!("dropped:{}", reason.label()), "answered".to_owned()],
    }))
});

/// Each conversation in pieces, then the end of the client's half.
pub fn converse(server: &Server, transport: &str) {
    for seed in 0..CONVERSATIONS {
        let (speech, mut random) = (speech(seed), Random::new(seed + CONVERSATIONS));
        let mut client = Stream::connect(server, transport);
        let mut rest = speech.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(random.within(1..rest.len() + 1));
            client.say(piece);
            rest = after;
        }
        client.finish();
        let wanted = (replies_to(&speech).0, Ended::Closed);
        assert_eq!(client.hear_rest(), wanted, "conversation {seed}: {:?}", String::from_utf8_lossy(&speech));
    }
}

/// Each datagram, and its answer or, where there is to be none, that of a question after it.
pub fn send(server: &Server, transport: &str) {
    let client = Datagram::connect(server, transport);
    for seed in 0..DATAGRAMS {
        let datagram = datagram(seed);
        match verdict(&datagram) {
            Verdict::Reply(reply, _) => client.ask(&datagram, reply),
            Verdict::Drop(_) => client.say_without_answer(&datagram),
        }
    }
}

/// The model's replies, and what it says of each and of the end.
fn replies_to(speech: &[u8]) -> (Vec<u8>, Vec<String>) {
    let now = Instant::now();
    let mut conversation = Conversation::new(now);
    let (mut replies, mut said) = (Vec::new(), Vec::new());
    let next = conversation.hear(speech, now, Dialogue::Zen, &LIMITS, &mut replies, |what| said.push(label(what)));
    let reason = match (next, conversation.end()) {
        (Next::Leave, _) => said.last().copied().expect("a fault is told"),
        (Next::GoOn, End::Whole) => "eof",
        (Next::GoOn, End::Partial) => "eof_partial",
    };
    let closed = format!("closed:{reason}");
    (replies, said.into_iter().map(str::to_owned).chain([closed]).collect())
}

fn verdict(datagram: &[u8]) -> Verdict<'_> {
    judge(Dialogue::Zen, datagram, datagram.len() > LIMITS.max_question, None)
}

/// As metrics call it.
const fn label(said: Said) -> &'static str {
    match said {
        Said::Known(_) => "answered",
        Said::Unknown => "unknown",
        Said::Echoed => "echoed",
        Said::TooLong => "too_long",
        Said::BadByte => "bad_byte",
    }
}

/// So many of each, as [`books::expect`](super::books::expect) takes it.
fn count(labels: impl Iterator<Item = String>) -> String {
    let mut counts = BTreeMap::<_, u64>::new();
    labels.for_each(|label| *counts.entry(label).or_default() += 1);
    let terms: Vec<_> = counts.into_iter().map(|(label, count)| format!("{count} {label}")).collect();
    terms.join(", ")
}

/// Questions, things that are nearly questions, and now and then anything.
fn speech(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::new();
    for _ in 0..random.within(0..24) {
        match random.within(0..16) {
            0..10 => bytes.extend_from_slice(QUESTIONS[random.within(0..3)].0),
            10..12 => bytes.extend([b"\r\n", &b"\n"[..]][random.within(0..2)]),
            12..15 => {
                bytes.extend(random.text(62));
                bytes.push(b'?');
            }
            _ => random.faulty(&mut bytes),
        }
    }
    bytes
}

fn datagram(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::new();
    match random.within(0..4) {
        0 => bytes.extend_from_slice(QUESTIONS[random.within(0..3)].0),
        1 | 2 => {
            bytes.extend(random.text(80));
            bytes.push(b'?');
        }
        _ => random.faulty(&mut bytes),
    }
    bytes
}

/// xorshift64: enough for a mixture.
struct Random(u64);

impl Random {
    const fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn within(&mut self, range: Range<usize>) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        range.start + (self.0 % (range.end - range.start) as u64) as usize
    }

    /// Up to so many bytes that may stand in a question.
    fn text(&mut self, most: usize) -> Vec<u8> {
        (0..self.within(0..most + 1)).map(|_| self.within(0x20..0x7F) as u8).collect()
    }

    /// Something too long, or with a byte that no question has.
    fn faulty(&mut self, bytes: &mut Vec<u8>) {
        let wrong = [0, b'\t', b'\n', 0x7F, 0x80, 0xFF][self.within(0..6)];
        match self.within(0..3) {
            0 => bytes.extend([b'x'; 70]),
            1 => write!(bytes, "Simple is").and_then(|()| bytes.write_all(&[wrong])).expect("memory"),
            _ => bytes.extend((0..self.within(1..40)).map(|_| self.within(0..256) as u8)),
        }
    }
}
