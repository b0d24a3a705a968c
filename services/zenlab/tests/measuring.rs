//! The driver and the lab with the real servers.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

#[path = "../../bench/tests/support/mod.rs"]
mod known;

use std::path::Path;
use std::time::Duration;

use bench::{Crowd, Lab, Life, Options, Pace, Slot, Subject};
use known::{PATIENT, slots_until};
use zen::Transport;

const SLOT: Duration = Duration::from_millis(100);

fn subject(architecture: &str, transports: &[Transport], settings: &[&str]) -> Subject {
    Subject {
        name: architecture.to_owned(),
        architecture: architecture.to_owned(),
        transports: transports.to_vec(),
        settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
    }
}

fn lab() -> Lab {
    Lab::open(Path::new(env!("CARGO_BIN_EXE_zenlab")), false).unwrap()
}

/// Slots until there are some answers.
fn served(crowd: &mut Crowd, pace: Pace) -> Slot {
    slots_until(crowd, SLOT, pace, |all| all.ok > 10)
}

#[test]
fn every_transport_is_measured() {
    let lab = lab();
    let server = lab.start(&subject("epoll", &Transport::ALL, &["idle_timeout=1h"])).unwrap();
    for transport in Transport::ALL {
        let endpoint = server.endpoint(transport).unwrap();
        let before = server.usage(transport).unwrap();
        let mut crowd = Crowd::connect(endpoint, 8, PATIENT).unwrap();
        for pace in [Pace::Closed, Pace::even(2000.0)] {
            assert_eq!(served(&mut crowd, pace).failed(), 0, "{transport} {pace:?}");
        }
        let used = server.usage(transport).unwrap().since(&before);
        assert!(used.cpu_ns > 0 && used.switches > 0, "{transport}: {used:?}");
        let facts = server.facts(transport).unwrap();
        assert!(facts.processes == 1 && facts.threads == 1 && facts.memory_bytes > 0, "{facts:?}");
    }
}

#[test]
fn processes_and_threads_are_found_and_their_work_is_counted() {
    let lab = lab();
    for (architecture, setting, processes, threads) in [
        ("prefork", &["idle_timeout=1h", "workers=3"][..], 4, 4),
        ("thread_pool", &["idle_timeout=1h", "workers=3"], 1, 3),
        ("fork_per_connection", &["idle_timeout=1h"], 4, 4),
    ] {
        let server = lab.start(&subject(architecture, &[Transport::Tcp], setting)).unwrap();
        let mut crowd = Crowd::connect(server.endpoint(Transport::Tcp).unwrap(), 3, PATIENT).unwrap();
        served(&mut crowd, Pace::Closed);
        let before = server.usage(Transport::Tcp).unwrap();
        let slot = served(&mut crowd, Pace::Closed);
        let used = server.usage(Transport::Tcp).unwrap().since(&before);
        let facts = server.facts(Transport::Tcp).unwrap();
        assert!(facts.processes >= processes && facts.threads >= threads, "{architecture}: {facts:?}");
        // No answer is cheaper than a microsecond of a processor.
        assert!(used.cpu_ns > slot.ok * 1000, "{architecture}: {used:?} for {} answers", slot.ok);
    }
}

#[test]
fn conversations_of_every_kind_of_end_are_served() {
    let lab = lab();
    let server =
        lab.start(&subject("single_threaded", &[Transport::Tcp, Transport::Unix], &["idle_timeout=1h"])).unwrap();
    for transport in [Transport::Tcp, Transport::Unix] {
        for reset in [false, true] {
            let life = Life::Conversations { questions: 3, reset };
            let options = Options { life, ..PATIENT };
            let mut crowd = Crowd::connect(server.endpoint(transport).unwrap(), 4, options).unwrap();
            assert_eq!(served(&mut crowd, Pace::Closed).failed(), 0, "{transport} {reset}");
        }
    }
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let lab = lab();
    let error = lab.start(&subject("epoll", &[Transport::Tcp], &["workers=0"])).unwrap_err().to_string();
    assert!(error.contains("epoll") && error.contains("workers"), "{error}");
}

#[test]
fn a_setting_is_changed_while_it_runs() {
    let lab = lab();
    let server = lab.start(&subject("thread_pool", &[Transport::Tcp], &[])).unwrap();
    server.set("workers", &serde_json::json!(7)).unwrap();
    assert!(server.get("/api/v1/config").unwrap().contains("\"workers\":7"));
    assert!(server.set("workers", &serde_json::json!(0)).is_err());
}

#[test]
fn ten_thousand_silent_connections_are_light() {
    let lab = lab();
    let server = lab.start(&subject("epoll", &[Transport::Tcp], &["idle_timeout=1h"])).unwrap();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    // Both ends are limited, and the server keeps some descriptors for itself.
    let most = (limit.saturating_sub(200) as usize).min(9_900);
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let before = memory();
    // In crowds: each has a time of its own to connect.
    let connect = |count| Crowd::connect(server.endpoint(Transport::Tcp).unwrap(), count, PATIENT).unwrap();
    let crowds: Vec<Crowd> = (0..10).map(|_| connect(most / 10)).collect();
    assert_eq!(crowds.iter().map(Crowd::len).sum::<usize>(), most / 10 * 10);
    // What the tests beside this one hold is little; they may also have let some go.
    let more = memory().saturating_sub(before);
    assert!(more < 100_000, "{more} kB for {most} connections");
}

static STOP: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Told apart by what they cost, not by their names: one of the two works longer for each answer. Takes a minute and is a
/// timing, so it does not run with the others.
#[test]
#[ignore = "a timing"]
fn planted_work_is_found_and_a_twin_is_not_told_apart() {
    let contestant = |name: &str, settings: &[&str]| bench::bench::Contestant {
        subject: Subject { name: name.to_owned(), ..subject("epoll", &[Transport::Tcp], settings) },
        at_once: None,
        running: None,
    };
    let plan = bench::bench::Plan {
        transport: Transport::Tcp,
        connections: 16,
        rate: Some(5000.0),
        pairs: 60,
        slot: SLOT,
        pipeline: 1,
        warmup: Duration::from_secs(1),
        seed: 1,
        reference: "plain".to_owned(),
        curve: false,
        stages: Vec::new(),
        hostile: false,
        stop: &STOP,
    };
    // A busy epoll server answers in 6 to 12 µs of CPU time: 4 µs more are about a third to two thirds.
    let field = [contestant("plain", &[]), contestant("slower", &["answer_delay=4us", "answer_work=spin"])];
    let lab = lab();
    let session = bench::Session::begin(plan.seed);
    let outcome = bench::bench::run(&plan, &lab, &field, &mut |_| ()).unwrap();
    let report = bench::bench::report(&plan, &outcome, session.end(&lab, "", ""));
    let ratio = |row: usize| report.tables[0].rows[row].cells[3].clone();
    let interval = ratio(2).interval.unwrap();
    assert!(interval.low > 1.1 && interval.high < 2.0, "{:?}", report.findings);
    assert_ne!(ratio(0).text, ratio(2).text, "letters");
    let shares = |one: &str, other: &str| one.chars().any(|letter| other.contains(letter));
    assert!(shares(&ratio(0).text, &ratio(1).text), "{:?}", report.validity);
}
