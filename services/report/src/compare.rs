//! Two documents become a third: what the later run found, as ratios to what the earlier one found.
//!
//! A ratio's interval reaches as far as both figures' intervals allow: from the least over the greatest to the greatest over the
//! least. It holds 1 exactly if the figures' intervals overlap; then no difference was found, and none is told.

mod gate;

pub use gate::Gate;

use crate::error::Error;
use crate::facts;
use crate::model::{
    Axis, Cell, Chart, Column, Form, Interval, Point, Report, Row, Run, SCHEMA, Scale, Series, Table, Validity, Verdict,
};
use crate::units;

/// So many differences are told in sentences; the tables have all.
const MOST_FINDINGS: usize = 10;
/// A longer forest is no picture any more.
const MOST_LINES: usize = 100;
/// Facts of runs that are expected to differ.
const EXPECTED: [&str; 6] = ["began", "took", "label", "CPU pressure", "CPU time stolen", facts::LOG];

/// A figure of the second document over the same one of the first.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratio {
    /// Id of the table.
    pub table: String,
    /// Id of the column.
    pub column: String,
    /// The row.
    pub subject: String,
    /// Second over first; infinite if only the first is 0.
    pub value: f64,
    /// How far it reaches; none if one of the figures has no interval.
    pub interval: Option<Interval>,
}

/// What is known of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The intervals are apart.
    Found,
    /// The intervals overlap.
    None,
    /// There is an interval missing.
    Unknown,
}

impl Ratio {
    /// Whether there is a difference.
    pub fn difference(&self) -> Difference {
        match self.interval {
            Some(Interval { low, high, .. }) if low <= 1.0 && 1.0 <= high => Difference::None,
            Some(_) => Difference::Found,
            None => Difference::Unknown,
        }
    }
}

/// A comparison: as a document, and figure by figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What is shown.
    pub report: Report,
    /// Every figure that both documents have.
    pub ratios: Vec<Ratio>,
}

/// Compares the second document with the first. `command` is what makes the comparison anew, `version` the program's. A document
/// that breaks a rule is refused.
pub fn compare(first: &Report, second: &Report, command: &str, version: &str) -> Result<Comparison, Error> {
    first.check()?;
    second.check()?;
    let mut comparison = Comparison { report: empty(first, second, command, version), ratios: Vec::new() };
    for table in &first.tables {
        if let Some(other) = second.tables.iter().find(|other| other.id == table.id) {
            comparison.add(table, other);
        }
    }
    let id = unused("both_runs", &ids(&comparison.report));
    comparison.report.tables.push(Table { id, ..both_runs(first, second) });
    comparison.report.findings = findings(&comparison);
    Ok(comparison)
}

/// An id of at most 90 letters that is not taken.
fn unused(wish: &str, taken: &[&str]) -> String {
    let wish = &wish[..wish.len().min(90)];
    let numbered = (2..).map(|number| format!("{wish}_{number}"));
    let mut free = std::iter::once(wish.to_owned()).chain(numbered).filter(|id| !taken.contains(&id.as_str()));
    free.next().unwrap_or_default()
}

/// The document without figures.
fn empty(first: &Report, second: &Report, command: &str, version: &str) -> Report {
    let label =
        |report: &Report| if report.run.label.is_empty() { "without a label" } else { &report.run.label }.to_owned();
    Report {
        schema: SCHEMA,
        title: format!("{}, compared with an earlier run", second.title),
        run: Run {
            command: command.to_owned(),
            version: version.to_owned(),
            label: format!("{} against {}", label(second), label(first)),
            ..second.run.clone()
        },
        validity: validity(first, second),
        findings: Vec::new(),
        does_not_show: vec![
            "Why anything differs: between the two runs everything may have changed that is not in the table of both runs."
                .to_owned(),
            "Small differences: intervals of two runs that overlap can hide one. To find it, measure both in one run."
                .to_owned(),
        ],
        tables: Vec::new(),
        charts: Vec::new(),
        logs: Vec::new(),
    }
}

fn validity(first: &Report, second: &Report) -> Validity {
    let worse = |one, other| match (one, other) {
        (Verdict::Inconclusive, _) | (_, Verdict::Inconclusive) => Verdict::Inconclusive,
        (Verdict::Unreliable, _) | (_, Verdict::Unreliable) => Verdict::Unreliable,
        (Verdict::Valid, Verdict::Valid) => Verdict::Valid,
    };
    let mut reasons = Vec::new();
    for (name, report) in [("first", first), ("second", second)] {
        if report.validity.verdict != Verdict::Valid {
            let stamp = facts::stamp(report.validity.verdict).to_lowercase();
            reasons.push(format!("The {name} run is {stamp}. {}", report.validity.reasons.join(" ")).trim().to_owned());
        }
    }
    for (name, one, other) in facts_of_both(first, second) {
        if one != other && !EXPECTED.contains(&name.as_str()) {
            reasons.push(format!("The runs differ in {name}: {one}, then {other}."));
        }
    }
    reasons.extend(missing("table", &ids(first), &ids(second)));
    for table in &first.tables {
        let Some(other) = second.tables.iter().find(|other| other.id == table.id) else { continue };
        reasons.extend(missing(&format!("row of {:?}", table.title), &subjects(table), &subjects(other)));
        reasons.extend(missing(&format!("column of {:?}", table.title), &columns(table), &columns(other)));
        reasons.extend(other_words(table, other));
    }
    Validity { verdict: worse(first.validity.verdict, second.validity.verdict), reasons }
}

