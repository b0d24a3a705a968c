//! One client: a socket, and the questions that are on their way.

mod socket;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use socket2::Socket;
use zen::trace::Origin;
use zen::{Transport, error};

use crate::population::{Text, Wanted};
use crate::tally::Outcome;
pub(crate) use socket::{Connect, NAME, Place};

/// The longest answer is 24 bytes, the longest echo 28; those of a pipeline may come together.
const ANSWERS: usize = 256;

/// What its socket is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    Open,
    /// Given up; still open for a while to see answers that come too late.
    Late,
}

/// A question on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    pub text: Text,
    /// Its number on the connection, from 0.
    pub number: u64,
    /// When it should have been asked.
    pub planned: Instant,
    /// When all of it was written, if it was.
    pub sent: Option<Instant>,
    /// When it is given up.
    pub deadline: Instant,
}

/// What a client does next by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Writes more of its question.
    Say,
    /// Reads more of its answers.
    Hear,
    /// Has thought, and may be asked for more.
    Ask,
}

/// A client of one endpoint.
pub(crate) struct Client {
    socket: Socket,
    /// Answers may come in parts; a datagram is one whole answer.
    is_stream: bool,
    pub lane: usize,
    pub phase: Phase,
    pub began: Instant,
    /// In the order in which they were asked; answers come in the same.
    pub on_the_way: VecDeque<Question>,
    /// Questions that a visit has still to ask.
    pub to_ask: usize,
    /// Questions asked on this socket.
    pub asked: u64,
    /// Whether it is among the free ones of its lane.
    pub is_free: bool,
    /// Since when it could be asked for more.
    pub free_since: Instant,
    /// What it does next by itself, and the number by which its alarm is known.
    pub alarm: Option<(u64, Next)>,
    pub origin: Option<Origin>,
    /// How much of its last question has been written.
    said: usize,
    heard: [u8; ANSWERS],
    heard_bytes: usize,
    /// What a datagram client was answered last: the network may bring it twice.
    last_answer: Option<&'static [u8]>,
    /// A file that the client has bound, to be removed with it.
    bound: Option<PathBuf>,
}

/// What one read has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// Something to judge.
    Bytes,
    /// Nothing yet.
    Nothing,
    /// The end of the connection.
    End(Outcome),
}

/// What the bytes that have come say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Not all of an answer.
    Part,
    /// This is what became of the first question that is on its way.
    Outcome(Outcome),
    /// The server is full and says so before it is asked.
    Busy,
    /// The last answer, once more.
    Duplicate,
    /// Something that nobody has asked for.
    Unasked,
}

impl Client {
    /// Begins to connect.
    pub fn connect(how: &Connect<'_>, lane: usize) -> io::Result<Self> {
        let began = Instant::now();
        let made = socket::connect(how)?;
        Ok(Self {
            socket: made.socket,
            is_stream: how.transport.is_stream(),
            lane,
            phase: if made.is_open { Phase::Open } else { Phase::Connecting },
            began,
            on_the_way: VecDeque::new(),
            to_ask: 0,
            asked: 0,
            is_free: false,
            free_since: began,
            alarm: None,
            origin: made.origin,
            said: 0,
            heard: [0; ANSWERS],
            heard_bytes: 0,
            last_answer: None,
            bound: made.bound,
        })
    }

