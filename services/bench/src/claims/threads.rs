//! A thread for each of thousands.

use std::io;
use std::time::Duration;

use report::sheet::{axis, between, chart, figure, row, series, table};
use report::{Form, Scale};
use zen::Transport;

use super::experiment::{Experiment, connect, measure, median, most_connections};
use super::{Claim, Finding, Verdict};
use crate::driver::Options;
use crate::lab::Server;
use crate::pace::Pace;
use crate::stats::{bootstrap_median, log_ratios};

pub(super) const CLAIM: Claim = Claim {
    name: "threads",
    sentence: "Threads do not scale to thousands of clients",
    experiment: "thread_per_connection and epoll with 16 to 4,000 clients, all of whom ask without a break, in turn; then with \
                 clients who are only there.",
    question: "How many times dearer is a question with 4,000 threads than with one loop? And how much memory does an idle \
               client take?",
    does_not_show: "Memory here is the process' own. Each thread has a stack in the kernel as well (16 KiB), and each connection \
                    its socket at both ends, the same for both servers.",
    run,
};

const SUBJECTS: [&str; 2] = ["epoll", "thread_per_connection"];
const BUSY: [usize; 4] = [16, 128, 1000, 4000];
/// What one server's page has room for with a worker for each client.
const MOST_THREADS: usize = 4000;
const IDLE: usize = 10_000;
/// The least length of a slot. Thousands need longer, or not all would be asked in one.
const SLOT: Duration = Duration::from_millis(150);
const SLOT_EACH: Duration = Duration::from_micros(250);
/// Rounds with few clients; with thousands there are fewer, since each says more.
const ROUNDS: usize = 11;
const PATIENCE: Duration = Duration::from_secs(10);

struct Level {
    connections: usize,
    /// CPU for each question in µs, by subject.
    cpu: [Option<f64>; 2],
    /// Threads to epoll.
    ratio: Option<crate::stats::Estimate>,
    /// Answers a second, by subject.
    answers: [Option<f64>; 2],
    /// Memory for each connection in bytes, by subject.
    memory: [Option<f64>; 2],
    failed: u64,
}

fn run(experiment: &mut Experiment<'_>) -> io::Result<Finding> {
    let room = most_connections();
    let mut levels = Vec::new();
    for connections in BUSY.into_iter().filter(|&connections| 2 * connections <= room) {
        experiment.tell(&format!("{connections} busy clients on each"));
        levels.push(level(experiment, connections)?);
    }
    let mut idle = Vec::new();
    for (name, most) in [("epoll", IDLE.min(room)), ("thread_per_connection", MOST_THREADS.min(room))] {
        experiment.tell(&format!("{most} idle clients on {name}"));
        idle.push((name, most, idle_memory(experiment, name, most)?));
    }
    Ok(judge(&levels, &idle))
}

fn level(experiment: &mut Experiment<'_>, connections: usize) -> io::Result<Level> {
    let mut servers = Vec::new();
    for name in SUBJECTS {
        let server = start(experiment, name)?;
        let before = memory(&server);
        let options = Options { patience: PATIENCE, drain: PATIENCE, ..Options::default() };
        let crowd = connect(&server, Transport::Tcp, connections, options)?;
        servers.push((server, crowd, before));
    }
    let (mut cpu, mut answers) = (vec![Vec::new(); 2], vec![Vec::new(); 2]);
    let mut failed = 0;
    let slot = SLOT.max(SLOT_EACH * connections as u32);
    for _ in 0..experiment.rounds(if connections < 1000 { ROUNDS } else { ROUNDS / 2 }).max(5) {
        for at in experiment.order(2) {
            let (server, crowd, _) = &mut servers[at];
            let measured = measure(server, Transport::Tcp, crowd, slot, Pace::Closed)?;
            cpu[at].push(measured.cpu_us());
            answers[at].push(Some(measured.slot.throughput()));
            failed += measured.slot.failed();
        }
    }
    let each = |at: usize| {
        let (server, _, before) = &servers[at];
        memory(server).zip(*before).map(|(now, before)| (now - before).max(0.0) / connections as f64)
    };
    Ok(Level {
        connections,
        ratio: bootstrap_median(&log_ratios(&cpu[1], &cpu[0]), 2000, experiment.seed()),
        cpu: [median(&cpu[0]), median(&cpu[1])],
        answers: [median(&answers[0]), median(&answers[1])],
        memory: [each(0), each(1)],
        failed,
    })
}

