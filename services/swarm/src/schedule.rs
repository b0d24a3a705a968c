//! When something should happen: a constant rate that may be changed at any time.

use std::time::{Duration, Instant};

/// A gap of a year or more is no rate.
const LONGEST_GAP: Duration = Duration::from_hours(365 * 24);

/// Instants at a constant rate. The schedule goes on whatever the clients do: that is the point of it.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// Between two instants; `None` is never.
    gap: Option<Duration>,
    next: Instant,
}

impl Schedule {
    /// `rate` instants a second, the first after `offset` of a gap (0 to 1), so that many schedules do not beat together.
    pub fn new(rate: f64, now: Instant, offset: f64) -> Self {
        let gap = gap(rate);
        Self { gap, next: now + gap.map_or(Duration::ZERO, |gap| gap.mul_f64(offset)) }
    }

    /// Changes the rate from now on: what was left of the present gap is stretched or shrunk, so there is neither a burst nor
    /// a hole.
    pub fn set_rate(&mut self, rate: f64, now: Instant) {
        let fresh = gap(rate);
        if fresh == self.gap {
            return;
        }
        let left = self.next.saturating_duration_since(now);
        self.next = match (self.gap, fresh) {
            (Some(old), Some(new)) => now + left.mul_f64(new.as_secs_f64() / old.as_secs_f64()).min(new),
            _ => now + fresh.unwrap_or_default(),
        };
        self.gap = fresh;
    }

    /// Forgets the instants that came while nobody was to be asked; what follows keeps its place in time.
    pub fn skip_to(&mut self, now: Instant) {
        let missed = now.saturating_duration_since(self.next);
        if let Some(gap) = self.gap.filter(|_| !missed.is_zero()) {
            let into_gap = Duration::from_nanos((missed.as_nanos() % gap.as_nanos()) as u64);
            self.next = now + gap.saturating_sub(into_gap);
        }
    }

    /// The next instant.
    pub fn next(&self) -> Option<Instant> {
        self.gap.map(|_| self.next)
    }

    /// Takes one instant that has come.
    pub fn take(&mut self, now: Instant) -> Option<Instant> {
        let gap = self.gap?;
        if self.next > now {
            return None;
        }
        let due = self.next;
        self.next += gap;
        Some(due)
    }
}

/// Never nothing, so that an instant that has been taken is not due again; a rate so low that its gap has no end is none.
fn gap(rate: f64) -> Option<Duration> {
    let gap = Duration::try_from_secs_f64(1.0 / rate).ok()?;
    (rate > 0.0 && gap < LONGEST_GAP).then(|| gap.max(Duration::from_nanos(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_caller_gets_every_instant() {
        let start = Instant::now();
        let mut schedule = Schedule::new(1000.0, start, 0.0);
        let late = start + Duration::from_millis(100);
        let due: Vec<_> = std::iter::from_fn(|| schedule.take(late)).collect();
        assert_eq!(due.len(), 101);
        assert_eq!(due[50], start + Duration::from_millis(50));
    }

    #[test]
    fn what_was_skipped_does_not_come_back() {
        let start = Instant::now();
        let mut schedule = Schedule::new(100.0, start, 0.5);
        let later = start + Duration::from_millis(3_001);
        schedule.skip_to(later);
        assert_eq!(schedule.take(later), None);
        assert_eq!(schedule.next(), Some(start + Duration::from_millis(3_005)), "it keeps its place in time");
        schedule.skip_to(later);
        assert_eq!(schedule.next(), Some(start + Duration::from_millis(3_005)), "nothing was missed");
    }

    #[test]
    fn rates_that_make_no_sense_are_never() {
        for rate in [0.0, -1.0, f64::MIN_POSITIVE, f64::NAN] {
            assert_eq!(Schedule::new(rate, Instant::now(), 0.5).next(), None, "{rate}");
        }
    }

    #[test]
    fn a_changed_rate_makes_no_burst_and_no_hole() {
        let start = Instant::now();
        let mut schedule = Schedule::new(1.0, start, 0.5);
        let now = start + Duration::from_millis(250);
        schedule.set_rate(1000.0, now);
        let next = schedule.next().unwrap();
        assert!(next > now && next <= now + Duration::from_millis(1), "a quarter of the old gap was left");
        schedule.set_rate(0.0, now);
        assert_eq!(schedule.next(), None);
        schedule.set_rate(10.0, now);
        assert_eq!(schedule.next(), Some(now + Duration::from_millis(100)));
    }
}
