//! The books, as metrics.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use admin::metrics::{Metric, Sheet, counter, descriptions, gauge, histogram};
use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::population::Kind;
use crate::runs::Why;
use crate::service::Shared;
use crate::spotlight::Results;
use crate::tally::{BOUNDS, Outcome, Seen, Times};

const BOTH: &[&str] = &["architecture", "transport"];
const TARGET: &[&str] = &["architecture"];
const WORKER: &[&str] = &["worker"];
const NONE: &[&str] = &[];

/// What a run that has brought its own scenario counts as: names are anybody's, and labels are few. No scenario has a name with
/// a space.
const OWN_LOAD: &str = "own load";

/// Every metric of the swarm, in the order of `/metrics`.
pub const METRICS: &[Metric] = &[
    counter(
        "zen_swarm_requests_total",
        &["architecture", "transport", "outcome"],
        "Questions that were asked, by what became of them.",
    ),
    counter("zen_swarm_planned_total", BOTH, "Questions that should have been asked."),
    counter("zen_swarm_sent_total", BOTH, "Questions that were asked; an attempt to connect for one counts."),
    counter(
        "zen_swarm_unsent_total",
        BOTH,
        "Questions that could no longer be asked, because their conversation or their load had ended, or the swarm was paused.",
    ),
    counter(
        "zen_swarm_dropped_total",
        BOTH,
        "Questions that were given up: 10,000 of their load waited already, or the plan says `over_run = drop`.",
    ),
    histogram(
        "zen_swarm_request_duration_seconds",
        BOTH,
        "From the instant at which a question should have been asked to its right answer.",
    ),
    histogram("zen_swarm_service_duration_seconds", BOTH, "From asking to the right answer."),
    histogram(
        "zen_swarm_send_lag_seconds",
        BOTH,
        "From the instant at which a question should have been asked to asking it: waiting for a free connection, and the \
         swarm's own lateness.",
    ),
    histogram("zen_swarm_connect_duration_seconds", BOTH, "How long it took to connect."),
    gauge("zen_swarm_target_rate", BOTH, "Questions a second that are asked for."),
    gauge("zen_swarm_inflight", BOTH, "Questions that were asked and have no outcome yet."),
    gauge("zen_swarm_waiting", BOTH, "Questions whose turn has not come, or that wait for a free connection."),
    gauge("zen_swarm_connections", BOTH, "Open connections."),
    counter(
        "zen_swarm_late_sends_total",
        BOTH,
        "Questions that the swarm asked more than a millisecond after it could: they were due, and a connection was free.",
    ),
    counter("zen_swarm_unasked_total", BOTH, "Answers that came while nothing was asked."),
    counter("zen_swarm_duplicates_total", BOTH, "Datagrams that came twice."),
    counter("zen_swarm_late_answers_total", BOTH, "Datagrams that came after they had been given up."),
    counter(
        "zen_swarm_kind_requests_total",
        &["kind", "outcome"],
        "Questions that were asked, by the kind of client and by what became of them.",
    ),
    gauge("zen_swarm_kind_connections", &["kind"], "Open connections, by the kind of client."),
    gauge(
        "zen_swarm_run_active",
        &["scenario"],
        "1 for the scenario that is being run; `own load` stands for one that a run has brought along.",
    ),
    counter("zen_swarm_runs_total", &["ended"], "Runs that have ended, by why."),
    gauge("zen_swarm_spotlight", TARGET, "1 for the architectures that are loaded harder now."),
    gauge("zen_swarm_last_window_rate", TARGET, "Right answers a second in the architecture's last spotlight window."),
    gauge(
        "zen_swarm_last_window_cpu_seconds_per_request",
        TARGET,
        "CPU time of the data planes for each question in that window.",
    ),
    gauge("zen_swarm_last_window_p50_seconds", TARGET, "Median response in that window."),
    gauge("zen_swarm_last_window_p99_seconds", TARGET, "99th percentile of the responses in that window."),
    gauge("zen_swarm_last_window_p999_seconds", TARGET, "99.9th percentile of the responses in that window."),
    gauge(
        "zen_swarm_last_window_failures_ratio",
        TARGET,
        "Part of the questions in that window that got no right answer.",
    ),
    gauge("zen_swarm_last_window_age_seconds", TARGET, "Since that window ended."),
    counter("zen_swarm_cpu_seconds_total", NONE, "CPU time of the swarm itself."),
    gauge(
        "zen_swarm_saturated",
        NONE,
        "Whether a worker has been busy nearly all the time lately: what is measured then is the swarm.",
    ),
    gauge("zen_swarm_worker_target_rate", WORKER, "Questions a second that a worker should ask."),
    gauge("zen_swarm_worker_busy_ratio", WORKER, "Part of its last second in which a worker did not wait."),
    counter("zen_swarm_worker_cpu_seconds_total", WORKER, "CPU time of a worker's thread."),
    gauge(
        "zen_swarm_worker_lateness_p99_seconds",
        WORKER,
        "How late a worker asked by its own doing in its last second, if it asked anything: 99th percentile.",
    ),
    gauge("zen_swarm_paused", NONE, "Whether the swarm is paused."),
    gauge("zen_swarm_plan_generation", NONE, "The plan's generation: how often it has been changed, and one."),
    counter("zen_swarm_spans_dropped_total", NONE, "Exchanges to be traced that nobody took in time."),
    gauge("zen_swarm_build_info", &["version"], "Always 1."),
];