/// A server that takes as many clients as it may.
fn start(experiment: &Experiment<'_>, name: &str) -> io::Result<Server> {
    let most = if name == "epoll" { IDLE } else { MOST_THREADS };
    experiment.start(name, &[Transport::Tcp], &["idle_timeout=120s", &format!("max_connections={most}")])
}

/// Memory for each of so many clients who are only there, in bytes.
fn idle_memory(experiment: &Experiment<'_>, name: &str, connections: usize) -> io::Result<Option<f64>> {
    let server = start(experiment, name)?;
    let before = memory(&server);
    let options = Options { patience: PATIENCE, drain: PATIENCE, ..Options::default() };
    let mut crowd = connect(&server, Transport::Tcp, connections, options)?;
    // Each of them has been heard once, so that all are served and none only waits to be.
    crowd.slot(Duration::from_millis(500), Pace::Closed)?;
    Ok(memory(&server).zip(before).map(|(now, before)| (now - before).max(0.0) / connections as f64))
}

fn memory(server: &Server) -> Option<f64> {
    server.facts(Transport::Tcp).map(|facts| facts.memory_bytes as f64)
}

fn judge(levels: &[Level], idle: &[(&str, usize, Option<f64>)]) -> Finding {
    let Some((first, last)) = levels.first().zip(levels.last()) else {
        return Finding::cannot_be_shown("The client may not have enough descriptors for 16 clients of each.".into());
    };
    let ratio = |level: &Level| level.ratio.map_or(f64::NAN, |ratio| ratio.ratio());
    let verdict = match ratio(last) {
        _ if last.failed > 0 => Verdict::Holds,
        ratio if ratio >= 3.0 => Verdict::Holds,
        ratio if ratio >= 1.25 => Verdict::Depends,
        _ => Verdict::Fails,
    };
    let kib = |bytes: Option<f64>| bytes.map_or_else(|| "?".to_owned(), |bytes| format!("{:.1} KiB", bytes / 1024.0));
    let mut because = vec![format!(
        "With {} busy clients a question costs thread_per_connection {:.2} times what it costs epoll, with {} {:.2} times; {} of \
         all questions failed.",
        first.connections,
        ratio(first),
        last.connections,
        ratio(last),
        levels.iter().map(|level| level.failed).sum::<u64>(),
    )];
    because.extend(idle.iter().map(|(name, connections, bytes)| {
        format!("{connections} idle clients take {} of memory each in {name}.", kib(*bytes))
    }));
    because.push("thread_per_connection ends at 4,095 clients here: its page has a place for each.".to_owned());
    let columns = [
        ("cpu_epoll", "epoll: CPU per question", "us"),
        ("cpu_threads", "threads: CPU per question", "us"),
        ("ratio", "threads to epoll", "x"),
        ("answers_epoll", "epoll: answers", "/s"),
        ("answers_threads", "threads: answers", "/s"),
        ("memory_epoll", "epoll: memory per client", "B"),
        ("memory_threads", "threads: memory per client", "B"),
    ];
    let rows = levels.iter().map(|level| {
        let ratio = level.ratio.map_or_else(|| figure(None), |ratio| between(ratio.ratio(), ratio.ratio_interval()));
        let pair = |values: [Option<f64>; 2]| values.map(figure);
        let ([cpu, threads], [answers, by_threads]) = (pair(level.cpu), pair(level.answers));
        let [memory, of_threads] = pair(level.memory);
        row(
            &format!("{} clients", level.connections),
            vec![cpu, threads, ratio, answers, by_threads, memory, of_threads],
        )
    });
    let lines = |of: fn(&Level) -> [Option<f64>; 2]| {
        let line =
            |at: usize| series(SUBJECTS[at], levels.iter().map(move |level| (level.connections as f64, of(level)[at])));
        vec![line(0), line(1)]
    };
    let clients = || axis("busy clients", "", Scale::Logarithmic);
    Finding {
        verdict,
        because,
        tables: vec![table("busy", "All clients ask without a break", &columns, rows.collect())],
        charts: vec![
            chart(
                "threads",
                "What a question costs the server: a thread for each client beside one loop",
                Form::Lines,
                (clients(), axis("CPU per question", "us", Scale::Linear)),
                lines(|level| level.cpu),
            ),
            chart(
                "threads_memory",
                "What a client costs in memory",
                Form::Lines,
                (clients(), axis("memory per client", "B", Scale::Logarithmic)),
                lines(|level| level.memory),
            ),
        ],
    }
}
