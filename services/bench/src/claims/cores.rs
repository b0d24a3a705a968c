//! Who uses more than one core.

use std::io;
use std::time::Duration;

use report::sheet::{axis, chart, figure, names, row, series, table};
use report::{Form, Scale};
use zen::Transport;

use super::experiment::{Experiment, median};
use super::{Claim, Finding, Verdict};
use crate::driver::Options;
use crate::pace::Pace;

pub(super) const CLAIM: Claim = Claim {
    name: "cores",
    sentence: "One loop uses one core; a loop for each core, or work stealing, uses them all",
    experiment: "Sixty-four clients ask without a break while each answer takes 200 µs of CPU, on epoll, epoll_sharded, \
                 tokio_current_thread and tokio_multi_thread in turn.",
    question: "How many times as many answers do all cores give?",
    does_not_show: "Client and servers share the cores, and answers are dear on purpose: with cheap ones the client is what is \
                    measured.",
    margin: 0.2,
    run,
};

const SUBJECTS: [&str; 4] = ["epoll", "epoll_sharded", "tokio_current_thread", "tokio_multi_thread"];
/// With fewer, client and server take each other's.
const CORES: usize = 4;
const CLIENTS: usize = 64;
const SLOT: Duration = Duration::from_millis(400);
const ROUNDS: usize = 9;

fn run(experiment: &mut Experiment<'_>) -> io::Result<Finding> {
    let cores = experiment.cores() as usize;
    if cores < CORES {
        let why = format!(
            "This needs {CORES} cores, one of them for the client; there are {cores}. What it would take is a larger machine."
        );
        return Ok(Finding::cannot_be_shown(why));
    }
    let settings = ["answer_delay=200us", "answer_work=spin", "idle_timeout=120s"];
    let mut subjects = Vec::new();
    for name in SUBJECTS {
        let server = experiment.start(name, &[Transport::Tcp], &settings)?;
        let crowd = experiment.connect(&server, Transport::Tcp, CLIENTS, Options::default())?;
        subjects.push((server, crowd));
    }
    experiment.tell("each answer takes 200 µs of CPU");
    let mut values = vec![Vec::new(); SUBJECTS.len()];
    for _ in 0..experiment.rounds(ROUNDS) {
        for at in experiment.order(subjects.len()) {
            let (server, crowd) = &mut subjects[at];
            let measured = experiment.load(server, Transport::Tcp, crowd, SLOT, Pace::Closed)?;
            values[at].push(Some(measured.slot.throughput()));
        }
    }
    let answers: Vec<Option<f64>> = values.iter().map(|values| median(values)).collect();
    Ok(judge(cores, &answers))
}

fn judge(cores: usize, answers: &[Option<f64>]) -> Finding {
    let gain = |many: usize, one: usize| answers[many].zip(answers[one]).map_or(f64::NAN, |(many, one)| many / one);
    let gains = [gain(1, 0), gain(3, 2)];
    // One core is the client's.
    let fair = (cores - 1) as f64 * 0.6;
    let verdict = if gains.iter().all(|&gain| gain > fair) {
        Verdict::Holds
    } else if gains.iter().all(|&gain| gain < 1.3) {
        Verdict::Fails
    } else {
        Verdict::Depends
    };
    let because = vec![format!(
        "On {cores} cores epoll_sharded gives {:.1} times the answers of epoll, tokio_multi_thread {:.1} times those of \
         tokio_current_thread.",
        gains[0], gains[1],
    )];
    let rows = SUBJECTS.iter().zip(answers).map(|(name, answers)| row(name, vec![figure(*answers)]));
    let bars = answers.iter().enumerate().map(|(at, answers)| (at as f64, *answers));
    Finding {
        verdict,
        because,
        tables: vec![table(
            "cores",
            "Answers a second at 200 µs of CPU each",
            &[("answers", "answers", "/s")],
            rows.collect(),
        )],
        charts: vec![chart(
            "cores",
            "Answers a second when each takes 200 µs of CPU",
            Form::Bars,
            (names("", SUBJECTS), axis("answers", "/s", Scale::Linear)),
            vec![series("answers", bars)],
        )],
    }
}
