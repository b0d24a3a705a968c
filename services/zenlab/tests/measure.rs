//! `bench`, `search` and `race` as a user runs them. What they find is not asserted, but that they find it in order.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use report::{Cell, Interval, Report, Verdict};
use rustix::termios::tcgetattr;

const SHORT: [&str; 8] = ["--pairs", "6", "--slot", "40ms", "--warmup", "100ms", "-c", "4"];

/// Longer than anything takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A rate that no machine is too slow for, so that there are answers.
const RATE: [&str; 2] = ["-R", "1k"];

fn zenlab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zenlab")).args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_bench_ends_in_a_report() {
    let directory = std::env::temp_dir().join(format!("zenlab-measure.{}", std::process::id()));
    let place = directory.display().to_string();
    let arguments = [
        &["bench", "--only", "epoll,thread_pool", "--format", "json", "--label", "try", "-o", &place],
        &SHORT[..],
        &RATE,
    ];
    let output = zenlab(&arguments.concat());
    assert!([0, 4].contains(&code(&output)), "{output:?}");
    assert_eq!(text(&output.stderr), "", "no progress where nobody looks");
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(code(&output) == 0, report.validity.verdict == Verdict::Valid);
    assert_eq!((report.run.label.as_str(), report.run.seed), ("try", 1));
    let table = |id: &str| report.tables.iter().find(|table| table.id == id).unwrap();
    let subjects: Vec<&str> = table("cost").rows.iter().map(|row| row.subject.as_str()).collect();
    assert_eq!(subjects, ["epoll", "epoll (twin)", "thread_pool"]);
    for table in &report.tables {
        assert!(table.rows.iter().all(|row| row.cells.len() == table.columns.len()), "{}", table.id);
    }
    let value = |id: &str, row: usize, column: &str| {
        let table = table(id);
        let at = table.columns.iter().position(|known| known.id == column).unwrap();
        table.rows[row].cells[at].value
    };
    for row in 0..3 {
        assert!(value("cost", row, "cpu_us").unwrap() > 0.5 && value("cost", row, "capacity").unwrap() > 0.0);
        let sum =
            |columns: &[&str]| columns.iter().map(|column| value("client", row, column).unwrap() as u64).sum::<u64>();
        let failures = ["wrong", "error", "timeout", "lost", "in_flight"];
        assert_eq!(value("cost", row, "errors").unwrap() as u64, sum(&failures));
        assert_eq!(sum(&["wrong", "error", "lost"]), 0, "a busy machine is late, and makes no other fault");
        assert_eq!(sum(&["planned"]), sum(&["unsent", "ok"]) + sum(&failures), "planned is all the others together");
    }
    assert_eq!(value("cost", 2, "threads"), Some(5.0), "four workers and who leads them");
    let fates = &table("hostile").rows;
    assert_eq!(fates.iter().map(|row| row.subject.as_str()).collect::<Vec<_>>(), ["epoll", "thread_pool"]);
    assert!(fates.iter().all(|row| row.cells.len() == 5), "{fates:?}");
    let stored: Report = serde_json::from_slice(&std::fs::read(directory.join("report.json")).unwrap()).unwrap();
    assert_eq!(stored, report);
    assert!(std::fs::read_to_string(directory.join("report.md")).unwrap().contains("| epoll (twin) |"));
    let log = std::fs::read_to_string(directory.join("report.hlog")).unwrap();
    assert!(std::fs::read_to_string(directory.join("report.html")).unwrap().contains("<dt>interval log</dt>"));
    let answers = responses(&log);
    for (row, subject) in subjects.iter().enumerate() {
        // The format has no blanks in a tag.
        let slots = &answers[&format!("{}/tcp/response", subject.replace(' ', "_"))];
        assert!((1..=12).contains(&slots.len()), "a histogram for each of two visits in six blocks: {slots:?}");
        let all: u64 = slots.iter().map(|(_, count)| count).sum();
        assert!((all as f64) < value("client", row, "ok").unwrap(), "closed loops are not in it: {all}");
        assert!(slots.is_sorted_by(|(one, _), (other, _)| one < other), "in the order of time: {slots:?}");
    }
    assert_eq!(answers.len(), 3);
    std::fs::remove_dir_all(directory).unwrap();
}