/// A registry with everything.
pub(crate) fn registry(shared: Arc<Shared>) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(Books { shared, descriptions: descriptions(METRICS) }))?;
    Ok(registry)
}

struct Books {
    shared: Arc<Shared>,
    descriptions: Vec<Desc>,
}

impl Collector for Books {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut sheet = Sheet::new(METRICS);
        for (at, target) in self.shared.targets.iter().enumerate() {
            for endpoint in &target.endpoints {
                let labels = [target.name.as_str(), endpoint.transport.label()];
                put_seen(&mut sheet, &labels, &self.shared.tally(at, endpoint.transport).whole());
            }
        }
        self.put_kinds(&mut sheet);
        self.put_runs(&mut sheet);
        self.put_spotlight(&mut sheet);
        self.put_workers(&mut sheet);
        self.put_own(&mut sheet);
        sheet.into_families()
    }
}

/// Values of labels, in the order of the table.
type Labels<'a> = &'a [&'a str];

fn put_seen(sheet: &mut Sheet, labels: Labels<'_>, seen: &Seen) {
    let ledger = &seen.ledger;
    for outcome in Outcome::ALL {
        let labels = [labels[0], labels[1], outcome.label()];
        sheet.put("zen_swarm_requests_total", &labels, ledger.outcomes[outcome as usize] as f64);
    }
    sheet.put("zen_swarm_planned_total", labels, ledger.planned as f64);
    sheet.put("zen_swarm_sent_total", labels, ledger.sent as f64);
    sheet.put("zen_swarm_unsent_total", labels, ledger.unsent as f64);
    sheet.put("zen_swarm_dropped_total", labels, ledger.dropped as f64);
    sheet.put("zen_swarm_target_rate", labels, seen.rate);
    sheet.put("zen_swarm_inflight", labels, ledger.in_flight as f64);
    sheet.put("zen_swarm_waiting", labels, ledger.waiting as f64);
    sheet.put("zen_swarm_connections", labels, seen.connections as f64);
    sheet.put("zen_swarm_late_sends_total", labels, seen.late as f64);
    sheet.put("zen_swarm_unasked_total", labels, seen.unasked as f64);
    sheet.put("zen_swarm_duplicates_total", labels, seen.duplicates as f64);
    sheet.put("zen_swarm_late_answers_total", labels, seen.late_answers as f64);
    put_times(sheet, "zen_swarm_request_duration_seconds", labels, &seen.response);
    put_times(sheet, "zen_swarm_service_duration_seconds", labels, &seen.service);
    put_times(sheet, "zen_swarm_send_lag_seconds", labels, &seen.lag);
    put_times(sheet, "zen_swarm_connect_duration_seconds", labels, &seen.connect);
}

fn put_times(sheet: &mut Sheet, name: &'static str, labels: Labels<'_>, times: &Times) {
    let bounds = BOUNDS.map(|ns| ns as f64 / 1e9);
    sheet.put_histogram(name, labels, &bounds, &times.buckets, times.sum.as_secs_f64());
}

impl Books {
    fn put_kinds(&self, sheet: &mut Sheet) {
        let kinds = &self.shared.kinds;
        for kind in Kind::ALL {
            sheet.put("zen_swarm_kind_connections", &[kind.label()], kinds.connections(kind) as f64);
            for outcome in Outcome::ALL {
                let labels = [kind.label(), outcome.label()];
                sheet.put("zen_swarm_kind_requests_total", &labels, kinds.outcomes(kind, outcome) as f64);
            }
        }
    }

    fn put_runs(&self, sheet: &mut Sheet) {
        let known = || self.shared.scenarios.iter().map(|scenario| scenario.name.as_str());
        let active = self.shared.runs.active();
        let active = active.as_ref().map(|run| run.scenario.name.as_str());
        let active = active.map(|name| known().find(|known| *known == name).unwrap_or(OWN_LOAD));
        for scenario in known().chain([OWN_LOAD]) {
            sheet.put("zen_swarm_run_active", &[scenario], f64::from(u8::from(active == Some(scenario))));
        }
        for (why, runs) in Why::ALL.into_iter().zip(self.shared.runs.ended()) {
            sheet.put("zen_swarm_runs_total", &[why.label()], runs as f64);
        }
    }

    fn put_spotlight(&self, sheet: &mut Sheet) {
        let lit = self.shared.lit();
        let results = self.shared.results.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (at, target) in self.shared.targets.iter().enumerate() {
            let labels = [target.name.as_str()];
            sheet.put("zen_swarm_spotlight", &labels, f64::from(u8::from(lit.contains(&at))));
            if let Some(results) = results[at] {
                put_results(sheet, &labels, &results);
            }
        }
    }

    fn put_workers(&self, sheet: &mut Sheet) {
        for (at, health) in self.shared.workers().enumerate() {
            let worker = at.to_string();
            let labels = [worker.as_str()];
            sheet.put("zen_swarm_worker_target_rate", &labels, health.target_rate);
            sheet.put("zen_swarm_worker_busy_ratio", &labels, health.busy);
            sheet.put("zen_swarm_worker_cpu_seconds_total", &labels, health.cpu.as_secs_f64());
            if let Some(late) = health.lateness_p99 {
                sheet.put("zen_swarm_worker_lateness_p99_seconds", &labels, late.as_secs_f64());
            }
        }
    }

    fn put_own(&self, sheet: &mut Sheet) {
        let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let (_, generation) = self.shared.plan();
        sheet.put("zen_swarm_cpu_seconds_total", &[], usage.tv_sec as f64 + usage.tv_nsec as f64 / 1e9);
        sheet.put("zen_swarm_saturated", &[], f64::from(u8::from(self.shared.is_saturated())));
        sheet.put("zen_swarm_paused", &[], f64::from(u8::from(self.shared.is_paused())));
        sheet.put("zen_swarm_plan_generation", &[], generation as f64);
        sheet.put("zen_swarm_spans_dropped_total", &[], self.shared.spans_dropped.load(Ordering::Relaxed) as f64);
        sheet.put("zen_swarm_build_info", &[env!("CARGO_PKG_VERSION")], 1.0);
    }
}

fn put_results(sheet: &mut Sheet, labels: Labels<'_>, results: &Results) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    for (name, value) in [
        ("zen_swarm_last_window_rate", results.rate),
        ("zen_swarm_last_window_cpu_seconds_per_request", results.cpu_per_question),
        ("zen_swarm_last_window_p50_seconds", results.p50),
        ("zen_swarm_last_window_p99_seconds", results.p99),
        ("zen_swarm_last_window_p999_seconds", results.p999),
        ("zen_swarm_last_window_failures_ratio", results.failures),
        ("zen_swarm_last_window_age_seconds", now - results.ended),
    ] {
        // What is not known is left out: NaN would spoil every sum it comes into.
        if value.is_finite() {
            sheet.put(name, labels, value);
        }
    }
}
