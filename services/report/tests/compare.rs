//! A comparison tells differences that intervals allow to tell, and no others.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use report::compare::{Comparison, Difference, Gate, compare};
use report::{Cell, Format, Interval, Report, Verdict, render, sheet};

fn sample() -> Report {
    Report::from_json(include_str!("sample.json")).unwrap()
}

/// The sample, with one architecture's CPU time and its interval multiplied.
fn changed(subject: &str, by: f64) -> Report {
    let mut report = sample();
    let cell = cell(&mut report, subject);
    cell.value = cell.value.map(|value| value * by);
    cell.interval =
        cell.interval.map(|interval| Interval { low: interval.low * by, high: interval.high * by, ..interval });
    report
}

fn cell<'all>(report: &'all mut Report, subject: &str) -> &'all mut Cell {
    &mut report.tables[0].rows.iter_mut().find(|row| row.subject == subject).unwrap().cells[0]
}

fn compared(first: &Report, second: &Report) -> Comparison {
    let comparison = compare(first, second, "zenlab compare a.json b.json", "0.0.0").unwrap();
    comparison.report.check().unwrap();
    comparison
}

fn difference(comparison: &Comparison, subject: &str) -> Difference {
    comparison.ratios.iter().find(|ratio| ratio.subject == subject && ratio.column == "cpu").unwrap().difference()
}

fn gate(text: &str) -> Gate {
    text.parse().unwrap()
}

#[test]
fn a_report_does_not_differ_from_itself() {
    let comparison = compared(&sample(), &sample());
    assert!(comparison.ratios.iter().all(|ratio| ratio.difference() != Difference::Found));
    assert!((comparison.ratios[0].value - 1.0).abs() < 1e-12);
    assert!(comparison.report.findings[0].contains(" 0 differ,"), "{:?}", comparison.report.findings);
    assert_eq!(comparison.report.findings.len(), 1);
    assert!(comparison.report.validity.reasons.is_empty(), "{:?}", comparison.report.validity);
    assert!(gate("cpu>0.5").passed_by(&comparison).is_empty(), "no difference passes no threshold");
}

#[test]
fn other_settings_are_told() {
    let with = |connections: &str| {
        let mut report = sample();
        let settings = [("transport", "tcp"), ("connections", connections)];
        let rows = settings.map(|(name, value)| sheet::row(name, vec![sheet::word(value)])).to_vec();
        report.tables.push(sheet::table("settings", "How it was measured", &[("value", "value", "")], rows));
        report
    };
    assert!(compared(&with("16"), &with("16")).report.validity.reasons.is_empty());
    let reasons = compared(&with("16"), &with("64")).report.validity.reasons;
    assert_eq!(reasons, ["The runs differ in \"How it was measured\", connections: 16, then 64."]);
}

#[test]
fn a_difference_is_one_only_if_the_intervals_are_apart() {
    let small = compared(&sample(), &changed("epoll", 1.01));
    assert_eq!(difference(&small, "epoll"), Difference::None);
    assert!(gate("cpu>1.001").passed_by(&small).is_empty());

    let large = compared(&sample(), &changed("epoll", 1.3));
    assert_eq!(difference(&large, "epoll"), Difference::Found);
    assert_eq!(difference(&large, "poll"), Difference::None);
    assert!(
        large.report.findings[1].starts_with("epoll: CPU for a question is 1.300 times"),
        "{:?}",
        large.report.findings
    );
    assert_eq!(gate("cpu>1.2").passed_by(&large).len(), 1);
    assert_eq!(gate("summary.cpu>1.2").passed_by(&large).len(), 1);
    assert!(gate("cpu>1.4").passed_by(&large).is_empty());
    assert!(gate("cpu<0.9").passed_by(&large).is_empty());
    assert!(!gate("other.cpu>1.2").applies(&large));
    assert_eq!(gate("cpu<0.9").passed_by(&compared(&changed("epoll", 1.3), &sample())).len(), 1);
}

#[test]
fn a_ratios_interval_holds_one_exactly_if_the_figures_intervals_overlap() {
    for by in (80..=120).map(|percent| f64::from(percent) / 100.0) {
        let (mut first, mut second) = (sample(), changed("epoll", by));
        let (one, other) = (cell(&mut first, "epoll").interval.unwrap(), cell(&mut second, "epoll").interval.unwrap());
        let overlap = one.low <= other.high && other.low <= one.high;
        assert_eq!(difference(&compared(&first, &second), "epoll") == Difference::None, overlap, "{by}");
    }
}

#[test]
fn what_has_no_interval_is_not_judged_but_can_be_limited() {
    let mut first = sample();
    cell(&mut first, "epoll").interval = None;
    let comparison = compared(&first, &changed("epoll", 1.3));
    assert_eq!(difference(&comparison, "epoll"), Difference::Unknown);
    assert_eq!(gate("cpu>1.2").passed_by(&comparison).len(), 1);
    cell(&mut first, "epoll").value = Some(0.0);
    let from_nothing = compared(&first, &sample());
    assert_eq!(gate("cpu>1000").passed_by(&from_nothing).len(), 1, "from nothing to something is more than any ratio");
    let table = &from_nothing.report.tables[0];
    let shown = &table.rows.iter().find(|row| row.subject == "epoll").unwrap().cells[0];
    assert_eq!((shown.value, shown.text.as_str()), (None, "was 0"));
}

#[test]
fn what_differs_between_the_runs_is_said() {
    let mut second = sample();
    second.run.machine.kernel = "9.9.9".to_owned();
    second.run.seed = 43;
    second.run.version = "9.0.0".to_owned();
    second.run.machine.cores = 64;
    second.run.began = "2026-02-01T12:00:00Z".to_owned();
    second.tables[0].rows.remove(0);
    second.tables[0].columns.remove(1);
    second.tables[0].rows.iter_mut().for_each(|row| drop(row.cells.remove(1)));
    second.validity.verdict = Verdict::Unreliable;
    let comparison = compared(&sample(), &second);
    let reasons = comparison.report.validity.reasons.join("\n");
    for sentence in [
        "The second run is unreliable.",
        "The runs differ in kernel: 6.12.0, then 9.9.9.",
        "The runs differ in seed: 42, then 43.",
        "The runs differ in version: 0.1.0, then 9.0.0.",
        "64 cores",
        "Only the first run has this row of \"At equal offered load\": io_uring.",
        "Only the first run has this column of \"At equal offered load\": capacity.",
    ] {
        assert!(reasons.contains(sentence), "{sentence} is missing in:\n{reasons}");
    }
    assert!(!reasons.contains("began"), "{reasons}");
    assert_eq!(comparison.report.validity.verdict, Verdict::Unreliable);
    assert!(comparison.ratios.iter().all(|ratio| ratio.column != "capacity" && ratio.subject != "io_uring"));
}

#[test]
fn a_comparison_is_a_report_in_all_forms_and_can_be_compared_again() {
    let comparison = compared(&sample(), &changed("epoll", 1.3));
    for format in Format::ALL.into_iter().filter(|format| *format != Format::Hlog) {
        assert!(!render(&comparison.report, format).unwrap().is_empty(), "{format:?}");
    }
    assert!(comparison.report.charts.iter().any(|chart| chart.form == report::Form::Forest));
    let again = compared(&comparison.report, &comparison.report);
    assert!(again.ratios.iter().all(|ratio| ratio.difference() != Difference::Found));
    let empty = Report { tables: Vec::new(), ..sample() };
    assert!(
        compared(&empty, &sample()).report.validity.reasons[0].contains("Only the second run has this table: summary")
    );
}
