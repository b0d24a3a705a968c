//! One client's conversation, counted and timed, without its socket.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::net::SocketAddrAny;
use zen::trace::Origin;
use zen::{Conversation, End, Next, Said, TimeOut, Transport};

use crate::desk::{self, Desk, Role, Tenure};
use crate::page::{Closed, Slot, Target};
use crate::settings::AnswerWork;
use crate::socket::has_news;
use crate::trace::{self, Record};

/// What a conversation waits for: the one thing that a server does for it next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// The client's next bytes.
    ToHear,
    /// That its reply can be sent.
    ToSpeak,
    /// A moment: something else is awaited before the reply may be sent (`answer_work = "wait"`).
    ToWait(Instant),
    /// Nothing more: close it.
    ToLeave,
}

/// One client's conversation: bytes in, replies out, and what is to be done next.
///
/// It counts everything in its worker's slot, and its end when it is dropped, however that happens.
pub struct Talk {
    desk: Desk,
    transport: Transport,
    conversation: Conversation,
    /// The reply that is owed, from `sent` on. An idle conversation has no buffer.
    reply: Vec<u8>,
    sent: usize,
    /// Since when the client takes none of its reply.
    stalled_since: Instant,
    /// When the bytes came that the reply answers.
    heard_at: Instant,
    /// Answers in the reply.
    answers: u32,
    last_said: Option<Said>,
    wait_until: Option<Instant>,
    /// How the conversation ends when the reply is sent.
    ending: Option<Closed>,
    origin: Origin,
    asked: u64,
}

