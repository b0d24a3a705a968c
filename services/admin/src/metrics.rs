//! Metrics as a table, and a scrape in the making, in the `prometheus` crate's own terms.

use std::collections::HashMap;

use prometheus::core::Desc;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, MetricFamily, MetricType};

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name; a counter's ends in `_total`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels besides `architecture`.
    pub labels: &'static [&'static str],
    /// What it means, in base units.
    pub help: &'static str,
}

/// Kinds of metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by buckets.
    Histogram,
}

/// A counter.
pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

/// A gauge.
pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

/// A histogram.
pub const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help }
}

/// Upper bounds of a histogram's buckets: 1, 1.5, 2, 3, 5 and 7 times each power of ten, over six powers from ten times
/// `tenth` on. No step is wider than half, so two percentiles do not look equal by accident.
pub const fn bounds(tenth: u64) -> [u64; 37] {
    let steps = [10, 15, 20, 30, 50, 70];
    let mut bounds = [0; 37];
    let mut scale = tenth;
    let mut at = 0;
    while at < 37 {
        bounds[at] = steps[at % 6] * scale;
        at += 1;
        if at.is_multiple_of(6) {
            scale *= 10;
        }
    }
    bounds
}

/// Values by the name of their metric.
pub struct Sheet {
    catalogue: &'static [Metric],
    values: HashMap<&'static str, Vec<prometheus::proto::Metric>>,
}

impl Sheet {
    /// An empty sheet for these metrics.
    pub fn new(catalogue: &'static [Metric]) -> Self {
        Self { catalogue, values: HashMap::new() }
    }

    /// Writes a value. The labels stand in the order of the catalogue.
    pub fn put(&mut self, name: &'static str, labels: &[&str], value: f64) {
        let Some(metric) = self.catalogue.iter().find(|metric| metric.name == name) else {
            debug_assert!(false, "{name} is not in the catalogue");
            return;
        };
        let mut entry = prometheus::proto::Metric::from_label(pairs(metric.labels, labels));
        if metric.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            entry.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            entry.set_gauge(gauge);
        }
        self.values.entry(name).or_default().push(entry);
    }

    /// Writes a histogram: upper bounds in seconds with how many events lie up to each but not below the one before; the
    /// last count is of those above all bounds.
    pub fn put_histogram(&mut self, name: &'static str, labels: &[&str], bounds: &[f64], counts: &[u64], sum: f64) {
        let Some(metric) = self.catalogue.iter().find(|metric| metric.name == name) else { return };
        let mut cumulative = 0;
        let buckets = bounds.iter().zip(counts).map(|(&bound, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum);
        let mut entry = prometheus::proto::Metric::from_label(pairs(metric.labels, labels));
        entry.set_histogram(histogram);
        self.values.entry(name).or_default().push(entry);
    }

    /// Everything, in the order of the catalogue.
    pub fn into_families(mut self) -> Vec<MetricFamily> {
        self.catalogue
            .iter()
            .filter_map(|metric| {
                let values = self.values.remove(metric.name)?;
                let mut family = MetricFamily::default();
                family.set_name(metric.name.into());
                family.set_help(metric.help.into());
                family.set_field_type(match metric.kind {
                    Kind::Counter => MetricType::COUNTER,
                    Kind::Gauge => MetricType::GAUGE,
                    Kind::Histogram => MetricType::HISTOGRAM,
                });
                family.set_metric(values);
                Some(family)
            })
            .collect()
    }
}

/// The catalogue as the registry wants to know it before it registers a collector.
pub fn descriptions(catalogue: &'static [Metric]) -> Vec<Desc> {
    catalogue
        .iter()
        .filter_map(|metric| {
            let labels = metric.labels.iter().map(ToString::to_string).collect();
            Desc::new(metric.name.into(), metric.help.into(), labels, HashMap::new()).ok()
        })
        .collect()
}

fn pairs(names: &[&str], values: &[&str]) -> Vec<LabelPair> {
    debug_assert_eq!(names.len(), values.len(), "labels of {names:?}");
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value((*value).into());
        pair
    };
    names.iter().zip(values).map(pair).collect()
}
