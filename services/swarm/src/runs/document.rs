//! A run that has ended as a report: what was expected, what was found, and the pictures of it.

use std::time::{Duration, UNIX_EPOCH};

use report::sheet::{axis, column, figure, row, series, word};
use report::{Cell, Chart, Form, IntervalLog, Report, SCHEMA, Scale, Series, Table, Validity, Verdict};

use super::record::Interval;
use super::{Run, Why};
use crate::expectation::Finding;
use crate::scenario::Scenario;
use crate::tally::{Outcome, Snapshot, Tally};

/// Above this part of the time in which the swarm itself was the limit, the figures are the swarm's.
const MOST_SATURATED: f64 = 0.1;

/// Above this the swarm was late by itself, in microseconds.
const LATE_US: f64 = 10_000.0;

/// Quantiles of the picture of all responses.
const QUANTILES: [f64; 10] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999];

/// Figures of the durations at one target, in microseconds.
pub(super) struct Durations {
    /// With their quantiles, from the planned instant.
    response: Vec<(f64, f64)>,
    longest: Option<f64>,
    service: [Option<f64>; 2],
    /// From the planned instant to asking: 99th percentile.
    lag: Option<f64>,
    /// How late the swarm itself asked: 99th percentile of its latest worker.
    lateness: Option<f64>,
}

impl Durations {
    pub fn of(tally: &Tally) -> Self {
        let seen = tally.whole();
        let response = QUANTILES.iter().filter_map(|&q| Some((q, seen.response.quantile(q)?))).collect();
        Self {
            response,
            longest: seen.response.quantile(1.0),
            service: [seen.service.quantile(0.5), seen.service.quantile(0.99)],
            lag: seen.lag.quantile(0.99),
            lateness: tally.worst_lateness(0.99),
        }
    }

    fn response(&self, wanted: f64) -> Option<f64> {
        self.response.iter().find(|(q, _)| *q >= wanted).map(|(_, us)| *us)
    }
}

/// All that is known at the end of a run, by its targets.
pub(super) struct Known<'run> {
    pub run: &'run Run,
    pub why: Why,
    pub seen: &'run [Snapshot],
    pub durations: Vec<Durations>,
    pub intervals: Vec<Vec<Interval>>,
    pub expectations: &'run [Finding],
}

