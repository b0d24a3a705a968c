//! A thread for each of thousands.

use std::io;
use std::time::Duration;

use report::sheet::{axis, between, chart, figure, row, series, table, word};
use report::{Cell, Chart, Form, Scale, Table};
use zen::Transport;

use super::experiment::{Experiment, median, most_connections};
use super::{Claim, Finding, Verdict};
use crate::driver::Options;
use crate::lab::Server;
use crate::pace::Pace;
use crate::stats::{Estimate, bootstrap_median, log_ratios};

pub(super) const CLAIM: Claim = Claim {
    name: "threads",
    sentence: "Threads do not scale to thousands of clients",
    experiment: "thread_per_connection and epoll with 16 to 4,000 clients, all of whom ask without a break, in turn; then with \
                 1,000 to 10,000 who are only there.",
    question: "How many times dearer is a question with 4,000 threads than with one loop? And how much memory does an idle \
               client take?",
    does_not_show: "Memory here is the process' own. Each thread has a stack in the kernel as well (16 KiB), and each connection \
                    its socket at both ends, the same for both servers.",
    margin: 0.2,
    run,
};

const SUBJECTS: [&str; 2] = ["epoll", "thread_per_connection"];
const BUSY: [usize; 4] = [16, 128, 1000, 4000];
/// What one server's page has room for with a worker for each client.
const MOST_THREADS: usize = 4000;
const IDLE: [usize; 3] = [1000, 4000, 10_000];
/// Growth of memory in bytes that is told from none: the kernel counts pages, and divides what processes share.
const RESOLUTION: f64 = 65_536.0;
/// Of the questions that were asked, those that may fail on a busy machine.
const MAY_FAIL: f64 = 0.001;
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
    ratio: Option<Estimate>,
    /// Answers a second, by subject.
    answers: [Option<f64>; 2],
    /// Questions that were asked, and that failed, by subject.
    asked: [u64; 2],
    failed: [u64; 2],
}

/// Clients who are only there, on one server.
struct Idle {
    /// By the numbers of [`IDLE`]: by so much its memory has grown, in bytes. It ends where the server or the client does.
    growth: Vec<Option<f64>>,
    /// What ended it.
    end: Option<String>,
}

fn run(experiment: &mut Experiment<'_>) -> io::Result<Finding> {
    let room = most_connections();
    let mut levels = Vec::new();
    for connections in BUSY.into_iter().filter(|&connections| 2 * connections <= room) {
        experiment.tell(&format!("{connections} busy clients on each"));
        levels.push(level(experiment, connections)?);
    }
    let idle = [stay(experiment, SUBJECTS[0], room)?, stay(experiment, SUBJECTS[1], room)?];
    Ok(judge(&levels, &idle))
}

fn level(experiment: &mut Experiment<'_>, connections: usize) -> io::Result<Level> {
    let mut servers = Vec::new();
    for name in SUBJECTS {
        let server = start(experiment, name, MOST_THREADS)?;
        let crowd = experiment.connect(&server, Transport::Tcp, connections, options())?;
        servers.push((server, crowd));
    }
    let (mut cpu, mut answers) = (vec![Vec::new(); 2], vec![Vec::new(); 2]);
    let (mut asked, mut failed) = ([0; 2], [0; 2]);
    for _ in 0..experiment.rounds(if connections < 1000 { ROUNDS } else { ROUNDS / 2 }).max(5) {
        for at in experiment.order(2) {
            let (server, crowd) = &mut servers[at];
            let measured = experiment.load(server, Transport::Tcp, crowd, slot(connections), Pace::Closed)?;
            cpu[at].push(measured.cpu_us());
            answers[at].push(Some(measured.slot.throughput()));
            asked[at] += measured.slot.sent;
            failed[at] += measured.slot.failed();
        }
    }
    Ok(Level {
        connections,
        ratio: bootstrap_median(&log_ratios(&cpu[1], &cpu[0]), 2000, experiment.seed()),
        cpu: [median(&cpu[0]), median(&cpu[1])],
        answers: [median(&answers[0]), median(&answers[1])],
        asked,
        failed,
    })
}

fn slot(connections: usize) -> Duration {
    SLOT.max(SLOT_EACH * connections as u32)
}

fn options() -> Options {
    Options { patience: PATIENCE, drain: PATIENCE, ..Options::default() }
}

fn start(experiment: &Experiment<'_>, name: &str, most: usize) -> io::Result<Server> {
    experiment.start(name, &[Transport::Tcp], &["idle_timeout=120s", &format!("max_connections={most}")])
}

