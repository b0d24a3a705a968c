//! What idle clients cost a loop.

use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use report::sheet::{axis, chart, figure, row, series, table, word};
use report::{Cell, Chart, Form, Scale, Table};
use zen::{Address, Transport};

use super::experiment::{Experiment, Measured, median, metric, most_connections};
use super::{Claim, Finding, Verdict};
use crate::driver::{Crowd, Options};
use crate::lab::Server;
use crate::pace::Pace;

pub(super) const CLAIM: Claim = Claim {
    name: "readiness",
    sentence: "select and poll cost more with every client that is connected, epoll does not",
    experiment: "Sixteen clients ask select, poll and epoll in turn, beside 0 to 9,000 who are connected and silent; at a rate that \
                 leaves all of them half idle beside 900, and of 1,000 a second at the most. Who is saturated beside more is left out. What a server takes while \
                 nobody asks is no part of what a question costs.",
    question: "How many times dearer is a question with 900 silent clients? And with 9,000?",
    does_not_show: "At such a rate a server mostly sleeps, and waking is most of what a question costs where nobody is silent. A call \
                    that takes long finds several who have asked, so that far out poll's questions share its cost; and when all clients are \
                    busy, one call reports many of them, and poll costs about what epoll does.",
    margin: 0.2,
    run,
};

const SUBJECTS: [&str; 3] = ["select", "poll", "epoll"];
const SELECT: usize = 0;
const POLL: usize = 1;
const EPOLL: usize = 2;
/// Where select's set ends, less what the server itself has open.
const SELECT_ENDS: usize = 900;
/// More than select's set has room for.
const BEYOND: usize = 1100;
const IDLE: [usize; 6] = [0, 100, 300, 900, 3000, 9000];
const ACTIVE: usize = 16;
/// Questions a second at the most.
const MOST: f64 = 1000.0;
/// A rate at which the cost of a question is looked at first.
const LOOK: f64 = 40.0;
/// Part of a core that the dearest questions may take.
const HALF: f64 = 0.5;
/// Part of a core from which a server counts as saturated: it has the whole one, however dear a question is.
const FULL: f64 = 0.9;
/// Part of the planned questions that a server has to answer within the slot, or it is saturated.
const ANSWERED: f64 = 0.95;
/// Without silent clients all three may cost the same to within this factor.
const ALIKE: f64 = 1.5;
const SLOT: Duration = Duration::from_millis(300);
/// Questions of a slot at least.
const QUESTIONS: f64 = 30.0;
/// How long it is watched what a server takes while nobody asks.
const REST: Duration = Duration::from_millis(600);
const ROUNDS: usize = 9;
const SETTINGS: [&str; 2] = ["idle_timeout=300s", "max_connections=10000"];

struct Subject {
    server: Server,
    active: Crowd,
    /// They stay: whoever leaves has to be cleared away.
    idle: Vec<Crowd>,
}

/// What was found of one subject beside so many silent clients.
#[derive(Clone, Copy)]
struct Point {
    /// CPU for each question in µs.
    cpu_us: Option<f64>,
    is_saturated: bool,
}

/// What was found.
struct Found {
    rate: f64,
    /// Silent clients.
    steps: Vec<usize>,
    /// By subject and step; none where select has ended.
    points: Vec<Vec<Option<Point>>>,
    /// Of [`BEYOND`] clients, those whom select turned away; none if there may not be so many.
    turned_away: Option<f64>,
}

fn run(experiment: &mut Experiment<'_>) -> io::Result<Finding> {
    let room = (most_connections() / 2).saturating_sub(2 * ACTIVE);
    let mut steps: Vec<usize> = IDLE.into_iter().map(|idle| idle.min(room)).collect();
    steps.dedup();
    let rate = rate(experiment, &steps)?;
    let turned_away = if room < BEYOND { None } else { Some(turned_away(experiment)?) };
    let mut subjects = SUBJECTS.into_iter().map(|name| subject(experiment, name)).collect::<io::Result<Vec<_>>>()?;
    let mut points = vec![Vec::new(); SUBJECTS.len()];
    for &idle in &steps {
        experiment.tell(&format!("{idle} silent clients beside {ACTIVE} who ask {rate} questions a second"));
        for (points, point) in points.iter_mut().zip(step(experiment, &mut subjects, idle, rate)?) {
            points.push(point);
        }
    }
    Ok(judge(&Found { rate, steps, points, turned_away }))
}

fn subject(experiment: &Experiment<'_>, name: &str) -> io::Result<Subject> {
    let settings = if name == SUBJECTS[SELECT] { &SETTINGS[..1] } else { &SETTINGS };
    let server = experiment.start(name, &[Transport::Tcp], settings)?;
    let active = experiment.connect(&server, Transport::Tcp, ACTIVE, Options::default())?;
    Ok(Subject { server, active, idle: Vec::new() })
}

