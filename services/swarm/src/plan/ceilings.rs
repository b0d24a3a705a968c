//! What may be asked at most: by each load, and by all that can be on at once.

use super::{Load, PlanError, form};

/// The highest rate, in questions a second: of each load at its peak, and of all that can be on at once.
pub(crate) const MOST_RATE: f64 = 200_000.0;

/// The most connections that are kept: by each load, and by all that can be on at once.
pub(crate) const MOST_CONNECTIONS: usize = 20_000;

/// By how much sums of parts may be beyond, as a part of the ceiling.
const ROUNDING: f64 = 1e-9;

/// What loads come to when all of them are at their highest.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peak {
    /// In questions a second.
    rate: f64,
    connections: usize,
}

impl Peak {
    pub fn of(loads: &[Load]) -> Self {
        Self {
            rate: loads.iter().map(Load::highest_rate).sum(),
            connections: loads.iter().map(|load| load.connections).sum(),
        }
    }

    pub fn and(self, other: Self) -> Self {
        Self { rate: self.rate + other.rate, connections: self.connections + other.connections }
    }

    /// That it is within the ceilings; `place` and `connections` are where rate and connections stand, `who` has them.
    ///
    /// # Errors
    /// What is beyond which ceiling.
    pub fn check(self, place: &str, connections: &str, who: &str) -> Result<(), PlanError> {
        ceiling(place, who, "questions a second", self.rate, MOST_RATE)?;
        ceiling(connections, who, "connections", self.connections as f64, MOST_CONNECTIONS as f64)
    }
}

fn ceiling(pointer: &str, who: &str, what: &str, sum: f64, most: f64) -> Result<(), PlanError> {
    if sum <= most * (1.0 + ROUNDING) {
        return Ok(());
    }
    let (name, sum) = (form::name_of(pointer), sum.ceil());
    let sentence = format!("`{name}`: {who} would come to {sum} {what}; there may be {most}");
    Err(PlanError { pointer: pointer.into(), sentence })
}
