//! What a fleet does from one look to the next.

use std::time::{Duration, Instant};

use zen::Transport;

use crate::api::Api;
use crate::lab::Member;
use crate::metrics::{Histogram, Sample, samples};
use crate::target;

/// A server that is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// What it is.
    pub member: Member,
    /// Its admin API; `None` while it is not there.
    pub api: Option<&'a Api>,
}

/// Everything counted of one server up to now.
#[derive(Debug, Clone, Default)]
struct Totals {
    /// Right answers for each transport, in the order of [`Transport::ALL`].
    right: [f64; 4],
    wrong: f64,
    failed: f64,
    latency: Histogram,
    /// Open conversations; `None` when the server does not tell.
    open: Option<f64>,
    /// CPU seconds of the data plane; `None` when the server does not tell.
    cpu: Option<f64>,
}

/// One server's state as it is shown.
#[derive(Debug, Clone)]
pub struct Line {
    member: Member,
    totals: Totals,
    /// Right answers a second.
    rate: f64,
    /// In seconds.
    p99: Option<f64>,
    /// Share of one processor, 1 = all of it.
    cpu: Option<f64>,
}

impl Line {
    /// The line of plain mode. Its format is documented and stays.
    pub fn plain(&self) -> String {
        let by_transport: Vec<String> =
            self.by_transport().map(|(transport, count)| format!("{transport}={count}")).collect();
        format!(
            "{} right={} wrong={} rate={:.1}/s p99={} open={} cpu={} {} failed={}",
            self.member.name,
            self.right(),
            self.totals.wrong,
            self.rate,
            or_dash(self.p99, |p99| format!("{:.0}µs", p99 * 1e6)),
            or_dash(self.totals.open, |open| open.to_string()),
            or_dash(self.cpu, |cpu| format!("{:.1}%", cpu * 100.0)),
            by_transport.join(" "),
            self.totals.failed,
        )
    }

    /// The heads of [`Self::cells`].
    pub fn head() -> Vec<String> {
        ["NAME", "RIGHT", "WRONG", "FAILED", "RATE/s", "P99 µs", "OPEN", "CPU %", "TCP", "UDP", "UNIX", "UNIXGRAM"]
            .map(String::from)
            .to_vec()
    }

    /// The cells of a row on a terminal.
    pub fn cells(&self) -> Vec<String> {
        let mut cells = vec![
            self.member.name.to_owned(),
            self.right().to_string(),
            self.totals.wrong.to_string(),
            self.totals.failed.to_string(),
            format!("{:.1}", self.rate),
            or_dash(self.p99, |p99| format!("{:.0}", p99 * 1e6)),
            or_dash(self.totals.open, |open| open.to_string()),
            or_dash(self.cpu, |cpu| format!("{:.1}", cpu * 100.0)),
        ];
        cells.extend(self.by_transport().map(|(_, count)| count));
        cells
    }

    fn right(&self) -> f64 {
        self.totals.right.iter().sum()
    }

    fn by_transport(&self) -> impl Iterator<Item = (Transport, String)> {
        Transport::ALL.into_iter().zip(self.totals.right).map(|(transport, count)| {
            (transport, or_dash(self.member.supports(transport).then_some(count), |n| n.to_string()))
        })
    }
}

fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

/// Looks at the fleet again and again.
pub struct Watch {
    /// Who tells what was right: the swarm, or the servers themselves where there is none.
    swarm: Option<Api>,
    last: Vec<Totals>,
    looked: Instant,
    /// The swarm's metrics as they were last.
    swarm_text: String,
}

impl Watch {
    /// Begins to watch, with the swarm or without.
    pub fn new(with_swarm: bool) -> Self {
        let swarm = with_swarm.then(|| Api::with_patience(&target::swarm().url, Duration::from_millis(500)));
        Self { swarm, last: Vec::new(), looked: Instant::now(), swarm_text: String::new() }
    }

