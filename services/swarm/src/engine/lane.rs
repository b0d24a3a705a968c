//! One kind of clients of one endpoint: when they ask, and who of them is free.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use zen::Dialogue;

use crate::plan::{Load, OverRun};
use crate::population::{Kind, Manner};
use crate::schedule::Schedule;

/// Between two attempts to open a connection that is kept, after a failure: doubling up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Conversations that a lane of visits has at once; what should begin beyond waits.
const MOST_VISITORS: usize = 512;

/// How fast questions that had to wait are asked, in parts of the rate, where that is capped.
const CATCH_UP: f64 = 2.0;

/// How long those wait at a rate of 0.
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
    /// Before this nobody asks, where catching up is capped.
    not_before: Instant,
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
            load,
            waiting: VecDeque::new(),
            free: VecDeque::new(),
            clients: 0,
            late: 0,
            visitors_since: now,
            retry_at: now,
            retry_after: RETRY.0,
            not_before: now,
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
        self.load.over_run != OverRun::Cap || self.not_before <= now
    }

    /// Until when those who wait were held back, where that is capped.
    pub fn held_back_until(&self) -> Option<Instant> {
        (self.load.over_run == OverRun::Cap).then_some(self.not_before)
    }

    /// One has been asked: the next one has to wait for its part of time, where that is capped.
    pub fn pace(&mut self, now: Instant) {
        // At no rate there is nothing to catch up with; a moment later there may be.
        let gap = Duration::try_from_secs_f64(1.0 / (CATCH_UP * self.schedule.rate(now))).unwrap_or(STANDSTILL);
        self.not_before = self.not_before.max(now) + gap;
    }

    /// When something is due by itself, if that can be said.
    pub fn due(&self) -> Option<Instant> {
        self.schedule.next().into_iter().chain(self.held_back.then_some(self.not_before)).min()
    }

    /// Questions that belong to one of its instants.
    pub fn questions(&self) -> usize {
        self.load.questions()
    }

    /// Questions a second that it should ask now.
    pub fn rate(&self, now: Instant) -> f64 {
        self.schedule.rate(now) * self.questions() as f64
    }

    /// How long a question takes by the client's own doing: no server is to be blamed for that.
    pub fn own_time(&self, dialogue: Dialogue) -> Duration {
        let longest = match dialogue {
            Dialogue::Zen => LONGEST_ANSWER,
            Dialogue::Echo => LONGEST_QUESTION,
        };
        let steps = match self.load.kind {
            Kind::Trickler => LONGEST_QUESTION,
            Kind::SlowReader => self.questions() * longest / super::SLOW_BYTES + 1,
            _ => 0,
        };
        self.load.habits.interval * steps as u32
    }
}

/// In bytes, of those in [`zen::QUESTIONS`].
const LONGEST_QUESTION: usize = 25;
const LONGEST_ANSWER: usize = 9;

/// Every lane has chances of its own, the same each time.
fn profile(load: &Load) -> crate::schedule::Profile {
    let mut profile = load.profile.clone();
    let lane = (load.target * 64 + load.endpoint.transport as usize * 16 + load.kind as usize) as u64;
    profile.seed = profile.seed.wrapping_add((lane + 1).wrapping_mul(0xA24B_AED4_963E_E407));
    profile
}
