//! What a scenario expects, in a form that can be checked: `TARGET FIGURE < NUMBER`.

use std::fmt;
use std::str::FromStr;

use crate::tally::{Outcome, Snapshot};

/// Stands for every target of the run.
const EACH: &str = "each";

/// What can be expected something of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    /// Right answers, as a part of the questions that should have been asked.
    Right,
    /// Questions without a right answer that nobody broke off himself, asked or not, as the same part.
    Failed,
    /// Wrong answers, as a part of the questions that were asked.
    Wrong,
    /// Questions that were asked and not answered in time, as a part of those that were asked.
    Timeout,
    /// Median of the response.
    P50,
    /// 99th percentile of the response.
    P99,
}

impl Figure {
    const ALL: [Self; 6] = [Self::Right, Self::Failed, Self::Wrong, Self::Timeout, Self::P50, Self::P99];

    const fn label(self) -> &'static str {
        match self {
            Self::Right => "right_percent",
            Self::Failed => "failed_percent",
            Self::Wrong => "wrong_percent",
            Self::Timeout => "timeout_percent",
            Self::P50 => "p50_ms",
            Self::P99 => "p99_ms",
        }
    }

    /// What was found; none if nothing can be said.
    fn of(self, seen: &Snapshot) -> Option<f64> {
        let ledger = &seen.ledger;
        let percent = |part: u64, whole: u64| (whole > 0).then(|| 100.0 * part as f64 / whole as f64);
        match self {
            Self::Right => percent(ledger.ok(), ledger.planned),
            Self::Failed => percent(ledger.failed() + ledger.unsent + ledger.dropped, ledger.planned),
            Self::Wrong => percent(ledger.wrong(), ledger.sent),
            Self::Timeout => percent(ledger.outcomes[Outcome::Timeout as usize], ledger.sent),
            Self::P50 => seen.p50_us.map(|us| us / 1e3),
            Self::P99 => seen.p99_us.map(|us| us / 1e3),
        }
    }
}

/// Which side of the limit is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Below,
    Above,
}

/// One expectation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expectation {
    target: String,
    figure: Figure,
    side: Side,
    limit: f64,
}

/// What became of an expectation at one target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    /// The expectation, with this target's name.
    pub expected: String,
    /// The figure; none if nothing can be said.
    pub found: Option<f64>,
    /// Whether it is as expected; what cannot be said is not.
    pub holds: bool,
}

impl Expectation {
    /// The target's name; none if every one is meant.
    pub fn target(&self) -> Option<&str> {
        (self.target != EACH).then_some(self.target.as_str())
    }

    /// What became of it at the targets of a run; who has no part in the run is left out.
    pub fn look<'a>(&'a self, all: &'a [Snapshot]) -> impl Iterator<Item = Finding> + 'a {
        all.iter().filter(|seen| self.target().is_none_or(|name| name == seen.target)).map(|seen| self.judge(seen))
    }

    fn judge(&self, seen: &Snapshot) -> Finding {
        let found = self.figure.of(seen);
        let holds = found.is_some_and(|found| match self.side {
            Side::Below => found < self.limit,
            Side::Above => found > self.limit,
        });
        let expected = Self { target: seen.target.clone(), ..self.clone() }.to_string();
        Finding { expected, found, holds }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.side == Side::Below { '<' } else { '>' };
        write!(f, "{} {} {side} {}", self.target, self.figure.label(), self.limit)
    }
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let figures = Figure::ALL.map(Figure::label).join(", ");
            format!(
                "{text:?} must be written TARGET FIGURE < NUMBER or TARGET FIGURE > NUMBER, as in \"epoll p99_ms < 50\"; \
                 FIGURE is one of {figures}, and `{EACH}` means every target"
            )
        };
        let [target, figure, side, limit] = text.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(wrong());
        };
        let figure = Figure::ALL.into_iter().find(|known| known.label() == figure).ok_or_else(wrong)?;
        let side = match side {
            "<" => Side::Below,
            ">" => Side::Above,
            _ => return Err(wrong()),
        };
        let limit = limit.parse().ok().filter(|limit: &f64| limit.is_finite()).ok_or_else(wrong)?;
        Ok(Self { target: target.to_owned(), figure, side, limit })
    }
}
