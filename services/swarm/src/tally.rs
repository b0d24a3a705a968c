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
    /// Questions that could no longer be asked, because their conversation or their load ended before, or a pause began.
    pub unsent: u64,
    /// Questions that were given up: too many of their load waited, or the plan says that none does.
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

    /// Adds what others have counted.
    fn add(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(sum, part)| *sum += part);
        self.sum += other.sum;
        self.recent.add(&other.recent);
        self.last.add(&other.last);
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

/// What was seen of one target over one transport: by each worker in books of its own, so that none waits for another, and by
/// all together. The books of each hold the laws at every moment, so their sum does as well.
#[derive(Debug)]
pub(crate) struct Tally {
    /// One for each worker.
    parts: Vec<Mutex<Seen>>,
    period: Mutex<Period>,
}

/// What one worker has seen, or all of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub ledger: Ledger,
    /// From the instant at which a question should have been asked to its answer.
    pub response: Times,
    /// From asking to the answer.
    pub service: Times,
    /// From the instant at which a question should have been asked to asking it.
    pub lag: Times,
    /// The part of it after the question could have been asked, since a connection was free: what we ourselves are late.
    pub lateness: Times,
    pub connect: Times,
    pub connections: u64,
    /// Questions a second that are asked for.
    pub rate: f64,
    /// Questions that we ourselves asked late.
    pub late: u64,
    /// Answers that came while nothing was asked.
    pub unasked: u64,
    /// Datagrams that came twice.
    pub duplicates: u64,
    /// Datagrams that came after they had been given up.
    pub late_answers: u64,
    /// The present window of the spotlight, or interval of a run.
    pub window: Option<Window>,
}

impl Seen {
    /// Adds what another worker has seen, but for its window.
    fn add(&mut self, other: &Self) {
        self.ledger.add(&other.ledger);
        self.response.add(&other.response);
        self.service.add(&other.service);
        self.lag.add(&other.lag);
        self.lateness.add(&other.lateness);
        self.connect.add(&other.connect);
        self.connections += other.connections;
        self.rate += other.rate;
        self.late += other.late;
        self.unasked += other.unasked;
        self.duplicates += other.duplicates;
        self.late_answers += other.late_answers;
    }

    fn times(&mut self) -> [&mut Times; 5] {
        [&mut self.response, &mut self.service, &mut self.lag, &mut self.lateness, &mut self.connect]
    }
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

impl Window {
    fn add(&mut self, other: &Self) {
        self.response.add(&other.response);
        self.right += other.right;
        self.failed += other.failed;
    }
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
    /// Empty books for so many workers.
    pub fn new(workers: usize) -> Self {
        Self { parts: (0..workers).map(|_| Mutex::default()).collect(), period: Mutex::default() }
    }

    /// The books of one worker.
    pub fn of(&self, worker: usize) -> MutexGuard<'_, Seen> {
        lock(&self.parts[worker])
    }

    /// What all workers have seen together.
    pub fn whole(&self) -> Seen {
        let mut whole = Seen::default();
        self.parts.iter().for_each(|part| whole.add(&lock(part)));
        whole
    }

    /// The books of all workers together, without the durations.
    pub fn ledger(&self) -> Ledger {
        let mut whole = Ledger::default();
        self.parts.iter().for_each(|part| whole.add(&lock(part).ledger));
        whole
    }

    /// A quantile of how late the latest of the workers was by itself, in microseconds: all together they would hide it.
    pub fn worst_lateness(&self, q: f64) -> Option<f64> {
        self.parts.iter().filter_map(|part| lock(part).lateness.quantile(q)).max_by(f64::total_cmp)
    }

    /// Begins a window; gives what was seen in the one before.
    pub fn begin_window(&self) -> Window {
        self.change_window(|| Some(Window::default()))
    }

    /// Ends the window; gives what was seen in it.
    pub fn end_window(&self) -> Window {
        self.change_window(|| None)
    }

    fn change_window(&self, next: impl Fn() -> Option<Window>) -> Window {
        let mut whole = Window::default();
        for part in &self.parts {
            // Who writes into it waits only as long as the exchange takes.
            let before = std::mem::replace(&mut lock(part).window, next());
            whole.add(&before.unwrap_or_default());
        }
        whole
    }

    /// The present figures; rate and quantiles are those of the last period, see [`Self::begin_period`].
    pub fn snapshot(&self, target: &str, transport: &'static str) -> Snapshot {
        let seen = self.whole();
        Snapshot {
            target: target.into(),
            transport,
            ledger: seen.ledger,
            target_rate: seen.rate,
            rate: lock(&self.period).rate,
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
        for part in &self.parts {
            lock(part).times().into_iter().for_each(|times| *times = Times::default());
        }
    }

    /// Ends the period of which the status tells, and begins the next.
    pub fn begin_period(&self, now: Instant) {
        for part in &self.parts {
            lock(part).times().into_iter().for_each(Times::renew);
        }
        let ok = self.ledger().ok();
        let mut period = lock(&self.period);
        period.rate = period.began.map(|(began, before)| {
            (ok - before) as f64 / now.saturating_duration_since(began).as_secs_f64().max(f64::MIN_POSITIVE)
        });
        period.began = Some((now, ok));
    }
}

fn lock<T>(books: &Mutex<T>) -> MutexGuard<'_, T> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
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
        let tally = Tally::new(1);
        let start = Instant::now();
        tally.begin_period(start);
        tally.of(0).response.record(Duration::from_secs(1));
        tally.of(0).ledger.outcomes[Outcome::Ok as usize] = 30;
        tally.begin_period(start + Duration::from_secs(2));
        let first = tally.snapshot("a", "tcp");
        assert_eq!(first.rate, Some(15.0));
        assert!((first.p50_us.unwrap() - 1e6).abs() < 1e3, "{first:?}");
        tally.begin_period(start + Duration::from_secs(3));
        let second = tally.snapshot("a", "tcp");
        assert_eq!((second.rate, second.p50_us), (Some(0.0), None));
    }

    #[test]
    fn what_workers_have_seen_is_told_as_one_and_the_latest_of_them_is_not_hidden() {
        let (tally, mut alone) = (Tally::new(3), Times::default());
        tally.begin_window();
        for (at, &time) in samples().iter().enumerate() {
            let mut seen = tally.of(at % 2);
            seen.response.record(time);
            seen.window.as_mut().unwrap().response.record(time);
            alone.record(time);
        }
        tally.of(0).lateness.record(Duration::from_secs(1));
        (0..999).for_each(|_| tally.of(2).lateness.record(Duration::from_micros(1)));
        let (whole, window) = (tally.whole(), tally.end_window());
        assert_eq!((whole.response.buckets, whole.response.sum), (alone.buckets, alone.sum));
        for q in [0.0, 0.5, 0.99, 1.0] {
            assert_eq!(whole.response.quantile(q), alone.quantile(q));
            assert_eq!(window.response.quantile(q).map(|ns| ns / 1e3), alone.quantile(q));
        }
        assert!(whole.lateness.quantile(0.5).unwrap() < 2.0 && tally.worst_lateness(0.5).unwrap() > 999_000.0);
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
