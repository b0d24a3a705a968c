//! Settings: what is refused before anything is served, and how a file is read again.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::client::{A, Q, Stream};
use support::{Directory, Server, ZENLAB, ending, wait_for, zenlab};

/// What is wrong, and what the one line about it must name: the key, and what is allowed.
type Wrong = (&'static [&'static str], &'static [&'static str]);

/// What would be right.
const TCP: [&str; 2] = ["--listen", "tcp://127.0.0.1:0"];
const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

const WRONG: [Wrong; 47] = [
    (&["--set", "max_connections=0"], &["`max_connections`", "\"0\"", "1..=100000"]),
    (&["--set", "max_connections=100001"], &["`max_connections`", "100001", "1..=100000"]),
    (&["--set", "max_connections=many"], &["`max_connections`", "many", "1..=100000"]),
    (&["--set", "workers=0"], &["`workers`", "\"0\"", "1..="]),
    (&["--set", "workers=5000"], &["`workers`", "5000", "1..="]),
    (&["--set", "workers=-1"], &["`workers`", "-1", "1..="]),
    (&["--set", "workers=2.5"], &["`workers`", "2.5", "whole number"]),
    (&["--set", "idle_timeout=99ms"], &["`idle_timeout`", "99ms", "100ms..=1h"]),
    (&["--set", "idle_timeout=61m"], &["`idle_timeout`", "61m", "100ms..=1h"]),
    (&["--set", "idle_timeout=30"], &["`idle_timeout`", "duration"]),
    (&["--set", "idle_timeout=-1s"], &["`idle_timeout`", "-1s"]),
    (&["--set", "question_deadline=49ms"], &["`question_deadline`", "50ms..=1m"]),
    (&["--set", "question_deadline=61s"], &["`question_deadline`", "50ms..=1m"]),
    (&["--set", "write_stall=0s"], &["`write_stall`", "100ms..=1m"]),
    (&["--set", "write_stall=2m"], &["`write_stall`", "100ms..=1m"]),
    (&["--set", "drain_timeout=999ms"], &["`drain_timeout`", "1s..=1m"]),
    (&["--set", "drain_timeout=61s"], &["`drain_timeout`", "1s..=1m"]),
    (&["--set", "dialogue=chat"], &["`dialogue`", "chat", "zen, echo"]),
    (&["--set", "answer_delay=1ms"], &["`answer_delay`", "lab = true"]),
    (&["--set", "lab=true", "--set", "answer_delay=6s"], &["`answer_delay`", "6s", "0ms..=5s"]),
    (&["--set", "answer_work=sleep"], &["`answer_work`", "spin, block, wait"]),
    (&["--set", "trace_one_in=1000001"], &["`trace_one_in`", "0..=1000000"]),
    (&["--set", "log_filter=loud"], &["`log_filter`", "error, warn, info, debug, trace"]),
    (&["--set", "backlog=0"], &["`backlog`", "1..=65535"]),
    (&["--set", "backlog=65536"], &["`backlog`", "1..=65535"]),
    (&["--set", "max_question_bytes=31"], &["`max_question_bytes`", "32..=4096"]),
    (&["--set", "max_question_bytes=4097"], &["`max_question_bytes`", "32..=4096"]),
    (&["--set", "receive_buffer=4095"], &["`receive_buffer`", "4096..=16777216"]),
    (&["--set", "receive_buffer=1MiB"], &["`receive_buffer`", "1MiB"]),
    (&["--set", "lab=maybe"], &["`lab`", "maybe", "true or false"]),
    (&["--set", "io_uring=maybe"], &["`io_uring`", "auto, require, off"]),
    (&["--set", "otlp_endpoint=tempo:4318"], &["`otlp_endpoint`", "tempo:4318", "http://"]),
    (&["--set", "colour=red"], &["`colour`", "there are"]),
    (&["--set", "admin.port=1"], &["`admin.port`", "admin.listen"]),
    (&["--set", "workers"], &["workers", "KEY=VALUE"]),
    (&["--admin", "9060"], &["`admin.listen`", "9060", "IP:PORT"]),
    (&["--admin", "0.0.0.0:0"], &["`admin.listen`", "0.0.0.0:0", "admin.token_file"]),
    (&["--admin", "[::]:0"], &["`admin.listen`", "[::]:0", "admin.token_file"]),
    (&["--listen", "tcp://127.0.0.1:1"], &["`listen`", "tcp://127.0.0.1:1", "one endpoint of each transport"]),
    (&["--listen", "http://127.0.0.1:0"], &["`listen`", "http://127.0.0.1:0", "tcp, udp, unix"]),
    (&["--listen", "udp://127.0.0.1"], &["`listen`", "udp://127.0.0.1", "port is missing"]),
    (&["--listen", "udp://127.0.0.1:70000"], &["`listen`", "70000", "0..=65535"]),
    (&["--listen", "udp://:1060"], &["`listen`", "host is missing"]),
    (&["--listen", "udp://::1:1060"], &["`listen`", "brackets"]),
    (&["--listen", "unix://relative"], &["`listen`", "unix://relative", "absolute"]),
    (&["--listen", "unixgram://"], &["`listen`", "empty"]),
    (&["--config", "/nowhere/at/all.toml"], &["/nowhere/at/all.toml", "cannot be read"]),
];

/// One line, which names what is wrong and what is allowed.
fn is_named(case: &str, (code, log): (Option<i32>, String), names: &[&str]) {
    assert_eq!(code, Some(2), "{case}: {log}");
    assert_eq!(log.trim_end().lines().count(), 1, "{case}: {log}");
    for name in names {
        assert!(log.contains(name), "{case}: {name} is not named: {log}");
    }
}

