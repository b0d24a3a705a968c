//! One who is served: its conversation, and which of its operations the kernel has.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Instant;

use chassis::{Stream, Talk, Wants, linger};
use io_uring::{opcode, types};

use super::READ;
use super::buffers::GROUP;
use super::ring::{Done, Op, Ring};

/// Bytes that may wait to be heard while a client does not take its reply.
const MOST_UNHEARD: usize = 4 * READ;

/// A reply up to this length is expected to be taken at once.
const SHORT: usize = 4096;

#[expect(clippy::struct_excessive_bools, reason = "each says one thing, and any of them may go with any other")]
pub struct Client {
    pub talk: Talk,
    pub stream: Stream,
    /// What came while a reply was under way.
    unheard: Vec<u8>,
    /// Whether it will send no more.
    has_ended: bool,
    /// Whether it has ever left a reply lying.
    is_slow: bool,
    /// Whether it was there when it was last looked whose time is up.
    was_seen: bool,
    pub receiving: bool,
    pub sending: bool,
    pub timer: Option<Instant>,
}

impl Client {
    pub const fn new(stream: Stream, talk: Talk) -> Self {
        Self {
            talk,
            stream,
            unheard: Vec::new(),
            has_ended: false,
            is_slow: false,
            was_seen: false,
            receiving: false,
            sending: false,
            timer: None,
        }
    }

    /// Takes in what came: bytes, the end, or why the receiving has ended, which begins again if that helps.
    pub fn has_received(&mut self, done: &Done, bytes: &[u8]) {
        self.receiving = done.more;
        match &done.result {
            Ok(0) => self.has_ended = true,
            Ok(_) if self.unheard.is_empty() && self.talk.wants() == Wants::ToHear => {
                self.talk.heard(bytes);
            }
            Ok(_) => self.unheard.extend_from_slice(bytes),
            Err(error) => self.failed(error),
        }
    }

    /// Takes note of how much of the reply was sent.
    pub fn has_sent(&mut self, done: &Done) {
        self.sending = false;
        match &done.result {
            // The reply was given up meanwhile.
            _ if self.talk.wants() == Wants::ToLeave => {}
            Ok(bytes) => self.is_slow |= self.talk.spoke(*bytes) == Wants::ToSpeak,
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => self.is_slow = true,
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        // No buffer was free, or the operation was ended on purpose: nothing that a new one does not mend.
        if !matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN)) {
            self.talk.failed(error);
        }
    }

    /// Hears what has waited, and in the end that there is no more, or no more time.
    pub fn catch_up(&mut self) -> Wants {
        while self.talk.wants() == Wants::ToHear {
            if !self.unheard.is_empty() {
                let part: Vec<_> = self.unheard.drain(..READ.min(self.unheard.len())).collect();
                if self.unheard.is_empty() {
                    self.unheard = Vec::new();
                }
                self.talk.heard(&part);
            } else if self.has_ended {
                self.talk.heard(&[]);
            } else if !self.receiving && self.talk.is_overdue(&self.stream) {
                self.talk.time_is_up();
            } else {
                break;
            }
        }
        self.talk.wants()
    }

    /// Receives whatever comes, until further notice (multishot).
    pub fn begin_receiving(&mut self, ring: &mut Ring) -> io::Result<()> {
        self.receiving = true;
        let fd = self.stream.as_raw_fd();
        // SAFETY: the buffers stay; see their type.
        unsafe { ring.begin(Op::Receive, fd as u32, opcode::RecvMulti::new(types::Fd(fd), GROUP).build()) }
    }

    pub fn begin_sending(&mut self, ring: &mut Ring) -> io::Result<()> {
        self.sending = true;
        let (fd, reply) = (self.stream.as_raw_fd(), self.talk.reply());
        let now = !self.is_slow && reply.len() <= SHORT;
        let (op, flag) = if now { (Op::SendNow, libc::MSG_DONTWAIT) } else { (Op::Send, 0) };
        let send = opcode::Send::new(types::Fd(fd), reply.as_ptr(), reply.len() as u32);
        // SAFETY: the talk keeps its reply where it is until it hears how much was sent, and stays until then.
        unsafe { ring.begin(op, fd as u32, send.flags(libc::MSG_NOSIGNAL | flag).build()) }
    }

    /// Whether its time is up. Who has come since the last time that this was asked has not had any: in a drain its question
    /// may be on the way.
    pub fn is_overdue(&mut self) -> bool {
        std::mem::replace(&mut self.was_seen, true) && self.talk.is_overdue(&self.stream)
    }

    /// Whether there is more to do as soon as the reply is sent, whatever comes.
    pub fn goes_on(&self) -> bool {
        !self.receiving || self.has_ended || !self.unheard.is_empty() || self.talk.closes_first()
    }

    /// Has the kernel receive no more from a client who goes on without reading its replies.
    pub fn hold_back(&self, ring: &mut Ring) -> io::Result<()> {
        if self.unheard.len() < MOST_UNHEARD { Ok(()) } else { self.stop_receiving(ring) }
    }

    /// Has the receiving end; it begins again when the reply is sent, if there is time.
    pub fn stop_receiving(&self, ring: &mut Ring) -> io::Result<()> {
        if self.receiving { ring.cancel(Op::Receive, self.stream.as_raw_fd() as u32) } else { Ok(()) }
    }

    /// Closes the stream. The kernel must have no operation of it any more.
    pub fn leave(self) {
        if self.talk.closes_first() {
            linger(self.stream);
        }
    }
}
