//! The search itself: bracket, bisection, confirmation. It knows no clock and no server, only answers.

use std::io;

use super::outcome::Limit;
use super::probe::{self, Probe, Verdict};

/// Ends of the bracket that are as near as this are near enough.
const NEAR: f64 = 1.05;

/// Tries a rate in so many windows at least; none when the time is over.
type Measure<'a> = &'a mut dyn FnMut(f64, usize) -> io::Result<Option<Probe>>;

/// A search under way.
pub(super) struct Hunt<'a> {
    measure: Measure<'a>,
    /// How much a window may be overloaded without showing it, as a factor.
    allowance: f64,
    pub probes: Vec<Probe>,
}

impl<'a> Hunt<'a> {
    pub fn new(measure: Measure<'a>, allowance: f64) -> Self {
        Self { measure, allowance, probes: Vec::new() }
    }

    /// Begins at `first`; gives up below `lowest`.
    pub fn run(&mut self, first: f64, lowest: f64) -> io::Result<Limit> {
        let (mut good, mut bad) = (None, None);
        let mut rate = first;
        while good.is_none() || bad.is_none() {
            match self.probe(rate, probe::FEWEST)? {
                Some(Verdict::Kept) => {
                    good = Some(rate);
                    rate *= 2.0;
                }
                Some(Verdict::Broken | Verdict::ClientBound) => {
                    bad = Some(rate);
                    rate /= 2.0;
                }
                Some(Verdict::Void(why)) => return Ok(Limit::Inconclusive(why)),
                None => return Ok(Limit::Inconclusive("the time was over before both sides were found".into())),
            }
            if rate < lowest {
                return Ok(Limit::Below(lowest));
            }
        }
        let (mut good, mut bad) = (good.unwrap_or(first), bad.unwrap_or(first));
        while bad / good > NEAR {
            let middle = (good * bad).sqrt();
            match self.probe(middle, probe::FEWEST)? {
                Some(Verdict::Kept) => good = middle,
                Some(Verdict::Broken | Verdict::ClientBound) => bad = middle,
                Some(Verdict::Void(why)) => return Ok(Limit::Inconclusive(why)),
                None => break,
            }
        }
        self.confirm(good)
    }

    /// A fresh look at what was found: what a search finds is always the luckiest of what it tried.
    fn confirm(&mut self, mut rate: f64) -> io::Result<Limit> {
        for _ in 0..4 {
            match self.probe(rate, probe::MOST)? {
                Some(Verdict::Kept) if self.is_client_bound(rate) => return Ok(Limit::AtLeast(rate)),
                Some(Verdict::Kept) => {
                    return Ok(Limit::Found { rate, interval: self.interval(rate), by: self.limited_by() });
                }
                Some(Verdict::Broken | Verdict::ClientBound) => rate *= 0.9,
                Some(Verdict::Void(why)) => return Ok(Limit::Inconclusive(why)),
                None => break,
            }
        }
        Ok(Limit::Inconclusive("what the search found could not be confirmed".into()))
    }

    /// Whether the smallest rate above `found` that broke the limit did so for want of the client's CPU.
    fn is_client_bound(&self, found: f64) -> bool {
        let is_too_high = |probe: &&Probe| probe.rate > found && probe.verdict != Verdict::Kept;
        let first = self.probes.iter().filter(is_too_high).min_by(|one, other| one.rate.total_cmp(&other.rate));
        first.is_some_and(|probe| probe.verdict == Verdict::ClientBound)
    }

    fn probe(&mut self, rate: f64, windows: usize) -> io::Result<Option<Verdict>> {
        let Some(probe) = (self.measure)(rate, windows)? else { return Ok(None) };
        let verdict = probe.verdict.clone();
        self.probes.push(probe);
        Ok(Some(verdict))
    }