/// Lets more and more clients stay, and sees what memory they take.
fn stay(experiment: &mut Experiment<'_>, name: &str, room: usize) -> io::Result<Idle> {
    let (server, most, mut end) = greatest(experiment, name)?;
    let before = memory(&server);
    let (mut crowds, mut growth, mut there) = (Vec::new(), Vec::new(), 0);
    for connections in IDLE.into_iter().filter(|&connections| connections <= most) {
        if connections > room {
            end = Some(format!("the client may have {room} connections here"));
            break;
        }
        experiment.tell(&format!("{connections} idle clients on {name}"));
        let mut crowd = experiment.connect(&server, Transport::Tcp, connections - there, options())?;
        // Each of them has been heard once, so that all are served and none only waits to be.
        experiment.load(&server, Transport::Tcp, &mut crowd, slot(connections), Pace::Closed)?;
        crowds.push(crowd);
        there = connections;
        growth.push(memory(&server).zip(before).map(|(now, before)| now - before));
    }
    Ok(Idle { growth, end })
}

/// A server that takes as many clients as it may, how many of [`IDLE`] that is, and why it is no more.
fn greatest(experiment: &Experiment<'_>, name: &str) -> io::Result<(Server, usize, Option<String>)> {
    let mut end = None;
    for most in IDLE.into_iter().rev() {
        match start(experiment, name, most) {
            Ok(server) => return Ok((server, most, end)),
            Err(error) => end = Some(last_words(&error)),
        }
        experiment.go_on()?;
    }
    Err(io::Error::other(end.unwrap_or_default()))
}

/// What a server says of itself when it does not start.
fn last_words(error: &io::Error) -> String {
    let text = error.to_string();
    let said = text.rsplit_once("zenlab: ").map_or(text.as_str(), |(_, said)| said);
    said.trim_end_matches(" (from the command line)").to_owned()
}

fn memory(server: &Server) -> Option<f64> {
    server.facts(Transport::Tcp).map(|facts| facts.memory_bytes as f64)
}

impl Level {
    /// Part of a subject's questions that failed.
    fn lost(&self, subject: usize) -> f64 {
        self.failed[subject] as f64 / self.asked[subject].max(1) as f64
    }

    /// Whether threads fail where epoll does not: what fails in both is the machine's fault, or the client's.
    fn fails_threads_only(&self) -> bool {
        self.lost(1) > MAY_FAIL && self.lost(0) <= MAY_FAIL
    }

    fn ratio(&self) -> f64 {
        self.ratio.map_or(f64::NAN, |ratio| ratio.ratio())
    }
}

impl Idle {
    /// Memory for each of so many clients in bytes, if it can be told from none.
    fn each(&self, at: usize) -> Option<f64> {
        let growth = self.growth.get(at).copied().flatten()?;
        (growth >= RESOLUTION).then(|| growth / IDLE[at] as f64)
    }

    fn cell(&self, at: usize) -> Cell {
        match (self.growth.get(at), self.each(at)) {
            (None, _) => word("ended"),
            (_, Some(bytes)) => figure(Some(bytes)),
            (Some(None), None) => word("?"),
            (Some(Some(_)), None) => word(format!("below {:.0} B", RESOLUTION / IDLE[at] as f64)),
        }
    }
}

fn judge(levels: &[Level], idle: &[Idle; 2]) -> Finding {
    let Some((first, last)) = levels.first().zip(levels.last()) else {
        return Finding::cannot_be_shown("The client may not have enough descriptors for 16 clients of each.".into());
    };
    let failed = |subject: usize| levels.iter().map(|level| level.failed[subject]).sum::<u64>();
    let mut because = vec![format!(
        "With {} busy clients a question costs thread_per_connection {:.2} times what it costs epoll, with {} {:.2} times; {} \
         questions of thread_per_connection and {} of epoll failed.",
        first.connections,
        first.ratio(),
        last.connections,
        last.ratio(),
        failed(1),
        failed(0),
    )];
    because.extend(memory_side_by_side(idle));
    because.extend(SUBJECTS.iter().zip(idle).filter_map(|(name, idle)| {
        let held = idle.growth.len().checked_sub(1).map_or(0, |last| IDLE[last]);
        idle.end.as_ref().map(|why| format!("{name} ends with {held} idle clients here: {why}."))
    }));
    Finding {
        verdict: verdict(last),
        because,
        tables: vec![busy_table(levels), idle_table(idle)],
        charts: vec![busy_chart(levels), idle_chart(idle)],
    }
}

fn verdict(last: &Level) -> Verdict {
    match last.ratio() {
        _ if last.fails_threads_only() => Verdict::Holds,
        ratio if ratio >= 3.0 => Verdict::Holds,
        ratio if ratio < 1.25 => Verdict::Fails,
        _ => Verdict::Depends,
    }
}

/// The memory of an idle client at the greatest number for which both are known.
fn memory_side_by_side(idle: &[Idle; 2]) -> Option<String> {
    let [epoll, threads] = idle;
    let both = |at: usize| Some((at, epoll.each(at)? / 1024.0, threads.each(at)? / 1024.0));
    let (at, by_epoll, by_threads) = (0..IDLE.len()).rev().find_map(both)?;
    Some(format!(
        "Each of {} idle clients takes {by_epoll:.1} KiB of memory in epoll, and {by_threads:.1} KiB in thread_per_connection.",
        IDLE[at],
    ))
}