/// select is left out where it has ended: its clients are not the others' burden.
const fn takes_part(subject: usize, idle: usize) -> bool {
    subject != SELECT || idle <= SELECT_ENDS
}

impl Subject {
    /// Lets so many be silent.
    fn surround(&mut self, experiment: &Experiment<'_>, idle: usize) -> io::Result<()> {
        let missing = idle - self.idle.iter().map(Crowd::len).sum::<usize>();
        if missing > 0 {
            self.idle.push(experiment.connect(&self.server, Transport::Tcp, missing, Options::default())?);
        }
        Ok(())
    }

    fn load(&mut self, experiment: &mut Experiment<'_>, rate: f64) -> io::Result<Measured> {
        let time = SLOT.max(Duration::from_secs_f64(QUESTIONS / rate));
        experiment.load(&self.server, Transport::Tcp, &mut self.active, time, Pace::even(rate))
    }

    /// CPU time that the server takes while nobody asks, as a part of a core: it looks for idle clients, for one.
    fn rest(&self) -> f64 {
        let used = || self.server.usage(Transport::Tcp).map_or(0, |usage| usage.cpu_ns);
        let (began, before) = (Instant::now(), used());
        thread::sleep(REST);
        used().saturating_sub(before) as f64 / began.elapsed().as_nanos() as f64
    }
}

/// A rate at which all have [`HALF`] a core left beside as many as select has room for, in two digits.
fn rate(experiment: &mut Experiment<'_>, steps: &[usize]) -> io::Result<f64> {
    experiment.tell("what is the dearest question?");
    let mut dearest: f64 = 1.0;
    for name in SUBJECTS {
        let most = steps.iter().copied().filter(|&idle| idle <= SELECT_ENDS).max().unwrap_or(0);
        let mut subject = subject(experiment, name)?;
        subject.surround(experiment, most)?;
        let rest = subject.rest();
        dearest = dearest.max(cost(&subject.load(experiment, LOOK)?, rest).unwrap_or(0.0));
    }
    let rate = (HALF * 1e6 / dearest).min(MOST);
    let unit = 10_f64.powf(rate.log10().floor() - 1.0);
    Ok(((rate / unit).floor() * unit).max(1.0))
}

/// Of [`BEYOND`] clients, those whom select turns away, as it counts them.
fn turned_away(experiment: &mut Experiment<'_>) -> io::Result<f64> {
    experiment.tell(&format!("{BEYOND} clients of select"));
    let server = experiment.start(SUBJECTS[SELECT], &[Transport::Tcp], &SETTINGS[..1])?;
    let Some(Address::Host(host, port)) = server.endpoint(Transport::Tcp).map(|endpoint| &endpoint.address) else {
        return Err(io::Error::other("select does not serve TCP"));
    };
    let _clients: Vec<TcpStream> =
        (0..BEYOND).map(|_| TcpStream::connect((host.as_str(), *port))).collect::<io::Result<_>>()?;
    metric(&server, "zen_connections_accepted_total", |accepted| accepted >= BEYOND as f64)?;
    metric(&server, "zen_connections_rejected_total", |rejected| rejected > 0.0)
}

/// All who take part, in turn, beside so many silent clients.
fn step(
    experiment: &mut Experiment<'_>,
    subjects: &mut [Subject],
    idle: usize,
    rate: f64,
) -> io::Result<Vec<Option<Point>>> {
    let taking_part: Vec<usize> = (0..subjects.len()).filter(|&at| takes_part(at, idle)).collect();
    let mut rests = vec![0.0; subjects.len()];
    for &at in &taking_part {
        subjects[at].surround(experiment, idle)?;
        rests[at] = subjects[at].rest();
    }
    let mut measured: Vec<Vec<Measured>> = subjects.iter().map(|_| Vec::new()).collect();
    for _ in 0..experiment.rounds(ROUNDS) {
        for at in experiment.order(taking_part.len()).into_iter().map(|at| taking_part[at]) {
            measured[at].push(subjects[at].load(experiment, rate)?);
        }
    }
    Ok(measured.iter().zip(rests).map(|(slots, rest)| point(slots, rest)).collect())
}

fn point(slots: &[Measured], rest: f64) -> Option<Point> {
    let saturated = slots.iter().filter(|slot| is_saturated(slot)).count();
    let costs: Vec<Option<f64>> = slots.iter().map(|slot| cost(slot, rest)).collect();
    (!slots.is_empty()).then(|| Point { cpu_us: median(&costs), is_saturated: 2 * saturated > slots.len() })
}

