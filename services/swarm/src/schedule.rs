//! When something should happen: a constant rate that may be changed at any time.

use std::time::{Duration, Instant};

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

fn gap(rate: f64) -> Option<Duration> {
    (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate))
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
