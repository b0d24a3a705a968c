//! What a search found, and the report of it.

use std::time::Duration;

use report::sheet::{axis, column, figure, word};
use report::{
    Cell, Chart, Form, Interval, IntervalLog, Point, Report, Row, Run, SCHEMA, Scale, Series, Table, Validity,
    Verdict as Validation,
};

use super::probe::{Probe, Verdict};
use super::{Plan, percent};

/// What a search found of one contestant.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// The quantile of the limit on a server that does nothing.
    pub floor: Duration,
    /// The result.
    pub limit: Limit,
    /// All that was tried.
    pub probes: Vec<Probe>,
    /// Their windows, as histograms; none where nothing was tried.
    pub log: Option<IntervalLog>,
    /// Slots of load, and those of them whose books do not balance.
    pub books: (usize, usize),
}

/// What is claimed of an interval that follows from rules and not from a distribution.
const NO_CONFIDENCE: f64 = 0.0;

/// The greatest rate that keeps the limit.
#[derive(Debug, Clone, PartialEq)]
pub enum Limit {
    /// It is known.
    Found {
        /// Questions a second.
        rate: f64,
        /// Where it lies.
        interval: (f64, f64),
        /// What was used up beyond it.
        by: &'static str,
    },
    /// It is this or more: beyond it the client's CPU is used up.
    AtLeast(f64),
    /// Not even this low rate keeps it.
    Below(f64),
    /// Nothing can be said, and why.
    Inconclusive(String),
}

impl Outcome {
    /// Of a server of which nothing is known, and why.
    pub(super) const fn unknown(name: String, floor: Duration, why: String) -> Self {
        Self { name, floor, limit: Limit::Inconclusive(why), probes: Vec::new(), log: None, books: (0, 0) }
    }

    /// The result as a sentence.
    pub fn sentence(&self) -> String {
        let name = &self.name;
        match &self.limit {
            Limit::Found { rate, interval: (low, high), by } => format!(
                "{name}: {} a second ({} to {}), limited by {by}.",
                short(*rate),
                short(*low),
                if high.is_finite() { short(*high) } else { "unknown".into() }
            ),
            Limit::AtLeast(rate) => {
                format!("{name}: at least {} a second; beyond that the client's CPU is the limit.", short(*rate))
            }
            Limit::Below(rate) => format!("{name}: not even {} a second keeps the limit.", short(*rate)),
            Limit::Inconclusive(why) => format!("{name}: inconclusive: {why}."),
        }
    }
}

fn short(rate: f64) -> String {
    if rate >= 1000.0 { format!("{:.1}k", rate / 1000.0) } else { format!("{rate:.0}") }
}

/// The report of a search.
pub fn report(plan: &Plan, outcomes: &[Outcome], run: Run) -> Report {
    let limit = format!("{} < {:?}", plan.percentile(), plan.longest);
    Report {
        schema: SCHEMA,
        title: format!("The greatest rate with {limit} over {}", plan.transport),
        run,
        validity: validity(outcomes),
        findings: outcomes.iter().map(Outcome::sentence).collect(),
        does_not_show: vec![
            "What the rate would be on an idle machine, or with the client on another one.".into(),
            "A difference between two servers: their searches ran at different times; `zenlab bench` compares.".into(),
        ],
        tables: vec![limits(&limit, outcomes), probes(plan, outcomes)],
        charts: vec![curve(plan, outcomes)],
        logs: outcomes.iter().filter_map(|outcome| outcome.log.clone()).collect(),
    }
}

fn validity(outcomes: &[Outcome]) -> Validity {
    let open = |outcome: &&Outcome| matches!(outcome.limit, Limit::Inconclusive(_));
    let mut reasons: Vec<String> = outcomes.iter().filter(open).map(Outcome::sentence).collect();
    let mut verdict = if reasons.is_empty() { Validation::Valid } else { Validation::Inconclusive };
    let (slots, unbalanced) =
        outcomes.iter().fold((0, 0), |sum, outcome| (sum.0 + outcome.books.0, sum.1 + outcome.books.1));
    if unbalanced > 0 {
        verdict = Validation::Unreliable;
        reasons
            .push(format!("The books of {unbalanced} of {slots} slots do not balance: questions are unaccounted for."));
    } else if slots > 0 {
        reasons.push(format!("The books of all {slots} slots balance."));
    }
    reasons.extend(outcomes.first().map(|first| {
        format!("A server that does nothing answered over TCP in {:.1?} at the quantile of the limit.", first.floor)
    }));
    Validity { verdict, reasons }
}

