//! Reads the Prometheus text format, as far as this project's own servers write it.

/// One sample: a line of the text format that is no comment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// The name of the metric, with `_bucket`, `_sum` or `_count` where it is part of a histogram.
    pub name: &'a str,
    /// What stands between the braces.
    labels: &'a str,
    /// The value.
    pub value: f64,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (series, value) = line.trim_end().rsplit_once(' ')?;
        let (name, labels) = match series.split_once('{') {
            Some((name, rest)) => (name, rest.strip_suffix('}')?),
            None => (series, ""),
        };
        Some(Self { name, labels, value: value.parse().ok()? })
    }

    /// The value of a label. Values of this project's labels contain neither quotes nor commas.
    pub fn label(&self, name: &str) -> Option<&'a str> {
        self.labels.split(',').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then(|| value.trim_matches('"'))
        })
    }

    /// Whether a label has this value.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.label(name) == Some(value)
    }
}

/// Every sample of `text`.
pub fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(Sample::parse)
}

/// A histogram's cumulative buckets: upper bounds in seconds, ascending, with how many observations were no greater.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram(Vec<(f64, f64)>);

impl Histogram {
    /// Adds a `_bucket` sample; samples with the same bound are summed.
    pub fn add(&mut self, bucket: &Sample<'_>) {
        let Some(bound) = bucket.label("le").and_then(|bound| bound.replace("+Inf", "inf").parse::<f64>().ok()) else {
            return;
        };
        match self.0.binary_search_by(|(known, _)| known.total_cmp(&bound)) {
            Ok(place) => self.0[place].1 += bucket.value,
            Err(place) => self.0.insert(place, (bound, bucket.value)),
        }
    }

    /// What was observed since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bound: f64| {
            earlier.0.binary_search_by(|(known, _)| known.total_cmp(&bound)).map_or(0.0, |place| earlier.0[place].1)
        };
        Self(self.0.iter().map(|&(bound, count)| (bound, (count - before(bound)).max(0.0))).collect())
    }

    /// The `q`-quantile in seconds, linear within its bucket as Prometheus reckons it; `None` without observations.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.0.last().map(|(_, count)| *count).filter(|&count| count > 0.0)?;
        let rank = q * total;
        let place = self.0.iter().position(|&(_, count)| count >= rank)?;
        let (low, below) = if place == 0 { (0.0, 0.0) } else { self.0[place - 1] };
        let (high, count) = self.0[place];
        if high.is_infinite() {
            return Some(low);
        }
        Some(low + (high - low) * (rank - below) / (count - below).max(f64::MIN_POSITIVE))
    }
}

#[cfg(test)]
mod tests {
    use super::{Histogram, samples};

    const TEXT: &str = "# HELP h help\n# TYPE h histogram\n\
        h_bucket{architecture=\"epoll\",le=\"0.001\"} 50\nh_bucket{architecture=\"epoll\",le=\"0.002\"} 100\n\
        h_bucket{architecture=\"epoll\",le=\"+Inf\"} 100\nup 1\nbad\n";

    #[test]
    fn samples_have_names_labels_and_values() {
        let all: Vec<_> = samples(TEXT).collect();
        assert_eq!(all.len(), 4);
        assert!(all[0].has("architecture", "epoll"));
        assert_eq!(all[0].label("none"), None);
        assert_eq!((all[3].name, all[3].value), ("up", 1.0));
    }

    #[test]
    fn a_quantile_is_linear_within_its_bucket() {
        let mut histogram = Histogram::default();
        samples(TEXT).filter(|sample| sample.name == "h_bucket").for_each(|sample| histogram.add(&sample));
        let median = histogram.quantile(0.75).expect("there are observations");
        assert!((median - 0.0015).abs() < 1e-9, "{median}");
        assert_eq!(histogram.since(&histogram).quantile(0.99), None);
    }
}
