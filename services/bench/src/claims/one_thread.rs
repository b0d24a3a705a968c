//! Answers that take time, on one thread and on many.

use std::io;
use std::time::Duration;

use report::sheet::{axis, chart, figure, names, row, series, table};
use report::{Form, Scale};
use serde_json::json;
use zen::Transport;

use super::experiment::{Experiment, median};
use super::{Claim, Finding, Verdict};
use crate::driver::{Crowd, Life, Options};
use crate::lab::Server;
use crate::pace::Pace;

pub(super) const CLAIM: Claim = Claim {
    name: "one_thread",
    sentence: "An asynchronous server has one thread, and whoever blocks it blocks everybody",
    experiment: "Two hundred clients ask without a break while each answer costs 5 ms: of CPU (spin), of a call that blocks \
                 (block), or of waiting for something else (wait). On epoll, tokio_current_thread, thread_per_connection and a \
                 thread_pool of 16 in turn.",
    question: "How many answers a second does each give, of each kind?",
    does_not_show: "Every answer costs the same here. In a real service one slow kind of question is enough: all others wait \
                    behind it.",
    margin: 0.2,
    run,
};

const SUBJECTS: [&str; 4] = ["epoll", "tokio_current_thread", "thread_per_connection", "thread_pool"];
const LOOPS: usize = 2;
const KINDS: [&str; 3] = ["spin", "block", "wait"];
const CLIENTS: usize = 200;
const POOL: f64 = 16.0;
const DELAY: f64 = 0.005;
/// Long beside the half second in which two cores spin for everybody once.
const SLOT: Duration = Duration::from_millis(1500);
const ROUNDS: usize = 3;

fn run(experiment: &mut Experiment<'_>) -> io::Result<Finding> {
    let mut subjects = SUBJECTS.into_iter().map(|name| subject(experiment, name)).collect::<io::Result<Vec<_>>>()?;
    // Answers a second, by kind and subject.
    let mut answers = vec![vec![None; SUBJECTS.len()]; KINDS.len()];
    for (kind, work) in KINDS.into_iter().enumerate() {
        experiment.tell(&format!("each answer costs 5 ms: {work}"));
        for (server, _) in &subjects {
            server.set("answer_work", &json!(work))?;
            server.set("answer_delay", &json!("5ms"))?;
        }
        let mut values = vec![Vec::new(); SUBJECTS.len()];
        for _ in 0..experiment.rounds(ROUNDS) {
            for at in experiment.order(subjects.len()) {
                let (server, crowd) = &mut subjects[at];
                let measured = experiment.load(server, Transport::Tcp, crowd, SLOT, Pace::Closed)?;
                values[at].push(Some(measured.slot.throughput()));
            }
        }
        answers[kind] = values.iter().map(|values| median(values)).collect();
    }
    Ok(judge(&answers))
}

fn subject(experiment: &Experiment<'_>, name: &str) -> io::Result<(Server, Crowd)> {
    let is_pool = name == "thread_pool";
    let settings = if is_pool { &["workers=16"][..] } else { &["idle_timeout=120s"] };
    let server = experiment.start(name, &[Transport::Tcp], settings)?;
    // Clients who stay would leave the pool for nobody else.
    let life = if is_pool { Life::Conversations { questions: 3, reset: false } } else { Life::Held };
    let drain = Duration::from_secs(3);
    let options = Options { life, drain, patience: drain, ..Options::default() };
    let crowd = experiment.connect(&server, Transport::Tcp, CLIENTS, options)?;
    Ok((server, crowd))
}

fn judge(answers: &[Vec<Option<f64>>]) -> Finding {
    let of = |kind: usize, at: usize| answers[kind][at].unwrap_or(f64::NAN);
    let one_at_a_time = 1.0 / DELAY;
    let is_blocked = (0..LOOPS).all(|at| of(0, at) < 1.3 * one_at_a_time && of(1, at) < 1.3 * one_at_a_time);
    let is_free = (0..LOOPS).all(|at| of(2, at) > 10.0 * one_at_a_time);
    let verdict = match (is_blocked, is_free) {
        (true, true) => Verdict::Holds,
        (false, _) => Verdict::Fails,
        _ => Verdict::Depends,
    };
    let because = vec![
        format!(
            "With 5 ms of CPU or of a blocking call for each answer, epoll gives {:.0} and {:.0} answers a second, \
             tokio_current_thread {:.0} and {:.0}: one every 5 ms, however many ask.",
            of(0, 0),
            of(1, 0),
            of(0, 1),
            of(1, 1),
        ),
        format!(
            "When the 5 ms are spent waiting for something else, they give {:.0} and {:.0}: what blocks is the thread, not the \
             time.",
            of(2, 0),
            of(2, 1),
        ),
        format!(
            "Sixteen threads give {:.0} when they sleep (16 in 5 ms are {:.0}), a thread for each of {CLIENTS} clients {:.0}. \
             Spinning they give {:.0} and {:.0}, since there are no more cores than there are (it is 5 ms by the clock, also for a \
             thread that waits for a core meanwhile).",
            of(1, 3),
            POOL / DELAY,
            of(1, 2),
            of(0, 3),
            of(0, 2),
        ),
    ];
    let columns: Vec<(&str, &str, &str)> = KINDS.iter().map(|kind| (*kind, *kind, "/s")).collect();
    let rows = SUBJECTS
        .iter()
        .enumerate()
        .map(|(at, name)| row(name, (0..KINDS.len()).map(|kind| figure(answers[kind][at])).collect()));
    let bars = |kind: usize| series(KINDS[kind], answers[kind].iter().enumerate().map(|(at, y)| (at as f64, *y)));
    Finding {
        verdict,
        because,
        tables: vec![table("one_thread", "Answers a second when each costs 5 ms", &columns, rows.collect())],
        charts: vec![chart(
            "one_thread",
            "Answers a second when each costs 5 ms: of CPU, of a call that blocks, of waiting for something else",
            Form::Bars,
            (names("", SUBJECTS), axis("answers", "/s", Scale::Logarithmic)),
            (0..KINDS.len()).map(bars).collect(),
        )],
    }
}
