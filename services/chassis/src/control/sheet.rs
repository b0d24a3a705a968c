//! A scrape in the making: values by metric, in the `prometheus` crate's own terms.

use std::collections::HashMap;

use prometheus::core::Desc;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::catalogue::{Kind, METRICS};

/// Values by the name of their metric.
#[derive(Default)]
pub(super) struct Sheet(HashMap<&'static str, Vec<Metric>>);

impl Sheet {
    /// Writes a value. The labels stand in the order of the catalogue.
    pub fn put(&mut self, name: &'static str, labels: &[&str], value: f64) {
        let Some(metric) = METRICS.iter().find(|metric| metric.name == name) else {
            debug_assert!(false, "{name} is not in the catalogue");
            return;
        };
        let mut entry = Metric::from_label(pairs(metric.labels, labels));
        if metric.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            entry.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            entry.set_gauge(gauge);
        }
        self.0.entry(name).or_default().push(entry);
    }

    /// Writes a histogram: upper bounds in seconds with how many events lie up to each but not below the one before; the
    /// last count is of those above all bounds.
    pub fn put_histogram(&mut self, name: &'static str, labels: &[&str], bounds: &[f64], counts: &[u64], sum: f64) {
        let Some(metric) = METRICS.iter().find(|metric| metric.name == name) else { return };
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
        let mut entry = Metric::from_label(pairs(metric.labels, labels));
        entry.set_histogram(histogram);
        self.0.entry(name).or_default().push(entry);
    }

    /// Everything, in the order of the catalogue.
    pub fn into_families(mut self) -> Vec<MetricFamily> {
        METRICS
            .iter()
            .filter_map(|metric| {
                let values = self.0.remove(metric.name)?;
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
pub(super) fn descriptions() -> Vec<Desc> {
    METRICS
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
