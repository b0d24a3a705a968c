//! `bench`, `search` and `race` as a user runs them. What they find is not asserted, but that they find it in order.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::io::{BufReader, Read};
use std::process::{Command, Output, Stdio};

use report::{Report, Verdict};

const SHORT: [&str; 8] = ["--pairs", "6", "--slot", "20ms", "--warmup", "100ms", "-c", "4"];

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
    let arguments =
        [&["bench", "--only", "epoll,thread_pool", "--format", "json", "--label", "try", "-o", &place], &SHORT[..]];
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
        assert!(value("cost", row, "cpu_us").unwrap() > 0.5 && value("cost", row, "capacity").unwrap() > 10.0);
        assert_eq!(value("cost", row, "errors"), Some(0.0));
        let books = ["unsent", "ok", "wrong", "error", "timeout", "lost", "in_flight"];
        let sum: f64 = books.iter().map(|column| value("client", row, column).unwrap()).sum();
        assert!((value("client", row, "planned").unwrap() - sum).abs() < 0.5, "planned is all the others together");
    }
    assert_eq!(value("cost", 2, "threads"), Some(5.0), "four workers and who leads them");
    let fates = &table("hostile").rows;
    assert_eq!(fates.iter().map(|row| row.subject.as_str()).collect::<Vec<_>>(), ["epoll", "thread_pool"]);
    assert!(fates[0].cells.iter().all(|cell| cell.text == "served"), "{:?}", fates[0]);
    assert_eq!(fates[1].cells[1].text, "starved", "more idlers than workers");
    let stored: Report = serde_json::from_slice(&std::fs::read(directory.join("report.json")).unwrap()).unwrap();
    assert_eq!(stored, report);
    assert!(std::fs::read_to_string(directory.join("report.md")).unwrap().contains("| epoll (twin) |"));
    std::fs::remove_dir_all(directory).unwrap();
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
    let arguments = [&["bench", "--only", "epoll", "--friendly", "--slo", "p50<1us", "--unpinned"], &SHORT[..]];
    let output = zenlab(&arguments.concat());
    // A run that says nothing cannot say that a limit is broken.
    assert!([3, 4].contains(&code(&output)), "{output:?}");
}

#[test]
fn a_plan_is_shown_and_not_run() {
    let output = zenlab(&["bench", "--dry-run", "-c", "32", "-R", "2k"]);
    assert_eq!(code(&output), 0);
    let shown = text(&output.stdout);
    assert!(shown.contains("2000 questions a second") && shown.contains("single_threaded: 1 connections"), "{shown}");
    assert!(shown.contains("thread_pool: 32 connections idle_timeout=1h workers=32"), "{shown}");
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
        (&["bench", "-R", "0"], "is no number above 0"),
        (&["bench", "--only", "poll", "--reference", "epoll"], "the reference \"epoll\" takes no part"),
        (&["bench", "--target", "x"], "is no target such as NAME=tcp://HOST:PORT"),
        (&["search", "--slo", "99<1s"], "is no limit such as p99<5ms"),
    ] {
        let output = zenlab(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {output:?}");
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
fn a_race_says_what_it_is_worth() {
    let output = zenlab(&["race", "--only", "epoll,single_threaded", "-d", "300ms", "-c", "4"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let shown = text(&output.stdout);
    assert!(shown.contains("epoll") && shown.contains("single_threaded"), "{shown}");
    assert!(shown.ends_with("a show, not a measurement: on few cores the scheduler picks the winner\n"), "{shown}");
}

#[test]
fn a_server_that_runs_already_is_measured_and_ctrl_c_prints_what_is_there() {
    let lab = bench::Lab::open(std::path::Path::new(env!("CARGO_BIN_EXE_zenlab")), false).unwrap();
    let subject = bench::Subject {
        name: "epoll".into(),
        architecture: "epoll".into(),
        transports: vec![zen::Transport::Tcp],
        settings: Vec::new(),
    };
    let server = lab.start(&subject).unwrap();
    let target = format!("mine={}@{}", server.endpoint(zen::Transport::Tcp).unwrap(), server.admin().unwrap());
    let mut child = Command::new(env!("CARGO_BIN_EXE_zenlab"))
        .args([
            "bench", "--target", &target, "--pairs", "100k", "--slot", "10ms", "--warmup", "100ms", "--format", "json",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // More answers than warming up takes: it is in its blocks.
    let answered = || {
        let metrics = server.get("/metrics").unwrap();
        let of = metrics.lines().filter(|line| line.starts_with("zen_requests_total{"));
        of.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while answered() < 60_000.0 {
        assert!(std::time::Instant::now() < deadline && child.try_wait().unwrap().is_none(), "it asks");
        std::thread::sleep(std::time::Duration::from_millis(20));
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
