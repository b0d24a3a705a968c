//! One datagram is one question.
//!
//! A UDP sender's address can be forged, so two rules hold by construction: a reply is never longer than its question
//! (nobody can be flooded through us; QUIC allows three times, RFC 9000 §8.1), and nothing is answered that does not end in
//! `?` while every answer ends in `.` (two servers cannot be made to answer each other for ever, CVE-2024-2169).

use crate::{BASE_PORT, Dialogue, PORTS, Said, answer, error, is_text};

/// Why a datagram gets no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// It has no bytes.
    Empty,
    /// It is longer than the longest question.
    Truncated,
    /// It does not end in `?`.
    NoQuestion,
    /// It contains a byte outside `0x20..=0x7E`.
    BadByte,
    /// The reply would be longer than the question.
    Short,
    /// It comes from a privileged port or from a server of this laboratory.
    Source,
}

impl Dropped {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Empty, Self::Truncated, Self::NoQuestion, Self::BadByte, Self::Short, Self::Source];

    /// The name that metrics use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::NoQuestion => "no_question",
            Self::BadByte => "bad_byte",
            Self::Short => "short",
            Self::Source => "source",
        }
    }
}

/// What is done with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// These bytes go back.
    Reply(&'a [u8], Said),
    /// Nothing goes back.
    Drop(Dropped),
}

/// Decides about one datagram. `truncated` says that it did not fit into the receive buffer, which holds the longest
/// question; `source_port` is the sender's port where it has one.
pub fn judge(dialogue: Dialogue, datagram: &[u8], truncated: bool, source_port: Option<u16>) -> Verdict<'_> {
    if let Some(reason) = refusal(datagram, truncated, source_port) {
        return Verdict::Drop(reason);
    }
    match dialogue {
        Dialogue::Echo => Verdict::Reply(datagram, Said::Echoed),
        Dialogue::Zen => judge_question(datagram),
    }
}

fn refusal(datagram: &[u8], truncated: bool, source_port: Option<u16>) -> Option<Dropped> {
    if datagram.is_empty() {
        Some(Dropped::Empty)
    } else if truncated {
        Some(Dropped::Truncated)
    } else if source_port.is_some_and(is_suspect) {
        Some(Dropped::Source)
    } else {
        None
    }
}

/// A server's port, or one that only privileged programs send from: the advice for CVE-2024-2169.
const fn is_suspect(port: u16) -> bool {
    port < 1024 || (port >= BASE_PORT && port < BASE_PORT + PORTS)
}

fn judge_question(datagram: &[u8]) -> Verdict<'_> {
    if datagram.last() != Some(&b'?') {
        return Verdict::Drop(Dropped::NoQuestion);
    }
    if !datagram.iter().copied().all(is_text) {
        return Verdict::Drop(Dropped::BadByte);
    }
    match answer(datagram) {
        (_, Said::Unknown) if datagram.len() < error::UNKNOWN.len() => Verdict::Drop(Dropped::Short),
        (reply, said) => Verdict::Reply(reply.as_bytes(), said),
    }
}