    /// What has happened since the last look, which was at the same servers.
    pub fn look(&mut self, sights: &[Sight<'_>]) -> Vec<Line> {
        self.ask_swarm();
        let seconds = self.looked.elapsed().as_secs_f64().max(1e-3);
        self.looked = Instant::now();
        self.last.resize_with(sights.len(), Totals::default);
        let now: Vec<Totals> = sights.iter().zip(&self.last).map(|(sight, last)| self.count(*sight, last)).collect();
        let lines = sights.iter().zip(&now).zip(&self.last);
        let lines = lines.map(|((sight, now), last)| line(sight.member, now, last, seconds)).collect();
        self.last = now;
        lines
    }

    /// What the swarm counts now.
    pub fn ask_swarm(&mut self) {
        if let Some(answer) = self.swarm.as_ref().and_then(|swarm| swarm.get("/metrics").ok()) {
            self.swarm_text = answer.text;
        }
    }

    fn count(&self, sight: Sight<'_>, last: &Totals) -> Totals {
        let text = sight.api.and_then(|api| api.get("/metrics").ok()).map(|answer| answer.text);
        let mut totals = match (&self.swarm, &text) {
            (Some(_), _) => count_by_swarm(&self.swarm_text, sight.member.name),
            (None, Some(text)) => count_by_server(text),
            (None, None) => Totals { open: None, cpu: None, ..last.clone() },
        };
        if let Some(text) = text {
            totals.open = Some(sum(&text, |sample| sample.name == "zen_connections_active"));
            totals.cpu =
                Some(sum(&text, |sample| sample.name == "zen_cpu_seconds_total" && sample.has("role", "data")));
        }
        totals
    }

    /// What the swarm loads now.
    pub fn spotlight(&self) -> String {
        let loaded: Vec<&str> = samples(&self.swarm_text)
            .filter(|sample| sample.name == "zen_swarm_spotlight" && sample.value > 0.0)
            .filter_map(|sample| sample.label("architecture"))
            .collect();
        match (&self.swarm, loaded.is_empty()) {
            (None, _) => "no swarm".to_owned(),
            (Some(_), true) => "spotlight: nobody".to_owned(),
            (Some(_), false) => format!("spotlight: {}", loaded.join(", ")),
        }
    }

    /// Questions that the swarm has begun with and that have no outcome yet.
    pub fn owed(&self) -> f64 {
        self.swarm_sum("zen_swarm_inflight") + self.swarm_sum("zen_swarm_waiting")
    }

    /// The sum of a metric of the swarm over all its series.
    pub fn swarm_sum(&self, name: &str) -> f64 {
        sum(&self.swarm_text, |sample| sample.name == name)
    }

    /// The sum of the swarm's requests that ended in one of `outcomes`.
    pub fn swarm_outcomes(&self, is_it: impl Fn(&str) -> bool) -> f64 {
        sum(&self.swarm_text, |sample| {
            sample.name == "zen_swarm_requests_total" && sample.label("outcome").is_some_and(&is_it)
        })
    }
}

fn line(member: Member, now: &Totals, last: &Totals, seconds: f64) -> Line {
    let new_right: f64 = now.right.iter().sum::<f64>() - last.right.iter().sum::<f64>();
    let cpu = now.cpu.zip(last.cpu).map(|(now, last)| (now - last).max(0.0) / seconds);
    let p99 = now.latency.since(&last.latency).quantile(0.99);
    Line { member, totals: now.clone(), rate: new_right.max(0.0) / seconds, p99, cpu }
}

fn count_by_swarm(text: &str, name: &str) -> Totals {
    let mut totals = Totals::default();
    for sample in samples(text).filter(|sample| sample.has("architecture", name)) {
        match (sample.name, sample.label("outcome")) {
            ("zen_swarm_requests_total", Some("ok")) => totals.add_right(&sample),
            ("zen_swarm_requests_total", Some("wrong_answer")) => totals.wrong += sample.value,
            // What a client has broken off itself is no failure.
            ("zen_swarm_requests_total", Some("aborted")) => {}
            ("zen_swarm_requests_total", Some(_)) => totals.failed += sample.value,
            ("zen_swarm_request_duration_seconds_bucket", _) => totals.latency.add(&sample),
            _ => {}
        }
    }
    totals
}

/// A server's own word: right is what it answered, and wrong it cannot know.
fn count_by_server(text: &str) -> Totals {
    let mut totals = Totals::default();
    for sample in samples(text) {
        match (sample.name, sample.label("outcome")) {
            ("zen_requests_total", Some("answered")) => totals.add_right(&sample),
            ("zen_requests_total", Some(_)) => totals.failed += sample.value,
            ("zen_request_duration_seconds_bucket", _) => totals.latency.add(&sample),
            _ => {}
        }
    }
    totals
}

impl Totals {
    fn add_right(&mut self, sample: &Sample<'_>) {
        let transports = Transport::ALL.into_iter().zip(&mut self.right);
        transports
            .filter(|(transport, _)| sample.has("transport", transport.label()))
            .for_each(|(_, n)| *n += sample.value);
    }
}

fn sum(text: &str, is_it: impl Fn(&Sample<'_>) -> bool) -> f64 {
    // Not `sum()`: that of nothing is -0, and is printed so.
    samples(text).filter(|sample| is_it(sample)).fold(0.0, |sum, sample| sum + sample.value)
}

#[cfg(test)]
mod tests {
    use super::{Totals, count_by_swarm, line};
    use crate::lab::{Member, REGISTRY};

    #[test]
    fn a_plain_line_tells_what_the_swarm_and_the_server_counted() {
        let name = REGISTRY[0].name;
        let text = format!(
            "zen_swarm_requests_total{{architecture=\"{name}\",outcome=\"ok\",transport=\"tcp\"}} 30\n\
             zen_swarm_requests_total{{architecture=\"{name}\",outcome=\"ok\",transport=\"unix\"}} 20\n\
             zen_swarm_requests_total{{architecture=\"{name}\",outcome=\"wrong_answer\",transport=\"tcp\"}} 1\n\
             zen_swarm_requests_total{{architecture=\"{name}\",outcome=\"timeout\",transport=\"udp\"}} 2\n\
             zen_swarm_requests_total{{architecture=\"other\",outcome=\"ok\",transport=\"tcp\"}} 9\n\
             zen_swarm_request_duration_seconds_bucket{{architecture=\"{name}\",le=\"0.001\",transport=\"tcp\"}} 50\n\
             zen_swarm_request_duration_seconds_bucket{{architecture=\"{name}\",le=\"+Inf\",transport=\"tcp\"}} 50\n"
        );
        let now = Totals { open: Some(3.0), cpu: Some(0.5), ..count_by_swarm(&text, name) };
        let last = Totals { cpu: Some(0.25), ..Totals::default() };
        let start = format!("{name} right=50 wrong=1 rate=10.0/s p99=990µs open=3 cpu=5.0% tcp=30 ");
        let shown = line(Member::of(REGISTRY[0]), &now, &last, 5.0).plain();
        assert!(shown.starts_with(&start), "{shown}");
        assert!(shown.ends_with(" failed=2"), "{shown}");
    }
}
