//! What was seen, for each target and transport.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Upper bounds of the histograms that Prometheus gets, in nanoseconds: 1, 1.5, 2, 3, 5 and 7 times each power of ten from
/// ten microseconds to ten seconds.
pub(crate) const BOUNDS: [u64; 37] = bounds();

const fn bounds() -> [u64; 37] {
    let steps = [10, 15, 20, 30, 50, 70];
    let mut bounds = [0; 37];
    let mut scale = 1000;
    let mut at = 0;
    while at < 37 {
        bounds[at] = steps[at % 6] * scale;
        at += 1;
        if at.is_multiple_of(6) {
            scale *= 10;
        }
    }
    bounds
}

/// What became of a question that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The right answer.
    Ok,
    /// Another answer, or more than one.
    WrongAnswer,
    /// No answer in its time; for a datagram, lost.
    Timeout,
    /// Nobody listens there, or the server has said that it is busy.
    Refused,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the answer.
    Eof,
    /// Something else.
    Error,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 7] =
        [Self::Ok, Self::WrongAnswer, Self::Timeout, Self::Refused, Self::Reset, Self::Eof, Self::Error];

    /// The name that metrics use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::WrongAnswer => "wrong_answer",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Eof => "eof",
            Self::Error => "error",
        }
    }
}

/// The books of some load. Both laws hold at every moment: see [`Ledger::is_balanced`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Questions that should be asked, up to now.
    pub planned: u64,
    /// Questions that were asked; an attempt to connect for one counts.
    pub sent: u64,
    /// Questions that could no longer be asked, because their conversation ended before.
    pub unsent: u64,
    /// Questions that were given up, because too many waited.
    pub dropped: u64,
    /// Questions whose instant has come and that wait for a free connection, or for their turn in a conversation.
    pub waiting: u64,
    /// Questions that were asked and have no outcome yet.
    pub in_flight: u64,
    /// Outcomes, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
}

impl Ledger {
    /// `planned = sent + unsent + dropped + waiting`, and `sent = outcomes + in flight`.
    pub fn is_balanced(&self) -> bool {
        self.planned == self.sent + self.unsent + self.dropped + self.waiting
            && self.sent == self.outcomes.iter().sum::<u64>() + self.in_flight
    }

    /// Right answers.
    pub fn ok(&self) -> u64 {
        self.outcomes[Outcome::Ok as usize]
    }

    /// Wrong answers.
    pub fn wrong(&self) -> u64 {
        self.outcomes[Outcome::WrongAnswer as usize]
    }

    /// Questions without a right answer, for whatever reason, wrong ones included.
    pub fn failed(&self) -> u64 {
        self.outcomes.iter().sum::<u64>() - self.ok()
    }

    /// Adds other books.
    pub fn add(&mut self, other: &Self) {
        self.planned += other.planned;
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.dropped += other.dropped;
        self.waiting += other.waiting;
        self.in_flight += other.in_flight;
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(sum, part)| *sum += part);
    }
}

/// Durations, counted for Prometheus and kept exactly for quantiles.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    pub buckets: [u64; 38],
    pub sum: Duration,
    /// Since the last time that quantiles were asked for: three digits, in nanoseconds.
    pub recent: Histogram<u64>,
}

impl Default for Times {
    fn default() -> Self {
        Self { buckets: [0; 38], sum: Duration::ZERO, recent: exact() }
    }
}

/// A histogram of three digits from a nanosecond to a minute.
pub(crate) fn exact() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap_or_else(|_| unreachable!("the bounds are right"))
}

impl Times {
    pub fn record(&mut self, time: Duration) {
        let ns = time.as_nanos() as u64;
        self.buckets[BOUNDS.partition_point(|&bound| bound < ns)] += 1;
        self.sum += time;
        self.recent.saturating_record(ns.max(1));
    }
}

/// What was seen of one target over one transport.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Seen>);

#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub ledger: Ledger,
    /// From the instant at which a question should have been asked to its answer.
    pub response: Times,
    /// From asking to the answer.
    pub service: Times,
    /// From the instant at which a question should have been asked to asking it: what we ourselves are late.
    pub lag: Times,
    pub connect: Times,
    pub connections: u64,
    pub rate: f64,
    pub late: u64,
    /// The spotlight's present window.
    pub window: Option<Window>,
}

/// A part of a spotlight's turn.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub response: Histogram<u64>,
    pub failed: u64,
}

/// What one target's load over one transport looked like at a moment.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// The target's name.
    pub target: String,
    /// The transport.
    pub transport: &'static str,
    /// The books.
    pub ledger: Ledger,
    /// Questions a second that are asked for.
    pub target_rate: f64,
    /// Open connections.
    pub connections: u64,
    /// Median of the latest responses in microseconds, if there were any.
    pub p50_us: Option<f64>,
    /// 99th percentile of the latest responses in microseconds.
    pub p99_us: Option<f64>,
    /// Whether both laws hold.
    pub balanced: bool,
}

impl Tally {
    pub fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present figures; the quantiles are of the time since `take_recent` was last set.
    pub fn snapshot(&self, target: &str, transport: &'static str) -> Snapshot {
        let seen = self.lock();
        let quantile =
            |q| (!seen.response.recent.is_empty()).then(|| seen.response.recent.value_at_quantile(q) as f64 / 1e3);
        Snapshot {
            target: target.into(),
            transport,
            ledger: seen.ledger,
            target_rate: seen.rate,
            connections: seen.connections,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            balanced: seen.ledger.is_balanced(),
        }
    }

    /// Begins a new time for the recent quantiles.
    pub fn forget_recent(&self) {
        let seen = &mut *self.lock();
        for times in [&mut seen.response, &mut seen.service, &mut seen.lag, &mut seen.connect] {
            times.recent.reset();
        }
    }
}