fn busy_table(levels: &[Level]) -> Table {
    let columns = [
        ("cpu_epoll", "epoll: CPU per question", "us"),
        ("cpu_threads", "threads: CPU per question", "us"),
        ("ratio", "threads to epoll", "x"),
        ("answers_epoll", "epoll: answers", "/s"),
        ("answers_threads", "threads: answers", "/s"),
        ("failed_epoll", "epoll: failed", ""),
        ("failed_threads", "threads: failed", ""),
    ];
    let rows = levels.iter().map(|level| {
        let ratio = level.ratio.map_or_else(|| figure(None), |ratio| between(ratio.ratio(), ratio.ratio_interval()));
        let ([cpu, threads], [answers, by_threads]) = (level.cpu.map(figure), level.answers.map(figure));
        let [failed, of_threads] = level.failed.map(|failed| figure(Some(failed as f64)));
        let cells = vec![cpu, threads, ratio, answers, by_threads, failed, of_threads];
        row(&format!("{} clients", level.connections), cells)
    });
    table("busy", "All clients ask without a break", &columns, rows.collect())
}

fn idle_table(idle: &[Idle; 2]) -> Table {
    let columns =
        [("memory_epoll", "epoll: memory per client", "B"), ("memory_threads", "threads: memory per client", "B")];
    let rows = IDLE.iter().enumerate().map(|(at, connections)| {
        row(&format!("{connections} clients"), idle.iter().map(|idle| idle.cell(at)).collect())
    });
    table("idle", "Clients who are only there", &columns, rows.collect())
}

fn busy_chart(levels: &[Level]) -> Chart {
    let line = |at: usize| series(SUBJECTS[at], levels.iter().map(|level| (level.connections as f64, level.cpu[at])));
    chart(
        "threads",
        "What a question costs the server: a thread for each client beside one loop",
        Form::Lines,
        (axis("busy clients", "", Scale::Logarithmic), axis("CPU per question", "us", Scale::Linear)),
        vec![line(0), line(1)],
    )
}

fn idle_chart(idle: &[Idle; 2]) -> Chart {
    let line = |at: usize| {
        let points = IDLE.iter().enumerate().map(|(number, clients)| (*clients as f64, idle[at].each(number)));
        series(SUBJECTS[at], points)
    };
    chart(
        "threads_memory",
        "What a client who is only there costs in memory",
        Form::Lines,
        (axis("idle clients", "", Scale::Logarithmic), axis("memory per client", "B", Scale::Logarithmic)),
        vec![line(0), line(1)],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(ratio: f64, failed: [u64; 2]) -> Level {
        let estimate = Estimate { value: ratio.ln(), low: 0.0, high: ratio, p: 0.01, pairs: 5 };
        Level {
            connections: 4000,
            cpu: [Some(10.0), Some(10.0 * ratio)],
            ratio: Some(estimate),
            answers: [Some(1e4), Some(1e4 / ratio)],
            asked: [10_000; 2],
            failed,
        }
    }

    #[test]
    fn what_fails_in_epoll_is_not_held_against_threads() {
        for (ratio, failed, expected) in [
            (1.5, [0, 0], Verdict::Depends),
            (1.5, [0, 500], Verdict::Holds),
            (1.5, [500, 0], Verdict::Depends),
            (1.5, [500, 500], Verdict::Depends),
            (1.1, [500, 500], Verdict::Fails),
            (1.1, [0, 1], Verdict::Fails),
            (4.0, [0, 0], Verdict::Holds),
        ] {
            assert_eq!(verdict(&level(ratio, failed)), expected, "{ratio} {failed:?}");
        }
        let nobody = || Idle { growth: Vec::new(), end: None };
        let said = judge(&[level(1.5, [7, 3])], &[nobody(), nobody()]).because;
        assert!(said[0].contains("3 questions of thread_per_connection and 7 of epoll failed"), "{said:?}");
    }

    #[test]
    fn memory_that_cannot_be_told_from_none_is_not_drawn() {
        let epoll = Idle { growth: vec![Some(4096.0), Some(1e6), Some(2e6)], end: None };
        let threads = Idle { growth: vec![Some(2e7), Some(8e7)], end: Some("no more slots".into()) };
        let finding = judge(&[level(1.5, [0, 0])], &[epoll, threads]);
        let idle = &finding.tables[1].rows;
        assert_eq!((idle[0].cells[0].text.as_str(), idle[2].cells[1].text.as_str()), ("below 66 B", "ended"));
        let points = |at: usize| finding.charts[1].series[at].points.iter().map(|point| point.y).collect::<Vec<_>>();
        assert_eq!((points(0), points(1)), (vec![None, Some(250.0), Some(200.0)], vec![Some(2e4), Some(2e4), None]));
        let said = finding.because.join(" ");
        assert!(said.contains("Each of 4000 idle clients takes 0.2 KiB of memory in epoll, and 19.5 KiB in"), "{said}");
        assert!(said.contains("thread_per_connection ends with 4000 idle clients here: no more slots."), "{said}");
    }
}
