//! The members of a plan: what each may be, and what it means. Plans are checked by these tables, and docs/PLAN.md is made of them.

use serde_json::Value;

use super::form::{self, within};
use super::{MOST_AT_ONCE, MOST_CONNECTIONS, MOST_RATE, PlanError};
use crate::population::{Kind, MOST_WEIGHT};

/// What a member may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MayBe {
    /// A number in this range, both ends included.
    Number(f64, f64),
    /// Any whole number from 0 on.
    Whole,
    /// A number in this range for each target that is named.
    Rates(f64, f64),
    /// One of some words, or a text of its own form.
    Word,
    /// A list of targets' names.
    Targets,
    /// A weight for each kind of client.
    Weights,
}

/// A member of a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub may_be: MayBe,
    /// What it means, with its unit.
    pub meaning: &'static str,
}

const fn field(name: &'static str, may_be: MayBe, meaning: &'static str) -> Field {
    Field { name, may_be, meaning }
}

use MayBe::{Number, Rates, Targets, Weights, Whole, Word};

/// Members of the plan itself, but for `steady` and `spotlight`.
pub const PLAN_FIELDS: &[Field] = &[
    field("steady_rate", Number(0.0, MOST_RATE), "Questions a second for each endpoint."),
    field(
        "steady_rates",
        Rates(0.0, MOST_RATE),
        "Another steady rate for each endpoint of some targets, by their names.",
    ),
    field("timeout_seconds", Number(0.05, 60.0), "How long an answer may take, in seconds."),
    field("trace_one_in", Number(0.0, 1e6), "One exchange in how many is traced; 0 is none."),
];

/// Members of `spotlight` beside those of its clients.
pub const SPOTLIGHT_FIELDS: &[Field] = &[
    field("targets", Targets, "Who is meant; an empty list is everybody."),
    field("mode", Word, "One after the other (turn), all of them all the time (fixed), or nobody (off)."),
    field("turn_seconds", Number(2.0, 3600.0), "How long a turn is, in seconds."),
    field("rate", Number(0.0, MOST_RATE), "Questions a second for each that is loaded, at its TCP endpoint."),
];

/// Members of `steady` and of `spotlight`, and of every scenario: who asks, when, and how.
pub const CLIENTS_FIELDS: &[Field] = &[
    field("population", Weights, "How the clients are made up: of which kinds, in which parts."),
    field("shape", Word, "How the rate changes around its mean."),
    field("period_seconds", Number(0.1, 86_400.0), "How long the shape takes to come back, in seconds."),
    field("swing", Number(0.0, 1.0), "How far the rate goes from its mean, as a part of it."),
    field(
        "stages",
        Word,
        "What the rate is instead, one time after another, as `10s@1k,30s@1k..5k`; the last one goes on. Empty is nothing.",
    ),
    field("arrivals", Word, "How the instants follow each other, but for kinds whose point that is."),
    field("burst", Number(1.0, MOST_AT_ONCE as f64), "How many come at the same instant, where arrivals are a burst."),
    field("seed", Whole, "What chance is made of: the same seed gives the same instants."),
    field(
        "over_run",
        Word,
        "What becomes of questions that cannot be asked at their instant. They wait (queue): their latency grows as it does for \
         people, and what comes while 10,000 of one load wait is dropped, and counted. Or they are dropped at once (drop). Or they \
         wait as in a queue, and are asked at most at twice the rate (cap).",
    ),
    field(
        "connections",
        Number(1.0, MOST_CONNECTIONS as f64),
        "Connections at each endpoint of those kinds that keep theirs; each such kind has at least one.",
    ),
    field("idle", Number(0.0, MOST_CONNECTIONS as f64), "Connections that are open beside these, and silent."),
    field("pipeline", Number(1.0, 64.0), "Questions that a pipeliner has on their way at once, on each connection."),
    field(
        "requests_per_connection",
        Number(0.0, 1e9),
        "Questions after which a connection is closed; 0 is the usual: three for a churner, any number for others.",
    ),
    field(
        "connection_lifetime_seconds",
        Number(0.0, 86_400.0),
        "How old a connection may become, in seconds; 0 is any age.",
    ),
    field(
        "think_time_seconds",
        Number(0.0, 60.0),
        "How long a client thinks about an answer before it may be asked for more, in seconds.",
    ),
    field(
        "interval_seconds",
        Number(0.001, 60.0),
        "Between two bytes of a trickler and two reads of a slow reader, in seconds.",
    ),
    field(
        "source_addresses",
        Number(1.0, 250.0),
        "How many addresses clients come from, where the target is on loopback: each has its own 28,000 ports or so.",
    ),
];

impl Field {
    /// What it may be, in words.
    pub fn range(&self) -> String {
        match self.may_be {
            Number(least, most) => format!("{least} to {most}"),
            Whole => "any from 0 on".into(),
            Rates(least, most) => format!("for each name {least} to {most}"),
            Word => form::words(self.name).map_or("stages, or empty".into(), |words| words.join(", ")),
            Targets => "a list of targets".into(),
            Weights => {
                let kinds = Kind::ALL.map(Kind::label).join(", ");
                format!("for each kind a weight of 0 to {MOST_WEIGHT}, for one at least above 0: {kinds}")
            }
        }
    }
}

/// That all numbers of `document` are in their ranges; `pointer` is its place.
///
/// # Errors
/// The first that is not.
pub(super) fn check(fields: &[Field], document: &Value, pointer: &str) -> Result<(), PlanError> {
    for field in fields {
        let (place, value) = (format!("{pointer}/{}", field.name), &document[field.name]);
        if let Number(least, most) = field.may_be {
            within(&place, value.as_f64().unwrap_or(f64::NAN), least, most)?;
        }
        if let (Rates(least, most), Some(rates)) = (field.may_be, value.as_object()) {
            for (name, rate) in rates {
                within(&format!("{place}/{}", form::escape(name)), rate.as_f64().unwrap_or(f64::NAN), least, most)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::Plan;

    #[test]
    fn the_tables_have_every_member_and_no_other() {
        let plan = json!(Plan::default());
        let names = |document: &Value| document.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>());
        let listed = |tables: &[&[Field]], more: &[&str]| {
            let fields = tables.iter().flat_map(|fields| fields.iter().map(|field| field.name));
            let mut names: Vec<_> = fields.chain(more.iter().copied()).map(str::to_owned).collect();
            names.sort();
            Some(names)
        };
        assert_eq!(names(&plan), listed(&[PLAN_FIELDS], &["steady", "spotlight"]));
        assert_eq!(names(&plan["steady"]), listed(&[CLIENTS_FIELDS], &[]));
        assert_eq!(names(&plan["spotlight"]), listed(&[CLIENTS_FIELDS, SPOTLIGHT_FIELDS], &[]));
    }
}
