//! What was seen, for each target and transport.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::exact::Exact;

/// Upper bounds of the histograms that Prometheus gets, in nanoseconds: 1, 1.5, 2, 3, 5 and 7 times each power of ten from
/// ten microseconds to ten seconds.
pub(crate) const BOUNDS: [u64; 37] = admin::metrics::bounds(1000);

/// What became of a question that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The right answer.
    Ok,
    /// Another answer, or more than one.
    WrongAnswer,
    /// No answer in its time (a datagram may be lost), or the server has said that the question took too long.
    Timeout,
    /// Nobody listens there, or the server has said that it is busy.
    Refused,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the answer.
    Eof,
    /// Something else; also what stood behind a wrong answer on its connection.
    Error,
    /// The client has broken it off itself, as it was meant to.
    Aborted,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 8] =
        [Self::Ok, Self::WrongAnswer, Self::Timeout, Self::Refused, Self::Reset, Self::Eof, Self::Error, Self::Aborted];

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
            Self::Aborted => "aborted",
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
    /// Whether every question that should be asked is accounted for: `planned = sent + unsent + dropped + waiting`.
    pub const fn plans_balance(&self) -> bool {
        self.planned == self.sent + self.unsent + self.dropped + self.waiting
    }

    /// Whether every question that was asked is accounted for: `sent = outcomes + in flight`.
    pub fn answers_balance(&self) -> bool {
        self.sent == self.outcomes.iter().sum::<u64>() + self.in_flight
    }

    /// Whether both laws hold.
    pub fn is_balanced(&self) -> bool {
        self.plans_balance() && self.answers_balance()
    }

    /// Right answers.
    pub fn ok(&self) -> u64 {
        self.outcomes[Outcome::Ok as usize]
    }

    /// Wrong answers.
    pub fn wrong(&self) -> u64 {
        self.outcomes[Outcome::WrongAnswer as usize]
    }

    /// Questions without a right answer, for whatever reason, wrong ones included; those that clients have broken off
    /// themselves are no failures.
    pub fn failed(&self) -> u64 {
        self.outcomes.iter().sum::<u64>() - self.ok() - self.outcomes[Outcome::Aborted as usize]
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
    /// Those of the present period.
    recent: Exact,
    /// Those of the last period that is over.
    last: Exact,
}

impl Default for Times {
    fn default() -> Self {
        Self { buckets: [0; 38], sum: Duration::ZERO, recent: Exact::default(), last: Exact::default() }
    }
}

impl Times {
    pub fn record(&mut self, time: Duration) {
        let ns = time.as_nanos() as u64;
        self.buckets[BOUNDS.partition_point(|&bound| bound < ns)] += 1;
        self.sum += time;
        self.recent.record(time);
    }

    /// A quantile of the last period, or of the present one while there is no other, in microseconds.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        self.last.quantile(q).or_else(|| self.recent.quantile(q)).map(|ns| ns / 1e3)
    }

    fn renew(&mut self) {
        std::mem::swap(&mut self.recent, &mut self.last);
        self.recent.reset();
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
    /// Questions a second that are asked for.
    pub rate: f64,
    pub late: u64,
    /// Answers that came while nothing was asked.
    pub unasked: u64,
    /// Datagrams that came twice.
    pub duplicates: u64,
    /// Datagrams that came after they had been given up.
    pub late_answers: u64,
    /// The present window of the spotlight, or interval of a run.
    pub window: Option<Window>,
    period: Period,
}

/// The time of which status tells, so that it tells of now and not of ever since.
#[derive(Debug, Clone, Copy, Default)]
struct Period {
    /// When the present one began, and how many right answers there had been.
    began: Option<(Instant, u64)>,
    /// Right answers a second in the last one that is over.
    rate: Option<f64>,
}

/// A part of a spotlight's turn, or of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    /// Responses, of those who have a schedule.
    pub response: Exact,
    /// Right answers.
    pub right: u64,
    /// Questions that got no right answer, those included that were not asked.
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
    /// Right answers a second lately, once that is known.
    pub rate: Option<f64>,
    /// Answers that came while nothing was asked.
    pub unasked: u64,
    /// Datagrams that came twice.
    pub duplicates: u64,
    /// Datagrams that came after they had been given up.
    pub late_answers: u64,
    /// Open connections.
    pub connections: u64,
    /// Median of the latest responses in microseconds, if there were any.
    pub p50_us: Option<f64>,
    /// 99th percentile of the latest responses in microseconds.
    pub p99_us: Option<f64>,
    /// Median from asking to the answer in microseconds.
    pub service_p50_us: Option<f64>,
    /// 99th percentile from asking to the answer in microseconds.
    pub service_p99_us: Option<f64>,
    /// Whether both laws hold.
    pub balanced: bool,
}

