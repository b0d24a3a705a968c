//! How a run was made, for those who compare it with another.

use report::Table;
use report::sheet;

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
        ("visits that share it", plan.visits().to_string()),
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
    let rows = settings.iter().map(|(name, value)| sheet::row(name, vec![sheet::word(value)])).collect();
    sheet::table(SETTINGS, "How it was measured", &[("value", "value", "")], rows)
}