#[test]
fn wrong_settings_are_named_before_anything_is_served() {
    for (wrong, names) in WRONG {
        let admin = if wrong.contains(&"--admin") { &[][..] } else { &ADMIN };
        let given = [&["server", "thread_pool"], &TCP[..], admin, wrong].concat();
        is_named(&format!("{wrong:?}"), zenlab(&given), names);
        is_named(&format!("{wrong:?} --check"), zenlab(&[&given[..], &["--check"]].concat()), names);
    }
}

#[test]
fn wrong_files_and_variables_are_named_as_well() {
    let directory = Directory::new();
    let file = directory.0.join("settings.toml");
    let path = file.display().to_string();
    let given = [&["server", "thread_pool", "--check"], &TCP[..]].concat();
    let wrong: [(&str, &[&str]); 6] = [
        ("workers = 0", &["`workers`", "file", "1..="]),
        ("colour = \"red\"", &["`colour`", "file"]),
        ("[admin]\nport = 1", &["`admin.port`", "file"]),
        ("workers = [1]", &["`workers`", "file", "whole number"]),
        ("workers 8", &["settings.toml", "no TOML"]),
        ("idle_timeout = 30", &["`idle_timeout`", "file", "duration"]),
    ];
    for (text, names) in wrong {
        fs::write(&file, text).unwrap();
        is_named(text, zenlab(&[&given[..], &["--config", &path]].concat()), names);
    }
    let variables: [(&str, &str, &[&str]); 3] = [
        ("ZENLAB__WORKERS", "0", &["`workers`", "environment", "1..="]),
        ("ZENLAB__COLOUR", "red", &["`colour`", "environment"]),
        ("ZENLAB__ADMIN__LISTEN", "0.0.0.0:9060", &["`admin.listen`", "environment", "admin.token_file"]),
    ];
    for (name, value, names) in variables {
        is_named(name, ending(Command::new(ZENLAB).args(&given).env(name, value)), names);
    }
}

#[test]
fn an_architecture_that_does_not_exist_or_does_not_serve_is_named() {
    is_named("a typing error", zenlab(&[&["server", "epol"], &TCP[..], &ADMIN].concat()), &["epol"]);
    let serve = |architecture, rest: &[&str]| zenlab(&[&["server", architecture], &ADMIN[..], rest].concat());
    let udp = serve("thread_per_connection", &["--listen", "udp://127.0.0.1:0"]);
    is_named("no datagrams", udp, &["`listen`", "thread_per_connection does not serve udp"]);
    is_named("no endpoint", serve("epoll", &[]), &["`listen`", "at least one endpoint"]);
    let workers = serve("epoll", &[&TCP[..], &["--set", "workers=2"]].concat());
    is_named("workers of a loop", workers, &["`workers`", "means nothing to epoll"]);
}

#[test]
fn each_layer_wins_over_those_below_and_says_so() {
    let directory = Directory::new();
    let file = directory.0.join("settings.toml");
    fs::write(&file, "idle_timeout = \"11s\"\nquestion_deadline = \"12s\"\nwrite_stall = \"13s\"\n").unwrap();
    let output = Command::new(ZENLAB)
        .args(["server", "epoll", "--print-config", "--set", "write_stall=33s", "--config"])
        .arg(&file)
        .args(TCP)
        .env("ZENLAB__QUESTION_DEADLINE", "22s")
        .env("ZENLAB__WRITE_STALL", "23s")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let printed = String::from_utf8(output.stdout).unwrap();
    for (key, value, source) in [
        ("idle_timeout", "11s", "file"),
        ("question_deadline", "22s", "environment"),
        ("write_stall", "33s", "command line"),
        ("drain_timeout", "10s", "default"),
    ] {
        let line = printed.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}: {printed}"));
        assert!(line.contains(value) && line.contains(source), "{line}");
    }
}

#[test]
fn the_settings_file_is_read_again_on_sighup() {
    let directory = Directory::new();
    let file = directory.0.join("settings.toml");
    fs::write(&file, "idle_timeout = \"20s\"\nwrite_stall = \"7s\"\n").unwrap();
    let mut server = Server::start_with("epoll", &["tcp"], &["question_deadline=9s"], |command| {
        command.arg("--config").arg(&file);
    });
    let settings = |server: &Server| server.get("/api/v1/config").1["settings"].clone();
    assert_eq!(settings(&server)["idle_timeout"], "20s");
    let mut client = Stream::connect(&server, "tcp");
    client.ask(Q, A);
    fs::write(&file, "idle_timeout = \"25s\"\nquestion_deadline = \"3s\"\n").unwrap();
    server.signal(libc::SIGHUP);
    wait_for("the new value", || (settings(&server)["idle_timeout"] == "25s").then_some(()));
    assert_eq!(settings(&server)["question_deadline"], "9s", "a flag wins over the file");
    assert_eq!(settings(&server)["write_stall"], "5s", "what the file does not say any more is the default again");
    assert_eq!(server.metric("zen_config_last_reload_successful", &[]), 1.0);
    let before: Value = settings(&server);
    for (number, bad) in
        ["idle_timeout = \"never\"", "colour = \"red\"", "idle_timeout", "idle_timeout = \"9s\"\nworkers = 8"]
            .iter()
            .enumerate()
    {
        fs::write(&file, bad).unwrap();
        server.signal(libc::SIGHUP);
        server.wait_for_event("reload_failed", number + 1);
        assert_eq!(settings(&server), before, "the old settings stay: {bad}");
        assert_eq!(server.metric("zen_config_last_reload_successful", &[]), 0.0);
    }
    client.ask(Q, A);
    server.stop();
}
