//! One rate, tried in windows.

use std::io;

use super::Search;
use crate::clock;
use crate::stats::batch_means;
use crate::{Pace, Slot};

/// Windows of a probe at least, and at most.
pub(super) const FEWEST: usize = 4;
/// See [`FEWEST`].
pub(super) const MOST: usize = 10;

/// Of the questions that were due, those that must be asked.
const ASKED: f64 = 0.98;

/// Of the questions that were asked, those that may fail.
const FAILED: f64 = 0.001;

/// What was found at one rate.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Questions a second.
    pub rate: f64,
    /// Part of the questions that took longer than the limit allows, were never asked, or failed.
    pub share: f64,
    /// Its 95 % interval.
    pub low: f64,
    /// See [`Self::low`].
    pub high: f64,
    /// The quantile of the limit, in microseconds.
    pub quantile_us: f64,
    /// Whether the interval lies on one side of what is allowed.
    pub is_clear: bool,
    /// What it says.
    pub verdict: Verdict,
    /// CPU time of the client, as a part of a core.
    pub client_share: f64,
    /// CPU time of the server, as a part of the cores that its threads could keep busy; none where it cannot be seen.
    pub server_share: Option<f64>,
    /// Windows that count, and that are void.
    pub windows: (usize, usize),
}

/// Whether the limit was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was.
    Kept,
    /// It was not.
    Broken,
    /// It was not, and the client's CPU was used up: a server might do more.
    ClientBound,
    /// The machine was in the way, and how.
    Void(String),
}

/// A window at the tried rate.
struct Window {
    slot: Slot,
    /// Whether its neighbour at the low rate kept the limit.
    is_calm: bool,
    /// CPU time of the server in it, in nanoseconds; none where it cannot be seen.
    cpu_ns: Option<u64>,
}

impl Search<'_> {
    /// Tries `rate` in windows until the answer is clear, in `fewest` at least; none if somebody ended the search meanwhile.
    pub(super) fn measure(&mut self, rate: f64, fewest: usize) -> io::Result<Option<Probe>> {
        let allowed = 1.0 - self.plan.quantile;
        let mut shares = Vec::new();
        let mut sum = Slot::default();
        let (mut void, mut used) = (0, None);
        while shares.len() < MOST && void < MOST {
            let window = self.pair(rate)?;
            if self.plan.is_stopped() {
                return Ok(None);
            }
            if !window.is_calm {
                void += 1;
                continue;
            }
            shares.push(self.share(&window.slot));
            sum.add(&window.slot);
            used = window.cpu_ns.map(|cpu_ns| used.unwrap_or(0) + cpu_ns);
            let is_clear =
                batch_means(&shares, shares.len()).is_some_and(|found| found.high < allowed || found.low > allowed);
            if shares.len() >= fewest && is_clear {
                break;
            }
        }
        let server_share = used.map(|used| used as f64 / 1e9 / sum.wall.as_secs_f64() / self.cores_in_use());
        Ok(Some(judge(self.plan, rate, &shares, &sum, void, server_share)))
    }

    /// Cores that the server's threads can keep busy at once.
    fn cores_in_use(&self) -> f64 {
        let threads = self.server.facts(self.plan.transport).map_or(1, |facts| facts.threads);
        threads.clamp(1, u64::from(self.cores)) as f64
    }

    /// A window at `rate` and one at the low rate, in a random order.
    fn pair(&mut self, rate: f64) -> io::Result<Window> {
        let seed = self.random.next();
        let is_low_first = self.random.below(2) == 0;
        let (mut tried, mut low, mut cpu_ns) = (Slot::default(), Slot::default(), None);
        for is_low in [is_low_first, !is_low_first] {
            if is_low {
                low = self.slot(self.plan.window / 2, Pace::poisson(self.low.max(200.0).min(rate), seed))?;
            } else {
                let (at, before) = (clock::now(), self.server.usage(self.plan.transport));
                tried = self.slot(self.plan.window, Pace::poisson(rate, seed))?;
                let now = self.server.usage(self.plan.transport);
                cpu_ns = now.zip(before).map(|(now, before)| now.since(&before).cpu_ns);
                self.log.enter(at, &tried)?;
            }
        }
        let lag = std::time::Duration::from_nanos(low.lag.value_at_quantile(self.plan.quantile));
        let is_calm = lag <= self.plan.longest / 4 && self.share(&low) <= 1.0 - self.plan.quantile;
        Ok(Window { slot: tried, is_calm, cpu_ns })
    }

    fn share(&self, slot: &Slot) -> f64 {
        let longest = clock::of(self.plan.longest);
        let late = slot.response.len() - slot.response.count_between(0, longest.saturating_sub(1));
        (late + slot.unsent + slot.failed()) as f64 / slot.planned.max(1) as f64
    }
}

fn judge(plan: &super::Plan, rate: f64, shares: &[f64], sum: &Slot, void: usize, server_share: Option<f64>) -> Probe {
    let allowed = 1.0 - plan.quantile;
    let estimate = batch_means(shares, shares.len());
    let share = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
    let (low, high) = estimate.map_or((0.0, 1.0), |found| (found.low.max(0.0), found.high.min(1.0)));
    let wall = sum.wall.as_secs_f64().max(f64::MIN_POSITIVE);
    let client_share = sum.client_cpu.as_secs_f64() / wall;
    let is_short = (sum.sent as f64) < ASKED * sum.planned as f64;
    let has_failed = sum.failed() as f64 > FAILED * sum.sent as f64;
    let verdict = if shares.len() < 2 || void > shares.len() {
        Verdict::Void("the machine was too late in most windows even at a low rate".into())
    } else if is_short || has_failed || share >= allowed {
        if client_share > 0.95 { Verdict::ClientBound } else { Verdict::Broken }
    } else {
        Verdict::Kept
    };
    Probe {
        rate,
        share,
        low,
        high,
        quantile_us: sum.response.value_at_quantile(plan.quantile) as f64 / 1e3,
        is_clear: is_short || has_failed || high < allowed || low > allowed,
        verdict,
        client_share,
        server_share,
        windows: (shares.len(), void),
    }
}
