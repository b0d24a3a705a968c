//! How a worker does: each is watched by itself, since an average over all would hide one that cannot follow.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::exact::Exact;

/// How long a worker is watched before it is judged.
const WATCHED: Duration = Duration::from_secs(1);

/// The part of its time from which on a worker is what limits its load.
const SATURATED: f64 = 0.9;

/// How a worker does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Health {
    /// Questions a second that it should ask now.
    pub target_rate: f64,
    /// The part of its last second in which it did not wait: 0 to 1.
    pub busy: f64,
    /// CPU time of its thread so far.
    pub cpu: Duration,
    /// 99th percentile of how late it asked by itself in its last second; none if it asked nothing.
    pub lateness_p99: Option<Duration>,
}

impl Health {
    /// Whether the worker itself limits its load.
    pub fn is_saturated(&self) -> bool {
        self.busy > SATURATED
    }
}

/// What a worker has done since it was judged.
pub(super) struct Business {
    since: Instant,
    waited: Duration,
    lateness: Exact,
}

impl Business {
    pub fn new(now: Instant) -> Self {
        Self { since: now, waited: Duration::ZERO, lateness: Exact::default() }
    }

    pub fn has_waited(&mut self, time: Duration) {
        self.waited += time;
    }

    pub fn has_asked(&mut self, lateness: Duration) {
        self.lateness.record(lateness);
    }

    /// Whether that is long enough to judge it.
    pub fn is_watched(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WATCHED
    }

    /// Writes down how the worker does whose thread this is, and begins anew.
    pub fn judge(&mut self, now: Instant, health: &mut Health) {
        let watched = now.saturating_duration_since(self.since);
        health.busy = 1.0 - self.waited.as_secs_f64() / watched.as_secs_f64();
        let used = clock_gettime(ClockId::ThreadCPUTime);
        health.cpu = Duration::new(used.tv_sec as u64, used.tv_nsec as u32);
        health.lateness_p99 = self.lateness.quantile(0.99).map(|ns| Duration::from_nanos(ns as u64));
        self.lateness.reset();
        (self.since, self.waited) = (now, Duration::ZERO);
    }
}
