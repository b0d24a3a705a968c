//! The books, as metrics.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::service::Shared;
use crate::spotlight::Results;
use crate::tally::{BOUNDS, Outcome, Seen, Times};

/// One metric: its name, its type, what it means.
#[derive(Debug, Clone, Copy)]
struct Entry(&'static str, MetricType, &'static str);

const C: MetricType = MetricType::COUNTER;
const G: MetricType = MetricType::GAUGE;
const H: MetricType = MetricType::HISTOGRAM;

/// Every metric of the swarm.
const METRICS: [Entry; 29] = [
    Entry("zen_swarm_requests_total", C, "Questions that were asked, by what became of them."),
    Entry("zen_swarm_planned_total", C, "Questions that should have been asked."),
    Entry("zen_swarm_sent_total", C, "Questions that were asked; an attempt to connect for one counts."),
    Entry(
        "zen_swarm_unsent_total",
        C,
        "Questions that could no longer be asked, because their conversation had ended.",
    ),
    Entry("zen_swarm_dropped_total", C, "Questions that were given up, because too many waited."),
    Entry(
        "zen_swarm_request_duration_seconds",
        H,
        "From the instant at which a question should have been asked to its right answer.",
    ),
    Entry("zen_swarm_service_duration_seconds", H, "From asking to the right answer."),
    Entry(
        "zen_swarm_send_lag_seconds",
        H,
        "From the instant at which a question should have been asked to asking it: the swarm's own lateness.",
    ),
    Entry("zen_swarm_connect_duration_seconds", H, "How long it took to connect."),
    Entry("zen_swarm_target_rate", G, "Questions a second that are asked for."),
    Entry("zen_swarm_inflight", G, "Questions that were asked and have no outcome yet."),
    Entry("zen_swarm_waiting", G, "Questions whose turn has not come, or that wait for a free connection."),
    Entry("zen_swarm_connections", G, "Open connections."),
    Entry("zen_swarm_late_sends_total", C, "Questions that were asked more than a millisecond late."),
    Entry("zen_swarm_unasked_total", C, "Answers that came while nothing was asked."),
    Entry("zen_swarm_spotlight", G, "1 for the architectures that are loaded harder now."),
    Entry("zen_swarm_last_window_rate", G, "Right answers a second in the architecture's last spotlight window."),
    Entry(
        "zen_swarm_last_window_cpu_seconds_per_request",
        G,
        "CPU time of the data planes for each question in that window.",
    ),
    Entry("zen_swarm_last_window_p50_seconds", G, "Median response in that window."),
    Entry("zen_swarm_last_window_p99_seconds", G, "99th percentile of the responses in that window."),
    Entry("zen_swarm_last_window_p999_seconds", G, "99.9th percentile of the responses in that window."),
    Entry("zen_swarm_last_window_failures_ratio", G, "Part of the questions in that window that got no right answer."),
    Entry("zen_swarm_last_window_age_seconds", G, "Since that window ended."),
    Entry("zen_swarm_cpu_seconds_total", C, "CPU time of the swarm itself."),
    Entry(
        "zen_swarm_saturated",
        G,
        "Whether the swarm has been busy nearly all the time lately: what is measured then is the swarm.",
    ),
    Entry("zen_swarm_paused", G, "Whether the swarm is paused."),
    Entry("zen_swarm_plan_generation", G, "The plan's generation: how often it has been changed, and one."),
    Entry("zen_swarm_spans_dropped_total", C, "Exchanges to be traced that nobody took in time."),
    Entry("zen_swarm_build_info", G, "Always 1."),
];

/// A registry with everything.
pub(crate) fn registry(shared: Arc<Shared>) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    let descriptions = METRICS
        .iter()
        .filter_map(|Entry(name, _, help)| Desc::new((*name).into(), (*help).into(), Vec::new(), HashMap::new()).ok());
    registry.register(Box::new(Books { shared, descriptions: descriptions.collect() }))?;
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
        let mut sheet = Sheet::default();
        for (at, target) in self.shared.targets.iter().enumerate() {
            for endpoint in &target.endpoints {
                let labels = [("architecture", target.name.as_str()), ("transport", endpoint.transport.label())];
                put_seen(&mut sheet, &labels, &self.shared.tally(at, endpoint.transport).lock());
            }
        }
        self.put_spotlight(&mut sheet);
        self.put_own(&mut sheet);
        sheet.into_families()
    }
}

type Labels<'a> = &'a [(&'a str, &'a str)];

fn put_seen(sheet: &mut Sheet, labels: Labels<'_>, seen: &Seen) {
    let ledger = &seen.ledger;
    for outcome in Outcome::ALL {
        let labels = [labels[0], labels[1], ("outcome", outcome.label())];
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
    sheet.put_times("zen_swarm_request_duration_seconds", labels, &seen.response);
    sheet.put_times("zen_swarm_service_duration_seconds", labels, &seen.service);
    sheet.put_times("zen_swarm_send_lag_seconds", labels, &seen.lag);
    sheet.put_times("zen_swarm_connect_duration_seconds", labels, &seen.connect);
}

impl Books {
    fn put_spotlight(&self, sheet: &mut Sheet) {
        let lit = self.shared.lit();
        let results = self.shared.results.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (at, target) in self.shared.targets.iter().enumerate() {
            let labels = [("architecture", target.name.as_str())];
            sheet.put("zen_swarm_spotlight", &labels, f64::from(u8::from(lit.contains(&at))));
            if let Some(results) = results[at] {
                put_results(sheet, &labels, &results);
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
        sheet.put("zen_swarm_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
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

/// Values by metric.
#[derive(Default)]
struct Sheet(HashMap<&'static str, Vec<Metric>>);

impl Sheet {
    fn put(&mut self, name: &'static str, labels: Labels<'_>, value: f64) {
        let kind = METRICS.iter().find(|entry| entry.0 == name).map_or(G, |entry| entry.1);
        let mut metric = Metric::from_label(pairs(labels));
        if kind == C {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.0.entry(name).or_default().push(metric);
    }

    fn put_times(&mut self, name: &'static str, labels: Labels<'_>, times: &Times) {
        let mut cumulative = 0;
        let buckets = BOUNDS.iter().zip(&times.buckets).map(|(&bound, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound as f64 / 1e9);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(times.buckets.iter().sum());
        histogram.set_sample_sum(times.sum.as_secs_f64());
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.0.entry(name).or_default().push(metric);
    }

    fn into_families(mut self) -> Vec<MetricFamily> {
        let family = |Entry(name, kind, help): &Entry| {
            let values = self.0.remove(name)?;
            let mut family = MetricFamily::default();
            family.set_name((*name).into());
            family.set_help((*help).into());
            family.set_field_type(*kind);
            family.set_metric(values);
            Some(family)
        };
        METRICS.iter().filter_map(family).collect()
    }
}

fn pairs(labels: Labels<'_>) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value((*value).into());
        pair
    };
    labels.iter().map(pair).collect()
}
