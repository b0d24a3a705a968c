//! One datagram: a whole question.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use socket2::SockAddr;
use zen::datagram::{Dropped as Unanswered, Verdict, judge};
use zen::{Dialogue, QUESTIONS, Said, error};

use crate::desk::{self, Desk};
use crate::page::{Dropped, Slot, Target, monotonic_ns};
use crate::settings::AnswerWork;
use crate::socket::{DatagramSocket, Received};
use crate::talk::{Wants, spin_until};

thread_local! {
    /// One byte more than the longest question, to see that there was more.
    static BUFFER: RefCell<[u8; zen::MAX_MAX_QUESTION + 1]> = const { RefCell::new([0; zen::MAX_MAX_QUESTION + 1]) };
}

/// A datagram that will be answered.
#[derive(Debug)]
pub struct Letter {
    from: SockAddr,
    reply: Reply,
    said: Said,
    came_at: Instant,
    wait_until: Option<Instant>,
}

/// What one recvmsg(2) brought.
#[expect(clippy::large_enum_variant, reason = "it lives for one line; a box would be an allocation for each question")]
pub(crate) enum Arrived {
    /// A question to answer.
    Letter(Letter),
    /// Something that gets no answer.
    Dropped,
    /// A signal.
    Tick,
    /// Nothing in its time.
    Nothing,
}

#[derive(Debug)]
enum Reply {
    Text(&'static str),
    Echo(Box<[u8]>),
}

impl Letter {
    /// Receives one datagram.
    pub(crate) fn receive(desk: Desk, socket: &DatagramSocket, wait: bool) -> io::Result<Arrived> {
        BUFFER.with_borrow_mut(|buffer| {
            let room = desk.page.settings.max_question() + 1;
            match socket.receive(&mut buffer[..room], wait) {
                Ok(Received { bytes, truncated, from }) => {
                    let letter = Self::open(desk, &buffer[..bytes], truncated, from);
                    Ok(letter.map_or(Arrived::Dropped, Arrived::Letter))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Arrived::Tick),
                Err(error) if is_empty(&error) => Ok(Arrived::Nothing),
                // The answer to an earlier datagram found nobody (ICMP): that client's matter.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    Self::bounced(desk);
                    Ok(Arrived::Dropped)
                }
                Err(error) => Err(error),
            }
        })
    }

    /// The letter that these bytes are, if they get an answer. Bytes beyond the longest question are as good as cut off,
    /// however much room the caller has.
    pub(crate) fn open(desk: Desk, bytes: &[u8], truncated: bool, from: SockAddr) -> Option<Self> {
        let came_at = Instant::now();
        desk::tick(came_at);
        let slot = desk.slot();
        slot.datagrams.add(1);
        slot.received_bytes.add(bytes.len() as u64);
        // One datagram is a whole conversation.
        desk.contain(|| desk.endpoint.faults.strike(Target::Conversation))?;
        let (dialogue, delay, work, most_replies) = desk
            .page
            .settings
            .choose(|live| (live.dialogue, live.answer_delay, live.answer_work, live.udp_replies_per_prefix));
        let truncated = truncated || bytes.len() > desk.page.settings.max_question();
        let source = from.as_socket();
        let (reply, said) = match judge(dialogue, bytes, truncated, source.map(|source| source.port())) {
            Verdict::Drop(reason) => {
                drop_for(slot, reason_of(reason));
                return None;
            }
            Verdict::Reply(bytes, said) => (Reply::new(bytes, said), said),
        };
        if most_replies > 0 && source.is_some_and(|source| !has_token(desk, source, most_replies)) {
            drop_for(slot, Dropped::Rate);
            return None;
        }
        debug_assert!(dialogue == Dialogue::Echo || said != Said::Echoed);
        let mut letter = Self { from, reply, said, came_at, wait_until: None };
        if !delay.is_zero() {
            letter.pay(delay, work);
        }
        Some(letter)
    }

    /// An earlier answer found nobody.
    pub(crate) fn bounced(desk: Desk) {
        drop_for(desk.slot(), Dropped::Unreachable);
    }

    fn pay(&mut self, cost: std::time::Duration, work: AnswerWork) {
        let until = self.came_at + cost;
        match work {
            AnswerWork::Spin => spin_until(until),
            AnswerWork::Block => std::thread::sleep(cost),
            AnswerWork::Wait => self.wait_until = Some(until),
        }
    }

    /// [`Wants::ToSpeak`], or [`Wants::ToWait`] before that.
    pub fn wants(&self) -> Wants {
        self.wait_until.map_or(Wants::ToSpeak, Wants::ToWait)
    }

    /// The bytes that answer it.
    pub fn reply(&self) -> &[u8] {
        self.reply.bytes()
    }

    /// Where they go.
    pub const fn from(&self) -> &SockAddr {
        &self.from
    }

    /// Sends the reply. A client that cannot take it now loses it, as with any datagram.
    pub(crate) fn send(&self, desk: Desk, socket: &DatagramSocket) {
        self.was_sent(desk, socket.send(self.reply(), &self.from));
    }

    /// Counts what became of the reply.
    pub(crate) fn was_sent(&self, desk: Desk, result: io::Result<usize>) {
        match result {
            Ok(bytes) => self.count(desk.slot(), bytes),
            Err(error) if is_empty(&error) => drop_for(desk.slot(), Dropped::WouldBlock),
            Err(_) => drop_for(desk.slot(), Dropped::Unreachable),
        }
    }

    fn count(&self, slot: &Slot, bytes: usize) {
        let counter = match self.said {
            Said::Known(known) => &slot.known[known],
            Said::Echoed => &slot.echoed,
            _ => &slot.unknown,
        };
        counter.add(1);
        slot.sent_bytes.add(bytes as u64);
        slot.durations.record(self.came_at.elapsed(), 1);
    }
}

impl Reply {
    fn new(bytes: &[u8], said: Said) -> Self {
        match said {
            Said::Known(known) => Self::Text(QUESTIONS[known].answer),
            Said::Echoed => Self::Echo(bytes.into()),
            _ => Self::Text(error::UNKNOWN),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Echo(bytes) => bytes,
        }
    }
}

/// Whether the prefix of this source may have one more reply.
fn has_token(desk: Desk, source: SocketAddr, rate: u64) -> bool {
    desk.page.replies.take(source.ip(), rate, monotonic_ns())
}

fn drop_for(slot: &Slot, reason: Dropped) {
    slot.dropped[reason as usize].add(1);
}

const fn reason_of(reason: Unanswered) -> Dropped {
    match reason {
        Unanswered::Empty => Dropped::Empty,
        Unanswered::Truncated => Dropped::Truncated,
        Unanswered::NoQuestion => Dropped::NoQuestion,
        Unanswered::BadByte => Dropped::BadByte,
        Unanswered::Short => Dropped::Short,
        Unanswered::Source => Dropped::Source,
    }
}

fn is_empty(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::TimedOut)
}
