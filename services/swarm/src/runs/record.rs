//! What a run saw over time: an interval a second or so at each of its targets.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use machine::{Reading, Weather};

use crate::tally::Tally;

/// Intervals of all targets together. They are what a run takes most memory for, so long runs have longer ones.
const MOST: f64 = 600.0;

/// The shortest interval.
const SHORTEST: Duration = Duration::from_secs(1);

/// What one target's clients saw in a part of a run.
#[derive(Debug, Clone)]
pub(crate) struct Interval {
    /// In seconds since the run began.
    pub begin: f64,
    /// In seconds.
    pub length: f64,
    /// Right answers.
    pub right: u64,
    /// Questions that got none, those included that were not asked.
    pub failed: u64,
    /// Median and 99th percentile of the responses in microseconds, if there were any.
    pub quantiles_us: Option<(f64, f64)>,
    /// The longest response in nanoseconds.
    pub longest_ns: u64,
    /// The responses as a histogram, as interval logs hold it.
    pub histogram: String,
}

/// The intervals of a run, and how the machine was meanwhile.
#[derive(Debug)]
pub(crate) struct Record {
    length: Duration,
    before: Reading,
    notes: Mutex<Notes>,
}

#[derive(Debug)]
struct Notes {
    began: Instant,
    /// For each target.
    intervals: Vec<Vec<Interval>>,
    looks: u64,
    saturated: u64,
    idle: u64,
}

/// How the swarm itself is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Condition {
    /// It is the limit itself.
    pub is_saturated: bool,
    /// It asks nobody: it is paused, or its engine has ended.
    pub is_idle: bool,
}

impl Record {
    /// Of a run of so many seconds, whose books are these.
    pub fn new(seconds: f64, tallies: &[Tally], now: Instant) -> Self {
        for tally in tallies {
            tally.begin_window();
        }
        let notes = Notes { began: now, intervals: vec![Vec::new(); tallies.len()], looks: 0, saturated: 0, idle: 0 };
        Self {
            length: SHORTEST.max(Duration::from_secs_f64(seconds * tallies.len() as f64 / MOST)),
            before: Reading::take(),
            notes: Mutex::new(notes),
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how the swarm itself is, while it still asks, and ends the present interval if it is long enough.
    pub fn look(&self, tallies: &[Tally], run_began: Instant, condition: Option<Condition>) {
        let now = Instant::now();
        let mut notes = self.notes();
        if let Some(condition) = condition {
            notes.looks += 1;
            notes.saturated += u64::from(condition.is_saturated);
            notes.idle += u64::from(condition.is_idle);
        }
        if now.saturating_duration_since(notes.began) >= self.length {
            notes.end_interval(tallies, run_began, now);
        }
    }

    /// Ends the last interval; gives all, for each target.
    pub fn close(&self, tallies: &[Tally], run_began: Instant) -> Vec<Vec<Interval>> {
        let mut notes = self.notes();
        notes.end_interval(tallies, run_began, Instant::now());
        for tally in tallies {
            tally.end_window();
        }
        std::mem::take(&mut notes.intervals)
    }

    /// The part of the run in which the swarm itself was the limit (0 to 1).
    pub fn saturated(&self) -> f64 {
        self.part(|notes| notes.saturated)
    }

    /// The part of the run in which the swarm asked nobody (0 to 1).
    pub fn idle(&self) -> f64 {
        self.part(|notes| notes.idle)
    }

    fn part(&self, looks: fn(&Notes) -> u64) -> f64 {
        let notes = self.notes();
        looks(&notes) as f64 / notes.looks.max(1) as f64
    }

    /// How the machine was since the run began.
    pub fn weather(&self) -> Weather {
        Reading::take().since(&self.before)
    }
}

impl Notes {
    fn end_interval(&mut self, tallies: &[Tally], run_began: Instant, now: Instant) {
        let begin = self.began.saturating_duration_since(run_began).as_secs_f64();
        let length = now.saturating_duration_since(self.began).as_secs_f64();
        for (tally, intervals) in tallies.iter().zip(&mut self.intervals) {
            let window = tally.begin_window();
            let quantile = |q| window.response.quantile(q).map(|ns| ns / 1e3);
            intervals.push(Interval {
                begin,
                length,
                right: window.right,
                failed: window.failed,
                quantiles_us: quantile(0.5).zip(quantile(0.99)),
                longest_ns: window.response.longest(),
                histogram: window.response.encoded(),
            });
        }
        self.began = now;
    }
}