fn ids(report: &Report) -> Vec<&str> {
    report.tables.iter().map(|table| table.id.as_str()).collect()
}

fn subjects(table: &Table) -> Vec<&str> {
    table.rows.iter().map(|row| row.subject.as_str()).collect()
}

fn columns(table: &Table) -> Vec<&str> {
    table.columns.iter().map(|column| column.id.as_str()).collect()
}

/// What only one of two lists has.
fn missing(what: &str, first: &[&str], second: &[&str]) -> Vec<String> {
    let only = |name: &str, these: &[&str], those: &[&str]| {
        let only: Vec<&str> = these.iter().filter(|one| !those.contains(one)).copied().collect();
        (!only.is_empty()).then(|| format!("Only the {name} run has this {what}: {}.", only.join(", ")))
    };
    [only("first", first, second), only("second", second, first)].into_iter().flatten().collect()
}

/// Where two tables have other words in columns without figures: other settings, for instance.
fn other_words(first: &Table, second: &Table) -> Vec<String> {
    let mut found = Vec::new();
    for (at, column) in first.columns.iter().enumerate() {
        let Some(others) = second.columns.iter().position(|other| other.id == column.id) else { continue };
        let has_figures = |table: &Table, at: usize| table.rows.iter().any(|row| row.cells[at].value.is_some());
        if has_figures(first, at) || has_figures(second, others) {
            continue;
        }
        for row in &first.rows {
            let Some(other) = second.rows.iter().find(|other| other.subject == row.subject) else { continue };
            let (one, other) = (&row.cells[at].text, &other.cells[others].text);
            if one != other {
                found.push(format!("The runs differ in {:?}, {}: {one}, then {other}.", first.title, row.subject));
            }
        }
    }
    found
}