thread_local! {
    /// A buffer for the next reply: it goes from conversation to conversation, so none is allocated for a question.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer that has grown beyond this is not kept.
const MOST_SPARE: usize = 128 * 1024;

impl Talk {
    pub(crate) fn new(desk: Desk, transport: Transport, peer: Option<&SocketAddrAny>) -> Self {
        let now = Instant::now();
        desk.slot().accepted.add(1);
        Self {
            desk,
            transport,
            conversation: Conversation::new(now),
            reply: Vec::new(),
            sent: 0,
            stalled_since: now,
            heard_at: now,
            answers: 0,
            last_said: None,
            wait_until: None,
            ending: None,
            origin: origin_of(transport, peer),
            asked: 0,
        }
    }

    /// Takes in bytes that the client sent; none means that it will send no more.
    pub fn heard(&mut self, bytes: &[u8]) -> Wants {
        if bytes.is_empty() {
            return self.heard_end();
        }
        let now = Instant::now();
        desk::tick(now);
        self.heard_at = now;
        self.stalled_since = now;
        self.slot().received_bytes.add(bytes.len() as u64);
        // A fault in an answer costs this client its conversation and nobody else anything.
        let desk = self.desk;
        if desk.contain(|| self.answer(bytes, now)).is_none() {
            return self.leave(Closed::Panic);
        }
        self.wants()
    }

    fn answer(&mut self, bytes: &[u8], now: Instant) {
        self.desk.endpoint.faults.strike(Target::Conversation);
        let (dialogue, limits, delay, work) =
            self.desk.page.settings.choose(|live| (live.dialogue, live.limits, live.answer_delay, live.answer_work));
        if self.reply.capacity() == 0 {
            self.reply = SPARE.take();
        }
        let Self { desk, conversation, reply, answers, last_said, ending, .. } = self;
        let slot = desk.slot();
        let next = conversation.hear(bytes, now, dialogue, &limits, reply, |said| {
            *answers += u32::from(is_answer(said));
            *last_said = Some(said);
            count(slot, said, ending);
        });
        debug_assert_eq!(next == Next::Leave, ending.is_some());
        let cost = delay * self.answers;
        if !cost.is_zero() {
            self.pay(cost, work);
        }
    }

    fn pay(&mut self, cost: Duration, work: AnswerWork) {
        let until = self.heard_at + cost;
        match work {
            AnswerWork::Spin => spin_until(until),
            AnswerWork::Block => std::thread::sleep(cost),
            AnswerWork::Wait => self.wait_until = Some(until),
        }
    }

    fn heard_end(&mut self) -> Wants {
        self.ending = Some(match self.conversation.end() {
            End::Whole => Closed::Eof,
            End::Partial => Closed::EofPartial,
        });
        self.wants()
    }

    /// What is to be done now.
    pub fn wants(&self) -> Wants {
        if let Some(until) = self.wait_until {
            Wants::ToWait(until)
        } else if !self.reply().is_empty() {
            Wants::ToSpeak
        } else if self.ending.is_some() {
            Wants::ToLeave
        } else {
            Wants::ToHear
        }
    }

    /// What was awaited is there: the reply may be sent.
    pub fn waited(&mut self) -> Wants {
        self.wait_until = None;
        self.stalled_since = Instant::now();
        self.wants()
    }

    /// The bytes that are owed to the client.
    pub fn reply(&self) -> &[u8] {
        &self.reply[self.sent..]
    }

    /// The client's socket has taken the first `bytes` of the reply.
    pub fn spoke(&mut self, bytes: usize) -> Wants {
        self.sent += bytes;
        self.slot().sent_bytes.add(bytes as u64);
        let now = Instant::now();
        self.stalled_since = now;
        if self.reply().is_empty() {
            self.finish_reply(now);
        }
        self.wants()
    }

    fn finish_reply(&mut self, now: Instant) {
        let took = now - self.heard_at;
        self.slot().durations.record(took, u64::from(self.answers));
        self.trace(took);
        self.conversation.answered(now);
        self.asked += u64::from(self.answers);
        self.answers = 0;
        self.sent = 0;
        let mut buffer = std::mem::take(&mut self.reply);
        buffer.clear();
        if buffer.capacity() <= MOST_SPARE {
            SPARE.set(buffer);
        }
    }

    /// The socket failed: the conversation is over.
    pub fn failed(&mut self, error: &io::Error) -> Wants {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        self.leave(match error.kind() {
            ConnectionReset | BrokenPipe => Closed::Reset,
            _ => Closed::IoError,
        })
    }

    /// Ends the conversation at once: what is owed stays unsaid.
    fn leave(&mut self, ending: Closed) -> Wants {
        self.ending = Some(ending);
        self.wait_until = None;
        self.sent = 0;
        self.reply.clear();
        Wants::ToLeave
    }

    /// When the conversation ends unless its client does what is expected of it. Orders may move this forward.
    pub fn deadline(&self) -> Instant {
        let owes = self.owes();
        let own = self.desk.page.settings.choose(|live| match self.wait_until {
            Some(until) => until + live.write_stall,
            None if owes => self.stalled_since + live.write_stall,
            None => self.conversation.deadline(&live.limits),
        });
        match self.desk.page.drain() {
            None => own,
            Some(drain) if owes => own.min(drain.end()),
            Some(drain) if self.conversation.is_partial() => own.min(drain.partial_end()),
            Some(drain) => own.min(drain.idle_end()),
        }
    }

    /// Whether the deadline has passed, for code that is told of what came by somebody else. What lies unread in `stream`
    /// counts: a server that was busy for a while must not blame its clients for it.
    pub fn is_overdue(&self, stream: impl AsFd) -> bool {
        let is_late = self.deadline() <= Instant::now();
        match self.wants() {
            Wants::ToHear => is_late && !has_news(stream),
            Wants::ToSpeak | Wants::ToWait(_) => is_late,
            Wants::ToLeave => false,
        }
    }

    /// The deadline has passed, and there is nothing more to hear: ends the conversation.
    pub fn time_is_up(&mut self) -> Wants {
        let drain = self.desk.page.drain();
        if self.owes() {
            let forced = drain.is_some_and(|drain| drain.end() <= Instant::now());
            if forced {
                self.desk.endpoint.drain_lost.fetch_add(u64::from(self.answers), std::sync::atomic::Ordering::Relaxed);
            }
            return self.leave(if forced { Closed::Forced } else { Closed::WriteStall });
        }
        let cause = match self.conversation.time_out(&mut self.reply) {
            TimeOut::Idle => Closed::Idle,
            TimeOut::Question => Closed::Deadline,
        };
        self.stalled_since = Instant::now();
        if cause == Closed::Deadline {
            self.slot().deadline.add(1);
        }
        if drain.is_some() {
            let partial = u64::from(cause == Closed::Deadline);
            self.desk.endpoint.drain_retryable.fetch_add(partial, std::sync::atomic::Ordering::Relaxed);
        }
        self.ending = Some(if drain.is_some() { Closed::Drained } else { cause });
        self.wants()
    }

    /// Frees what belongs to this copy of the conversation, which goes on elsewhere.
    pub(crate) fn forget(&mut self) {
        self.reply = Vec::new();
    }

    /// There is nobody to talk to this client: it ends before it began.
    pub(crate) const fn is_refused(&mut self) {
        self.ending = Some(Closed::Refused);
    }

    /// The client's slot, if it has one of its own.
    pub(crate) fn seat(&self) -> Option<usize> {
        (self.desk.tenure == Tenure::Client).then(|| usize::from(self.worker()))
    }

    pub(crate) const fn desk(&self) -> Desk {
        self.desk
    }

    /// When something last happened in the conversation.
    pub(crate) const fn moment(&self) -> Instant {
        self.stalled_since
    }

    /// Whether the server closes first, so that the stream must [`linger`](crate::linger()).
    pub const fn closes_first(&self) -> bool {
        matches!(
            self.ending,
            Some(Closed::Idle | Closed::Deadline | Closed::TooLong | Closed::BadByte | Closed::Drained | Closed::Panic)
        )
    }

    const fn owes(&self) -> bool {
        self.wait_until.is_some() || self.sent < self.reply.len()
    }

    fn slot(&self) -> &'static Slot {
        self.desk.slot()
    }

    fn trace(&self, took: Duration) {
        let one_in = self.desk.page.settings.choose(|live| live.trace_one_in);
        if one_in == 0 {
            return;
        }
        for number in self.asked..self.asked + u64::from(self.answers) {
            if let Some(exchange) = self.origin.sampled(number, one_in) {
                let sent = trace::send(Record {
                    exchange,
                    started: unix_ns().saturating_sub(took.as_nanos() as u64),
                    nanoseconds: took.as_nanos() as u64,
                    transport: self.transport,
                    question: self.last_said.and_then(question_of),
                    worker: self.worker(),
                });
                let counter = if sent { &self.slot().traces_sampled } else { &self.slot().traces_dropped };
                counter.add(1);
            }
        }
    }

    fn worker(&self) -> u16 {
        let slots = self.desk.endpoint.slots();
        slots.element_offset(self.slot()).unwrap_or_default() as u16
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // Without an ending somebody dropped it on the way out.
        let ending = self.ending.unwrap_or(Closed::Forced);
        self.slot().closed[ending as usize].add(1);
        // The seat of a process is taken back by its parent: it may also die without a word.
        if self.desk.tenure == Tenure::Client && self.desk.role == Role::Thread {
            self.desk.endpoint.leave_seat(self.desk.slot);
        }
    }
}