/// Idlers take all workers of a pool, and hold nobody up beside a loop. A stall of the machine starves a friend, too; it does
/// not always come in the same scenario.
#[test]
fn unfriendly_clients_starve_a_pool_and_not_a_loop() {
    let mut missing: Vec<usize> = (0..5).collect();
    for _ in 0..10 {
        let output = zenlab(&[&["bench", "--only", "epoll,thread_pool", "--format", "json"], &SHORT[..]].concat());
        let report: Report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let fates = &report.tables.iter().find(|table| table.id == "hostile").unwrap().rows;
        assert_eq!(fates[1].cells[1].text, "starved", "more idlers than workers");
        missing.retain(|&scenario| fates[0].cells[scenario].text != "served");
        if missing.is_empty() {
            return;
        }
    }
    panic!("epoll has served nobody beside the unfriendly clients of {missing:?}");
}

/// When each interval of each tag begins, in seconds, and how many answers it has, as the format's own reader reads it.
fn responses(log: &str) -> BTreeMap<String, Vec<(f64, u64)>> {
    let mut found: BTreeMap<String, Vec<(f64, u64)>> = BTreeMap::new();
    for entry in IntervalLogIterator::new(log.as_bytes()).map(Result::unwrap) {
        let LogEntry::Interval(interval) = entry else { continue };
        let bytes = BASE64_STANDARD.decode(interval.encoded_histogram()).unwrap();
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        let tag = interval.tag().unwrap().as_str().to_owned();
        found.entry(tag).or_default().push((interval.start_timestamp().as_secs_f64(), histogram.len()));
    }
    found
}

/// A run that ended, whatever it found, is one that a later run can be compared with.
#[test]
fn a_run_is_compared_with_a_baseline() {
    let directory = std::env::temp_dir().join(format!("zenlab-baselines.{}", std::process::id()));
    let place = directory.display().to_string();
    let bench = |more: &[&str]| {
        let fixed = ["bench", "--only", "epoll,poll", "--friendly", "-R", "1k", "--baselines", &place];
        zenlab(&[&fixed[..], &SHORT[..], more].concat())
    };
    let none = bench(&["--baseline", "main"]);
    assert_eq!(code(&none), 2);
    assert!(text(&none.stderr).contains("there is no baseline \"main\" at"), "{none:?}");
    assert_eq!(code(&bench(&["--baseline", "../main"])), 2);

    // A run that cannot be believed is none.
    let file = directory.join("main.json");
    let saved = bench(&["--save-baseline", "main", "--label", "first", "--format", "json"]);
    let mut stored: Report = serde_json::from_slice(&saved.stdout).unwrap();
    assert_eq!(stored.validity.verdict == Verdict::Valid, file.exists(), "{saved:?}");
    if file.exists() {
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1, "no part is left");
        assert_eq!(serde_json::from_slice::<Report>(&std::fs::read(&file).unwrap()).unwrap(), stored);
    } else {
        // The machine was too busy for a short run; what follows is about another thing.
        stored.validity.verdict = Verdict::Valid;
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(&file, stored.to_json().unwrap()).unwrap();
    }
    assert_eq!(stored.run.label, "first");

    let again = bench(&["--baseline", "main"]);
    assert!([0, 3, 4].contains(&code(&again)), "{again:?}");
    assert!(text(&again.stdout).contains("Compared with the baseline \"main\""), "{again:?}");

    let other = bench(&["--baseline", "main", "--transport", "unix"]);
    assert_eq!(code(&other), 2, "{other:?}");
    assert!(text(&other.stderr).contains("other settings: transport was \"tcp\", now \"unix\""), "{other:?}");

    // What was a million times cheaper, far beyond any interval, is a regression; on another machine nothing is judged.
    let mut better = stored.clone();
    *busy_ratio(&mut better, "poll") = Cell {
        value: Some(1e-6),
        interval: Some(Interval { low: 1e-6, high: 1e-6, confidence: 0.95 }),
        ..Cell::default()
    };
    std::fs::write(directory.join("better.json"), better.to_json().unwrap()).unwrap();
    let worse = bench(&["--baseline", "better", "--format", "json"]);
    let told = text(&worse.stderr);
    let mut found: Report = serde_json::from_slice(&worse.stdout).expect("standard output has the document only");
    let is_valid = found.validity.verdict == Verdict::Valid;
    // Of a short run on a busy machine too few pairs may be left for an interval.
    let is_told = is_valid && busy_ratio(&mut found, "poll").interval.is_some();
    assert_eq!(told.contains("Worse: poll: CPU busy, ratio is"), is_told, "{told}");
    let expected = if !is_valid {
        4
    } else if told.contains("Worse: ") {
        3
    } else {
        0
    };
    assert_eq!(code(&worse), expected, "{worse:?}");

    better.run.machine.cores += 1;
    std::fs::write(directory.join("better.json"), better.to_json().unwrap()).unwrap();
    let elsewhere = bench(&["--baseline", "better"]);
    assert_eq!(code(&elsewhere), 4, "{elsewhere:?}");
    assert!(text(&elsewhere.stdout).contains("was made on another machine"), "{elsewhere:?}");
    std::fs::remove_dir_all(directory).unwrap();
}

