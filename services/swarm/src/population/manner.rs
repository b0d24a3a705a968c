//! What each kind of client does, as values; how that is done is the engine's business.

use zen::QUESTIONS;

use crate::schedule::Arrivals;

/// When a client comes and how long it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Comes at an instant of the schedule, asks, goes.
    Visit,
    /// Stays; asks at instants of the schedule.
    Held,
    /// Stays; asks again once it has been answered, so a slow server is asked less by it.
    Closed,
    /// Stays and says nothing.
    Silent,
}

/// How many questions are on their way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    One,
    /// As many as the plan says.
    Pipeline,
    /// All that the client has to ask.
    All,
}

/// How a question is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    Whole,
    /// In a few parts, at once after each other but in packets of their own.
    Parts,
    /// One byte, then an interval of the plan.
    Bytes,
    /// The first half, and no more.
    Half,
}

/// What follows when everything has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It waits for the answer.
    Wait,
    /// It says that it has no more to say (shutdown(2)), and waits.
    HalfClose,
    /// It resets the connection.
    Abort,
}

/// How answers are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    AtOnce,
    /// A few bytes, then an interval of the plan.
    Slowly,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    Known,
    Bad,
}

/// What is said, and what should come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text {
    /// Its place in [`QUESTIONS`], for one of these.
    pub which: Option<usize>,
    pub said: &'static [u8],
    pub wanted: Wanted,
}

/// What should come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This, byte for byte.
    Answer(&'static [u8]),
    /// Nothing but the end of the connection.
    Silence,
}

impl Text {
    /// One of the three questions.
    pub const fn known(which: usize) -> Self {
        let aphorism = QUESTIONS[which];
        Self {
            which: Some(which),
            said: aphorism.question.as_bytes(),
            wanted: Wanted::Answer(aphorism.answer.as_bytes()),
        }
    }

    /// The same said to a server that echoes.
    pub const fn echoed(self) -> Self {
        Self { wanted: Wanted::Answer(self.said), ..self }
    }
}

/// A kind of client.
#[derive(Debug)]
pub(crate) struct Manner {
    pub way: Way,
    /// How its instants follow each other, where that is its point; otherwise the plan says it.
    pub arrivals: Option<Arrivals>,
    pub depth: Depth,
    pub writing: Writing,
    pub ending: Ending,
    pub reading: Reading,
    pub asks: Asks,
    /// Whether it does something that a datagram cannot.
    pub streams_only: bool,
}

/// The others differ from this in what they say.
pub(super) const STEADY: Manner = Manner {
    way: Way::Held,
    arrivals: None,
    depth: Depth::One,
    writing: Writing::Whole,
    ending: Ending::Wait,
    reading: Reading::AtOnce,
    asks: Asks::Known,
    streams_only: false,
};

/// Fills queues: who has few workers lets the last of each burst wait.
pub(super) const BURSTY: Manner = Manner { arrivals: Some(Arrivals::Burst), ..STEADY };

/// Queues form although the server is fast enough on the average.
pub(super) const POISSON: Manner = Manner { arrivals: Some(Arrivals::Poisson), ..STEADY };

/// Several questions come with one read; answers go out with one write, or not.
pub(super) const PIPELINER: Manner = Manner { depth: Depth::Pipeline, streams_only: true, ..STEADY };

/// Each connection costs a thread, a process, or an entry in a table.
pub(super) const CHURNER: Manner = Manner { way: Way::Visit, ..STEADY };

/// A worker that serves a client to its end is lost to all others.
pub(super) const IDLER: Manner = Manner { way: Way::Silent, ..STEADY };

/// As an idler, but no idle timeout ends it: only a deadline for the whole question does.
pub(super) const TRICKLER: Manner = Manner { way: Way::Closed, writing: Writing::Bytes, streams_only: true, ..STEADY };

/// A server that takes one read for one question gets it wrong.
pub(super) const FRAGMENTER: Manner = Manner { writing: Writing::Parts, streams_only: true, ..STEADY };

/// A server that writes without looking waits for this client, and everybody else with it.
pub(super) const SLOW_READER: Manner =
    Manner { way: Way::Closed, depth: Depth::All, reading: Reading::Slowly, streams_only: true, ..STEADY };

/// A server that takes the end of what is said for the end of the client loses the answers.
pub(super) const HALF_CLOSER: Manner =
    Manner { way: Way::Visit, depth: Depth::All, ending: Ending::HalfClose, streams_only: true, ..STEADY };

/// A server that takes a reset for its own fault ends; all others count an error.
pub(super) const ABORTER: Manner =
    Manner { way: Way::Visit, writing: Writing::Half, ending: Ending::Abort, streams_only: true, ..STEADY };

/// The protocol says what each of these is answered.
pub(super) const BAD_ASKER: Manner = Manner { way: Way::Visit, asks: Asks::Bad, ..STEADY };