/// CPU for each right answer in µs, less what the server takes while it rests.
fn cost(measured: &Measured, rest: f64) -> Option<f64> {
    let own = measured.slot.wall.as_secs_f64() * 1e6 * rest / measured.slot.ok.max(1) as f64;
    measured.cpu_us().map(|us| (us - own).max(0.0))
}

fn is_saturated(measured: &Measured) -> bool {
    let slot = &measured.slot;
    measured.core_share() > FULL || (slot.in_time as f64) < ANSWERED * slot.planned as f64
}

impl Found {
    /// What a question costs, where that is known: a server that is saturated does not show it.
    fn cost(&self, subject: usize, step: usize) -> Option<f64> {
        self.points[subject][step].filter(|point| !point.is_saturated)?.cpu_us
    }

    /// Times what it costs without silent clients.
    fn growth(&self, subject: usize, step: usize) -> Option<f64> {
        Some(self.cost(subject, step)? / self.cost(subject, 0)?)
    }

    /// The dearest to the cheapest without silent clients; none if one of them is not known.
    fn spread(&self) -> Option<f64> {
        let costs: Option<Vec<f64>> = (0..SUBJECTS.len()).map(|at| self.cost(at, 0)).collect();
        costs.map(|costs| greatest(&costs) / least(&costs))
    }

    /// The most silent clients beside whom the cost is known of all these subjects.
    fn last(&self, subjects: &[usize]) -> usize {
        (0..self.steps.len()).rev().find(|&step| subjects.iter().all(|&at| self.cost(at, step).is_some())).unwrap_or(0)
    }

    fn verdict(&self) -> Verdict {
        let (with_select, last) = (self.last(&[SELECT, POLL, EPOLL]), self.last(&[POLL, EPOLL]));
        let grows = |subject, step, least| self.growth(subject, step).is_some_and(|growth| growth > least);
        // What so many clients need in memory pushes a sleeping server's own out of the caches: that much is no growth.
        let epoll_stays = self.growth(EPOLL, self.last(&[EPOLL])).is_some_and(|growth| growth < 2.0);
        let is_alike = self.spread().is_some_and(|spread| spread <= ALIKE);
        if grows(POLL, last, 2.0) && grows(SELECT, with_select, 1.25) && epoll_stays && is_alike {
            Verdict::Holds
        } else if self.growth(POLL, last).is_some_and(|growth| growth < 1.25) {
            Verdict::Fails
        } else {
            Verdict::Depends
        }
    }

    fn sentences(&self) -> Vec<String> {
        let (with_select, last) = (self.last(&[SELECT, POLL, EPOLL]), self.last(&[POLL, EPOLL]));
        let us = |at: usize| self.cost(at, 0).map_or_else(|| "an unknown time".to_owned(), |us| format!("{us:.0} µs"));
        let mut all = vec![format!(
            "Without silent clients a question costs select {}, poll {}, epoll {}: the dearest is {} the cheapest.",
            us(SELECT),
            us(POLL),
            us(EPOLL),
            times(self.spread()),
        )];
        all.push(format!(
            "With {} silent clients it costs select {} as much, poll {}, epoll {}.",
            self.steps[with_select],
            times(self.growth(SELECT, with_select)),
            times(self.growth(POLL, with_select)),
            times(self.growth(EPOLL, with_select)),
        ));
        if last > with_select {
            all.push(format!(
                "With {} it costs poll {} as much, epoll {}.",
                self.steps[last],
                times(self.growth(POLL, last)),
                times(self.growth(EPOLL, last)),
            ));
        }
        let of_epoll = self.last(&[EPOLL]);
        if of_epoll > last {
            all.push(format!("With {} it costs epoll {}.", self.steps[of_epoll], times(self.growth(EPOLL, of_epoll))));
        }
        all.extend(self.beside_poll());
        all.extend(self.saturated());
        all
    }

    /// select beside poll: what it costs, and where it ends.
    fn beside_poll(&self) -> Option<String> {
        let ratios: Vec<f64> =
            (0..self.steps.len()).filter_map(|step| Some(self.cost(SELECT, step)? / self.cost(POLL, step)?)).collect();
        let end = match self.turned_away {
            Some(0.0) => format!("; it has room for {BEYOND} clients"),
            Some(many) => format!("; of {BEYOND} clients it turns {many:.0} away, because its set ends"),
            None => String::new(),
        };
        (!ratios.is_empty()).then(|| {
            let (low, high) = (least(&ratios), greatest(&ratios));
            format!("Where both serve, select costs {low:.2} to {high:.2} times what poll does{end}.")
        })
    }

