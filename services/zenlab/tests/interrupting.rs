//! Ctrl-C during a measurement: what was found by then is printed, wherever it comes.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bench::{Lab, Server, Subject};
use report::Report;
use zen::Transport;

const ZENLAB: &str = env!("CARGO_BIN_EXE_zenlab");

fn subject() -> Subject {
    Subject {
        name: "epoll".into(),
        architecture: "epoll".into(),
        transports: vec![Transport::Tcp],
        settings: Vec::new(),
    }
}

fn server(lab: &Lab) -> Server {
    lab.start(&subject()).unwrap()
}

fn start(command: &str, server: &Server, arguments: &[&str]) -> Child {
    let target = format!("mine={}@{}", server.endpoint(Transport::Tcp).unwrap(), server.admin().unwrap());
    Command::new(ZENLAB)
        .args([command, "--target", &target, "--format", "json"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn figure(server: &Server, name: &str) -> f64 {
    let metrics = server.get("/metrics").unwrap();
    let of = metrics.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
    of.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Presses Ctrl-C once the server looks as it should; none if the command ended before.
fn interrupt(child: Child, is_time: impl Fn() -> bool) -> Option<Output> {
    send(libc::SIGINT, child, is_time)
}

fn send(signal: i32, mut child: Child, is_time: impl Fn() -> bool) -> Option<Output> {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_time() {
        assert!(Instant::now() < deadline, "it never comes so far");
        if child.try_wait().unwrap().is_some() {
            return None;
        }
    }
    // SAFETY: a plain system call; the pid is that of a child of this test.
    unsafe { libc::kill(child.id() as i32, signal) };
    Some(child.wait_with_output().unwrap())
}

/// Processes below one whose children are its main thread's.
fn children(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

#[test]
fn a_claim_that_is_ended_has_no_verdict_and_leaves_nothing_behind() {
    let directory = std::env::temp_dir().join(format!("zenlab-ended-claim.{}", std::process::id()));
    let child = Command::new(ZENLAB)
        .args(["claim", "switches", "--no-prediction", "-o"])
        .arg(&directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let servers = std::cell::RefCell::new(Vec::new());
    let output = interrupt(child, || {
        servers.replace(children(pid));
        servers.borrow().len() == 4
    });
    let output = output.expect("it takes longer than its servers do to start");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("claim switches: it was ended early, and a part of an experiment has no verdict"), "{said}");
    assert!(!directory.join("switches/report.json").exists(), "there is no report of it");
    for server in servers.into_inner() {
        let left = std::fs::read_to_string(format!("/proc/{server}/cmdline")).unwrap_or_default();
        assert!(!left.contains("zenlab"), "{server} is left: {left}");
    }
}

#[test]
fn a_bench_keeps_its_blocks_when_unfriendly_clients_are_cut_short() {
    let lab = Lab::open(Path::new(ZENLAB), false).unwrap();
    let server = server(&lab);
    // A rate that no machine is too slow for, so that there are answers.
    let quick = ["--pairs", "5", "--slot", "20ms", "--warmup", "50ms", "-c", "4", "-R", "1k"];
    // Silent clients come after the blocks. They are there for a moment only, which may be missed.
    let mut tries = (0..20)
        .map(|_| interrupt(start("bench", &server, &quick), || figure(&server, "zen_connections_active") > 100.0));
    let output = tries.find_map(|output| output).expect("the moment was missed twenty times");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let report: Report = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(report.validity.reasons.iter().any(|reason| reason == "The run was ended early."), "{:?}", report.validity);
    // Of the slots that a busy machine made void no cost is told, but their answers are counted.
    let books = report.tables.iter().find(|table| table.id == "client").unwrap();
    let right = books.columns.iter().position(|column| column.id == "ok").unwrap();
    assert!(books.rows[0].cells[right].value.unwrap() > 0.0, "the blocks are in it: {:?}", books.rows[0]);
}

#[test]
fn a_search_that_was_ended_does_not_blame_the_machine() {
    let lab = Lab::open(Path::new(ZENLAB), false).unwrap();
    let server = server(&lab);
    let child = start("search", &server, &["--slo", "p50<1s", "-d", "10m"]);
    let output = interrupt(child, || figure(&server, "zen_requests_total") > 1000.0).expect("it takes minutes");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let report: Report = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report.findings, ["mine: inconclusive: the search was ended early."]);
}

#[test]
fn a_terminal_that_is_closed_ends_a_bench_in_order() {
    let lab = Lab::open(Path::new(ZENLAB), false).unwrap();
    let server = server(&lab);
    let child = start("bench", &server, &["--pairs", "100k", "--slot", "10ms", "-c", "4"]);
    let is_time = || figure(&server, "zen_requests_total") > 1000.0;
    let output = send(libc::SIGHUP, child, is_time).expect("it takes hours");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let report: Report = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(report.validity.reasons.iter().any(|reason| reason == "The run was ended early."), "{:?}", report.validity);
}

#[test]
fn what_somebody_who_was_killed_left_behind_is_removed() {
    let lab = Lab::open(Path::new(ZENLAB), false).unwrap();
    let server = server(&lab);
    let child = start("bench", &server, &["--pairs", "100k", "-c", "4"]);
    let left = std::env::temp_dir().join(format!("zenlab-bench.{}.0", child.id()));
    send(libc::SIGKILL, child, || left.join("lock").exists() && figure(&server, "zen_requests_total") > 0.0).unwrap();
    // Somebody else's test may have removed it by now; the next one does it for sure, and leaves alone what is in use.
    let next = Lab::open(Path::new(ZENLAB), false).unwrap();
    assert!(!left.exists(), "{}", left.display());
    assert!(server.get("/readyz").is_ok() && next.start(&subject()).is_ok());
    lab.start(&subject()).expect("its directory is there");
}

#[test]
fn a_server_that_dies_meanwhile_costs_no_report() {
    let lab = Lab::open(Path::new(ZENLAB), false).unwrap();
    for _ in 0..10 {
        let server = server(&lab);
        let quick = ["--pairs", "1", "--slot", "20ms", "--warmup", "50ms", "-c", "4"];
        let mut child = start("bench", &server, &quick);
        while figure(&server, "zen_requests_total") == 0.0 && child.try_wait().unwrap().is_none() {}
        drop(server);
        let output = child.wait_with_output().unwrap();
        let report: Report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        // It may have come to its end before.
        let is_told = |reason: &String| reason.starts_with("Not all of it could be measured: mine: ");
        if report.validity.reasons.iter().any(is_told) {
            assert_eq!(output.status.code(), Some(4), "{output:?}");
            return;
        }
    }
    panic!("it came to its end ten times");
}