/// What a subject's busy CPU time is to the reference's.
fn busy_ratio<'of>(report: &'of mut Report, subject: &str) -> &'of mut Cell {
    let cost = report.tables.iter_mut().find(|table| table.id == "cost").unwrap();
    let at = cost.columns.iter().position(|column| column.id == "busy_ratio").unwrap();
    &mut cost.rows.iter_mut().find(|row| row.subject == subject).unwrap().cells[at]
}

#[test]
fn datagrams_and_one_at_a_time_servers_are_measured_too() {
    for (transport, names) in
        [("udp", "epoll,single_threaded"), ("unix", "single_threaded,epoll"), ("unixgram", "epoll")]
    {
        let arguments = [&["bench", "--only", names, "--transport", transport, "--curve"], &SHORT[..]];
        let output = zenlab(&arguments.concat());
        assert!([0, 4].contains(&code(&output)), "{transport}: {output:?}");
        let shown = text(&output.stdout);
        assert!(shown.contains("epoll (twin)") && shown.contains("CPU a question"), "{shown}");
    }
}

#[test]
fn a_limit_that_is_not_kept_has_its_code() {
    let arguments =
        [&["bench", "--only", "epoll", "--friendly", "--slo", "p50<1us", "--unpinned", "--may-sleep"], &SHORT[..]];
    let output = zenlab(&arguments.concat());
    // A run that says nothing cannot say that a limit is broken.
    assert!([3, 4].contains(&code(&output)), "{output:?}");
    let place = "The scheduler placed client and servers on the cores; cores without work slept.";
    assert!(text(&output.stdout).contains(place), "{output:?}");
}

#[test]
fn a_plan_is_shown_and_not_run() {
    let output = zenlab(&["bench", "--dry-run", "-c", "32", "-R", "2k"]);
    assert_eq!(code(&output), 0);
    let shown = text(&output.stdout);
    assert!(shown.contains("2000 questions a second") && shown.contains("single_threaded: 1 connection "), "{shown}");
    assert!(shown.contains("thread_pool: 32 connections idle_timeout=1h workers=32"), "{shown}");
    assert!(shown.contains("100ms for each in visits of 20ms"), "{shown}");
    let crowded = zenlab(&["bench", "--dry-run", "-c", "1000"]);
    assert!(text(&crowded.stdout).contains("100ms for each in visits of 100ms"), "{crowded:?}");
    assert!(
        text(&zenlab(&["search", "--dry-run", "--only", "epoll"]).stdout)
            .starts_with("epoll: the greatest rate with p99")
    );
}

