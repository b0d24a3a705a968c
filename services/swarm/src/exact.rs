//! Durations that are kept exactly enough for quantiles.

use std::time::Duration;

use hdrhistogram::Histogram;
use report::hdr;

/// The longest duration that quantiles tell from longer ones, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// Durations, exact to three digits, in nanoseconds. It grows with the longest duration seen, 111 kB for a minute at the most,
/// and it is made by the first, so that an endpoint that nobody asks costs nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exact(Option<Histogram<u32>>);

fn empty() -> Histogram<u32> {
    Histogram::new(3).unwrap_or_else(|_| unreachable!("three digits are allowed"))
}

impl Exact {
    /// Counts one duration; more than a minute counts as a minute.
    pub fn record(&mut self, time: Duration) {
        let ns = (time.as_nanos() as u64).clamp(1, LONGEST);
        // It has just been made to fit.
        let _ = self.0.get_or_insert_with(empty).record(ns);
    }

    /// In nanoseconds; none if nothing was counted.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        self.0.as_ref().filter(|times| !times.is_empty()).map(|times| times.value_at_quantile(q) as f64)
    }

    /// Forgets everything and keeps the room.
    pub fn reset(&mut self) {
        self.0.iter_mut().for_each(Histogram::reset);
    }

    /// Adds the durations that another one has counted.
    pub fn add(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            // It grows to fit.
            (Some(sum), Some(part)) => drop(sum.add(part)),
            (sum @ None, Some(_)) => sum.clone_from(&other.0),
            (_, None) => {}
        }
    }

    /// The longest duration in nanoseconds, 0 if nothing was counted.
    pub fn longest(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::max)
    }

    /// As interval logs hold it; an empty one has its histogram too, or the log would be refused by its readers.
    pub fn encoded(&self) -> String {
        // Counts of 32 bits are never too large for it.
        hdr::encode(self.0.as_ref().unwrap_or(&empty())).unwrap_or_default()
    }
}
