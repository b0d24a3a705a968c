//! What a process for each client costs, and what it saves.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use report::sheet::{axis, between, chart, figure, names, row, series, table};
use report::{Form, Scale};
use zen::{Address, QUESTIONS, Transport};

use super::experiment::{Experiment, fault, median};
use super::{Claim, Finding, Verdict};
use crate::driver::{Life, Options};
use crate::lab::Server;
use crate::pace::Pace;
use crate::stats::{bootstrap_median, log_ratios};

pub(super) const CLAIM: Claim = Claim {
    name: "forks",
    sentence: "A process for each client costs more than a thread, and keeps one client's fault from the others",
    experiment: "Sixteen clients connect, ask three questions and close, without a break, on epoll, thread_per_connection and \
                 fork_per_connection in turn. Then fifty clients are connected to each, one question ends in abort(3), and all \
                 are asked once more.",
    question: "How many times dearer is a conversation in a process of its own? How many of fifty survive an abort in each?",
    does_not_show: "The processes are small: they share the server's memory until they write to it. A large program takes \
                    longer to fork.",
    margin: 0.2,
    run,
};

const SUBJECTS: [&str; 3] = ["epoll", "thread_per_connection", "fork_per_connection"];
const CLIENTS: usize = 16;
const QUESTIONS_EACH: u32 = 3;
/// CPU time of processes that ended is counted in steps of 10 ms: a slot must be long beside that.
const SLOT: Duration = Duration::from_millis(400);
const ROUNDS: usize = 15;
const FIFTY: usize = 50;
const PATIENCE: Duration = Duration::from_secs(3);

fn run(experiment: &mut Experiment<'_>) -> io::Result<Finding> {
    experiment.tell("conversations without a break, on each in turn");
    let cpu = churn(experiment)?;
    let mut survivors = Vec::new();
    for name in SUBJECTS {
        experiment.tell(&format!("{FIFTY} clients and one abort on {name}"));
        survivors.push(survivors_of_an_abort(&experiment.start(name, &[Transport::Tcp], &["idle_timeout=60s"])?)?);
    }
    Ok(judge(experiment.seed(), &cpu, &survivors))
}

/// CPU for each conversation in µs, by subject and round.
fn churn(experiment: &mut Experiment<'_>) -> io::Result<Vec<Vec<Option<f64>>>> {
    let life = Life::Conversations { questions: QUESTIONS_EACH, reset: false };
    let mut servers = Vec::new();
    for name in SUBJECTS {
        let server = experiment.start(name, &[Transport::Tcp], &[])?;
        let crowd = experiment.connect(&server, Transport::Tcp, CLIENTS, Options { life, ..Options::default() })?;
        servers.push((server, crowd));
    }
    let mut cpu = vec![Vec::new(); SUBJECTS.len()];
    for _ in 0..experiment.rounds(ROUNDS).max(5) {
        for at in experiment.order(SUBJECTS.len()) {
            let (server, crowd) = &mut servers[at];
            let measured = experiment.load(server, Transport::Tcp, crowd, SLOT, Pace::Closed)?;
            cpu[at].push(measured.cpu_us().map(|us| us * f64::from(QUESTIONS_EACH)));
        }
    }
    Ok(cpu)
}

/// Of fifty clients who are served, those who are still answered after one question has ended in abort(3).
fn survivors_of_an_abort(server: &Server) -> io::Result<usize> {
    let mut clients: Vec<TcpStream> = (0..FIFTY).map(|_| client(server)).collect::<io::Result<_>>()?;
    for client in &mut clients {
        if !is_answered(client) {
            return Err(io::Error::other(format!("{}: a client is not answered before any fault", server.name)));
        }
    }
    fault(server, "abort", "conversation")?;
    let unlucky = is_answered(&mut clients[0]);
    let others = clients[1..].iter_mut().filter_map(|client| is_answered(client).then_some(())).count();
    Ok(others + usize::from(unlucky))
}