#[test]
fn wrong_usage_says_what_is_wrong() {
    for (arguments, why) in [
        (&["bench", "--only", "epol"][..], "\"epol\" is no architecture"),
        (
            &["bench", "--only", "thread_per_connection", "--transport", "udp"],
            "thread_per_connection does not serve udp",
        ),
        (&["bench", "-R", "0"], "is no rate from 0.001 to 100m"),
        (&["bench", "-R", "1e-20", "-n", "1", "--dry-run"], "is no rate from 0.001 to 100m"),
        (&["bench", "-R", "0.001", "-n", "100m", "--dry-run"], "-n 100000000 at -R 0.001"),
        (&["bench", "--stages", "1s@0", "--dry-run"], "is no rate from 0.001 to 100m"),
        (&["bench", "--stages", "1s", "--dry-run"], "a duration from 1ms to 24h and a rate from 0.001 to 100m"),
        (&["bench", "--pipeline", "1025", "--dry-run"], "\"1025\" is no number of questions from 1 to 1024"),
        (&["bench", "-c", "101k", "--dry-run"], "\"101k\" is no number of connections from 1 to 100k"),
        (&["bench", "--pairs", "1.5", "--dry-run"], "is no whole number from 1 to 100m"),
        (&["bench", "--slo", "p99<61s", "--dry-run"], "a duration from 1ns to 1m"),
        (&["bench", "--slo", "p99.99999999999<1s", "--dry-run"], "a percentile from p1 to p99.99999"),
        (&["search", "--slo", "p99<500000000000years", "--dry-run"], "a duration from 1ns to 1m"),
        (&["search", "--at-least", "1e-9", "--dry-run"], "is no rate from 0.001 to 100m"),
        (&["bench", "--only", "poll", "--reference", "epoll"], "the reference \"epoll\" takes no part"),
        (&["bench", "--only", "poll", "--reference", "epoll", "--dry-run"], "the reference \"epoll\" takes no part"),
        (&["bench", "-c", "-1"], "\"-1\" is no number of connections from 1 to 100k"),
        (&["search", "-d", "-1s"], "\"-1s\" is no duration from 1ms to 24h"),
        (&["race", "--seed", "1"], "unexpected argument '--seed'"),
        (&["bench", "--seed", "-1"], "\"-1\" is no whole number from 0 to 18446744073709551615"),
        (&["claim", "1", "--pace", "-1"], "\"-1\" is no part above 0 and up to 1"),
        (&["spotlight", "epoll", "--rate", "201k"], "\"201k\" is no rate from 0 to 200k"),
        (&["spotlight", "epoll", "--idle", "-1"], "\"-1\" is no number of connections from 0 to 20k"),
        (&["bench", "--only", "epoll", "--set", "x", "--dry-run"], "epoll: --set \"x\" must be KEY=VALUE"),
        (&["race", "--only", "thread_pool", "--set", "workers=0"], "thread_pool: `workers` = \"0\""),
        (&["search", "--only", "epoll", "--set", "a=b"], "epoll: there is no setting `a`"),
        (&["bench", "--baseline", "no-such-run", "--dry-run"], "there is no baseline \"no-such-run\""),
        (&["bench", "--target", "=tcp://127.0.0.1:1"], "is no target such as tcp://HOST:PORT or NAME=tcp://HOST:PORT"),
        (&["bench", "--only", "epoll", "--transport", "udp", "--pipeline", "2"], "--pipeline 2 over udp: "),
        (&["bench", "--target", "a=tcp://127.0.0.1:1", "--target", "a=tcp://127.0.0.1:2"], "two are called \"a\""),
        (&["bench", "--target", "a=tcp://127.0.0.1:1@x"], "\"x\" is no admin URL such as http://127.0.0.1:9071"),
        (
            &["bench", "epoll"],
            "\"epoll\" is no target such as tcp://HOST:PORT or NAME=tcp://HOST:PORT@http://HOST:PORT; --only epoll",
        ),
        (&["bench", "--target", "x"], "is no target such as tcp://HOST:PORT or NAME=tcp://HOST:PORT"),
        (&["search", "--slo", "99<1s"], "is no limit such as p99<5ms: "),
    ] {
        let output = zenlab(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(why), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_place_for_the_report_is_tried_before_anything_is_measured() {
    let file = std::env::temp_dir().join(format!("zenlab-no-directory.{}", std::process::id()));
    std::fs::write(&file, "mine").unwrap();
    let place = file.display().to_string();
    for command in [&["bench", "--only", "epoll", "--pairs", "100m"][..], &["search", "-d", "24h"]] {
        let output = zenlab(&[command, &["-o", &place]].concat());
        assert_eq!((code(&output), text(&output.stdout).as_str()), (1, ""), "{output:?}");
        assert!(text(&output.stderr).contains(&format!("{place} is a file; it must be a directory")), "{output:?}");
    }
    let below = file.join("below").display().to_string();
    let claim = zenlab(&["claim", "1", "-o", &below]);
    assert_eq!((code(&claim), text(&claim.stdout).as_str()), (1, ""), "{claim:?}");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine", "it is left alone");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn who_cannot_be_reached_is_told_with_the_cause() {
    for (arguments, why) in [
        (
            &["--target", "a=tcp://127.0.0.1:1"][..],
            "tcp://127.0.0.1:1: only 0 of 4 clients can connect: Connection refused",
        ),
        (
            &["--target", "a=unix:///no", "--transport", "unix"],
            "unix:///no: only 0 of 4 clients can connect: No such file",
        ),
        (&["--target", "a=tcp://host.invalid:1"], "tcp://host.invalid:1: "),
        (
            &["--target", "a=tcp://127.0.0.1:1@http://127.0.0.1:1"],
            "a: the admin API http://127.0.0.1:1 cannot be asked: ",
        ),
    ] {
        let output = zenlab(&[&["race", "-c", "4"], arguments].concat());
        assert_eq!(code(&output), 1, "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(why), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_limit_below_the_noise_is_inconclusive() {
    let output = zenlab(&["search", "--only", "epoll", "--slo", "p99<100ns", "-d", "1s"]);
    assert_eq!(code(&output), 4, "{output:?}");
    assert!(text(&output.stdout).contains("the machine itself is too late"), "{output:?}");
}

#[test]
fn the_command_of_a_report_measures_anew() {
    let mut directory = std::env::temp_dir().join(format!("zenlab-command.{}", std::process::id())).into_os_string();
    directory.push(OsStr::from_bytes(b"\xff"));
    let arguments =
        ["search", "--only", "epoll", "--slo", "p99<100ns", "--label", "it's a try", "--format", "json", "-o"];
    let words: Vec<&OsStr> = arguments.iter().map(OsStr::new).chain([&*directory]).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_zenlab")).args(&words).output().unwrap();
    let report: Report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    std::fs::remove_dir_all(&directory).unwrap();
    let script = format!("printf '%s\\0' {}", report.run.command);
    let read = text(&Command::new("sh").args(["-c", &script]).output().unwrap().stdout);
    let expected = words.iter().map(|word| word.to_string_lossy().into_owned());
    let expected: Vec<String> = std::iter::once("zenlab".to_owned()).chain(expected).collect();
    assert_eq!(read.trim_end_matches('\0').split('\0').collect::<Vec<_>>(), expected, "{}", report.run.command);
}

#[test]
fn a_race_says_what_it_is_worth() {
    let output = zenlab(&["race", "--only", "epoll,single_threaded", "-d", "300ms", "-c", "4"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let shown = text(&output.stdout);
    assert!(shown.contains("epoll") && shown.contains("single_threaded"), "{shown}");
    assert!(shown.ends_with("a show, not a measurement: on few cores the scheduler picks the winner\n"), "{shown}");
}

fn server() -> bench::Server {
    let lab = bench::Lab::open(std::path::Path::new(env!("CARGO_BIN_EXE_zenlab")), false).unwrap();
    let subject = bench::Subject {
        name: "epoll".into(),
        architecture: "epoll".into(),
        transports: vec![zen::Transport::Tcp],
        settings: Vec::new(),
    };
    lab.start(&subject).unwrap()
}

#[test]
fn nothing_is_said_of_the_cpu_time_of_servers_that_only_have_a_url() {
    let server = server();
    let url = server.endpoint(zen::Transport::Tcp).unwrap().to_string();
    let other = format!("other={url}");
    let output = zenlab(&[&["bench", &url, &other, "--format", "json"], &SHORT[..], &RATE].concat());
    assert!([0, 4].contains(&code(&output)), "{output:?}");
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    let cost = report.tables.iter().find(|table| table.id == "cost").unwrap();
    let subjects: Vec<&str> = cost.rows.iter().map(|row| row.subject.as_str()).collect();
    assert_eq!(subjects, [&url, &format!("{url} (twin)"), "other"]);
    for id in ["cpu_us", "cpu_ratio", "busy_us", "busy_ratio"] {
        let at = cost.columns.iter().position(|column| column.id == id).unwrap();
        assert!(cost.rows.iter().all(|row| row.cells[at].value.is_none()), "{id}");
    }
    assert!(!report.findings.iter().any(|finding| finding.contains("CPU")), "{:?}", report.findings);
}

#[test]
fn a_server_that_runs_already_is_measured_and_ctrl_c_prints_what_is_there() {
    let server = server();
    let target = format!("mine={}@{}", server.endpoint(zen::Transport::Tcp).unwrap(), server.admin().unwrap());
    let (user, screen) = terminal();
    let mut child = Command::new(env!("CARGO_BIN_EXE_zenlab"))
        .args([
            "bench", "--target", &target, "--pairs", "100k", "--slot", "10ms", "--warmup", "100ms", "--format", "json",
        ])
        .stdout(Stdio::piped())
        .stderr(screen.try_clone().unwrap())
        .spawn()
        .unwrap();
    let (mut told, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    // Some blocks are over: a void one is not the only one.
    while !text(&told).contains("block 20 of 100000") {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "{}", text(&told));
        told.extend(read(&user));
        std::thread::sleep(Duration::from_millis(5));
    }
    // SAFETY: a plain system call; the pid is that of a child of this test.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let mut shown = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_to_string(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{shown}");
    let report: Report = serde_json::from_str(&shown).unwrap();
    assert!(report.validity.reasons.iter().any(|reason| reason == "The run was ended early."), "{:?}", report.validity);
    let cpu = report.tables[0].rows[0].cells[0].value;
    assert!(cpu.is_some_and(|cpu| cpu > 0.5), "a server of this machine is seen through its admin API: {cpu:?}");
}

/// A race on a terminal of its own: gives its exit code, what was shown, and whether the terminal is as it was.
fn race_on_a_terminal(arguments: &[&str], end: impl FnOnce(&OwnedFd, u32)) -> (Option<i32>, String, bool) {
    let (user, screen) = terminal();
    let before = tcgetattr(&screen).unwrap();
    let end_of = || Stdio::from(screen.try_clone().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_zenlab"));
    command.args(["race", "--only", "epoll,poll", "-c", "4"]).args(arguments);
    command.stdin(end_of()).stdout(end_of()).stderr(Stdio::null());
    // The terminal is its own, so that a key can be a signal to it.
    let take = || {
        rustix::process::setsid()?;
        rustix::process::ioctl_tiocsctty(std::io::stdin())?;
        Ok(())
    };
    // SAFETY: the closure makes two plain system calls, which are allowed between fork and exec.
    unsafe { command.pre_exec(take) };
    let mut child = command.spawn().unwrap();
    let (mut shown, mut end) = (Vec::new(), Some(end));
    let deadline = Instant::now() + PATIENCE;
    let code = loop {
        let bytes = read(&user);
        shown.extend_from_slice(&bytes);
        let is_running = String::from_utf8_lossy(&shown).contains("/s p50") || arguments.contains(&"--plain");
        if let Some(end) = end.take_if(|_| is_running) {
            end(&user, child.id());
        }
        match child.try_wait().unwrap() {
            Some(status) if bytes.is_empty() => break status.code(),
            _ => assert!(Instant::now() < deadline, "{}", text(&shown)),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let after = tcgetattr(&screen).unwrap();
    (code, text(&shown), before.local_modes == after.local_modes)
}

/// What a terminal shows that was not read yet. It is not waited for: a program that has ended says no more.
fn read(user: &OwnedFd) -> Vec<u8> {
    let mut bytes = [0; 4096];
    let count = rustix::io::read(user, &mut bytes).unwrap_or(0);
    bytes[..count].to_vec()
}

/// A pair of pseudo-terminals: what a user has, which never blocks, and what a program has.
fn terminal() -> (OwnedFd, OwnedFd) {
    use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&user).unwrap();
    unlockpt(&user).unwrap();
    let name = ptsname(&user, Vec::new()).unwrap();
    let screen = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let size = rustix::termios::Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&user, size).unwrap();
    fcntl_setfl(&user, OFlags::NONBLOCK).unwrap();
    (user, screen)
}

#[test]
fn a_race_takes_the_terminal_and_gives_it_back() {
    let lanes = ["epoll │", "poll  │", "p50 ", "CPU ", "q or Ctrl-C ends the race", "a show, not a measurement"];
    let interrupt = |_: &OwnedFd, pid: u32| {
        // SAFETY: a plain system call; the pid is that of a child of this test.
        assert_eq!(unsafe { libc::kill(pid as i32, libc::SIGINT) }, 0);
    };
    let press =
        |keys: &'static [u8]| move |user: &OwnedFd, _| assert_eq!(rustix::io::write(user, keys), Ok(keys.len()));
    let wait = |_: &OwnedFd, _| ();
    for (expected, (code, shown, is_as_before)) in [
        (0, race_on_a_terminal(&["-d", "10m"], press(b"q"))),
        // Ctrl-Z does nothing; Ctrl-\\, and Ctrl-C however often, are the same.
        (0, race_on_a_terminal(&["-d", "10m"], press(b"\x1aq"))),
        (130, race_on_a_terminal(&["-d", "10m"], press(b"\x1c"))),
        (130, race_on_a_terminal(&["-d", "10m"], press(b"\x03\x03\x03"))),
        (130, race_on_a_terminal(&["-d", "10m"], interrupt)),
        (0, race_on_a_terminal(&["-d", "1s"], wait)),
    ] {
        assert_eq!(code, Some(expected), "{shown}");
        assert!(lanes.iter().all(|part| shown.contains(part)), "{shown}");
        let (_, after) = shown.split_once("\x1b[?1049h").unwrap_or_else(|| panic!("{shown}"));
        let (_, after) = after.split_once("\x1b[?25h\x1b[?1049l").unwrap_or_else(|| panic!("{shown}"));
        assert!(after.contains("ANSWERS") && !after.contains('\x1b'), "the result is on the usual screen: {after}");
        assert!(is_as_before, "echo and lines are back");
    }
    let (code, shown, _) = race_on_a_terminal(&["-d", "1500ms", "--plain"], wait);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("epoll right=") && !shown.contains('\x1b'), "{shown}");
}

#[test]
fn a_search_logs_its_windows() {
    let directory = std::env::temp_dir().join(format!("zenlab-search.{}", std::process::id()));
    let place = directory.display().to_string();
    let output = zenlab(&["search", "--only", "epoll", "--slo", "p50<10ms", "-d", "1s", "-c", "4", "-o", &place]);
    assert!([0, 4].contains(&code(&output)), "{output:?}");
    let report: Report = serde_json::from_slice(&std::fs::read(directory.join("report.json")).unwrap()).unwrap();
    let probes = &report.tables.iter().find(|table| table.id == "probes").unwrap().rows;
    // The last two cells: windows that count, and that are void.
    let windows = probes.iter().flat_map(|row| &row.cells[4..]).filter_map(|cell| cell.value).sum::<f64>() as usize;
    let log = directory.join("report.hlog");
    if text(&output.stdout).contains("the machine itself is too late") {
        assert!(!log.exists() && windows == 0, "nothing was tried");
    } else {
        let answers = responses(&std::fs::read_to_string(log).unwrap());
        let logged = &answers["epoll/tcp/response"];
        assert_eq!(answers.len(), 1);
        assert!(
            (windows.div_ceil(2)..=windows).contains(&logged.len()),
            "one for each window that has an answer: {logged:?}"
        );
        assert!(logged.is_sorted_by(|(one, _), (other, _)| one < other), "{logged:?}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}
