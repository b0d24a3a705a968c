//! The findings as tables, pictures and sentences.

use report::sheet::{axis, column, names, word};
use report::{Cell, Chart, Form, Point, Row, Scale, Series, Table};

use super::hostile::{Fate, SCENARIOS};
use super::outcome::{Claims, Finding, others};
use super::{Outcome, Plan, settings};
use crate::stats::{Comparison, Estimate, bootstrap_median, median, pairs_for};

const QUANTILES: [(f64, &str, &str); 4] =
    [(0.5, "p50_us", "p50"), (0.9, "p90_us", "p90"), (0.99, "p99_us", "p99"), (0.999, "p999_us", "p99.9")];

fn cell(value: impl Into<Option<f64>>) -> Cell {
    let value = value.into().filter(|value| value.is_finite());
    Cell { value, interval: None, text: if value.is_none() { "—".into() } else { String::new() } }
}

pub(super) fn tables(plan: &Plan, outcome: &Outcome, claims: &Claims) -> Vec<Table> {
    let mut tables = vec![cost(plan, outcome, claims), client(outcome)];
    if outcome.entrants.iter().any(|entrant| !entrant.fates.is_empty()) {
        tables.push(hostile(outcome));
    }
    tables.push(settings::table(&outcome.settings));
    tables
}

fn cost(plan: &Plan, outcome: &Outcome, claims: &Claims) -> Table {
    let mut columns = vec![
        column("cpu_us", "CPU a question", "us", Some(true)),
        column("cpu_ratio", "CPU, ratio", "x", Some(true)),
        column("busy_us", "CPU a question, busy", "us", Some(true)),
        column("busy_ratio", "CPU busy, ratio", "x", Some(true)),
        column("capacity_ratio", "capacity, ratio", "x", Some(false)),
        column("capacity", "capacity", "/s", Some(false)),
    ];
    columns.extend(QUANTILES.map(|(_, id, title)| column(id, title, "us", Some(true))));
    columns.extend([
        column("user_us", "CPU user", "us", Some(true)),
        column("system_us", "CPU system", "us", Some(true)),
        column("switches", "switches a question", "", Some(true)),
        column("calls", "calls a question", "", Some(true)),
        column("idle_bytes", "memory an idle connection", "B", Some(true)),
        column("threads", "threads", "", None),
        column("processes", "processes", "", None),
        column("held", "connections", "", None),
        column("errors", "errors", "", Some(true)),
    ]);
    let rows = outcome
        .entrants
        .iter()
        .enumerate()
        .map(|(at, entrant)| Row { subject: entrant.name.clone(), cells: cost_cells(at, entrant, claims) });
    let note = format!(
        "Ratios are medians of {} pairs with 95 % intervals, to {}; who shares a letter is not told apart (Holm, 5 %). CPU and \
         latencies (from the planned instant) at {:.0} questions a second for all, where much of it is sleeping and waking; busy CPU \
         and capacity in a closed loop. A server that \
         serves fewer clients at once than {} connections holds as many as it serves: its capacity and its cost are those of \
         fewer clients. A percentile counts what was not sent or not answered as later than all else (the interval log has answers \
         only), and is — where so much was, or little was asked. User and system time are told apart by the kernel's samples, so — \
         where there are few. Memory is the server's user space.",
        outcome.observations.first().map_or(0, Vec::len),
        plan.reference,
        outcome.rate,
        plan.connections
    );
    Table { id: "cost".into(), title: "What a question costs".into(), columns, rows: rows.collect(), note }
}

