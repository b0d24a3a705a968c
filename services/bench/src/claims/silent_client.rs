//! One silent client, then four, beside eight who ask.

use std::io;
use std::time::Duration;

use report::sheet::{axis, chart, figure, row, series, table};
use report::{Form, Scale};
use zen::Transport;

use super::experiment::Experiment;
use super::{Claim, Finding, Verdict};
use crate::driver::{Crowd, Life, Options};
use crate::lab::Server;
use crate::pace::Pace;
use crate::stats::median;

pub(super) const CLAIM: Claim = Claim {
    name: "silent_client",
    sentence: "One client that says nothing stops a single-threaded server",
    experiment: "Eight of the chapter's clients (connect, three questions, close) ask 400 questions a second in all. A client \
                 joins that connects and says nothing, then three more like it; then they leave.",
    question: "Who is still answered while one client is silent? And while four are?",
    does_not_show: "The servers wait up to 10 s for a silent client here, so that it can be seen; their own default is 2 s \
                    where a client takes a worker, and the chapter's servers wait for ever.",
    margin: 0.15,
    run,
};

const CLIENTS: usize = 8;
const RATE: f64 = 400.0;
const WINDOW: Duration = Duration::from_millis(150);
/// Silent clients in each phase, one phase after the other.
const PHASES: [usize; 4] = [0, 1, 4, 0];
/// Windows of a phase. The first one shows the change, and is not counted.
const WINDOWS: usize = 8;

struct Subject {
    name: &'static str,
    server: Server,
    transport: Transport,
    crowd: Crowd,
    silent: Option<Crowd>,
    /// Answers a second, window by window.
    answers: Vec<f64>,
}

fn run(experiment: &mut Experiment<'_>) -> io::Result<Finding> {
    let mut subjects = [
        subject(experiment, "single_threaded", "single_threaded", Transport::Tcp)?,
        subject(experiment, "thread_pool", "thread_pool", Transport::Tcp)?,
        subject(experiment, "epoll", "epoll", Transport::Tcp)?,
        subject(experiment, "single_threaded over UDP", "single_threaded", Transport::Udp)?,
    ];
    let windows = experiment.rounds(WINDOWS);
    for silent in PHASES {
        experiment.tell(&format!("{CLIENTS} clients ask, {silent} are silent"));
        for subject in &mut subjects {
            subject.silent = None;
            if silent > 0 {
                subject.silent =
                    Some(experiment.connect(&subject.server, subject.transport, silent, Options::default())?);
            }
        }
        for _ in 0..windows {
            for at in experiment.order(subjects.len()) {
                let subject = &mut subjects[at];
                let Subject { server, transport, crowd, .. } = subject;
                let measured = experiment.load(server, *transport, crowd, WINDOW, Pace::even(RATE))?;
                subject.answers.push(measured.slot.throughput());
            }
        }
    }
    Ok(judge(&subjects, windows))
}

fn subject(
    experiment: &Experiment<'_>,
    name: &'static str,
    architecture: &str,
    transport: Transport,
) -> io::Result<Subject> {
    let pool =
        if architecture == "thread_pool" { &["idle_timeout=10s", "workers=4"][..] } else { &["idle_timeout=10s"] };
    let server = experiment.start(architecture, &[transport], pool)?;
    let visits = if transport.is_stream() { Life::Conversations { questions: 3, reset: false } } else { Life::Held };
    let options = Options { life: visits, drain: Duration::from_millis(20), ..Options::default() };
    let crowd = experiment.connect(&server, transport, CLIENTS, options)?;
    Ok(Subject { name, server, transport, crowd, silent: None, answers: Vec::new() })
}

impl Subject {
    /// Answers a second in a phase, as part of those in the first one.
    fn part(&self, phase: usize, windows: usize) -> f64 {
        self.middle(phase, windows) / self.middle(0, windows).max(f64::MIN_POSITIVE)
    }

    fn middle(&self, phase: usize, windows: usize) -> f64 {
        median(&self.answers[phase * windows + 1..(phase + 1) * windows])
    }
}

fn judge(subjects: &[Subject], windows: usize) -> Finding {
    let percent = |part: f64| format!("{:.0} %", part * 100.0);
    let part = |at: usize, phase| subjects[at].part(phase, windows);
    let verdict = if part(0, 1) < 0.05 && part(2, 1) > 0.8 && part(3, 1) > 0.8 {
        Verdict::Holds
    } else if part(0, 1) > 0.8 {
        Verdict::Fails
    } else {
        Verdict::Depends
    };
    let because = vec![
        format!(
            "Beside one silent client single_threaded gives {} of its answers, thread_pool (4 threads) {}, epoll {}, and \
             single_threaded over UDP {}.",
            percent(part(0, 1)),
            percent(part(1, 1)),
            percent(part(2, 1)),
            percent(part(3, 1)),
        ),
        format!(
            "Beside four silent clients the pool of four gives {}, epoll {}.",
            percent(part(1, 2)),
            percent(part(2, 2)),
        ),
        format!("When they have left, single_threaded gives {} again.", percent(part(0, 3))),
    ];
    let columns = [
        ("none", "nobody silent", "/s"),
        ("one", "one silent", "/s"),
        ("four", "four silent", "/s"),
        ("after", "they have left", "/s"),
    ];
    let rows = subjects.iter().map(|subject| {
        row(subject.name, (0..PHASES.len()).map(|phase| figure(Some(subject.middle(phase, windows)))).collect())
    });
    let time = |window: usize| window as f64 * WINDOW.as_secs_f64();
    let mut lines: Vec<_> = subjects
        .iter()
        .map(|subject| series(subject.name, subject.answers.iter().enumerate().map(|(at, y)| (time(at), Some(*y)))))
        .collect();
    for (phase, what) in [(1, "one is silent"), (2, "four are silent"), (3, "they leave")] {
        lines.push(series(what, [(time(phase * windows), None)]));
    }
    let axes = (axis("each server's own time", "s", Scale::Linear), axis("right answers", "/s", Scale::Linear));
    Finding {
        verdict,
        because,
        tables: vec![table("answers", "Right answers a second, of 400 asked for", &columns, rows.collect())],
        charts: vec![chart(
            "silent_client",
            "Right answers of four servers while one client is silent, then four",
            Form::Timeline,
            axes,
            lines,
        )],
    }
}