    /// The socket has become writable: whether the connection was made.
    pub fn finish_connecting(&mut self, transport: Transport, traced: bool) -> io::Result<()> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        self.phase = Phase::Open;
        self.find_origin(transport, traced);
        Ok(())
    }

    /// What both ends will make the same trace id of.
    pub fn find_origin(&mut self, transport: Transport, traced: bool) {
        if transport == Transport::Tcp && traced {
            self.origin = socket::origin(&self.socket);
        }
    }

    /// Puts a question on its way; it is still to be said.
    pub fn push(&mut self, text: Text, planned: Instant, deadline: Instant) {
        self.on_the_way.push_back(Question { text, number: self.asked, planned, sent: None, deadline });
        self.asked += 1;
        self.said = 0;
    }

    /// Says the last question whole.
    pub fn say(&mut self, now: Instant) -> io::Result<()> {
        let Some(question) = self.on_the_way.back_mut() else { return Ok(()) };
        whole(self.socket.send_with_flags(question.text.said, socket::NO_SIGNAL)?, question.text.said.len())?;
        question.sent = Some(now);
        Ok(())
    }

    /// Says all questions that are on their way, at once.
    pub fn say_all(&mut self, now: Instant) -> io::Result<()> {
        let texts: Vec<_> = self.on_the_way.iter().map(|question| IoSlice::new(question.text.said)).collect();
        let bytes = texts.iter().map(|text| text.len()).sum();
        whole(self.socket.send_vectored_with_flags(&texts, socket::NO_SIGNAL)?, bytes)?;
        self.on_the_way.iter_mut().for_each(|question| question.sent = Some(now));
        Ok(())
    }

    /// Says the next `most` bytes of the last question; whether that was all of it.
    pub fn say_part(&mut self, most: usize, now: Instant) -> io::Result<bool> {
        let Some(question) = self.on_the_way.back_mut() else { return Ok(true) };
        let rest = &question.text.said[self.said..];
        self.said += self.socket.send_with_flags(&rest[..most.min(rest.len())], socket::NO_SIGNAL)?;
        let is_said = self.said == question.text.said.len();
        if is_said {
            question.sent = Some(now);
        }
        Ok(is_said)
    }

    /// Says that it has no more to say.
    pub fn half_close(&self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write)
    }

    /// Lets the close that follows be a reset, where the transport has one.
    pub fn prepare_reset(&self) -> io::Result<()> {
        self.socket.set_linger(Some(Duration::ZERO))
    }

    /// Reads once, at most `most` bytes.
    pub fn read(&mut self, most: usize) -> Came {
        if !self.is_stream {
            self.heard_bytes = 0;
        }
        let end = ANSWERS.min(self.heard_bytes.saturating_add(most));
        loop {
            return match (&self.socket).read(&mut self.heard[self.heard_bytes..end]) {
                Ok(0) if self.is_stream => Came::End(self.outcome_of_end()),
                Ok(bytes) => {
                    self.heard_bytes += bytes;
                    Came::Bytes
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Came::Nothing,
                Err(error) => Came::End(outcome_of(&error)),
            };
        }
    }

    /// A connection that ends without a word is what some questions want.
    fn outcome_of_end(&self) -> Outcome {
        let wants_it = self.on_the_way.front().is_some_and(|question| question.text.wanted == Wanted::Silence);
        if wants_it && self.heard_bytes == 0 { Outcome::Ok } else { Outcome::Eof }
    }

    /// What was heard says, byte for byte; an answer that was right is taken out.
    pub fn judge(&mut self) -> Heard {
        let heard = &self.heard[..self.heard_bytes];
        let is_twice = !self.is_stream && self.last_answer.is_some_and(|last| last == heard);
        let Some(question) = self.on_the_way.front() else {
            return match heard {
                _ if is_twice => Heard::Duplicate,
                [] if self.is_stream => Heard::Part,
                _ if heard == error::BUSY.as_bytes() => Heard::Busy,
                _ if self.is_stream && error::BUSY.as_bytes().starts_with(heard) => Heard::Part,
                _ => Heard::Unasked,
            };
        };
        let Wanted::Answer(wanted) = question.text.wanted else {
            return if heard.is_empty() { Heard::Part } else { Heard::Outcome(Outcome::WrongAnswer) };
        };
        if heard.starts_with(wanted) {
            return self.take(wanted);
        }
        if is_twice {
            return Heard::Duplicate;
        }
        Heard::Outcome(match heard {
            _ if heard == error::BUSY.as_bytes() => Outcome::Refused,
            _ if heard == error::TIMEOUT.as_bytes() => Outcome::Timeout,
            _ if self.is_stream && is_begin_of_any(heard, wanted) => return Heard::Part,
            _ => Outcome::WrongAnswer,
        })
    }

    /// Whether something that has come is still to be judged.
    pub const fn has_more(&self) -> bool {
        self.heard_bytes > 0
    }

    /// Takes an answer out. More than the answers that are wanted, or than one in a datagram, is a wrong answer.
    fn take(&mut self, wanted: &'static [u8]) -> Heard {
        let rest = self.heard_bytes - wanted.len();
        if rest > 0 && (!self.is_stream || self.on_the_way.len() == 1) {
            return Heard::Outcome(Outcome::WrongAnswer);
        }
        self.heard.copy_within(wanted.len()..self.heard_bytes, 0);
        self.heard_bytes = rest;
        self.last_answer = Some(wanted);
        Heard::Outcome(Outcome::Ok)
    }
}

fn is_begin_of_any(heard: &[u8], wanted: &[u8]) -> bool {
    [wanted, error::BUSY.as_bytes(), error::TIMEOUT.as_bytes()].iter().any(|text| text.starts_with(heard))
}

/// A question that does not fit into an empty buffer is no question that could be measured.
fn whole(written: usize, bytes: usize) -> io::Result<()> {
    if written == bytes { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(path) = &self.bound {
            // Somebody may have cleaned up before us.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What an error of a socket means for the question.
pub(crate) fn outcome_of(error: &io::Error) -> Outcome {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound | ErrorKind::WouldBlock => Outcome::Refused,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted | ErrorKind::NotConnected => {
            Outcome::Reset
        }
        ErrorKind::TimedOut => Outcome::Timeout,
        _ => Outcome::Error,
    }
}