fn cost_cells(at: usize, entrant: &Finding, claims: &Claims) -> Vec<Cell> {
    let asked = entrant.paced.ok.max(1) as f64;
    let cpu = middle(&claims.cpu[at]);
    let user = entrant.usage.user_share(entrant.facts.map_or(1, |facts| facts.processes));
    let mut cells = vec![
        with_interval(cpu),
        ratio_cell(at, &claims.of_cpu),
        with_interval(middle(&claims.busy[at])),
        ratio_cell(at, &claims.of_busy),
        ratio_cell(at, &claims.of_throughput),
        with_interval(middle(&claims.throughput[at])),
    ];
    cells.extend(QUANTILES.map(|(q, ..)| cell(quantile_us(entrant, q))));
    let facts = |pick: fn(&crate::Facts) -> u64| cell(entrant.facts.as_ref().map(|facts| pick(facts) as f64));
    let cpu = cpu.map(|(value, _)| value);
    cells.extend([
        cell(cpu.zip(user).map(|(cpu, user)| cpu * user)),
        cell(cpu.zip(user).map(|(cpu, user)| cpu * (1.0 - user))),
        cell(entrant.facts.map(|_| entrant.usage.switches as f64 / asked)),
        cell(entrant.calls),
        cell(entrant.idle_bytes),
        facts(|facts| facts.threads),
        facts(|facts| facts.processes),
        cell(entrant.held as f64),
        cell((entrant.paced.failed() + entrant.closed.failed()) as f64),
    ]);
    cells
}

/// The median of what was measured, with its interval.
fn middle(values: &[Option<f64>]) -> Option<(f64, Option<Estimate>)> {
    let values: Vec<f64> = values.iter().copied().flatten().collect();
    (!values.is_empty()).then(|| (median(&values), bootstrap_median(&values, 1000, 0)))
}

fn with_interval(middle: Option<(f64, Option<Estimate>)>) -> Cell {
    let Some((value, estimate)) = middle else { return cell(None) };
    let interval = |found: Estimate| report::Interval { low: found.low, high: found.high, confidence: 0.95 };
    Cell { interval: estimate.map(interval), ..cell(value) }
}

fn ratio_cell(at: usize, comparison: &Comparison) -> Cell {
    let group = comparison.groups[at].clone();
    if at == 0 && comparison.to_reference.iter().any(Option::is_some) {
        return Cell { text: group, ..cell(1.0) };
    }
    match comparison.to_reference[at] {
        Some(found) => Cell { value: Some(found.ratio()), interval: Some(found.ratio_interval()), text: group },
        None => cell(None),
    }
}

fn quantile_us(entrant: &Finding, q: f64) -> Option<f64> {
    // A quantile needs some values beyond it.
    let beyond = entrant.paced.planned as f64 * (1.0 - q);
    let at = entrant.paced.response_at(q).filter(|_| beyond >= 5.0);
    at.map(|ns| ns as f64 / 1e3)
}

fn client(outcome: &Outcome) -> Table {
    let columns = vec![
        column("client_us", "CPU a question, closed loop", "us", Some(true)),
        column("lag_p50_us", "lag p50", "us", Some(true)),
        column("lag_p99_us", "lag p99", "us", Some(true)),
        column("planned", "planned", "", None),
        column("unsent", "unsent", "", Some(true)),
        column("ok", "right", "", None),
        column("wrong", "wrong", "", Some(true)),
        column("error", "errors", "", Some(true)),
        column("timeout", "timeouts", "", Some(true)),
        column("lost", "lost", "", Some(true)),
        column("in_flight", "in flight", "", Some(true)),
    ];
    let row = |entrant: &Finding| {
        let mut all = entrant.paced.clone();
        all.add(&entrant.closed);
        let lag = |q| entrant.paced.lag.value_at_quantile(q) as f64 / 1e3;
        let counts = [all.planned, all.unsent, all.ok, all.wrong, all.error, all.timeout, all.lost, all.in_flight];
        let mut cells = vec![cell(entrant.closed.client_us()), cell(lag(0.5)), cell(lag(0.99))];
        cells.extend(counts.map(|count| cell(count as f64)));
        Row { subject: entrant.name.clone(), cells }
    };
    Table {
        id: "client".into(),
        title: "The load generator's own part, and its books".into(),
        columns,
        rows: outcome.entrants.iter().map(row).collect(),
        note: "planned = sent + unsent; sent = right + wrong + errors + timeouts + lost + in flight. Lag is from the planned \
               instant to the write; it is part of every latency."
            .into(),
    }
}

