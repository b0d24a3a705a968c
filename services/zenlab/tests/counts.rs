//! How often `bench` and `search` are right, counted on servers whose truth is known; `bench` also beside a process that wants a CPU
//! for itself. One command prints all counts, each round as it comes:
//!
//! ```sh
//! cargo test --release -p zenlab --test counts -- --ignored --nocapture --test-threads 1
//! ```
//!
//! `ROUNDS=3` in the environment makes fewer rounds; the demands are those of twenty, in proportion.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that fails says where; the counts are its result")]

#[path = "../../bench/tests/support/mod.rs"]
mod known;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bench::bench::{Contestant, Plan};
use bench::search::{self, Limit};
use bench::{Crowd, Lab, Options, Pace, Random, Server, Session, Subject, stats};
use report::{Report, Verdict};
use zen::{Endpoint, Transport};

/// No bench and no search may take longer.
const LONGEST: Duration = Duration::from_mins(1);

const CONNECTIONS: usize = 16;

static STOP: AtomicBool = AtomicBool::new(false);

fn rounds() -> usize {
    std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// A process that wants a CPU all the time, and goes with the test.
struct Hog(Child);

impl Hog {
    fn start() -> Self {
        let busy = Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn();
        Self(busy.unwrap())
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lab() -> Lab {
    Lab::open(Path::new(env!("CARGO_BIN_EXE_zenlab")), false).unwrap()
}

fn epoll(name: &str, settings: Vec<String>) -> Subject {
    Subject { name: name.to_owned(), architecture: "epoll".to_owned(), transports: vec![Transport::Tcp], settings }
}

/// What a question costs a busy server, and the work of an answer that makes it dearer by each of the planted parts.
struct Planted {
    question_us: f64,
    spin_ns: Vec<u64>,
}

/// Measures what a question costs without work and with amounts of it around those that are wanted, and reads these off the
/// line through all. Not by the clock alone: a server that takes longer finds its client asleep more often and pays for waking
/// it, so that 4.8 µs of work cost up to 8 where a question costs 15. Short turns, so that whatever the machine did met all of
/// them; several processes of each, because one differs from its like.
fn calibrate(lab: &Lab, parts: &[f64]) -> Planted {
    let about_us = Busy::start(lab, 0.0).cost_us();
    let tried_ns = parts.iter().flat_map(|part| [0.5, 1.0].map(|share| (share * part * about_us * 1e3).round()));
    let works_ns: Vec<f64> = std::iter::once(0.0).chain(tried_ns).collect();
    let mut costs_us = vec![Vec::new(); works_ns.len()];
    for _ in 0..8 {
        let mut all: Vec<Busy> = works_ns.iter().map(|&work_ns| Busy::start(lab, work_ns)).collect();
        let mut sums = vec![0.0; all.len()];
        for _ in 0..25 {
            all.iter_mut().zip(&mut sums).for_each(|(one, sum)| *sum += one.cost_us());
        }
        costs_us.iter_mut().zip(&sums).for_each(|(costs, sum)| costs.push(sum / 25.0));
    }
    let question_us = stats::median(&costs_us[0]);
    let more_us = costs_us.iter().map(|costs| {
        let pairs: Vec<f64> = costs.iter().zip(&costs_us[0]).map(|(cost, plain)| cost - plain).collect();
        stats::median(&pairs)
    });
    let line: Vec<(f64, f64)> = more_us.zip(works_ns).collect();
    println!("  {}", line.iter().map(|(us, ns)| format!("{ns:.0} ns cost {us:.3} µs")).collect::<Vec<_>>().join(", "));
    Planted { question_us, spin_ns: parts.iter().map(|part| at(&line, question_us * part).round() as u64).collect() }
}

/// Where a line through points in order of `x` is at `x`, on its last part beyond the last of them.
fn at(line: &[(f64, f64)], x: f64) -> f64 {
    let parts: Vec<_> = line.windows(2).filter(|ends| ends[1].0 > ends[0].0).collect();
    let part = parts.iter().find(|ends| x <= ends[1].0).or(parts.last()).expect("more work costs more");
    let ((x0, y0), (x1, y1)) = (part[0], part[1]);
    (y0 + (x - x0) * (y1 - y0) / (x1 - x0)).max(0.0)
}

/// A server under calibration, and its clients.
struct Busy {
    server: Server,
    crowd: Crowd,
}

impl Busy {
    fn start(lab: &Lab, spin_ns: f64) -> Self {
        let settings = vec!["answer_work=spin".into(), format!("answer_delay={spin_ns}ns")];
        let server = lab.start(&epoll("calibration", settings)).unwrap();
        let endpoint = server.endpoint(Transport::Tcp).unwrap();
        let crowd = Crowd::connect(endpoint, CONNECTIONS, Options::default()).unwrap();
        Self { server, crowd }
    }

    /// What a question costs now. The first answers of a turn are not counted.
    fn cost_us(&mut self) -> f64 {
        self.crowd.slot(Duration::from_millis(2), Pace::Closed).unwrap();
        let before = self.server.usage(Transport::Tcp).unwrap();
        let slot = self.crowd.slot(Duration::from_millis(10), Pace::Closed).unwrap();
        let used = self.server.usage(Transport::Tcp).unwrap().since(&before);
        used.cpu_ns as f64 / 1e3 / slot.ok as f64
    }
}

fn plan(pairs: usize, seed: u64) -> Plan {
    Plan {
        transport: Transport::Tcp,
        connections: CONNECTIONS,
        rate: None,
        pairs,
        slot: Duration::from_millis(100),
        pipeline: 1,
        warmup: Duration::from_secs(1),
        seed,
        reference: "plain".to_owned(),
        curve: false,
        stages: Vec::new(),
        hostile: false,
        stop: &STOP,
    }
}

/// A server without work, and one for each amount of it.
fn field(planted: &Planted) -> Vec<Contestant> {
    let contestant = |subject| Contestant { subject, at_once: None, running: None };
    let working = planted.spin_ns.iter().map(|spin| {
        contestant(epoll(&format!("{spin} ns"), vec!["answer_work=spin".into(), format!("answer_delay={spin}ns")]))
    });
    std::iter::once(contestant(epoll("plain", Vec::new()))).chain(working).collect()
}

/// The ratio of what a question costs when busy, with its interval, and whether the report tells it from the reference as dearer.
fn found(report: &Report, name: &str) -> (f64, String, bool) {
    let table = report.tables.iter().find(|table| table.id == "cost").unwrap();
    let at = table.columns.iter().position(|column| column.id == "busy_ratio").unwrap();
    let cell = |subject: &str| &table.rows.iter().find(|row| row.subject == subject).unwrap().cells[at];
    let (plain, other) = (cell("plain"), cell(name));
    let shares = other.text.chars().any(|letter| plain.text.contains(letter));
    let ratio = other.value.unwrap_or(f64::NAN);
    let text = other.interval.map_or(String::new(), |found| format!(" ({:.3}-{:.3})", found.low, found.high));
    (ratio, format!("{ratio:.3}{text}"), !shares && !other.text.is_empty() && ratio > 1.0)
}

/// What became of many benches of one kind.
struct Counts {
    rounds: usize,
    /// Benches that told the reference from its twin.
    separated: usize,
    /// Benches that told each of the planted parts.
    told: Vec<usize>,
}

/// Benches of so many pairs, each of a server, its twin, and one that costs more by each of `parts`.
fn count(pairs: usize, parts: &[f64]) -> Counts {
    // A hog, if there is one, has all cores; client and servers have some of their own, as in `zenlab bench`.
    let mut lab = lab();
    lab.pin().unwrap();
    // As there, where it is allowed.
    let _ = lab.keep_awake();
    let mut counts = Counts { rounds: rounds(), separated: 0, told: vec![0; parts.len()] };
    let (mut measured, mut unclear) = (vec![Vec::new(); parts.len()], 0);
    for round in 1..=counts.rounds {
        let planted = calibrate(&lab, parts);
        let plan = plan(pairs, round as u64);
        let (clock, session) = (Instant::now(), Session::begin(plan.seed));
        let outcome = bench::bench::run(&plan, &lab, &field(&planted), &mut |_| ()).unwrap();
        let report = bench::bench::report(&plan, &outcome, session.end(&lab, "", ""));
        let took = clock.elapsed();
        let is_separated = report.validity.verdict == Verdict::Unreliable;
        counts.separated += usize::from(is_separated);
        unclear += usize::from(report.validity.verdict == Verdict::Inconclusive);
        println!(
            "bench {round:2} of {}, {:4.1} s: a question costs {:.2} µs; twin {} {}",
            counts.rounds,
            took.as_secs_f64(),
            planted.question_us,
            found(&report, "plain (twin)").1,
            if is_separated { "SEPARATED" } else { "not separated" },
        );
        for (at, (part, spin)) in parts.iter().zip(&planted.spin_ns).enumerate() {
            let (ratio, text, is_told) = found(&report, &format!("{spin} ns"));
            let word = if is_told { "separated" } else { "NOT SEPARATED" };
            println!("  {:.0} % planted, {spin} ns: {text} {word}", part * 100.0);
            counts.told[at] += usize::from(is_told);
            measured[at].push(ratio);
        }
        if report.validity.verdict != Verdict::Valid {
            println!("  {:?}: {}", report.validity.verdict, report.validity.reasons.join(" "));
        }
        assert!(took < LONGEST, "{took:?}");
    }
    println!("twins separated in {} of {}; inconclusive: {unclear}", counts.separated, counts.rounds);
    for ((part, told), ratios) in parts.iter().zip(&counts.told).zip(measured) {
        let (percent, rounds, median) = (part * 100.0, counts.rounds, stats::median(&ratios));
        println!("{percent:.0} % planted was told in {told} of {rounds}, and measured as {median:.3} in the median");
    }
    counts
}

/// Told apart by what they cost, and by nothing else: twins hardly ever, a tenth of the cost nearly always.
#[test]
#[ignore = "many minutes, and a timing"]
fn twins_are_not_separated_and_planted_work_is() {
    let _hog = Hog::start();
    let Counts { rounds, separated, told } = count(40, &[0.1, 0.3]);
    assert!(20 * separated <= rounds.max(20), "twins");
    assert!(10 * told[0] >= 9 * rounds, "10 %");
    assert!(10 * told[1] >= 9 * rounds, "30 %");
}

/// A twentieth of the cost in a bench of half a minute. It needs a machine that has nothing else to do.
#[test]
#[ignore = "many minutes, and a timing"]
fn a_twentieth_is_told_by_seventeen_pairs() {
    let Counts { rounds, separated, told } = count(17, &[0.05]);
    assert!(20 * separated <= rounds.max(20), "twins");
    assert!(10 * told[0] >= 8 * rounds, "5 %");
}

fn search(endpoint: Endpoint, lab: &Lab, seed: u64) -> search::Outcome {
    let plan = search::Plan {
        transport: Transport::Tcp,
        // So many answers are on their way that a thread that wakes late holds none up.
        connections: 64,
        quantile: QUANTILE,
        longest: LIMIT,
        window: Duration::from_millis(500),
        budget: Duration::from_secs(25),
        seed,
        stop: &STOP,
    };
    let subject = Subject { transports: Vec::new(), settings: Vec::new(), ..epoll("capped", Vec::new()) };
    let contestant = Contestant { subject, at_once: None, running: Some((vec![endpoint], None)) };
    search::run(&plan, lab, &[contestant], &mut |_| ()).unwrap().remove(0)
}

/// The limit of the searches: of 100 questions 99 are answered within this time.
const LIMIT: Duration = Duration::from_millis(25);
const QUANTILE: f64 = 0.99;

/// The greatest rate that keeps the limit on a server that answers `cap` questions a second, one after the other, when they
/// come at random: the response time of the queue M/D/1 by its exponential tail (Cramér and Lundberg), as good as exact here.
fn truth(cap: f64) -> f64 {
    let service = cap.recip();
    let beyond = |rate: f64| {
        // How fast the tail falls: the root above 0 of rate (e^(decay service) - 1) = decay.
        let (mut low, mut high) = (0.0, 100.0 * cap);
        for _ in 0..200 {
            let decay = f64::midpoint(low, high);
            let is_below = rate * (decay * service).exp_m1() < decay;
            *(if is_below { &mut low } else { &mut high }) = decay;
        }
        let waits = (1.0 - rate * service) / (rate * service * (low * service).exp() - 1.0);
        waits * (-low * (LIMIT.as_secs_f64() - service)).exp()
    };
    let (mut low, mut high) = (0.5 * cap, cap * (1.0 - 1e-9));
    for _ in 0..100 {
        let rate = f64::midpoint(low, high);
        *(if beyond(rate) < 1.0 - QUANTILE { &mut low } else { &mut high }) = rate;
    }
    low
}

#[test]
fn the_truth_is_that_of_the_queue() {
    let cap = 4000.0;
    let rate = truth(cap);
    // So long a limit leaves little but the cap: ln 100 / (2 x 100 services) is 2.3 %.
    assert!((0.972..0.98).contains(&(rate / cap)), "{rate}");
    assert!(truth(8000.0) / 8000.0 > rate / cap);
}

/// A server that answers so many questions a second and no more: the rate at which that breaks the limit is in the interval, or
/// nothing is said.
#[test]
#[ignore = "many minutes, and a timing"]
fn a_known_limit_is_found_or_nothing_is_said() {
    let rounds = rounds();
    // No hog: a server whose threads wait for a CPU is capped by that, and nobody knows where.
    let lab = lab();
    let (mut inside, mut inconclusive) = (0, 0);
    let mut random = Random::new(1);
    for round in 1..=rounds {
        let cap = (2000.0 + 4000.0 * random.unit()).round();
        let truth = truth(cap);
        let clock = Instant::now();
        let outcome = search(known::tcp(known::capped(cap)), &lab, round as u64);
        let took = clock.elapsed();
        let word = match &outcome.limit {
            Limit::Found { interval: (low, high), .. } if (*low..=*high).contains(&truth) => {
                inside += 1;
                "inside"
            }
            Limit::Inconclusive(_) => {
                inconclusive += 1;
                "nothing said"
            }
            _ => "OUTSIDE",
        };
        println!(
            "search {round:2} of {rounds}, {:4.1} s: {truth:.0}/s of a server capped at {cap}/s, {word}: {}",
            took.as_secs_f64(),
            outcome.sentence()
        );
        assert!(took < LONGEST, "{took:?}");
    }
    println!("a known limit inside the interval in {inside} of {rounds}, inconclusive in {inconclusive}");
    assert!(20 * (inside + inconclusive) >= 19 * rounds, "inside");
}

/// A server that stands still for a second of ten: what was to be asked meanwhile has waited, and counts; clients that only ask
/// when they have been answered hide it, as each of them has met one slow answer.
#[test]
#[ignore = "half a minute, and a timing"]
fn a_pause_is_in_the_open_loop_and_hidden_by_the_closed_one() {
    const TIME: Duration = Duration::from_secs(10);
    let lab = lab();
    for pace in [Pace::even(1000.0), Pace::Closed] {
        let server = lab.start(&epoll("paused", Vec::new())).unwrap();
        let leader = server.leader(Transport::Tcp).unwrap();
        let options = Options { patience: 2 * TIME, ..Options::default() };
        let mut crowd = Crowd::connect(server.endpoint(Transport::Tcp).unwrap(), CONNECTIONS, options).unwrap();
        let pause = move || {
            std::thread::sleep(TIME / 2);
            signal(leader, libc::SIGSTOP);
            std::thread::sleep(TIME / 10);
            signal(leader, libc::SIGCONT);
        };
        let pause = std::thread::Builder::new().name("pause".into()).spawn(pause).unwrap();
        let slot = crowd.slot(TIME, pace).unwrap();
        pause.join().unwrap();
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|q| slot.response_at(q).unwrap() as f64 / 1e6);
        println!(
            "{pace:?}: planned {} = sent {} + unsent {}; right {}; response p50 {p50:.2} ms, p90 {p90:.2} ms, p99 {p99:.2} ms, longest {:.0} ms",
            slot.planned,
            slot.sent,
            slot.unsent,
            slot.ok,
            slot.response.max() as f64 / 1e6
        );
        assert!(slot.balances() && slot.ok == slot.sent, "{slot:?}");
        match pace {
            Pace::Closed => assert!(p99 < 100.0, "{p99} ms"),
            Pace::Open { .. } => assert!(slot.planned == 10_000 && p99 >= 800.0, "{p99} ms of {}", slot.planned),
        }
    }
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: a plain system call; the process belongs to a server of this test.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0, "{pid}");
}