fn client(server: &Server) -> io::Result<TcpStream> {
    match server.endpoint(Transport::Tcp).map(|endpoint| &endpoint.address) {
        Some(Address::Host(host, port)) => {
            let client = TcpStream::connect((host.as_str(), *port))?;
            client.set_read_timeout(Some(PATIENCE))?;
            Ok(client)
        }
        _ => Err(io::Error::other(format!("{} does not serve TCP", server.name))),
    }
}

fn is_answered(client: &mut TcpStream) -> bool {
    let mut answer = vec![0; QUESTIONS[0].answer.len()];
    let began = Instant::now();
    let heard = client.write_all(QUESTIONS[0].question.as_bytes()).and_then(|()| client.read_exact(&mut answer));
    heard.is_ok() && began.elapsed() < PATIENCE && answer == QUESTIONS[0].answer.as_bytes()
}

fn judge(seed: u64, cpu: &[Vec<Option<f64>>], survivors: &[usize]) -> Finding {
    let ratio = |one: usize, other: usize| bootstrap_median(&log_ratios(&cpu[one], &cpu[other]), 2000, seed);
    let (to_epoll, to_threads) = (ratio(2, 0), ratio(2, 1));
    let is_dearer = to_threads.is_some_and(|ratio| ratio.low > 0.0);
    let isolates = survivors[2] == FIFTY - 1 && survivors[1] == 0;
    let verdict = match (is_dearer, isolates) {
        (true, true) => Verdict::Holds,
        (false, false) => Verdict::Fails,
        _ => Verdict::Depends,
    };
    let times = |ratio: Option<crate::stats::Estimate>| {
        ratio.map_or_else(
            || "an unknown number of times".to_owned(),
            |ratio| format!("{:.2} times (95 %: {:.2} to {:.2})", ratio.ratio(), ratio.low.exp(), ratio.high.exp()),
        )
    };
    let because = vec![
        format!(
            "A conversation of three questions costs fork_per_connection {} what it costs thread_per_connection, and {} what \
             it costs epoll.",
            times(to_threads),
            times(to_epoll),
        ),
        format!(
            "Of {FIFTY} clients {} survive an abort in fork_per_connection, {} in thread_per_connection, {} in epoll.",
            survivors[2], survivors[1], survivors[0],
        ),
    ];
    let columns = [
        ("cpu", "CPU per conversation", "us"),
        ("ratio", "to thread_per_connection", "x"),
        ("survivors", "survivors of 50 after an abort", ""),
    ];
    let medians: Vec<Option<f64>> = cpu.iter().map(|values| median(values)).collect();
    let rows = SUBJECTS.iter().enumerate().map(|(at, name)| {
        let to_threads = if at == 1 { None } else { ratio(at, 1) };
        let ratio = to_threads.map_or_else(|| figure(None), |ratio| between(ratio.ratio(), ratio.ratio_interval()));
        row(name, vec![figure(medians[at]), ratio, figure(Some(survivors[at] as f64))])
    });
    let bars = medians.iter().enumerate().map(|(at, median)| (at as f64, *median));
    let survived = survivors.iter().enumerate().map(|(at, count)| (at as f64, Some(*count as f64)));
    Finding {
        verdict,
        because,
        tables: vec![table("forks", "What isolation costs and saves", &columns, rows.collect())],
        charts: vec![
            chart(
                "forks",
                "What a conversation costs the server",
                Form::Bars,
                (names("", SUBJECTS), axis("CPU per conversation", "us", Scale::Linear)),
                vec![series("CPU per conversation", bars)],
            ),
            chart(
                "forks_survivors",
                "Of fifty clients, those who are still served after one question ended in abort(3)",
                Form::Bars,
                (names("", SUBJECTS), axis("clients", "", Scale::Linear)),
                vec![series("still served", survived)],
            ),
        ],
    }
}
