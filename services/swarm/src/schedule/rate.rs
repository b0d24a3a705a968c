//! How many a second, over time: a function whose integral says when the next one is due.

use std::f64::consts::TAU;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::stages::Stage;

/// A gap of a year or more is no rate.
const LONGEST_GAP: f64 = 365.0 * 24.0 * 3600.0;

/// How the rate changes, around its mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// It does not.
    #[default]
    Constant,
    /// It rises evenly for a period, then begins again.
    Ramp,
    /// It is high for half a period, low for the other half.
    Step,
    /// It swings.
    Sine,
}

/// A rate over time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rate {
    /// Its mean, a second; with stages, what theirs are multiplied by.
    pub mean: f64,
    pub shape: Shape,
    /// How long it takes to come back, in seconds.
    pub period: f64,
    /// How far it goes from its mean, as a part of it.
    pub swing: f64,
    /// If there are any they say the rate; the last one's goes on.
    pub stages: Arc<[Stage]>,
}

impl Rate {
    #[cfg(test)]
    pub fn constant(mean: f64) -> Self {
        Self { mean, shape: Shape::Constant, period: 1.0, swing: 0.0, stages: Arc::default() }
    }

    /// Whether it is the same but for its height, so that it may go on where the other one is.
    pub fn has_form_of(&self, other: &Self) -> bool {
        (self.shape, self.period, &self.stages) == (other.shape, other.period, &other.stages)
    }

    /// Whether it changes by itself.
    pub fn moves(&self) -> bool {
        self.shape != Shape::Constant || !self.stages.is_empty()
    }

    /// The rate at `at` seconds.
    pub fn at(&self, at: f64) -> f64 {
        if !self.stages.is_empty() {
            return self.mean * self.stage_at(at);
        }
        let phase = (at / self.period).fract();
        let swing = match self.shape {
            Shape::Constant => 0.0,
            Shape::Ramp => 2.0 * phase - 1.0,
            Shape::Step => {
                if phase < 0.5 {
                    1.0
                } else {
                    -1.0
                }
            }
            Shape::Sine => (TAU * phase).sin(),
        };
        self.mean * (1.0 + self.swing * swing)
    }

    fn stage_at(&self, at: f64) -> f64 {
        let mut began = 0.0;
        for stage in &*self.stages {
            if at < began + stage.seconds {
                return stage.from + (stage.to - stage.from) * (at - began) / stage.seconds;
            }
            began += stage.seconds;
        }
        self.stages.last().map_or(0.0, |stage| stage.to)
    }

    /// The highest that it comes to.
    pub fn highest(&self) -> f64 {
        let highest = match (&*self.stages, self.shape) {
            ([], Shape::Constant) => 1.0,
            ([], _) => 1.0 + self.swing,
            (stages, _) => stages.iter().map(|stage| stage.from.max(stage.to)).fold(0.0, f64::max),
        };
        self.mean * highest
    }

    /// How many are due from the beginning to `at` seconds.
    pub fn sum(&self, at: f64) -> f64 {
        if !self.stages.is_empty() {
            return self.mean * self.sum_of_stages(at);
        }
        let phase = (at / self.period).fract();
        // The swing's integral over the part of a period, in periods: nothing over a whole one.
        let swing = match self.shape {
            Shape::Constant => 0.0,
            Shape::Ramp => phase * phase - phase,
            Shape::Step => phase.min(1.0 - phase),
            Shape::Sine => (1.0 - (TAU * phase).cos()) / TAU,
        };
        self.mean * (at + self.swing * swing * self.period)
    }

    fn sum_of_stages(&self, at: f64) -> f64 {
        let (mut sum, mut began) = (0.0, 0.0);
        for stage in &*self.stages {
            let inside = (at - began).clamp(0.0, stage.seconds);
            sum += inside * (stage.from + (stage.to - stage.from) * inside / stage.seconds / 2.0);
            began += stage.seconds;
        }
        sum + (at - began).max(0.0) * self.stages.last().map_or(0.0, |stage| stage.to)
    }

    /// When `many` more are due, from `from` seconds on; none if that takes a year.
    pub fn when(&self, from: f64, many: f64) -> Option<f64> {
        if !(self.mean > 0.0 && self.mean.is_finite()) {
            return None;
        }
        if self.stages.is_empty() && self.shape == Shape::Constant {
            return Some(many / self.mean).filter(|gap| *gap < LONGEST_GAP).map(|gap| from + gap);
        }
        let wanted = self.sum(from) + many;
        let mut gap = 1e-3;
        while self.sum(from + gap) < wanted {
            gap *= 2.0;
            if gap > LONGEST_GAP {
                return None;
            }
        }
        Some(self.search(wanted, from, from + gap))
    }

    /// Where between two times the sum comes to `wanted`; it never falls.
    fn search(&self, wanted: f64, mut low: f64, mut high: f64) -> f64 {
        while high - low > 1e-9 {
            let middle = f64::midpoint(low, high);
            if middle <= low || middle >= high {
                break;
            }
            if self.sum(middle) < wanted { low = middle } else { high = middle }
        }
        high
    }
}

#[cfg(test)]
mod tests {
    use super::super::stages;
    use super::*;

    fn rates() -> Vec<Rate> {
        let swinging = |shape| Rate { shape, period: 4.0, swing: 0.8, ..Rate::constant(50.0) };
        let stages = stages::parse("2s@10,3s@10..90,1s@0,1s@40", 1e6).unwrap();
        let mut rates: Vec<_> = [Shape::Constant, Shape::Ramp, Shape::Step, Shape::Sine].map(swinging).into();
        rates.push(Rate { stages, ..Rate::constant(0.5) });
        rates
    }

    #[test]
    fn the_sum_is_the_rates_integral() {
        for rate in rates() {
            let mut sum = 0.0;
            for step in 0..100_000 {
                let at = f64::from(step) * 1e-4;
                assert!((rate.sum(at) - sum).abs() < 0.02, "{rate:?} at {at}: {} is not {sum}", rate.sum(at));
                sum += rate.at(at + 5e-5) * 1e-4;
            }
        }
    }

    #[test]
    fn when_is_where_the_sum_has_grown_by_so_many() {
        for rate in rates() {
            for from in [0.0, 0.7, 3.9, 5.5, 1e5] {
                let when = rate.when(from, 2.5).unwrap();
                assert!((rate.sum(when) - rate.sum(from) - 2.5).abs() < 1e-5, "{rate:?} from {from}: {when}");
            }
        }
    }

    #[test]
    fn what_never_comes_is_never_due() {
        let ended = Rate { stages: stages::parse("1s@10,1s@0", 1e6).unwrap(), ..Rate::constant(1.0) };
        assert!(ended.when(0.0, 9.0).is_some());
        assert_eq!(ended.when(0.0, 11.0), None);
        for mean in [0.0, -1.0, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY] {
            assert_eq!(Rate::constant(mean).when(0.0, 1.0), None, "{mean}");
        }
    }
}
