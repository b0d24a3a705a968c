//! A document from and to JSON, and what must hold in it beyond its form.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::error::Error;
use crate::model::{Axis, Chart, Form, Interval, Point, Report, SCHEMA, Table};

/// More series than anybody can tell apart.
const MOST_SERIES: usize = 64;
/// More names than fit into a picture.
const MOST_NAMES: usize = 500;
/// Letters of a unit; more would leave no room for the figures.
const LONGEST_UNIT: usize = 12;
/// More points than a picture has pixels for.
const MOST_POINTS: usize = 200_000;

impl Report {
    /// Reads a document. A document that breaks a rule is refused with a sentence that says where.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| Error::new(format!("this is not JSON: {error}")))?;
        match value.get("schema").map(Value::as_u64) {
            Some(Some(schema)) if schema == u64::from(SCHEMA) => {}
            Some(Some(schema)) => {
                return Err(Error::new(format!(
                    "this report has schema {schema}; this version of zenlab reads schema {SCHEMA}"
                )));
            }
            _ => return Err(Error::new(format!("this is no report: it lacks \"schema\": {SCHEMA}"))),
        }
        // Once more from the text: only there an error knows its line.
        let report: Self =
            serde_json::from_str(text).map_err(|error| Error::new(format!("this is no report: {error}")))?;
        report.check()?;
        Ok(report)
    }

    /// The document as JSON, its members always in the same order.
    pub fn to_json(&self) -> Result<String, Error> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|error| Error::new(format!("a report cannot be written as JSON: {error}")))
    }

    /// Whether everything in the document can be shown; says what cannot.
    pub fn check(&self) -> Result<(), Error> {
        if self.schema != SCHEMA {
            return Err(Error::new(format!("a report of schema {SCHEMA} says that it has schema {}", self.schema)));
        }
        humantime::parse_rfc3339(&self.run.began).map_err(|error| {
            Error::new(format!(
                "run.began is {:?}, which is no time as in 2026-01-31T12:00:00Z: {error}",
                self.run.began
            ))
        })?;
        unique("table", self.tables.iter().map(|table| table.id.as_str()))?;
        unique("chart", self.charts.iter().map(|chart| chart.id.as_str()))?;
        self.tables.iter().try_for_each(check_table)?;
        self.charts.iter().try_for_each(check_chart)
    }
}

fn unique<'a>(what: &str, ids: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut known = BTreeSet::new();
    for id in ids {
        let is_plain = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'_';
        if id.is_empty() || id.len() > 100 || !id.bytes().all(is_plain) {
            return Err(Error::new(format!(
                "the id of a {what} is {id:?}; it may have lower case letters, digits and underscores, at most 100"
            )));
        }
        if !known.insert(id) {
            return Err(Error::new(format!("two {what}s have the id {id:?}")));
        }
    }
    Ok(())
}

fn check_table(table: &Table) -> Result<(), Error> {
    let id = &table.id;
    check_units(&format!("table {id:?}"), table.columns.iter().map(|column| column.unit.as_str()))?;
    unique(&format!("column of table {id:?}"), table.columns.iter().map(|column| column.id.as_str()))?;
    for row in &table.rows {
        if row.cells.len() != table.columns.len() {
            return Err(Error::new(format!(
                "table {id:?} has {} columns, but its row {:?} has {} cells",
                table.columns.len(),
                row.subject,
                row.cells.len()
            )));
        }
        let place = || format!("table {id:?}, row {:?}", row.subject);
        for cell in &row.cells {
            check_figures(cell.value.as_slice(), cell.interval, place)?;
        }
    }
    Ok(())
}

fn check_chart(chart: &Chart) -> Result<(), Error> {
    let id = &chart.id;
    check_units(&format!("chart {id:?}"), [chart.x.unit.as_str(), chart.y.unit.as_str()].into_iter())?;
    let points: usize = chart.series.iter().map(|series| series.points.len()).sum();
    for (what, count, most) in [
        ("series", chart.series.len(), MOST_SERIES),
        ("names", chart.x.names.len().max(chart.y.names.len()), MOST_NAMES),
        ("points", points, MOST_POINTS),
    ] {
        if count > most {
            return Err(Error::new(format!("chart {id:?} has {count} {what}; at most {most} can be drawn")));
        }
    }
    let all = chart.series.iter().flat_map(|series| series.points.iter().map(move |point| (series, point)));
    for (series, point) in all {
        let place = || format!("chart {id:?}, series {:?}", series.name);
        check_figures(
            &[Some(point.x), point.y, point.z].into_iter().flatten().collect::<Vec<_>>(),
            point.interval,
            place,
        )?;
        check_place(chart, point).map_err(|error| Error::new(format!("{}: {error}", place())))?;
    }
    Ok(())
}

fn check_units<'a>(place: &str, mut units: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    match units.find(|unit| unit.chars().count() > LONGEST_UNIT) {
        Some(unit) => {
            Err(Error::new(format!("{place} has the unit {unit:?}; at most {LONGEST_UNIT} letters can be shown")))
        }
        None => Ok(()),
    }
}

/// Whether a point has a place on both axes.
fn check_place(chart: &Chart, point: &Point) -> Result<(), String> {
    on_axis("x", &chart.x, point.x)?;
    point.y.map_or(Ok(()), |y| on_axis("y", &chart.y, y))?;
    let names_missing = match chart.form {
        Form::Bars => chart.x.names.is_empty(),
        Form::Forest => chart.y.names.is_empty(),
        _ => false,
    };
    if names_missing {
        return Err("bars need x.names, and a forest needs y.names".to_owned());
    }
    if chart.form == Form::Spectrum && !(0.0..=1.0).contains(&point.x) {
        return Err(format!("{} is no quantile from 0 to 1", point.x));
    }
    Ok(())
}

fn on_axis(which: &str, axis: &Axis, value: f64) -> Result<(), String> {
    let count = axis.names.len();
    if count > 0 && !(value >= 0.0 && value < count as f64 && value.fract() == 0.0) {
        return Err(format!("{which} is {value}, but the axis has names for 0 to {} only", count - 1));
    }
    Ok(())
}

fn check_figures(values: &[f64], interval: Option<Interval>, place: impl Fn() -> String) -> Result<(), Error> {
    let ends = interval.map(|interval| [interval.low, interval.high, interval.confidence]);
    if let Some(value) = values.iter().chain(ends.iter().flatten()).find(|value| !value.is_finite()) {
        return Err(Error::new(format!("{}: {value} is no figure", place())));
    }
    match interval {
        Some(Interval { low, high, .. }) if low > high => {
            Err(Error::new(format!("{}: an interval begins at {low} and ends at {high}, which is less", place())))
        }
        Some(Interval { confidence, .. }) if !(0.0..1.0).contains(&confidence) => {
            Err(Error::new(format!("{}: a confidence is {confidence}; it must be from 0 to below 1", place())))
        }
        _ => Ok(()),
    }
}