/// Names of facts with what they were in each run.
fn facts_of_both(first: &Report, second: &Report) -> Vec<(String, String, String)> {
    let first = facts::all(first);
    let second = facts::all(second);
    let value = |facts: &[(&'static str, String)], name: &str| {
        facts.iter().find(|(known, _)| *known == name).map_or(String::new(), |(_, value)| value.clone())
    };
    let names = first.iter().chain(second.iter().filter(|(name, _)| first.iter().all(|(known, _)| known != name)));
    names.map(|(name, _)| ((*name).to_owned(), value(&first, name), value(&second, name))).collect()
}

fn both_runs(first: &Report, second: &Report) -> Table {
    let word = |text: &str| Cell { text: text.to_owned(), ..Cell::default() };
    let row =
        |(name, one, other): (String, String, String)| Row { subject: name, cells: vec![word(&one), word(&other)] };
    let own = [
        ("command", first.run.command.clone(), second.run.command.clone()),
        ("verdict", facts::stamp(first.validity.verdict).to_owned(), facts::stamp(second.validity.verdict).to_owned()),
    ];
    let own = own.into_iter().map(|(name, one, other)| (name.to_owned(), one, other));
    let column =
        |id: &str| Column { id: id.to_owned(), title: id.to_owned(), unit: String::new(), less_is_better: None };
    Table {
        id: String::new(),
        title: "Both runs".to_owned(),
        columns: vec![column("first"), column("second")],
        rows: own.chain(facts_of_both(first, second)).map(row).collect(),
        note: String::new(),
    }
}

impl Comparison {
    /// Adds what both tables have: a table of ratios, and a forest for each column with intervals.
    fn add(&mut self, first: &Table, second: &Table) {
        let shared: Vec<(usize, usize)> = (0..first.columns.len())
            .filter_map(|at| {
                let same = |column: &Column| column.id == first.columns[at].id && column.unit == first.columns[at].unit;
                Some((at, second.columns.iter().position(same)?))
            })
            .filter(|(at, _)| first.rows.iter().any(|row| row.cells[*at].value.is_some()))
            .collect();
        let mut rows = Vec::new();
        for row in &first.rows {
            let Some(other) = second.rows.iter().find(|other| other.subject == row.subject) else { continue };
            let mut cells = Vec::new();
            for (at, others) in &shared {
                let ratio = ratio(first, *at, row, &other.cells[*others]);
                cells.push(ratio.as_ref().map_or_else(Cell::default, cell));
                self.ratios.extend(ratio);
            }
            rows.push(Row { subject: row.subject.clone(), cells });
        }
        if shared.is_empty() || rows.is_empty() {
            return;
        }
        let columns =
            shared.iter().map(|(at, _)| Column { unit: "x".to_owned(), ..first.columns[*at].clone() }).collect();
        let table = Table {
            id: first.id.clone(),
            title: format!("{}: second over first", first.title),
            columns,
            rows,
            note: "≈ no difference was found: the intervals overlap. ? cannot be judged: there is no interval."
                .to_owned(),
        };
        for mut chart in (0..table.columns.len()).filter_map(|at| forest(&table, at)) {
            let taken: Vec<&str> = self.report.charts.iter().map(|chart| chart.id.as_str()).collect();
            chart.id = unused(&chart.id, &taken);
            self.report.charts.push(chart);
        }
        self.report.tables.push(table);
    }
}

fn ratio(table: &Table, at: usize, row: &Row, second: &Cell) -> Option<Ratio> {
    let first = &row.cells[at];
    let (one, other) = (first.value?, second.value?);
    let value = match (one, other) {
        (one, other) if one > 0.0 && other >= 0.0 => other / one,
        (one, other) if one == 0.0 && other > 0.0 => f64::INFINITY,
        (one, other) if one == 0.0 && other == 0.0 => 1.0,
        // A ratio of what is less than nothing says nothing.
        _ => return None,
    };
    let interval = first.interval.zip(second.interval).filter(|(one, _)| one.low > 0.0).map(|(one, other)| Interval {
        low: other.low / one.high,
        high: other.high / one.low,
        confidence: one.confidence.min(other.confidence),
    });
    let interval = interval.filter(|interval| interval.low.is_finite() && interval.high.is_finite());
    let (table_id, column) = (table.id.clone(), table.columns[at].id.clone());
    Some(Ratio { table: table_id, column, subject: row.subject.clone(), value, interval })
}

fn cell(ratio: &Ratio) -> Cell {
    let text = match ratio.difference() {
        Difference::Found => "",
        Difference::None => "≈",
        Difference::Unknown if ratio.value.is_infinite() => "was 0",
        Difference::Unknown => "?",
    };
    Cell { value: Some(ratio.value).filter(|value| value.is_finite()), interval: ratio.interval, text: text.to_owned() }
}

/// The ratios of a column as a picture; none if none has an interval, or too many have.
fn forest(table: &Table, at: usize) -> Option<Chart> {
    let column = &table.columns[at];
    let drawn: Vec<(&Row, f64, Interval)> = table
        .rows
        .iter()
        .filter_map(|row| Some((row, row.cells[at].value.filter(|value| *value > 0.0)?, row.cells[at].interval?)))
        .collect();
    let point = |(line, (_, value, interval)): (usize, &(&Row, f64, Interval))| Point {
        x: *value,
        y: Some(line as f64),
        interval: Some(*interval),
        z: None,
    };
    let better = match column.less_is_better {
        Some(true) => "; left of 1 is better",
        Some(false) => "; right of 1 is better",
        None => "",
    };
    let axis = |title: String, unit: &str, scale, names| Axis { title, unit: unit.to_owned(), scale, names };
    let names = drawn.iter().map(|(row, ..)| row.subject.clone()).collect();
    (1..=MOST_LINES).contains(&drawn.len()).then(|| Chart {
        id: format!("{}_{}", table.id, column.id),
        title: format!("{}: second run over first", column.title),
        form: Form::Forest,
        x: axis(format!("ratio{better}"), "x", Scale::Logarithmic, Vec::new()),
        y: axis(String::new(), "", Scale::Linear, names),
        series: vec![Series { name: column.title.clone(), points: drawn.iter().enumerate().map(point).collect() }],
        note: "A hollow dot: the interval holds 1, no difference was found.".to_owned(),
    })
}

/// The greatest differences first.
fn findings(Comparison { report, ratios }: &Comparison) -> Vec<String> {
    let count = |difference| ratios.iter().filter(|ratio| ratio.difference() == difference).count();
    let mut found: Vec<&Ratio> = ratios.iter().filter(|ratio| ratio.difference() == Difference::Found).collect();
    found.sort_by(|one, other| other.value.ln().abs().total_cmp(&one.value.ln().abs()));
    let mut findings = vec![format!(
        "Of {} figures that both runs have, {} differ, {} show no difference, and {} have no interval to judge by.",
        ratios.len(),
        found.len(),
        count(Difference::None),
        count(Difference::Unknown)
    )];
    findings.extend(found.iter().take(MOST_FINDINGS).map(|ratio| sentence(report, ratio)));
    if found.len() > MOST_FINDINGS {
        findings.push(match found.len() - MOST_FINDINGS {
            1 => "1 smaller difference is in the tables.".to_owned(),
            count => format!("{count} smaller differences are in the tables."),
        });
    }
    findings
}

fn sentence(report: &Report, ratio: &Ratio) -> String {
    let table = report.tables.iter().find(|table| table.id == ratio.table);
    let column = table.and_then(|table| table.columns.iter().find(|column| column.id == ratio.column));
    let title = column.map_or(ratio.column.as_str(), |column| column.title.as_str());
    let plain = |value| units::plain(value, "x");
    let reach = ratio.interval.map_or(String::new(), |Interval { low, high, .. }| {
        format!(" (at least {}, at most {})", plain(low), plain(high))
    });
    format!("{}: {title} is {} times what it was{reach}.", ratio.subject, plain(ratio.value))
}
