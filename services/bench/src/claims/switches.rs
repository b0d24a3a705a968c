//! Context switches over load.

use std::io;
use std::time::Duration;

use report::sheet::{axis, chart, figure, row, series, table};
use report::{Form, Scale};
use zen::Transport;

use super::experiment::{Experiment, median};
use super::{Claim, Finding, Verdict};
use crate::driver::{Crowd, Options};
use crate::lab::Server;
use crate::pace::Pace;

pub(super) const CLAIM: Claim = Claim {
    name: "switches",
    sentence: "Asynchronous servers have no context switches",
    experiment: "Sixteen clients ask 500 to 20,000 questions a second, and then without a break, of epoll, coroutines, \
                 tokio_current_thread and thread_per_connection in turn.",
    question: "How many context switches does a question take in a loop: at 500 a second, and when it has no rest?",
    does_not_show: "A switch to sleep and back is counted like a switch to another thread. That it costs time does not mean that \
                    it costs the client anything.",
    margin: 0.2,
    run,
};

const SUBJECTS: [&str; 4] = ["epoll", "coroutines", "tokio_current_thread", "thread_per_connection"];
const LOOPS: usize = 3;
const RATES: [f64; 4] = [500.0, 2_000.0, 8_000.0, 20_000.0];
const CLIENTS: usize = 16;
const SLOT: Duration = Duration::from_millis(250);
const ROUNDS: usize = 9;

/// What one pace found, by subject.
struct Step {
    pace: String,
    /// Answers a second.
    rate: Vec<Option<f64>>,
    /// For each answer.
    switches: Vec<Option<f64>>,
}

fn run(experiment: &mut Experiment<'_>) -> io::Result<Finding> {
    let mut subjects = Vec::new();
    for name in SUBJECTS {
        let server = experiment.start(name, &[Transport::Tcp], &["idle_timeout=120s"])?;
        let crowd = experiment.connect(&server, Transport::Tcp, CLIENTS, Options::default())?;
        subjects.push((server, crowd));
    }
    let mut steps = Vec::new();
    for rate in RATES {
        steps.push(step(experiment, &mut subjects, &format!("{rate}/s"), Pace::even(rate))?);
    }
    steps.push(step(experiment, &mut subjects, "no rest", Pace::Closed)?);
    Ok(judge(&steps))
}

fn step(experiment: &mut Experiment<'_>, subjects: &mut [(Server, Crowd)], name: &str, pace: Pace) -> io::Result<Step> {
    experiment.tell(&format!("{CLIENTS} clients: {name}"));
    let (mut rates, mut switches) = (vec![Vec::new(); subjects.len()], vec![Vec::new(); subjects.len()]);
    for _ in 0..experiment.rounds(ROUNDS) {
        for at in experiment.order(subjects.len()) {
            let (server, crowd) = &mut subjects[at];
            let measured = experiment.load(server, Transport::Tcp, crowd, SLOT, pace)?;
            rates[at].push(Some(measured.slot.throughput()));
            switches[at].push(measured.switches());
        }
    }
    let medians = |values: &[Vec<Option<f64>>]| values.iter().map(|values| median(values)).collect();
    Ok(Step { pace: name.to_owned(), rate: medians(&rates), switches: medians(&switches) })
}

fn judge(steps: &[Step]) -> Finding {
    let (first, last) = (&steps[0], &steps[steps.len() - 1]);
    let range = |step: &Step| {
        let values = step.switches[..LOOPS].iter().map(|value| value.unwrap_or(f64::NAN));
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max))
    };
    let ((least_idle, most_idle), (least_busy, most_busy)) = (range(first), range(last));
    let verdict = if most_idle < 0.1 {
        Verdict::Holds
    } else if most_busy < 0.25 && least_idle > 0.5 {
        Verdict::Depends
    } else {
        Verdict::Fails
    };
    let threads = |step: &Step| step.switches[LOOPS].unwrap_or(f64::NAN);
    let mut because = vec![
        format!("At {} a question takes a loop {least_idle:.2} to {most_idle:.2} switches.", first.pace),
        format!("Without rest it takes {least_busy:.3} to {most_busy:.3}."),
        format!("A thread for each client takes {:.2} and {:.2}.", threads(first), threads(last)),
    ];
    if verdict == Verdict::Depends {
        because.push(
            "At rest a loop sleeps between questions, and each one wakes it; when it is busy one wake-up serves many. So the sentence \
             is true of a busy server only."
                .to_owned(),
        );
    }
    let columns: Vec<(&str, &str, &str)> = SUBJECTS.iter().map(|name| (*name, *name, "")).collect();
    let rows = steps.iter().map(|step| row(&step.pace, step.switches.iter().copied().map(figure).collect()));
    let line = |at: usize| {
        let points = steps.iter().filter_map(|step| Some((step.rate[at]?, step.switches[at])));
        series(SUBJECTS[at], points)
    };
    let axes =
        (axis("answers", "/s", Scale::Logarithmic), axis("context switches per question", "", Scale::Logarithmic));
    Finding {
        verdict,
        because,
        tables: vec![table("switches", "Context switches of the server per question", &columns, rows.collect())],
        charts: vec![chart(
            "switches",
            "Context switches of a question, over the load",
            Form::Lines,
            axes,
            (0..SUBJECTS.len()).map(line).collect(),
        )],
    }
}