impl Known<'_> {
    /// The document.
    pub fn report(self) -> Report {
        let Scenario { name, summary, .. } = &self.run.scenario;
        Report {
            schema: SCHEMA,
            title: format!("Scenario {name}: {summary}"),
            run: self.origin(),
            validity: self.validity(),
            findings: self.findings(),
            does_not_show: does_not_show(),
            tables: self.tables(),
            charts: self.charts(),
            logs: self.logs(),
        }
    }

    fn origin(&self) -> report::Run {
        let began = UNIX_EPOCH + Duration::from_secs_f64(self.run.started);
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        report::Run {
            command: self.run.command.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            seed: self.run.scenario.clients.seed,
            began: humantime::format_rfc3339_seconds(began).to_string(),
            took_seconds: self.run.elapsed().as_secs_f64(),
            // The swarm does not look for a packet filter: that takes rights which it does not have.
            machine: machine::describe(cores, false, None, &self.run.record.weather()),
            label: String::new(),
        }
    }

    fn validity(&self) -> Validity {
        let mut reasons = Vec::new();
        let mut verdict = Verdict::Valid;
        if let Some(odd) = self.seen.iter().find(|seen| !seen.balanced) {
            verdict = Verdict::Unreliable;
            reasons.push(format!("The books of {} do not balance.", odd.target));
        }
        for seen in self.seen.iter().filter(|seen| seen.ledger.in_flight + seen.ledger.waiting > 0) {
            verdict = Verdict::Unreliable;
            let (questions, target) = (seen.ledger.in_flight + seen.ledger.waiting, &seen.target);
            reasons
                .push(format!("{questions} questions to {target} were still on their way when its books were closed."));
        }
        let saturated = self.run.record.saturated();
        if saturated > MOST_SATURATED {
            verdict = Verdict::Unreliable;
            reasons.push(format!("The swarm itself was the limit for {:.0} % of the time.", saturated * 100.0));
        }
        let idle = self.run.record.idle();
        if idle > 0.0 {
            verdict = Verdict::Unreliable;
            reasons.push(format!(
                "For {:.0} % of the time the swarm asked nobody: it was paused, or had failed.",
                idle * 100.0
            ));
        }
        let late = self.durations.iter().filter_map(|durations| durations.lateness).fold(0.0, f64::max);
        if late > LATE_US {
            verdict = Verdict::Unreliable;
            reasons.push(format!("The swarm asked up to {} late by itself (99th percentile).", time(late)));
        }
        if self.why == Why::Cancelled {
            let (elapsed, seconds) = (self.run.elapsed().as_secs_f64(), self.run.scenario.seconds());
            reasons.push(format!("It was cancelled after {elapsed:.1} of {seconds} s."));
        }
        Validity { verdict, reasons }
    }

    fn findings(&self) -> Vec<String> {
        let mut findings = vec![format!("Expected: {}", self.run.scenario.expectation)];
        for Finding { expected, found, holds } in self.expectations {
            let verdict = if *holds { "As expected" } else { "Not as expected" };
            let found = found.map_or("nothing is known".into(), |found| format!("it is {found:.2}"));
            findings.push(format!("{verdict}: {expected}; {found}."));
        }
        findings.extend(self.seen.iter().zip(&self.durations).map(|(seen, durations)| sentence(seen, durations)));
        findings
    }

    fn tables(&self) -> Vec<Table> {
        let mut tables = vec![self.figures(), self.outcomes()];
        if !self.expectations.is_empty() {
            tables.push(self.expected());
        }
        tables
    }

    fn figures(&self) -> Table {
        let elapsed = self.run.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
        let line = |(seen, durations): (&Snapshot, &Durations)| {
            let ledger = &seen.ledger;
            let right = (ledger.planned > 0).then(|| 100.0 * ledger.ok() as f64 / ledger.planned as f64);
            let mut cells = vec![count(ledger.planned), figure(right), figure(Some(ledger.ok() as f64 / elapsed))];
            cells.extend([0.5, 0.9, 0.99, 0.999].map(|q| figure(durations.response(q))));
            cells.push(figure(durations.longest));
            cells.push(figure(durations.lag));
            cells.extend(durations.service.map(figure));
            row(&seen.target, cells)
        };
        Table {
            id: "targets".into(),
            title: "What the clients saw".into(),
            columns: vec![
                column("planned", "questions", "", None),
                column("right", "right answers", "%", Some(false)),
                column("rate", "right answers a second", "/s", Some(false)),
                column("p50", "p50", "us", Some(true)),
                column("p90", "p90", "us", Some(true)),
                column("p99", "p99", "us", Some(true)),
                column("p999", "p99.9", "us", Some(true)),
                column("longest", "longest", "us", Some(true)),
                column("lag_p99", "p99 until asking", "us", Some(true)),
                column("service_p50", "p50 from asking", "us", Some(true)),
                column("service_p99", "p99 from asking", "us", Some(true)),
            ],
            rows: self.seen.iter().zip(&self.durations).map(line).collect(),
            note: "Percentiles are counted from the instant at which a question should have been asked; clients without a \
                   schedule have none, and who reads slowly is not counted. Until it is asked a question waits for a free \
                   connection, which is the server's doing; a swarm that was late by itself is named at the top."
                .into(),
        }
    }

    fn outcomes(&self) -> Table {
        let mut columns =
            vec![column("unsent", "unsent", "", Some(true)), column("dropped", "dropped", "", Some(true))];
        columns
            .extend(Outcome::ALL.map(|outcome| column(outcome.label(), &outcome.label().replace('_', " "), "", None)));
        let line = |seen: &Snapshot| {
            let ledger = &seen.ledger;
            let cells = [ledger.unsent, ledger.dropped].into_iter().chain(ledger.outcomes).map(count);
            row(&seen.target, cells.collect())
        };
        Table {
            id: "outcomes".into(),
            title: "What became of the questions".into(),
            columns,
            rows: self.seen.iter().map(line).collect(),
            note: "Unsent and dropped ones were never asked: their conversation had ended, or too many waited (10,000 of a load, or \
                   any where the load says so); aborted ones were broken off by the client, as it was meant to."
                .into(),
        }
    }

    fn expected(&self) -> Table {
        let line = |finding: &Finding| {
            row(&finding.expected, vec![figure(finding.found), word(if finding.holds { "yes" } else { "no" })])
        };
        Table {
            id: "expectations".into(),
            title: "What was expected".into(),
            columns: vec![column("found", "found", "", None), column("holds", "as expected", "", None)],
            rows: self.expectations.iter().map(line).collect(),
            note: String::new(),
        }
    }

    fn charts(&self) -> Vec<Chart> {
        let per_second = |count: fn(&Interval) -> u64| {
            move |interval: &Interval| Some(count(interval) as f64 / interval.length.max(f64::MIN_POSITIVE))
        };
        vec![
            self.timeline(
                "rate",
                "Right answers a second",
                ("answers", "/s", Scale::Linear),
                per_second(|one| one.right),
            ),
            self.timeline(
                "failures",
                "Questions without a right answer",
                ("questions", "/s", Scale::Linear),
                per_second(|one| one.failed),
            ),
            self.timeline(
                "response",
                "99th percentile of the response time",
                ("from the planned instant", "us", Scale::Logarithmic),
                |one| one.quantiles_us.map(|(_, p99)| p99),
            ),
            self.spectrum(),
        ]
    }

    /// A line for each target, and a mark where the load ended.
    fn timeline(
        &self,
        id: &str,
        title: &str,
        (y, unit, scale): (&str, &str, Scale),
        value: impl Fn(&Interval) -> Option<f64>,
    ) -> Chart {
        let line = |(seen, intervals): (&Snapshot, &Vec<Interval>)| {
            series(
                &seen.target,
                intervals.iter().filter_map(|one| Some((one.begin + one.length / 2.0, Some(value(one)?)))),
            )
        };
        let lines = self.seen.iter().zip(&self.intervals).map(line);
        let end = series("end", [(self.run.elapsed().as_secs_f64(), None)]);
        Chart {
            id: id.into(),
            title: title.into(),
            form: Form::Timeline,
            x: axis("since the run began", "s", Scale::Linear),
            y: axis(y, unit, scale),
            series: lines.chain([end]).filter(|line: &Series| !line.points.is_empty()).collect(),
            note: "Each point is an interval of the run; after the end only answers come.".into(),
        }
    }

    fn spectrum(&self) -> Chart {
        let line = |(seen, durations): (&Snapshot, &Durations)| {
            series(&seen.target, durations.response.iter().map(|&(q, us)| (q, Some(us))))
        };
        Chart {
            id: "spectrum".into(),
            title: "Response times of the whole run".into(),
            form: Form::Spectrum,
            x: axis("quantile", "", Scale::Linear),
            y: axis("from the planned instant", "us", Scale::Logarithmic),
            series: self.seen.iter().zip(&self.durations).map(line).filter(|line| !line.points.is_empty()).collect(),
            note: String::new(),
        }
    }

    fn logs(&self) -> Vec<IntervalLog> {
        let log = |(seen, intervals): (&Snapshot, &Vec<Interval>)| IntervalLog {
            tag: format!("{}/{}/response", seen.target, seen.transport),
            intervals: intervals
                .iter()
                .map(|one| (one.begin, one.length, one.longest_ns, one.histogram.clone()))
                .collect(),
        };
        self.seen.iter().zip(&self.intervals).map(log).collect()
    }
}

/// What was found at a target.
fn sentence(seen: &Snapshot, durations: &Durations) -> String {
    let ledger = &seen.ledger;
    if ledger.planned == 0 {
        return format!("{}: nobody should have asked anything.", seen.target);
    }
    let (right, planned) = (ledger.ok(), ledger.planned);
    let part = 100.0 * right as f64 / planned as f64;
    let times = durations.response(0.5).zip(durations.response(0.99)).map_or(String::new(), |(half, most)| {
        format!(", half of them within {}, 99 % within {}", time(half), time(most))
    });
    format!("{}: {right} of {planned} questions got the right answer ({part:.1} %){times}.", seen.target)
}

fn does_not_show() -> Vec<String> {
    [
        "Clients and servers share this machine; what is late may be late because of the others.",
        "What the servers know themselves (dropped datagrams, CPU time, open conversations) is in their metrics.",
        "It is one run without intervals of confidence: `zenlab bench` compares architectures.",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Microseconds with a unit that fits.
fn time(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e6 => format!("{:.1} ms", us / 1e3),
        us => format!("{:.1} s", us / 1e6),
    }
}

fn count(count: u64) -> Cell {
    figure(Some(count as f64))
}