fn limits(limit: &str, outcomes: &[Outcome]) -> Table {
    let row = |outcome: &Outcome| {
        let (rate, by) = match &outcome.limit {
            Limit::Found { rate, interval: (low, high), by } => {
                let interval = Interval { low: *low, high: *high, confidence: NO_CONFIDENCE };
                (
                    Cell { interval: Some(interval).filter(|_| high.is_finite()), ..figure(Some(*rate)) },
                    (*by).to_owned(),
                )
            }
            Limit::AtLeast(rate) => (Cell { text: "or more".into(), ..figure(Some(*rate)) }, "the client's CPU".into()),
            Limit::Below(rate) => (word(format!("below {}", short(*rate))), "—".into()),
            Limit::Inconclusive(why) => (word("inconclusive"), why.clone()),
        };
        let floor = figure(Some(outcome.floor.as_secs_f64() * 1e6));
        Row { subject: outcome.name.clone(), cells: vec![rate, word(by), floor] }
    };
    Table {
        id: "capacity".into(),
        title: format!("The greatest rate with {limit}"),
        columns: vec![
            column("rate", "rate", "/s", Some(false)),
            column("limited_by", "limited by", "", None),
            column("floor_us", "the same quantile of a server that does nothing", "us", None),
        ],
        rows: outcomes.iter().map(row).collect(),
        note: "The interval reaches from the greatest rate that surely keeps the limit, less what a window cannot show, to the \
               smallest that surely breaks it; no probability is known of it."
            .into(),
    }
}

fn probes(plan: &Plan, outcomes: &[Outcome]) -> Table {
    let row = |outcome: &Outcome, probe: &Probe| {
        let interval = Some(Interval { low: probe.low * 100.0, high: probe.high * 100.0, confidence: 0.95 });
        let verdict = match &probe.verdict {
            Verdict::Kept => "kept",
            Verdict::Broken => "broken",
            Verdict::ClientBound => "broken by the client",
            Verdict::Void(_) => "void",
        };
        Row {
            subject: format!("{} {}", outcome.name, short(probe.rate)),
            cells: vec![
                figure(Some(probe.rate)),
                Cell { interval, ..figure(Some(probe.share * 100.0)) },
                figure(Some(probe.quantile_us)),
                word(verdict),
                figure(Some(probe.windows.0 as f64)),
                figure(Some(probe.windows.1 as f64)),
            ],
        }
    };
    let rows = outcomes.iter().flat_map(|outcome| outcome.probes.iter().map(move |probe| row(outcome, probe)));
    Table {
        id: "probes".into(),
        title: "What was tried".into(),
        columns: vec![
            column("rate", "rate", "/s", None),
            column("share", "over the limit", "%", Some(true)),
            column("quantile_us", &plan.percentile(), "us", Some(true)),
            column("verdict", "the limit was", "", None),
            column("windows", "windows", "", None),
            column("void", "void", "", Some(true)),
        ],
        rows: rows.collect(),
        note: format!("The limit is kept while fewer than {} % are over it.", percent(1.0 - plan.quantile)),
    }
}

fn curve(plan: &Plan, outcomes: &[Outcome]) -> Chart {
    let series = |outcome: &Outcome| {
        let mut probes: Vec<&Probe> = outcome.probes.iter().collect();
        probes.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        let point = |probe: &&Probe| Point { x: probe.rate, y: Some(probe.quantile_us), interval: None, z: None };
        Series { name: outcome.name.clone(), points: probes.iter().map(point).collect() }
    };
    Chart {
        id: "latency_over_rate".into(),
        title: "Response time over the rate, all probes".into(),
        form: Form::Lines,
        x: axis("offered rate", "/s", Scale::Logarithmic),
        y: axis(&format!("{} from the planned instant", plan.percentile()), "us", Scale::Logarithmic),
        series: outcomes.iter().map(series).collect(),
        note: format!("The limit is {:?}.", plan.longest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(books: (usize, usize)) -> Outcome {
        let limit = Limit::Found { rate: 1000.0, interval: (900.0, 1100.0), by: "nothing" };
        let (name, floor) = ("epoll".to_owned(), Duration::from_micros(50));
        Outcome { name, floor, limit, probes: Vec::new(), log: None, books }
    }

    #[test]
    fn books_that_do_not_balance_make_a_search_unreliable() {
        let balanced = validity(&[outcome((20, 0))]);
        assert_eq!(balanced.verdict, Validation::Valid);
        assert!(balanced.reasons.contains(&"The books of all 20 slots balance.".to_owned()), "{balanced:?}");
        let unbalanced = validity(&[outcome((20, 0)), outcome((20, 1))]);
        assert_eq!(unbalanced.verdict, Validation::Unreliable);
        assert!(unbalanced.reasons[0].starts_with("The books of 1 of 40 slots do not balance"), "{unbalanced:?}");
    }

    #[test]
    fn an_interval_that_is_a_rule_claims_no_confidence() {
        let table = limits("p99 < 5ms", &[outcome((20, 0))]);
        let interval = table.rows[0].cells[0].interval.expect("it is known");
        assert_eq!((interval.low, interval.high, interval.confidence.to_bits()), (900.0, 1100.0, 0.0_f64.to_bits()));
    }
}
