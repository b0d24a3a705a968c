//! When something should happen: instants from the integral of a rate, which may be changed at any time.

mod rate;
pub(crate) mod stages;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub(crate) use rate::Rate;
pub use rate::Shape;

/// How instants follow each other under one rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// Evenly.
    #[default]
    Even,
    /// At random, independently of each other.
    Poisson,
    /// Several at the same instant, then none for as long as they would have taken.
    Burst,
}

/// Everything that says when instants are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Profile {
    pub rate: Rate,
    pub arrivals: Arrivals,
    /// How many come at the same instant, for [`Arrivals::Burst`].
    pub burst: usize,
    /// What chance is made of: the same seed gives the same instants.
    pub seed: u64,
}

/// A sequence of instants. It goes on whatever the clients do: that is the point of it.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    profile: Profile,
    /// When the rate's time began.
    origin: Instant,
    /// Up to when the rate has been summed, in seconds since `origin`.
    summed: f64,
    /// How much the sum has still to grow until the next instant.
    left: f64,
    /// Instants that come together with the next one.
    together: usize,
    random: Random,
    /// The next instant in seconds since `origin`; `None` is never.
    next: Option<f64>,
}

impl Schedule {
    /// The first instant comes after `offset` of a gap (0 to 1), so that many schedules do not beat together; a random one
    /// is random by itself.
    pub fn new(profile: Profile, now: Instant, offset: f64) -> Self {
        let random = Random(profile.seed);
        let mut schedule = Self { profile, origin: now, summed: 0.0, left: 0.0, together: 0, random, next: None };
        schedule.draw();
        if schedule.profile.arrivals != Arrivals::Poisson {
            schedule.left *= offset;
        }
        schedule.find_next();
        schedule
    }

    /// Changes the profile from now on. What the sum had still to grow until the next instant it still has to, at another
    /// speed: so there is neither a burst nor a hole. Instants that have come are to be taken before.
    pub fn follow(&mut self, profile: Profile, now: Instant) {
        if profile == self.profile {
            return;
        }
        let at = self.seconds(now);
        self.left = (self.left - self.grown(at)).max(0.0);
        self.summed = at;
        if !profile.rate.has_form_of(&self.profile.rate) {
            (self.origin, self.summed) = (now, 0.0);
        }
        self.profile = profile;
        self.find_next();
    }

    /// Forgets the instants that came while nobody was to be asked; what follows keeps its place in time.
    pub fn skip_to(&mut self, now: Instant) {
        let at = self.seconds(now);
        let missed = self.grown(at) - self.left;
        if missed < 0.0 || self.next.is_none() {
            return;
        }
        self.together = 0;
        self.draw();
        if self.profile.arrivals != Arrivals::Poisson {
            self.left -= missed % self.left;
        }
        self.summed = at;
        self.find_next();
    }

    /// Begins a whole gap anew at this instant, whatever was left of the one before.
    pub fn begin_gap(&mut self, now: Instant) {
        self.summed = self.seconds(now);
        self.draw();
        self.find_next();
    }

    /// The next instant.
    pub fn next(&self) -> Option<Instant> {
        self.next.map(|next| self.origin + Duration::from_secs_f64(next))
    }

    /// Takes one instant that has come.
    pub fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next().filter(|due| *due <= now)?;
        if self.together > 0 {
            self.together -= 1;
            return Some(due);
        }
        self.summed = self.next.unwrap_or(self.summed);
        self.draw();
        self.find_next();
        Some(due)
    }

    /// How many a second there are now.
    pub fn rate(&self, now: Instant) -> f64 {
        self.profile.rate.at(self.seconds(now))
    }

    fn seconds(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.origin).as_secs_f64()
    }

    /// How much the sum has grown beyond what was summed.
    fn grown(&self, at: f64) -> f64 {
        if at > self.summed { self.profile.rate.sum(at) - self.profile.rate.sum(self.summed) } else { 0.0 }
    }

    fn draw(&mut self) {
        self.left = match self.profile.arrivals {
            Arrivals::Even => 1.0,
            Arrivals::Poisson => self.random.gap(),
            Arrivals::Burst => {
                self.together = self.profile.burst.max(1) - 1;
                self.profile.burst.max(1) as f64
            }
        };
    }

    fn find_next(&mut self) {
        self.next = self.profile.rate.when(self.summed, self.left);
    }
}

