//! What is known of a run, in words.

use crate::model::{IntervalLog, Machine, Report, Run, Verdict};
use crate::units;

/// The name of the fact that tells of the interval log.
pub(crate) const LOG: &str = "interval log";

/// A verdict as a stamp.
pub(crate) const fn stamp(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "Valid",
        Verdict::Unreliable => "Unreliable",
        Verdict::Inconclusive => "Inconclusive",
    }
}

/// What a verdict means.
pub(crate) const fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "all checks of the run passed",
        Verdict::Unreliable => "a check of the run failed; do not quote its figures",
        Verdict::Inconclusive => "too much noise to say anything",
    }
}

/// Names and values of what is known, in the order in which they are shown.
pub(crate) fn all(report: &Report) -> Vec<(&'static str, String)> {
    let Run { version, seed, began, took_seconds, machine, label, .. } = &report.run;
    let mut facts = vec![
        ("began", began.clone()),
        ("took", duration(*took_seconds)),
        ("version", version.clone()),
        ("seed", seed.to_string()),
    ];
    if !label.is_empty() {
        facts.insert(0, ("label", label.clone()));
    }
    facts.extend(of_machine(machine));
    facts.extend(of_logs(&report.logs));
    facts
}

/// What is in the interval log, if there is one.
fn of_logs(logs: &[IntervalLog]) -> Option<(&'static str, String)> {
    let intervals: usize = logs.iter().map(|log| log.intervals.len()).sum();
    (intervals > 0).then(|| (LOG, format!("report.hlog: {intervals} histograms under {} tags", logs.len())))
}

fn of_machine(machine: &Machine) -> Vec<(&'static str, String)> {
    let unknown = || "unknown".to_owned();
    let processor = if machine.processor.is_empty() { unknown() } else { machine.processor.clone() };
    vec![
        ("kernel", machine.kernel.clone()),
        ("processor", format!("{processor}, {} cores used", machine.cores)),
        ("memory", units::figure(machine.memory_bytes as f64, "B")),
        ("open files", machine.open_files.to_string()),
        ("clock source", machine.clock_source.clone()),
        ("CPU pressure", machine.cpu_pressure.map_or_else(unknown, part)),
        ("CPU time stolen", part(machine.steal)),
        ("network", if machine.own_network { "a namespace of its own" } else { "the host's" }.to_owned()),
        ("packet filter", machine.packet_filter.map_or_else(unknown, |is| if is { "yes" } else { "no" }.to_owned())),
    ]
}

fn part(part: f64) -> String {
    units::figure(part * 100.0, "%")
}

/// Such as `1 h 2 min 3 s`.
fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return units::figure(seconds, "s");
    }
    let whole = seconds.round() as u64;
    let parts = [(whole / 3600, "h"), (whole / 60 % 60, "min"), (whole % 60, "s")];
    let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}"));
    parts.collect::<Vec<_>>().join(" ")
}
