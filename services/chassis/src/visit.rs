//! One client's conversation with its socket.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use crate::desk::{self, Role};
use crate::linger::{self, linger};
use crate::socket::{Stream, TALK_TICK, TICK};
use crate::talk::{Talk, Wants};

/// How much one read takes. Longer than any question, so that many pipelined ones are one read and one write.
const READ: usize = 4096;

thread_local! {
    /// A worker hears one client at a time, so it needs one buffer, however many clients it has.
    static BUFFER: RefCell<[u8; READ]> = const { RefCell::new([0; READ]) };
}

/// A client at the server: its conversation and its socket. Closes both when dropped.
pub struct Visit {
    talk: Talk,
    /// Only ever `None` while it is dropped.
    stream: Option<Stream>,
    /// When we last looked at the clock.
    now: Instant,
    /// The receive timeout that the socket has.
    tick: Duration,
    /// Whether the last read filled the buffer, so that more may lie in the socket.
    filled: bool,
    /// Whether the client let a whole tick pass: from then on a longer one does.
    waits_long: bool,
}

impl Visit {
    pub(crate) const fn new(talk: Talk, stream: Stream) -> Self {
        Self { now: talk.moment(), talk, stream: Some(stream), tick: TICK, filled: false, waits_long: false }
    }

    /// Serves this one client to the end, waiting for it wherever it keeps us waiting.
    ///
    /// Each wait is one blocking recv(2) or send(2) with a timeout, after which the worker looks for orders.
    pub fn converse(mut self) {
        self.talk.desk().sit();
        let mut wants = self.talk.wants();
        loop {
            wants = match wants {
                Wants::ToHear => self.wait_and_hear(),
                Wants::ToSpeak => self.wait_and_speak(),
                Wants::ToWait(until) => self.sleep(until),
                Wants::ToLeave => return,
            };
        }
    }

    fn wait_and_hear(&mut self) -> Wants {
        let left = self.talk.deadline().saturating_duration_since(self.now);
        if left.is_zero() {
            return self.hear_or_end();
        }
        if let Err(error) = self.set_tick(left) {
            return self.talk.failed(&error);
        }
        let wants = self.hear();
        // Whoever has said something was looked at with the clock in hand; a reading for each question would be felt.
        self.now = if wants == Wants::ToHear { Instant::now() } else { self.talk.moment() };
        desk::tick(self.now);
        wants
    }

    /// Sets the receive timeout, but only where the one that is set does not do: a call for each question would be felt.
    fn set_tick(&mut self, left: Duration) -> io::Result<()> {
        let tick = if self.waits_long { TALK_TICK } else { self.tick }.min(left);
        if tick != self.tick {
            self.tick = tick;
            self.stream().set_read_tick(tick)?;
        }
        Ok(())
    }

    fn wait_and_speak(&mut self) -> Wants {
        let wants = self.speak();
        if wants == Wants::ToSpeak && self.talk.deadline() <= Instant::now() {
            return self.talk.time_is_up();
        }
        wants
    }

    /// Sleeps tick by tick, so that a drain's end is noticed.
    fn sleep(&mut self, until: Instant) -> Wants {
        let now = Instant::now();
        if now >= until {
            return self.talk.waited();
        }
        if self.talk.deadline() <= now {
            return self.talk.time_is_up();
        }
        std::thread::sleep(TICK.min(until - now));
        desk::tick(Instant::now());
        Wants::ToWait(until)
    }

    /// Ends the conversation before it began, and gives its stream back.
    pub(crate) fn release(mut self) -> Stream {
        self.talk.is_refused();
        match self.stream.take() {
            Some(stream) => stream,
            None => unreachable!("a visit has its stream until it is dropped"),
        }
    }

    /// Another process has this visit now: closes this copy of its stream without a word, and counts nothing.
    pub fn abandon(self) {
        let Self { talk, stream, .. } = &mut *std::mem::ManuallyDrop::new(self);
        drop(stream.take());
        talk.forget();
    }

    pub(crate) fn is_for_process(&self) -> bool {
        self.talk.desk().role == Role::Child
    }

    /// The number of the slot that this client has for itself, if it has one: see [`Site::accept_for_process`](crate::Site::accept_for_process).
    pub fn seat(&self) -> Option<usize> {
        self.talk.seat()
    }

    /// What the conversation waits for.
    pub fn wants(&self) -> Wants {
        self.talk.wants()
    }

    /// Does what the conversation wants as far as that is possible without waiting: for sockets that do not block.
    pub fn advance(&mut self) -> Wants {
        let wants = match self.talk.wants() {
            Wants::ToHear => self.hear_news(),
            Wants::ToWait(until) if until <= Instant::now() => self.talk.waited(),
            other => other,
        };
        if wants == Wants::ToSpeak { self.speak() } else { wants }
    }