    /// From the greatest rate that surely keeps the limit, and has no doubtful one below it, to the smallest that surely breaks
    /// it. Within a window a server may be overloaded and still keep the limit, so the lower end makes allowance for that.
    fn interval(&self, found: f64) -> (f64, f64) {
        let rates =
            |holds: fn(&Probe) -> bool| self.probes.iter().filter(move |probe| holds(probe)).map(|probe| probe.rate);
        let broken = rates(|probe| probe.is_clear && probe.verdict == Verdict::Broken);
        let high = broken.filter(|&rate| rate > found).fold(f64::INFINITY, f64::min);
        let doubt = rates(|probe| !probe.is_clear || probe.verdict == Verdict::Broken).fold(f64::INFINITY, f64::min);
        let kept = rates(|probe| probe.is_clear && probe.verdict == Verdict::Kept);
        let low = kept.filter(|&rate| rate <= doubt.min(found)).fold(0.0, f64::max);
        (low / self.allowance, high)
    }

    /// What was used up where the limit broke.
    fn limited_by(&self) -> &'static str {
        let broken = self.probes.iter().filter(|probe| probe.verdict == Verdict::Broken);
        let Some(first) = broken.min_by(|one, other| one.rate.total_cmp(&other.rate)) else { return "nothing" };
        match first.server_share {
            Some(server) if server > 0.8 => "the server's CPU",
            _ => "waiting: for a connection, a lock, or the scheduler",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    /// A server whose share over the limit rises around `cap`, seen through noise.
    fn answer(cap: f64, rate: f64, noise: f64) -> Probe {
        let share = 0.01 * (rate / cap).powi(20) + noise;
        let (low, high) = (share - 0.002, share + 0.002);
        Probe {
            rate,
            share,
            low,
            high,
            quantile_us: share * 1e6,
            is_clear: high < 0.01 || low > 0.01,
            verdict: if share < 0.01 { Verdict::Kept } else { Verdict::Broken },
            client_share: 0.2,
            server_share: Some(0.9),
            windows: (4, 0),
        }
    }

    #[test]
    fn a_planted_cap_lies_in_the_interval() {
        let mut random = Random::new(5);
        for seed in 0..200 {
            let cap = 1000.0 * (1.0 + 50.0 * random.unit());
            let mut noise = Random::new(seed);
            let mut measure = |rate: f64, _| Ok(Some(answer(cap, rate, 0.002 * (noise.unit() - 0.5))));
            let mut hunt = Hunt::new(&mut measure, 1.05);
            let limit = hunt.run(cap * 0.3, cap * 0.01).expect("no socket is used");
            let Limit::Found { rate, interval: (low, high), by } = limit else { panic!("{limit:?}") };
            assert!(low <= cap && cap <= high, "{cap}: {low} to {high}");
            assert!((rate / cap - 1.0).abs() < 0.15 && by == "the server's CPU", "{cap}: {rate} {by}");
            assert!(hunt.probes.len() < 12, "{}", hunt.probes.len());
        }
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let run = |measure: Measure<'_>| Hunt::new(measure, 1.0).run(1000.0, 10.0).expect("no socket is used");
        assert_eq!(run(&mut |rate, _| Ok(Some(answer(1.0, rate, 0.0)))), Limit::Below(10.0));
        assert!(matches!(run(&mut |_, _| Ok(None)), Limit::Inconclusive(_)));
        let void = |rate| Probe { verdict: Verdict::Void("noise".into()), ..answer(1.0, rate, 0.0) };
        assert_eq!(run(&mut |rate, _| Ok(Some(void(rate)))), Limit::Inconclusive("noise".into()));
        let greedy = |rate: f64| Probe {
            verdict: if rate < 3000.0 { Verdict::Kept } else { Verdict::ClientBound },
            ..answer(1e9, rate, 0.0)
        };
        let limit = run(&mut |rate, _| Ok(Some(greedy(rate))));
        assert!(matches!(limit, Limit::AtLeast(rate) if (2800.0..3000.0).contains(&rate)), "{limit:?}");
        // What was found once and never again is not confirmed.
        let mut fickle = |rate: f64, windows| {
            let is_fresh = windows == probe::MOST;
            Ok(Some(answer(if is_fresh { 1.0 } else { 5000.0 }, rate, 0.0)))
        };
        assert!(matches!(run(&mut fickle), Limit::Inconclusive(_)));
    }
}