fn hostile(outcome: &Outcome) -> Table {
    let columns = SCENARIOS.map(|(id, title)| column(id, title, "x", Some(false))).to_vec();
    let fate = |fate: &Fate| Cell {
        value: Some(fate.ratio),
        interval: None,
        text: if fate.served { "served".into() } else { "starved".into() },
    };
    let row = |(_, entrant): (usize, &Finding)| Row {
        subject: entrant.name.clone(),
        cells: if entrant.fates.is_empty() {
            vec![word("—"); SCENARIOS.len()]
        } else {
            entrant.fates.iter().map(fate).collect()
        },
    };
    Table {
        id: "hostile".into(),
        title: "Beside unfriendly clients".into(),
        columns,
        rows: others(outcome).map(row).collect(),
        note: "Whether all friendly clients were served, and their throughput: beside a begun question and \
               silent connections (2 more than workers, 300 where there are none), and for aborts, as a ratio \
               to conversations of three questions without them; for churn and pipelining to connections that are held. One slot \
               each: orders of magnitude."
            .into(),
    }
}

pub(super) fn charts(outcome: &Outcome, claims: &Claims) -> Vec<Chart> {
    let mut charts = Vec::new();
    charts.extend(cpu_bars(outcome, claims));
    charts.extend(forest("cpu_forest", "CPU time of a question, as a ratio", outcome, &claims.of_cpu));
    charts.extend(forest("busy_forest", "CPU time of a question when busy, as a ratio", outcome, &claims.of_busy));
    charts.extend(forest("capacity_forest", "Capacity, as a ratio", outcome, &claims.of_throughput));
    charts.push(spectrum(outcome));
    if outcome.curves.iter().any(|curve| !curve.is_empty()) {
        charts.push(hockey_sticks(outcome));
    }
    charts
}

fn cpu_bars(outcome: &Outcome, claims: &Claims) -> Option<Chart> {
    let bars: Vec<(String, f64, Option<Estimate>)> = others(outcome)
        .filter_map(|(at, entrant)| middle(&claims.cpu[at]).map(|(value, found)| (entrant.name.clone(), value, found)))
        .collect();
    let places = names("", bars.iter().map(|(name, ..)| name));
    let point = |(at, (_, value, found)): (usize, (String, f64, Option<Estimate>))| Point {
        x: at as f64,
        y: Some(value),
        interval: found.map(|found| report::Interval { low: found.low, high: found.high, confidence: 0.95 }),
        z: None,
    };
    let points: Vec<Point> = bars.into_iter().enumerate().map(point).collect();
    (!points.is_empty()).then(|| Chart {
        id: "cpu".into(),
        title: "CPU time of the server for a question".into(),
        form: Form::Bars,
        x: places,
        y: axis("CPU time", "us", Scale::Linear),
        series: vec![Series { name: "CPU time".into(), points }],
        note: format!("At {:.0} questions a second for all; medians with 95 % intervals.", outcome.rate),
    })
}

fn forest(id: &str, title: &str, outcome: &Outcome, comparison: &Comparison) -> Option<Chart> {
    let rows: Vec<(String, Estimate)> = outcome
        .entrants
        .iter()
        .zip(&comparison.to_reference)
        .filter_map(|(entrant, found)| found.map(|found| (entrant.name.clone(), found)))
        .collect();
    let reference = outcome.entrants.first()?;
    let places = names("", rows.iter().map(|(name, _)| name));
    let point = |(at, (_, found)): (usize, (String, Estimate))| Point {
        x: found.ratio(),
        y: Some(at as f64),
        interval: Some(found.ratio_interval()),
        z: None,
    };
    let points: Vec<Point> = rows.into_iter().enumerate().map(point).collect();
    (!points.is_empty()).then(|| Chart {
        id: id.into(),
        title: title.into(),
        form: Form::Forest,
        x: axis(&format!("ratio to {}", reference.name), "x", Scale::Logarithmic),
        y: places,
        series: vec![Series { name: title.into(), points }],
        note: "An interval that holds 1 is no difference. Of many intervals one may miss 1 by chance: the letters and the findings \
               take that into account."
            .into(),
    })
}

