//! When questions are due.

use crate::random::Random;

/// What decides when the next question is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// The last answer: every connection always has its questions on the way. It finds a server's capacity, and hides its
    /// pauses: while the server stands still nothing is asked.
    Closed,
    /// A schedule, as with users who know nothing of each other. A question that cannot be asked in time is late, and its
    /// waiting counts.
    Open {
        /// Questions a second, greater than 0.
        rate: f64,
        /// How they are spread.
        arrivals: Arrivals,
        /// What the random gaps follow from.
        seed: u64,
    },
}

/// How the questions of an open loop are spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// One every 1/rate seconds.
    Even,
    /// With exponentially distributed gaps (a Poisson process).
    Poisson,
}

impl Pace {
    /// An open loop at an even rate.
    pub const fn even(rate: f64) -> Self {
        Self::Open { rate, arrivals: Arrivals::Even, seed: 0 }
    }

    /// An open loop with random gaps.
    pub const fn poisson(rate: f64, seed: u64) -> Self {
        Self::Open { rate, arrivals: Arrivals::Poisson, seed }
    }
}

/// The planned instants of a slot, one after the other, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Schedule {
    next: f64,
    gap: f64,
    random: Option<Random>,
    end: u64,
    /// How many have been taken.
    pub taken: u64,
}

impl Schedule {
    /// A closed loop has no schedule.
    pub fn new(pace: Pace, begin: u64, end: u64) -> Option<Self> {
        let Pace::Open { rate, arrivals, seed } = pace else { return None };
        let random = (arrivals == Arrivals::Poisson).then(|| Random::new(seed));
        let mut schedule = Self { next: begin as f64, gap: 1e9 / rate, random, end, taken: 0 };
        if schedule.random.is_some() {
            schedule.step();
        }
        Some(schedule)
    }

    fn step(&mut self) {
        self.next += self.gap * self.random.as_mut().map_or(1.0, Random::exponential);
    }

    /// The next planned instant; none when the slot has no more.
    pub fn due(&self) -> Option<u64> {
        (self.next < self.end as f64).then_some(self.next as u64)
    }

    /// Goes on to the instant after [`Self::due`].
    pub fn take(&mut self) {
        self.taken += 1;
        self.step();
    }

    /// Ends the schedule at `end`, if that is earlier, takes all that are left and counts them.
    pub fn cut(&mut self, end: u64) -> u64 {
        self.end = self.end.min(end);
        let before = self.taken;
        while self.due().is_some() {
            self.take();
        }
        self.taken - before
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, Schedule};

    #[test]
    fn an_even_schedule_has_every_instant_of_the_slot() {
        let mut schedule = Schedule::new(Pace::even(1000.0), 5, 1_000_000_005).expect("an open loop");
        assert_eq!(schedule.due(), Some(5));
        schedule.take();
        assert_eq!(schedule.due(), Some(1_000_005));
        assert_eq!(schedule.cut(u64::MAX), 999);
        assert!(Schedule::new(Pace::Closed, 0, 1).is_none());
    }

    #[test]
    fn a_poisson_schedule_has_the_rate_and_follows_from_its_seed() {
        let count = |seed| Schedule::new(Pace::poisson(10_000.0, seed), 0, 10_000_000_000).expect("open").cut(u64::MAX);
        // The standard deviation of a Poisson count of 100,000 is 316.
        assert!((count(1) as f64 - 100_000.0).abs() < 1_600.0, "{}", count(1));
        assert_eq!(count(1), count(1));
        assert_ne!(count(1), count(2));
    }
}