    /// Reads once after news of the client; counts it where there is nothing, unless the news was of what is read already.
    fn hear_news(&mut self) -> Wants {
        let (desk, filled) = (self.talk.desk(), self.filled);
        self.hear_by(|stream, buffer| {
            let read = stream.read(buffer);
            if !filled && read.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                desk.slot().loop_spurious.add(1);
            }
            read
        })
    }

    /// Reads once, and takes in what was read.
    pub fn hear(&mut self) -> Wants {
        self.hear_by(Stream::read)
    }

    fn hear_by(&mut self, read: impl FnOnce(&Stream, &mut [u8]) -> io::Result<usize>) -> Wants {
        BUFFER.with_borrow_mut(|buffer| match read(self.stream(), buffer) {
            Ok(bytes) => {
                self.filled = bytes == READ;
                self.talk.heard(&buffer[..bytes])
            }
            Err(error) if is_tick(&error) => {
                self.waits_long = true;
                Wants::ToHear
            }
            Err(error) => self.talk.failed(&error),
        })
    }

    /// Writes once, as much of the reply as the kernel takes.
    pub fn speak(&mut self) -> Wants {
        match self.stream().write(self.talk.reply()) {
            Ok(bytes) => self.talk.spoke(bytes),
            Err(error) if is_tick(&error) => Wants::ToSpeak,
            Err(error) => self.talk.failed(&error),
        }
    }

    /// Whether more of what the client sent may be there to read: for loops that hear of news only once (edge-triggered).
    pub const fn may_have_more(&self) -> bool {
        self.filled
    }

    /// When [`Self::tend`] is due, unless something happens before.
    pub fn deadline(&self) -> Instant {
        self.talk.deadline()
    }

    /// Ends the conversation if its deadline has passed; otherwise nothing changes.
    pub fn tend(&mut self, now: Instant) -> Wants {
        if now < self.talk.deadline() {
            return self.talk.wants();
        }
        let wants = self.hear_or_end();
        if wants == Wants::ToSpeak { self.speak() } else { wants }
    }

    /// What has already come counts: a server that was stopped for a while must not blame its clients for it, and nothing
    /// that was asked before our FIN may stay unheard.
    fn hear_or_end(&mut self) -> Wants {
        if self.talk.wants() == Wants::ToHear {
            let wants = self.hear_by(Stream::read_now);
            if wants != Wants::ToHear || self.talk.deadline() > Instant::now() {
                return wants;
            }
        }
        self.talk.time_is_up()
    }

    const fn stream(&self) -> &Stream {
        match &self.stream {
            Some(stream) => stream,
            None => panic!("a visit has its stream until it is dropped"),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take()
            && self.talk.closes_first()
        {
            linger(stream);
            if self.talk.seat().is_some() {
                // The thread or process was there for this client alone, and ends with it.
                linger::finish();
            }
        }
    }
}

impl AsFd for Visit {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream().as_fd()
    }
}

impl AsRawFd for Visit {
    fn as_raw_fd(&self) -> RawFd {
        self.stream().as_raw_fd()
    }
}

/// Whether a call found nothing to do in its time: that is a tick and no fault.
fn is_tick(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;

    use super::*;
    use crate::page::{LiveValue, Page};
    use crate::settings::Source;
    use crate::site::Site;
    use crate::socket::{self, Options, StreamListener};

    #[test]
    fn a_wake_up_counts_as_for_nothing_only_where_there_was_nothing_to_expect() {
        let page = Page::map().unwrap();
        page.settings.set_max_question(zen::MAX_MAX_QUESTION);
        page.settings.write(&[(LiveValue::MaxConnections, 10, Source::Default)]);
        page.endpoint_count.store(1, std::sync::atomic::Ordering::Relaxed);
        let endpoint = &page.endpoints()[0];
        let options = Options { backlog: 10, receive_buffer: 0, send_tick: TALK_TICK };
        let (fd, at) = socket::bind(&"tcp://127.0.0.1:0".parse().unwrap(), options).unwrap();
        let mut site = Site::new(page, endpoint, StreamListener::new(fd, at.transport, options));
        site.set_blocking(false).unwrap();
        let zen::Address::Host(host, port) = at.address else { panic!("{at}") };
        let mut client = TcpStream::connect((host.as_str(), port)).unwrap();
        let mut visit = site.accept_now().unwrap().unwrap();
        let spurious = || endpoint.sum(|slot| slot.loop_spurious.get());

        assert_eq!((visit.advance(), spurious()), (Wants::ToHear, 1));
        client.write_all(b"Simple is better than?").unwrap();
        assert_eq!((visit.advance(), spurious()), (Wants::ToHear, 1), "it has asked and was answered");
        // A full buffer may have left something in the socket, or nothing: who looks again asks rightly.
        client.write_all(&b"Now is better than??".repeat(READ)[..READ]).unwrap();
        while !visit.may_have_more() {
            visit.advance();
        }
        let before = spurious();
        assert_eq!((visit.advance(), spurious()), (Wants::ToHear, before));
    }
}
