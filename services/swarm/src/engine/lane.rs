//! One kind of clients of one endpoint: when they ask, and who of them is free.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::plan::{Load, OverRun};
use crate::population::Manner;
use crate::schedule::{Arrivals, Profile, Rate, Schedule};

/// Between two attempts to open a connection that is kept, after a failure: doubling up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Conversations that a lane of visits has at once; what should begin beyond waits.
const MOST_VISITORS: usize = 512;

/// How fast questions that had to wait are asked, in parts of the rate, where that is capped.
const CATCH_UP: f64 = 2.0;

/// How long each of those waits where no rate will come any more.
const STANDSTILL: Duration = Duration::from_millis(100);

/// An instant that has come and that nobody could follow yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub due: Instant,
    /// When the worker saw that it had come: later, where it was busy or had no processor.
    pub seen: Instant,
}

pub(super) struct Lane {
    pub load: Load,
    pub schedule: Schedule,
    /// Instants that have come and that nobody could follow yet, [`MOST_AT_ONCE`](crate::plan::MOST_AT_ONCE) at the most.
    pub waiting: VecDeque<Waiting>,
    /// Clients that may be asked for more.
    pub free: VecDeque<usize>,
    /// All clients but those that are only waited for.
    pub clients: usize,
    /// Clients that have been given up and may still be answered.
    pub late: usize,
    /// Since when there has been room for another visitor.
    pub visitors_since: Instant,
    pub retry_at: Instant,
    retry_after: Duration,
    /// How fast those who had to wait are asked, where that is capped.
    pace: Pace,
    /// Whether that is what those who wait are waiting for.
    pub held_back: bool,
    /// Which of the bad questions comes next.
    pub turn: usize,
    /// No longer in the plan: it ends when its clients have.
    pub over: bool,
}

impl Lane {
    pub fn new(load: Load, now: Instant, offset: f64) -> Self {
        Self {
            schedule: Schedule::new(profile(&load), now, offset),
            pace: Pace::new(&load, now),
            load,
            waiting: VecDeque::new(),
            free: VecDeque::new(),
            clients: 0,
            late: 0,
            visitors_since: now,
            retry_at: now,
            retry_after: RETRY.0,
            held_back: false,
            turn: 0,
            over: false,
        }
    }

    pub fn manner(&self) -> &'static Manner {
        self.load.kind.manner()
    }

    /// Goes on with this load. One that comes back forgets what was due while it was not there.
    pub fn follow(&mut self, load: Load, comes_back: bool, now: Instant) {
        if comes_back {
            self.schedule.skip_to(now);
        }
        self.schedule.follow(profile(&load), now);
        self.pace.gap.follow(Pace::profile(&load), now);
        self.over = false;
        self.load = load;
    }

    /// Whether nobody will miss it.
    pub fn is_vacant(&self) -> bool {
        self.over && self.clients + self.late == 0 && self.waiting.is_empty()
    }

    /// Whether another visitor may come.
    pub fn has_room(&self) -> bool {
        self.clients < MOST_VISITORS
    }

    /// A client is gone, as could have been known since then.
    pub fn lose_one(&mut self, since: Instant) {
        if !self.has_room() {
            self.visitors_since = since;
        }
        self.clients -= 1;
    }

    pub fn back_off(&mut self, now: Instant) {
        self.retry_at = now + self.retry_after;
        self.retry_after = (self.retry_after * 2).min(RETRY.1);
    }

    /// A connection was made.
    pub fn take_heart(&mut self) {
        self.retry_after = RETRY.0;
    }

    /// Whether one that waits may be asked now.
    pub fn may_ask(&self, now: Instant) -> bool {
        self.load.over_run != OverRun::Cap || self.pace.next() <= now
    }

    /// Until when those who wait were held back, where that is capped.
    pub fn held_back_until(&self) -> Option<Instant> {
        (self.load.over_run == OverRun::Cap).then(|| self.pace.next())
    }

    /// One has been asked: the next one has to wait for its part of time, where that is capped.
    pub fn has_asked(&mut self, now: Instant) {
        if self.load.over_run == OverRun::Cap {
            self.pace.begin(now);
        }
    }

    /// When something is due by itself, if that can be said.
    pub fn due(&self) -> Option<Instant> {
        self.schedule.next().into_iter().chain(self.held_back.then(|| self.pace.next())).min()
    }

    /// Questions that belong to one of its instants.
    pub fn questions(&self) -> usize {
        self.load.questions()
    }

    /// Questions a second that it should ask now.
    pub fn rate(&self, now: Instant) -> f64 {
        self.schedule.rate(now) * self.questions() as f64
    }
}

/// When the next of those who wait may be asked: once so many could have been asked at the capped rate, as it is until then,
/// and not as it was when the last one was asked.
struct Pace {
    asked: Instant,
    gap: Schedule,
}

impl Pace {
    /// The first one may be asked at once.
    fn new(load: &Load, now: Instant) -> Self {
        Self { asked: now, gap: Schedule::new(Self::profile(load), now, 0.0) }
    }

    fn profile(load: &Load) -> Profile {
        let rate = Rate { mean: CATCH_UP * load.profile.rate.mean, ..load.profile.rate.clone() };
        Profile { rate, arrivals: Arrivals::Even, ..load.profile }
    }

    fn begin(&mut self, now: Instant) {
        self.asked = now;
        self.gap.begin_gap(now);
    }

    fn next(&self) -> Instant {
        self.gap.next().unwrap_or(self.asked + STANDSTILL)
    }
}

/// Every lane has chances of its own, the same each time.
fn profile(load: &Load) -> Profile {
    let mut profile = load.profile.clone();
    let lane = (load.target * 64 + load.endpoint.transport as usize * 16 + load.kind as usize) as u64;
    profile.seed = profile.seed.wrapping_add((lane + 1).wrapping_mul(0xA24B_AED4_963E_E407));
    profile
}
