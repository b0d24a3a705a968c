//! A stream's dialogue as a state machine: bytes and the time in, answers and deadlines out.

use std::time::Instant;

use crate::{Dialogue, Limits, Said, answer, error, is_text};

/// How many bytes CR or LF are passed over between two questions, so that a line typed into `nc` is a question.
const LINE_END: u8 = 2;

/// Whether a conversation can go on after what was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// More questions may come.
    GoOn,
    /// The last reply names the client's fault; it is sent, then the conversation ends.
    Leave,
}

/// How a client ended a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Between two questions.
    Whole,
    /// In the middle of a question.
    Partial,
}

/// Which deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeOut {
    /// Nothing was said for the idle timeout. There is no reply: the next answer could be mistaken for it.
    Idle,
    /// A question was begun and not ended; [`error::TIMEOUT`] is owed.
    Question,
}

/// The server's side of one client's dialogue over a stream.
///
/// Framing is at *each* `?`: however the bytes are split or joined on their way, each question gets one answer, in order.
/// An idle conversation holds no buffer.
#[derive(Debug)]
pub struct Conversation {
    /// The question that is not ended yet, without what was skipped before it.
    partial: Vec<u8>,
    /// CR and LF bytes passed over since the last question.
    skipped: u8,
    /// Since when the client is silent, or since when it asks the question that is not ended.
    since: Instant,
}

impl Conversation {
    /// A conversation that began `now`.
    pub const fn new(now: Instant) -> Self {
        Self { partial: Vec::new(), skipped: 0, since: now }
    }

    /// Takes in `bytes`, which came `now`; appends every reply they call for to `replies` and tells `said` of each.
    ///
    /// The replies are at most 24 bytes for each byte heard ([`error::UNKNOWN`] for a lone `?`), plus one error text.
    /// After [`Next::Leave`] nothing more may be heard.
    pub fn hear(
        &mut self,
        bytes: &[u8],
        now: Instant,
        dialogue: Dialogue,
        limits: &Limits,
        replies: &mut Vec<u8>,
        said: impl FnMut(Said),
    ) -> Next {
        match dialogue {
            Dialogue::Zen => self.hear_questions(bytes, now, limits.max_question, replies, said),
            Dialogue::Echo => self.hear_echo(bytes, now, replies, said),
        }
    }

    fn hear_echo(&mut self, bytes: &[u8], now: Instant, replies: &mut Vec<u8>, mut said: impl FnMut(Said)) -> Next {
        // A question begun before the dialogue was changed is part of what is sent back.
        replies.append(&mut self.partial);
        replies.extend_from_slice(bytes);
        self.since = now;
        said(Said::Echoed);
        Next::GoOn
    }

    fn hear_questions(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
        max_question: usize,
        replies: &mut Vec<u8>,
        mut said: impl FnMut(Said),
    ) -> Next {
        loop {
            bytes = self.skip_line_end(bytes);
            if bytes.is_empty() {
                return Next::GoOn;
            }
            let room = max_question.saturating_sub(self.partial.len());
            let within = &bytes[..bytes.len().min(room)];
            match within.iter().position(|&byte| byte == b'?' || !is_text(byte)) {
                Some(end) if within[end] == b'?' => {
                    said(self.reply(&bytes[..=end], now, replies));
                    bytes = &bytes[end + 1..];
                }
                Some(_) => return fault(Said::BadByte, error::BAD_BYTE, replies, said),
                None if bytes.len() >= room => return fault(Said::TooLong, error::TOO_LONG, replies, said),
                None => {
                    if self.partial.is_empty() {
                        self.since = now;
                    }
                    self.partial.extend_from_slice(bytes);
                    return Next::GoOn;
                }
            }
        }
    }

    fn skip_line_end<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while self.partial.is_empty()
            && self.skipped < LINE_END
            && let [b'\r' | b'\n', rest @ ..] = bytes
        {
            self.skipped += 1;
            bytes = rest;
        }
        bytes
    }

    /// Answers the question whose last bytes are `end`.
    fn reply(&mut self, end: &[u8], now: Instant, replies: &mut Vec<u8>) -> Said {
        let (text, said) = if self.partial.is_empty() {
            answer(end)
        } else {
            self.partial.extend_from_slice(end);
            answer(&self.partial)
        };
        replies.extend_from_slice(text.as_bytes());
        self.partial = Vec::new();
        self.skipped = 0;
        self.since = now;
        said
    }

    /// What it means that the client will say nothing more.
    pub const fn end(&self) -> End {
        if self.is_partial() { End::Partial } else { End::Whole }
    }

    /// Whether a question was begun and not ended.
    pub const fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// When the conversation is over unless the client says something (between questions) or ends its question.
    pub fn deadline(&self, limits: &Limits) -> Instant {
        self.since + if self.is_partial() { limits.question_deadline } else { limits.idle_timeout }
    }

    /// Which of the two deadlines it is that [`Self::deadline`] gives; appends the reply that is owed for it.
    pub fn time_out(&self, replies: &mut Vec<u8>) -> TimeOut {
        if self.is_partial() {
            replies.extend_from_slice(error::TIMEOUT.as_bytes());
            TimeOut::Question
        } else {
            TimeOut::Idle
        }
    }

    /// Starts the idle time anew: an answer that took long is no silence of the client's.
    pub const fn answered(&mut self, now: Instant) {
        if !self.is_partial() {
            self.since = now;
        }
    }
}

fn fault(kind: Said, text: &str, replies: &mut Vec<u8>, mut said: impl FnMut(Said)) -> Next {
    replies.extend_from_slice(text.as_bytes());
    said(kind);
    Next::Leave
}