impl Tally {
    pub fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present figures; rate and quantiles are those of the last period, see [`Self::begin_period`].
    pub fn snapshot(&self, target: &str, transport: &'static str) -> Snapshot {
        let seen = self.lock();
        Snapshot {
            target: target.into(),
            transport,
            ledger: seen.ledger,
            target_rate: seen.rate,
            rate: seen.period.rate,
            unasked: seen.unasked,
            duplicates: seen.duplicates,
            late_answers: seen.late_answers,
            connections: seen.connections,
            p50_us: seen.response.quantile(0.5),
            p99_us: seen.response.quantile(0.99),
            service_p50_us: seen.service.quantile(0.5),
            service_p99_us: seen.service.quantile(0.99),
            balanced: seen.ledger.is_balanced(),
        }
    }

    /// Forgets each single duration; the books stay.
    pub fn forget_durations(&self) {
        let seen = &mut *self.lock();
        for times in [&mut seen.response, &mut seen.service, &mut seen.lag, &mut seen.connect] {
            *times = Times::default();
        }
    }

    /// Ends the period of which the status tells, and begins the next.
    pub fn begin_period(&self, now: Instant) {
        let seen = &mut *self.lock();
        for times in [&mut seen.response, &mut seen.service, &mut seen.lag, &mut seen.connect] {
            times.renew();
        }
        let ok = seen.ledger.ok();
        seen.period.rate = seen.period.began.map(|(began, before)| {
            (ok - before) as f64 / now.saturating_duration_since(began).as_secs_f64().max(f64::MIN_POSITIVE)
        });
        seen.period.began = Some((now, ok));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Durations from a microsecond to ten seconds, the same each time.
    fn samples() -> Vec<Duration> {
        let mut seed = 1_u64;
        let next = |_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let ten_to_the = (seed >> 40) as f64 / f64::from(1 << 24) * 7.0;
            Duration::from_secs_f64(1e-6 * 10_f64.powf(ten_to_the))
        };
        (0..20_000).map(next).collect()
    }

    #[test]
    fn quantiles_are_those_of_a_sort() {
        let mut samples = samples();
        let mut times = Times::default();
        for &time in &samples {
            times.record(time);
        }
        samples.sort_unstable();
        for q in [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let place = ((q * samples.len() as f64).ceil() as usize).clamp(1, samples.len()) - 1;
            let (sorted, counted) = (samples[place].as_secs_f64() * 1e6, times.quantile(q).unwrap());
            assert!((counted - sorted).abs() <= sorted * 1e-3 + 1e-3, "{q}: {counted} is not {sorted}");
        }
    }

    #[test]
    fn buckets_count_what_lies_at_and_below_their_bound() {
        let samples = samples();
        let mut times = Times::default();
        for &time in &samples {
            times.record(time);
        }
        let mut cumulative = 0;
        for (bound, count) in BOUNDS.iter().zip(times.buckets) {
            cumulative += count;
            assert_eq!(cumulative, samples.iter().filter(|time| time.as_nanos() as u64 <= *bound).count() as u64);
        }
        assert_eq!(cumulative + times.buckets[37], samples.len() as u64);
        assert_eq!(times.sum, samples.iter().sum());
    }

    #[test]
    fn a_period_tells_of_itself_alone() {
        let tally = Tally::default();
        let start = Instant::now();
        tally.begin_period(start);
        tally.lock().response.record(Duration::from_secs(1));
        tally.lock().ledger.outcomes[Outcome::Ok as usize] = 30;
        tally.begin_period(start + Duration::from_secs(2));
        let first = tally.snapshot("a", "tcp");
        assert_eq!(first.rate, Some(15.0));
        assert!((first.p50_us.unwrap() - 1e6).abs() < 1e3, "{first:?}");
        tally.begin_period(start + Duration::from_secs(3));
        let second = tally.snapshot("a", "tcp");
        assert_eq!((second.rate, second.p50_us), (Some(0.0), None));
    }

    #[test]
    fn books_that_do_not_add_up_are_told_from_those_that_do() {
        let mut ledger = Ledger {
            planned: 6,
            sent: 3,
            unsent: 1,
            dropped: 1,
            waiting: 1,
            in_flight: 1,
            outcomes: [0; Outcome::ALL.len()],
        };
        ledger.outcomes[Outcome::Ok as usize] = 2;
        assert!(ledger.plans_balance() && ledger.answers_balance() && ledger.is_balanced());
        ledger.planned += 1;
        assert!(!ledger.plans_balance() && ledger.answers_balance() && !ledger.is_balanced());
        ledger.sent += 1;
        assert!(ledger.plans_balance() && !ledger.answers_balance() && !ledger.is_balanced());
    }
}