fn spectrum(outcome: &Outcome) -> Chart {
    const POINTS: [f64; 10] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999];
    let points = |entrant: &Finding| {
        let known = POINTS.iter().filter_map(|&q| quantile_us(entrant, q).map(|us| (q, us)));
        known.map(|(q, us)| Point { x: q, y: Some(us), interval: None, z: None }).collect()
    };
    Chart {
        id: "spectrum".into(),
        title: format!("Response time at {:.0} questions a second", outcome.rate),
        form: Form::Spectrum,
        x: axis("quantile", "", Scale::Linear),
        y: axis("from the planned instant", "us", Scale::Logarithmic),
        series: outcome
            .entrants
            .iter()
            .map(|entrant| Series { name: entrant.name.clone(), points: points(entrant) })
            .collect(),
        note: "The twin shows how far two measurements of one server differ.".into(),
    }
}

fn hockey_sticks(outcome: &Outcome) -> Chart {
    let series = others(outcome).filter_map(|(at, entrant)| {
        let points = outcome.curves.get(at)?.iter();
        let points = points.map(|point| Point { x: point.rate, y: point.p99_us, interval: None, z: None });
        Some(Series { name: entrant.name.clone(), points: points.collect() })
    });
    Chart {
        id: "latency_over_rate".into(),
        title: "p99 of the response time over the rate".into(),
        form: Form::Lines,
        x: axis("offered rate", "/s", Scale::Linear),
        y: axis("p99 from the planned instant", "us", Scale::Logarithmic),
        series: series.collect(),
        note: "Each point is the median of five looks, in rounds: shapes, no ranks. Where more than one question in a hundred had \
               no answer there is no p99."
            .into(),
    }
}

pub(super) fn findings(plan: &Plan, outcome: &Outcome, claims: &Claims) -> Vec<String> {
    let mut findings = Vec::new();
    for (what, less_is_better, comparison) in [
        ("CPU time for a question at the offered rate", true, &claims.of_cpu),
        ("CPU time for a question when busy", true, &claims.of_busy),
        ("capacity", false, &claims.of_throughput),
    ] {
        let best: Vec<&str> = others(outcome)
            .filter(|(at, _)| comparison.is_best[*at])
            .map(|(_, entrant)| entrant.name.as_str())
            .collect();
        // Who is alone, or the only one who was measured often enough, is no winner.
        if others(outcome).filter(|(at, _)| !comparison.groups[*at].is_empty()).count() > 1 {
            let which = if less_is_better { "Least" } else { "Most" };
            let tie = if best.len() > 1 { " (not told apart)" } else { "" };
            findings.push(format!("{which} {what}: {}{tie}.", best.join(", ")));
        }
        for (at, entrant) in others(outcome) {
            let Some(found) = comparison.to_reference[at].filter(|_| comparison.differs[at]) else { continue };
            let interval = found.ratio_interval();
            findings.push(format!(
                "{}: {what} {:.2} times {}'s ({:.2} to {:.2}).",
                entrant.name,
                found.ratio(),
                plan.reference,
                interval.low,
                interval.high
            ));
        }
        if let Some(twin) = comparison.to_reference.get(1).copied().flatten() {
            let half = ((twin.high - twin.low) / 2.0).exp_m1() * 100.0;
            let pairs = pairs_for(0.02, &twin);
            findings.push(format!(
                "In {what} this run tells differences of about {half:.1} %; one of 2 % would need about {pairs} pairs."
            ));
        }
    }
    for (_, entrant) in others(outcome) {
        let starved: Vec<&str> =
            entrant.fates.iter().zip(SCENARIOS).filter(|(fate, _)| !fate.served).map(|(_, (_, title))| title).collect();
        if !starved.is_empty() {
            findings.push(format!("{} lets others starve: {}.", entrant.name, starved.join("; ")));
        }
    }
    findings
}