    /// Who was saturated, and where.
    fn saturated(&self) -> Option<String> {
        let all: Vec<String> = SUBJECTS
            .iter()
            .zip(&self.points)
            .flat_map(|(name, points)| {
                let here = self.steps.iter().zip(points).filter(|(_, point)| point.is_some_and(|one| one.is_saturated));
                here.map(move |(idle, _)| format!("{name} beside {idle}"))
            })
            .collect();
        (!all.is_empty()).then(|| {
            format!(
                "Saturated at {} questions a second, so that what a question costs is not known there: {}.",
                self.rate,
                all.join(", ")
            )
        })
    }

    fn table(&self) -> Table {
        let titles: Vec<(String, String)> =
            self.steps.iter().map(|idle| (format!("idle_{idle}"), format!("{idle} silent"))).collect();
        let columns: Vec<(&str, &str, &str)> =
            titles.iter().map(|(id, title)| (id.as_str(), title.as_str(), "us")).collect();
        let rows = SUBJECTS
            .iter()
            .zip(&self.points)
            .map(|(name, points)| row(name, points.iter().map(|point| cell(point.as_ref())).collect()));
        let title = format!("CPU per question at {} questions a second, less what the server takes at rest", self.rate);
        table("readiness", &title, &columns, rows.collect())
    }

    fn chart(&self) -> Chart {
        let line = |at: usize| {
            let points = self.steps.iter().enumerate().map(|(step, idle)| (*idle as f64, self.cost(at, step)));
            series(SUBJECTS[at], points)
        };
        let title = format!("What silent clients cost: CPU of a question at {} a second", self.rate);
        let axes = (axis("silent clients", "", Scale::Logarithmic), axis("CPU per question", "us", Scale::Logarithmic));
        let lines = (0..SUBJECTS.len()).map(line).collect();
        Chart { note: self.saturated().unwrap_or_default(), ..chart("readiness", &title, Form::Lines, axes, lines) }
    }
}

fn judge(found: &Found) -> Finding {
    Finding {
        verdict: found.verdict(),
        because: found.sentences(),
        tables: vec![found.table()],
        charts: vec![found.chart()],
    }
}

fn cell(point: Option<&Point>) -> Cell {
    match point {
        Some(point) if point.is_saturated => word("saturated"),
        Some(point) => figure(point.cpu_us),
        None => word("ended"),
    }
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "an unknown number of times".to_owned(), |ratio| format!("{ratio:.1} times"))
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn greatest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// select, poll and epoll beside nobody, 900 and 9,000 silent clients.
    fn found(costs: [[f64; 3]; 3]) -> Found {
        let point = |cpu: f64| (cpu > 0.0).then_some(Point { cpu_us: Some(cpu), is_saturated: false });
        let points = costs.map(|costs| costs.map(point).to_vec()).to_vec();
        Found { rate: 100.0, steps: vec![0, 900, 9000], points, turned_away: Some(90.0) }
    }

    const USUAL: [[f64; 3]; 3] = [[30.0, 300.0, 0.0], [31.0, 310.0, 3100.0], [25.0, 26.0, 27.0]];

    #[test]
    fn a_cost_that_grows_with_the_silent_holds_if_it_was_alike_without() {
        assert_eq!(found(USUAL).verdict(), Verdict::Holds);
        assert_eq!(found([[30.0, 31.0, 0.0], [31.0, 31.0, 32.0], [25.0, 26.0, 27.0]]).verdict(), Verdict::Fails);
        let mut dear = USUAL;
        dear[EPOLL] = [10.0, 10.0, 10.0];
        let dear = found(dear);
        assert_eq!(dear.verdict(), Verdict::Depends, "three times as dear without silent clients is no likeness");
        assert!(dear.sentences()[0].ends_with("the dearest is 3.1 times the cheapest."), "{:?}", dear.sentences());
    }

    #[test]
    fn what_is_saturated_is_in_no_ratio_and_no_picture() {
        let mut found = found(USUAL);
        found.points[POLL][2] = Some(Point { cpu_us: Some(991.0), is_saturated: true });
        let said = found.sentences().join(" ");
        assert!(!said.contains("it costs poll 32") && said.contains("With 9000 it costs epoll 1.1 times."), "{said}");
        assert!(said.contains("not known there: poll beside 9000."), "{said}");
        assert_eq!(found.table().rows[POLL].cells[2].text, "saturated");
        let chart = found.chart();
        assert_eq!(chart.series[POLL].points[2].y, None);
        assert!(chart.note.contains("poll beside 9000"), "{}", chart.note);
        assert_eq!(found.verdict(), Verdict::Holds, "900 are enough to tell");
    }
}