/// SplitMix64: small, fast, and good enough for gaps.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    /// Exponentially distributed, 1 on the average.
    fn gap(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        // 53 bits make a number above 0 and at most 1.
        -(((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(rate: f64) -> Profile {
        Profile { rate: Rate::constant(rate), arrivals: Arrivals::Even, burst: 1, seed: 7 }
    }

    fn all(schedule: &mut Schedule, until: Instant) -> Vec<Instant> {
        std::iter::from_fn(|| schedule.take(until)).collect()
    }

    #[test]
    fn a_late_caller_gets_every_instant() {
        let start = Instant::now();
        let mut schedule = Schedule::new(even(1000.0), start, 0.0);
        let due = all(&mut schedule, start + Duration::from_millis(100));
        assert_eq!(due.len(), 101);
        assert_eq!(due[50], start + Duration::from_millis(50));
    }

    #[test]
    fn what_was_skipped_does_not_come_back() {
        let start = Instant::now();
        let mut schedule = Schedule::new(even(100.0), start, 0.5);
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
            assert_eq!(Schedule::new(even(rate), Instant::now(), 0.5).next(), None, "{rate}");
        }
    }

    #[test]
    fn a_changed_rate_makes_no_burst_and_no_hole() {
        let start = Instant::now();
        let mut schedule = Schedule::new(even(1.0), start, 0.5);
        let now = start + Duration::from_millis(250);
        schedule.follow(even(1000.0), now);
        let next = schedule.next().unwrap();
        assert_eq!(next, now + Duration::from_micros(250), "a quarter was left to come");
        schedule.follow(even(0.0), now);
        assert_eq!(schedule.next(), None);
        schedule.follow(even(10.0), now + Duration::from_secs(9));
        assert_eq!(schedule.next(), Some(now + Duration::from_millis(9_025)), "nothing came meanwhile");
    }

    #[test]
    fn many_changes_give_as_many_instants_as_their_rates_together() {
        let start = Instant::now();
        let mut schedule = Schedule::new(even(100.0), start, 0.5);
        let (mut taken, mut wanted) = (0, 0.5);
        for step in 0..1000 {
            let now = start + Duration::from_millis(step * 7);
            taken += all(&mut schedule, now).len();
            let rate = [100.0, 900.0, 0.0, 33.0, 2500.0][step as usize % 5];
            schedule.follow(even(rate), now);
            wanted += rate * 0.007;
        }
        taken += all(&mut schedule, start + Duration::from_secs(7)).len();
        assert!((taken as f64 - wanted).abs() <= 1.5, "{taken} came, {wanted} should have");
    }

    #[test]
    fn a_burst_comes_at_one_instant() {
        let start = Instant::now();
        let mut schedule = Schedule::new(Profile { arrivals: Arrivals::Burst, burst: 5, ..even(100.0) }, start, 0.0);
        let due = all(&mut schedule, start + Duration::from_millis(99));
        let of = |ms| due.iter().filter(|due| **due == start + Duration::from_millis(ms)).count();
        assert_eq!((due.len(), of(0), of(50)), (10, 5, 5));
    }

    #[test]
    fn chance_has_the_rate_and_the_spread_of_independent_people_and_can_be_repeated() {
        let start = Instant::now();
        let schedule = |seed| Schedule::new(Profile { arrivals: Arrivals::Poisson, seed, ..even(1000.0) }, start, 0.5);
        let due = all(&mut schedule(1), start + Duration::from_secs(20));
        assert!((19_400..=20_600).contains(&due.len()), "{}", due.len());
        let gaps: Vec<_> = due.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!(
            (variance.sqrt() / mean - 1.0).abs() < 0.05,
            "their deviation is their mean: {}",
            variance.sqrt() / mean
        );
        assert_eq!(due, all(&mut schedule(1), start + Duration::from_secs(20)));
        assert_ne!(due, all(&mut schedule(2), start + Duration::from_secs(20)));
    }
}