fn origin_of(transport: Transport, peer: Option<&SocketAddrAny>) -> Origin {
    let now = unix_ns() / 1_000_000_000;
    match peer {
        Some(peer) if !transport.is_unix() => SocketAddr::try_from(peer.clone())
            .map_or_else(|_| Origin::of_name(transport, &[], now), |peer| Origin::of_socket(transport, peer, now)),
        Some(peer) => {
            let peer = rustix::net::SocketAddrUnix::try_from(peer.clone());
            let name = peer.as_ref().ok().and_then(rustix::net::SocketAddrUnix::abstract_name).unwrap_or_default();
            Origin::of_name(transport, name, now)
        }
        None => Origin::of_name(transport, &[], now),
    }
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// Burns the CPU.
pub(crate) fn spin_until(until: Instant) {
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

pub(crate) const fn is_answer(said: Said) -> bool {
    matches!(said, Said::Known(_) | Said::Unknown | Said::Echoed)
}

pub(crate) const fn question_of(said: Said) -> Option<u8> {
    match said {
        Said::Known(known) => Some(known as u8),
        _ => None,
    }
}

fn count(slot: &Slot, said: Said, ending: &mut Option<Closed>) {
    let (counter, end) = match said {
        Said::Known(known) => (&slot.known[known], None),
        Said::Unknown => (&slot.unknown, None),
        Said::Echoed => (&slot.echoed, None),
        Said::TooLong => (&slot.too_long, Some(Closed::TooLong)),
        Said::BadByte => (&slot.bad_byte, Some(Closed::BadByte)),
    };
    counter.add(1);
    *ending = end;
}
