//! What idle clients cost a loop.

use std::io;
use std::time::Duration;

use report::sheet::{axis, chart, figure, row, series, table, word};
use report::{Form, Scale};
use zen::Transport;

use super::experiment::{Experiment, connect, measure, median, most_connections};
use super::{Claim, Finding, Verdict};
use crate::driver::{Crowd, Options};
use crate::lab::Server;
use crate::pace::Pace;

pub(super) const CLAIM: Claim = Claim {
    name: "readiness",
    sentence: "select and poll cost more with every client that is connected, epoll does not",
    experiment: "Sixteen clients ask 1,000 questions a second in all of select, poll and epoll in turn, beside 0 to 9,000 who \
                 are connected and silent.",
    question: "How many times dearer is a question with 900 silent clients? And with 9,000?",
    does_not_show: "At 1,000 questions a second a server mostly sleeps, and waking is most of what a question costs. When all \
                    clients are busy, one call reports many of them, and poll costs about what epoll does.",
    run,
};

const SUBJECTS: [&str; 3] = ["select", "poll", "epoll"];
/// Where select's set ends, less what the server itself has open.
const SELECT_ENDS: usize = 900;
const IDLE: [usize; 6] = [0, 100, 300, 900, 3000, 9000];
const ACTIVE: usize = 16;
const RATE: f64 = 1000.0;
const SLOT: Duration = Duration::from_millis(300);
const ROUNDS: usize = 9;

struct Subject {
    server: Server,
    active: Crowd,
    idle: Option<Crowd>,
}

fn run(experiment: &mut Experiment<'_>) -> io::Result<Finding> {
    let room = most_connections() / 2 - 2 * ACTIVE;
    let steps: Vec<usize> = IDLE.into_iter().map(|idle| idle.min(room)).collect();
    let settings = ["idle_timeout=300s", "max_connections=10000"];
    let mut subjects = Vec::new();
    for name in SUBJECTS {
        let server =
            experiment.start(name, &[Transport::Tcp], if name == "select" { &settings[..1] } else { &settings })?;
        let active = connect(&server, Transport::Tcp, ACTIVE, Options::default())?;
        subjects.push(Subject { server, active, idle: None });
    }
    // CPU for each question in µs, by subject and step.
    let mut cpu = vec![vec![None; steps.len()]; SUBJECTS.len()];
    for (step, &idle) in steps.iter().enumerate() {
        experiment.tell(&format!("{idle} silent clients beside {ACTIVE} active ones"));
        // select is left out where it has ended: its clients are not the others' burden.
        let taking_part: Vec<usize> = (0..SUBJECTS.len()).filter(|&at| at > 0 || idle <= SELECT_ENDS).collect();
        for (at, subject) in subjects.iter_mut().enumerate() {
            subject.idle = None;
            if idle > 0 && taking_part.contains(&at) {
                subject.idle = Some(connect(&subject.server, Transport::Tcp, idle, Options::default())?);
            }
        }
        let mut values = vec![Vec::new(); SUBJECTS.len()];
        for _ in 0..experiment.rounds(ROUNDS) {
            for at in experiment.order(taking_part.len()).into_iter().map(|at| taking_part[at]) {
                let subject = &mut subjects[at];
                let pace = Pace::even(RATE);
                values[at].push(measure(&subject.server, Transport::Tcp, &mut subject.active, SLOT, pace)?.cpu_us());
            }
        }
        (0..SUBJECTS.len()).for_each(|at| cpu[at][step] = median(&values[at]));
    }
    Ok(judge(&steps, &cpu))
}

fn judge(steps: &[usize], cpu: &[Vec<Option<f64>>]) -> Finding {
    let last = steps.len() - 1;
    let at_900 = steps.iter().position(|&idle| idle >= SELECT_ENDS).unwrap_or(last);
    let growth = |at: usize, step: usize| cpu[at][step].zip(cpu[at][0]).map_or(f64::NAN, |(now, then)| now / then);
    let verdict = if growth(1, last) > 2.0 && growth(0, at_900) > 1.25 && growth(2, last) < 1.5 {
        Verdict::Holds
    } else if growth(1, last) < 1.25 {
        Verdict::Fails
    } else {
        Verdict::Depends
    };
    let at_none = |at: usize| cpu[at][0].unwrap_or(f64::NAN);
    let because = vec![
        format!(
            "Without silent clients they lie close together: a question costs select {:.0} µs, poll {:.0} µs, epoll {:.0} µs.",
            at_none(0),
            at_none(1),
            at_none(2),
        ),
        format!(
            "With {} silent clients it costs select {:.1} times as much, poll {:.1} times, epoll {:.1} times.",
            steps[at_900],
            growth(0, at_900),
            growth(1, at_900),
            growth(2, at_900),
        ),
        format!(
            "With {} it costs poll {:.1} times as much, epoll {:.1} times; select has ended at 1,024 descriptors, which is \
             the only difference between it and poll here.",
            steps[last],
            growth(1, last),
            growth(2, last),
        ),
    ];
    let titles: Vec<(String, String)> =
        steps.iter().map(|idle| (format!("idle_{idle}"), format!("{idle} silent"))).collect();
    let columns: Vec<(&str, &str, &str)> =
        titles.iter().map(|(id, title)| (id.as_str(), title.as_str(), "us")).collect();
    let rows = SUBJECTS.iter().zip(cpu).map(|(name, values)| {
        let cell = |value: &Option<f64>| if value.is_some() { figure(*value) } else { word("ended") };
        row(name, values.iter().map(cell).collect())
    });
    let line = |at: usize| series(SUBJECTS[at], steps.iter().zip(&cpu[at]).map(|(idle, cpu)| (*idle as f64, *cpu)));
    let axes = (axis("silent clients", "", Scale::Logarithmic), axis("CPU per question", "us", Scale::Logarithmic));
    Finding {
        verdict,
        because,
        tables: vec![table("readiness", "CPU per question at 1,000 questions a second", &columns, rows.collect())],
        charts: vec![chart(
            "readiness",
            "What silent clients cost: select and poll look at each of them, epoll at none",
            Form::Lines,
            axes,
            (0..SUBJECTS.len()).map(line).collect(),
        )],
    }
}
