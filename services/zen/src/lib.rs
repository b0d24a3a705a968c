//! What is said between a client and a server of this laboratory, and nothing of how it travels.
//!
//! A client asks one of three plain ASCII questions, each ending in `?`, and waits for an answer ending in `.`; it closes
//! the connection without a word when it has no more questions (the chapter's "A Simple Protocol"). This crate knows no
//! socket, no thread and no clock: whoever uses it brings the bytes and says what time it is. So the same text can be
//! served by every architecture, and every architecture can be compared with this one reference.
//!
//! - [`Conversation`]: the server's end of a stream. Bytes in, answers out, and the two deadlines.
//! - [`datagram::judge`]: the same for one datagram.
//! - [`Endpoint`]: the addresses, as `tcp://127.0.0.1:1060` or `unix:///run/zen/epoll.stream`.
//! - [`trace`]: how both ends find the same trace identity although the protocol has no header to carry one.
#![forbid(unsafe_code)]

mod conversation;
pub mod datagram;
mod endpoint;
pub mod trace;

use std::fmt;
use std::str::FromStr;

pub use conversation::{Conversation, End, Next, TimeOut};
pub use endpoint::{Address, Endpoint, EndpointError};

/// A question of the Zen of Python with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aphorism {
    /// What is asked, with its `?`.
    pub question: &'static str,
    /// What is answered, with its `.`.
    pub answer: &'static str,
    /// The name that metrics use.
    pub label: &'static str,
}

/// The three questions, in the order in which the chapter's client asks them.
pub const QUESTIONS: [Aphorism; 3] = [
    Aphorism { question: "Beautiful is better than?", answer: "Ugly.", label: "beautiful" },
    Aphorism { question: "Explicit is better than?", answer: "Implicit.", label: "explicit" },
    Aphorism { question: "Simple is better than?", answer: "Complex.", label: "simple" },
];

/// Fixed replies to what is no known question. Each ends in `.`, and none repeats a client's bytes.
pub mod error {
    /// A question nobody knows; the conversation goes on.
    pub const UNKNOWN: &str = "Error: unknown aphorism.";
    /// The longest allowed question is reached without a `?`; the conversation ends.
    pub const TOO_LONG: &str = "Error: too long.";
    /// A byte outside `0x20..=0x7E`; the conversation ends.
    pub const BAD_BYTE: &str = "Error: bad byte.";
    /// A question was begun and not ended within the question deadline; the conversation ends.
    pub const TIMEOUT: &str = "Error: timeout.";
    /// The server has as many conversations as it may have; the conversation ends before it begins.
    pub const BUSY: &str = "Error: busy.";
}

/// The port of the chapter's server; an architecture's own port is this plus its offset in the registry.
pub const BASE_PORT: u16 = 1060;

/// Ports from [`BASE_PORT`] on that belong to the laboratory's servers: a datagram *from* one of them is never answered.
pub const PORTS: u16 = 20;

/// The shortest allowed limit for the length of a question, in bytes.
pub const MIN_MAX_QUESTION: usize = 32;

/// The greatest allowed limit for the length of a question, in bytes.
pub const MAX_MAX_QUESTION: usize = 4096;

/// What a server does with what it hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialogue {
    /// Answers the three questions.
    #[default]
    Zen,
    /// Sends back every byte (the chapter's echo servers).
    Echo,
}

impl Dialogue {
    /// Every dialogue, for help texts and schemas.
    pub const ALL: [Self; 2] = [Self::Zen, Self::Echo];

    /// The name that settings use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Zen => "zen",
            Self::Echo => "echo",
        }
    }
}

/// How long a client may take, and how much it may say at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest question in bytes, its `?` included.
    pub max_question: usize,
    /// How long a client may be silent between two questions.
    pub idle_timeout: std::time::Duration,
    /// How long a question may take from its first byte to its `?`. It is absolute: no further byte extends it.
    pub question_deadline: std::time::Duration,
}

/// One thing that was understood in what a client said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A known question: its place in [`QUESTIONS`].
    Known(usize),
    /// A question that nobody knows.
    Unknown,
    /// Bytes that were sent back as they came.
    Echoed,
    /// The length limit was reached without a `?`.
    TooLong,
    /// A byte that no question contains.
    BadByte,
}

/// The four kinds of sockets that a server can listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Unix stream sockets.
    Unix,
    /// Unix datagram sockets.
    Unixgram,
}

impl Transport {
    /// Every transport.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Udp, Self::Unix, Self::Unixgram];

    /// The name that metrics and URLs use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix",
            Self::Unixgram => "unixgram",
        }
    }

    /// Whether there are connections (TCP, Unix stream) and not single datagrams.
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Unix)
    }

    /// Whether addresses are paths and not hosts with ports.
    pub const fn is_unix(self) -> bool {
        matches!(self, Self::Unix | Self::Unixgram)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|transport| transport.label() == name)
            .ok_or_else(|| format!("{name:?} is no transport; there are tcp, udp, unix and unixgram"))
    }
}

/// The answer to a whole question, `?` included, and what it was.
pub(crate) fn answer(question: &[u8]) -> (&'static str, Said) {
    QUESTIONS
        .iter()
        .position(|aphorism| aphorism.question.as_bytes() == question)
        .map_or((error::UNKNOWN, Said::Unknown), |known| (QUESTIONS[known].answer, Said::Known(known)))
}

/// Whether a byte may stand in a question.
pub(crate) const fn is_text(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7E)
}
