//! How a run was made, for those who compare it with another.

use report::{Cell, Column, Row, Table};

use super::{Contestant, Plan};
use crate::lab::Lab;

/// The id of the table in a report.
pub const SETTINGS: &str = "settings";

/// A name and a value.
pub type Setting = (String, String);

/// What must be the same in two runs that are compared, and each contestant's own settings. How many pairs there were, and what
/// chose their order, may differ.
pub fn settings(plan: &Plan, lab: &Lab, contestants: &[Contestant]) -> Vec<Setting> {
    let rate = plan.rate.map_or("half of what the slowest can do".to_owned(), |rate| format!("{rate}/s"));
    let of_all = [
        ("transport", plan.transport.to_string()),
        ("connections", plan.connections.to_string()),
        ("offered rate", rate),
        ("slot", format!("{:?}", plan.slot)),
        ("questions on the way in the closed loop", plan.pipeline.to_string()),
        ("compared with", plan.reference.clone()),
        ("cores", lab.placement()),
    ];
    let of_one = |one: &Contestant| {
        let settings = if one.running.is_some() { "runs already".to_owned() } else { one.subject.settings.join(" ") };
        (one.subject.name.clone(), settings)
    };
    of_all.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(contestants.iter().map(of_one)).collect()
}

pub(super) fn table(settings: &[Setting]) -> Table {
    let row = |(name, value): &Setting| Row {
        subject: name.clone(),
        cells: vec![Cell { text: value.clone(), ..Cell::default() }],
    };
    Table {
        id: SETTINGS.into(),
        title: "How it was measured".into(),
        columns: vec![Column { id: "value".into(), title: "value".into(), unit: String::new(), less_is_better: None }],
        rows: settings.iter().map(row).collect(),
        note: String::new(),
    }
}
