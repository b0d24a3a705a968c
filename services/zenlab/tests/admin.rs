//! The admin API: what it refuses, and that a refusal changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use support::client::{A, Q, Stream};
use support::{Directory, Server, ZENLAB, exchange, kill, request, wait_for};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const MATCH: (&str, &str) = ("If-Match", "*");
const EVENTS: &str = "/api/v1/events";
const TOKEN: &str = "open-sesame-open-sesame-open-sesame";

type Case = (u16, &'static str, &'static str, &'static [(&'static str, &'static str)], Option<&'static str>);

const REFUSED: &[Case] = &[
    (404, "GET", "/nothing", &[], None),
    (404, "POST", "/api/v1/nothing", &[], None),
    (404, "GET", "/api/v1/config/", &[], None),
    (405, "POST", "/livez", &[], None),
    (405, "DELETE", "/api/v1/config", &[], None),
    (405, "GET", "/api/v1/pause", &[], None),
    (405, "GET", "/api/v1/shutdown", &[], None),
    (403, "GET", "/api/v1/status", &[("Host", "evil.example")], None),
    (403, "GET", "/api/v1/status", &[("Host", "evil.example:9060")], None),
    (403, "GET", "/api/v1/status", &[("Origin", "http://evil.example")], None),
    (403, "GET", "/api/v1/status", &[("Origin", "null")], None),
    (403, "POST", "/api/v1/pause", &[("Sec-Fetch-Site", "cross-site")], None),
    (403, "POST", "/api/v1/pause", &[("Sec-Fetch-Mode", "no-cors")], None),
    (403, "GET", "/livez", &[("Upgrade", "websocket")], None),
    (428, "PATCH", "/api/v1/config", &[JSON], Some("{}")),
    (412, "PATCH", "/api/v1/config", &[JSON, ("If-Match", "\"0\"")], Some("{\"idle_timeout\": \"9s\"}")),
    (412, "PATCH", "/api/v1/config", &[JSON, ("If-Match", "\"nonsense\"")], Some("{\"idle_timeout\": \"9s\"}")),
    (415, "PATCH", "/api/v1/config", &[MATCH], Some("{\"idle_timeout\": \"9s\"}")),
    (415, "PATCH", "/api/v1/config", &[MATCH, ("Content-Type", "text/plain")], Some("{\"idle_timeout\": \"9s\"}")),
    (415, "POST", "/api/v1/drain", &[("Content-Type", "application/x-www-form-urlencoded")], Some("then=park")),
    (400, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("{\"idle_timeout\": ")),
    (400, "POST", "/api/v1/pause", &[JSON], Some("for 30s")),
    (422, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("[]")),
    (422, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("{\"idle_timeout\": \"1ms\"}")),
    (422, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("{\"idle_timeout\": \"2h\"}")),
    (422, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("{\"idle_timeout\": 5}")),
    (
        422,
        "PATCH",
        "/api/v1/config",
        &[JSON, MATCH],
        Some("{\"idle_timeout\": \"9s\", \"question_deadline\": \"never\"}"),
    ),
    (422, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("{\"max_connections\": 0}")),
    (422, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("{\"max_connections\": \"many\"}")),
    (422, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("{\"dialogue\": \"chat\"}")),
    (422, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("{\"answer_work\": \"sleep\"}")),
    (422, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("{\"nothing\": 1}")),
    (422, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("{\"trace_one_in\": -1}")),
    (422, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("{\"log_filter\": \"loud\"}")),
    (409, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("{\"backlog\": 10}")),
    (409, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("{\"lab\": false}")),
    (409, "PATCH", "/api/v1/config", &[JSON, MATCH], Some("{\"workers\": 8}")),
    (422, "GET", "/api/v1/connections?limit=0", &[], None),
    (422, "GET", "/api/v1/connections?limit=all", &[], None),
    (422, "POST", "/api/v1/pause", &[JSON], Some("{\"for\": \"2h\"}")),
    (422, "POST", "/api/v1/pause", &[JSON], Some("{\"until\": \"noon\"}")),
    (422, "POST", "/api/v1/drain", &[JSON], Some("{\"then\": \"dance\"}")),
    (422, "POST", "/api/v1/shutdown", &[JSON], Some("{\"mode\": \"slow\"}")),
    (422, "POST", "/api/v1/faults", &[JSON], Some("{\"kind\": \"panic\"}")),
    (422, "POST", "/api/v1/faults", &[JSON], Some("{\"kind\": \"party\", \"target\": \"data\"}")),
    (422, "PUT", "/api/v1/log-filter", &[JSON], Some("{\"filter\": \"loud\"}")),
    (422, "PUT", "/api/v1/trace-sampling", &[JSON], Some("{\"one_in\": \"all\"}")),
    (409, "POST", "/api/v1/start", &[], None),
    (422, "POST", "/api/v1/config/reload", &[], None),
];

#[test]
fn a_refusal_is_a_problem_and_changes_nothing() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    let before = server.get("/api/v1/config").1;
    for (wanted, method, path, headers, body) in REFUSED {
        let url = format!("{}{path}", server.admin);
        let (status, answered, problem) = exchange(method, &url, headers, *body);
        let case = format!("{method} {path} {headers:?} {body:?}: {status} {problem}");
        assert_eq!(status, *wanted, "{case}");
        let has =
            |name: &str, value: &str| answered.iter().any(|(known, found)| known == name && found.contains(value));
        assert!(has("content-type", "application/problem+json"), "{case}");
        assert_eq!(problem["status"], *wanted, "{case}");
        for member in ["type", "title", "detail", "instance", "request_id"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {case}");
        }
        assert!(status != 405 || answered.iter().any(|(name, _)| name == "allow"), "{case}");
        assert!(status != 422 || problem["errors"][0]["detail"].is_string(), "{case}");
    }
    assert_eq!(server.get("/api/v1/config").1["settings"], before["settings"]);
    assert_eq!(server.status()["state"], "ready");
    Stream::connect(&server, "tcp").ask(Q, A);
    server.stop();
}

#[test]
fn a_body_may_have_16_kib() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    let body = format!("{{\"idle_timeout\": \"{}\"}}", "9".repeat(17 * 1024));
    let (status, _) = request("PATCH", &format!("{}/api/v1/config", server.admin), &[JSON, MATCH], Some(&body));
    assert_eq!(status, 413);
}

#[test]
fn of_two_changes_of_the_same_settings_one_is_refused() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    let url = format!("{}/api/v1/config", server.admin);
    for round in 0..20 {
        let (_, headers, _) = exchange("GET", &url, &[], None);
        let tag = headers.iter().find(|(name, _)| name == "etag").expect("an ETag").1.clone();
        let change = |seconds: u32| {
            let body = format!("{{\"idle_timeout\": \"{seconds}s\"}}");
            request("PATCH", &url, &[JSON, ("If-Match", &tag)], Some(&body)).0
        };
        // Values that never were: a change to what is there already would change nothing, and both could have it.
        let (one, other) = (100 + 2 * round, 101 + 2 * round);
        let mut statuses = thread::scope(|scope| {
            let threads = [scope.spawn(|| change(one)), scope.spawn(|| change(other))];
            threads.map(|thread| thread.join().unwrap())
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412]);
    }
    server.stop();
}

#[test]
fn a_dry_run_only_checks() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    let url = format!("{}/api/v1/config?dry_run=true", server.admin);
    let before = server.get("/api/v1/config").1["generation"].clone();
    let (status, answer) = request("PATCH", &url, &[JSON, MATCH], Some("{\"idle_timeout\": \"9s\"}"));
    assert_eq!((status, &answer["dry_run"], &answer["changed"]), (200, &json!(true), &json!(["idle_timeout"])));
    assert_eq!(request("PATCH", &url, &[JSON, MATCH], Some("{\"idle_timeout\": \"9x\"}")).0, 422);
    assert_eq!(server.get("/api/v1/config").1["generation"], before);
}

#[test]
fn null_brings_back_what_the_server_was_started_with() {
    let server = Server::start_on("epoll", &["tcp"], &["idle_timeout=7s"]);
    let now = || server.get("/api/v1/config").1;
    assert_eq!(now()["sources"]["idle_timeout"], "flag");
    server.set("idle_timeout", json!("9s"));
    assert_eq!(
        (&now()["settings"]["idle_timeout"], &now()["sources"]["idle_timeout"]),
        (&json!("9s"), &json!("patch"))
    );
    server.set("idle_timeout", Value::Null);
    assert_eq!((&now()["settings"]["idle_timeout"], &now()["sources"]["idle_timeout"]), (&json!("7s"), &json!("flag")));
}

#[test]
fn nobody_promises_more_clients_than_have_a_place() {
    for name in ["thread_per_connection", "fork_per_connection", "socketserver_threading", "socketserver_forking"] {
        let server = Server::start_on(name, &["tcp"], &["max_connections=30"]);
        let (status, problem) = server.patch(json!({"max_connections": 4096}));
        let why = problem["errors"][0]["detail"].as_str().unwrap_or_default();
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/max_connections")), "{name}: {problem}");
        assert!(why.contains("`max_connections` = 4096") && why.contains("at most"), "{name}: {why}");
        assert_eq!(server.metric("zen_connections_limit", &[]), 30.0, "{name}");
    }
    let settings = ["server", "thread_per_connection", "--check", "--listen", "tcp://127.0.0.1:0"];
    let check = Command::new(ZENLAB).args(settings).args(["--set", "max_connections=4096"]).output().unwrap();
    assert_eq!(check.status.code(), Some(2), "{check:?}");
}

#[test]
fn changes_need_the_token_where_there_is_one_and_no_log_tells_it() {
    let directory = Directory::new();
    let file = directory.0.join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let setting = format!("admin.token_file={}", file.display());
    let server = Server::start_on("epoll", &["tcp"], &[&setting]);
    let url = format!("{}/api/v1/pause", server.admin);
    let pause = |headers: &[(&str, &str)]| request("POST", &url, headers, None);
    assert_eq!(server.get("/api/v1/status").0, 200, "reading needs none");
    for wrong in ["", "Bearer", "Bearer wrong", "Basic b3Blbg==", TOKEN] {
        let (status, problem) = pause(&[("Authorization", wrong)]);
        assert_eq!(status, 401, "{wrong}");
        assert!(problem["detail"].as_str().unwrap().contains("curl -X POST"), "{problem}");
    }
    assert_eq!(pause(&[]).0, 401);
    assert_eq!(server.status()["state"], "ready");
    assert_eq!(pause(&[("Authorization", &format!("Bearer {TOKEN}"))]).0, 200);
    std::fs::write(&file, "another-token-another-token-another").unwrap();
    assert_eq!(pause(&[("Authorization", &format!("Bearer {TOKEN}"))]).0, 401, "the file is read again");
    assert!(!server.log().iter().any(|line| line.contains(TOKEN)), "the log tells the token");
}

#[test]
fn the_description_lists_every_route() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    let (_, index) = server.get("/");
    let (_, openapi) = server.get("/openapi.json");
    let routes = index.as_array().expect("an index");
    assert!(routes.len() >= 24);
    for route in routes {
        let (method, path) = (route["method"].as_str().unwrap().to_lowercase(), route["path"].as_str().unwrap());
        assert!(openapi["paths"][path][&method]["summary"].is_string(), "{method} {path}");
        if method == "get" {
            let whole = if path == EVENTS { format!("{path}?follow=false") } else { path.to_owned() };
            assert_eq!(server.get(&whole).0, 200, "{path}");
        }
    }
}

#[test]
fn metrics_are_well_formed() {
    let server = Server::start_on("thread_pool", &["tcp", "udp", "unix", "unixgram"], &[]);
    Stream::connect(&server, "tcp").ask(Q, A);
    let (_, text) = server.get("/metrics");
    let text = text.as_str().expect("text");
    assert_eq!(server.metric("zen_requests_total", &["question=\"beautiful\"", "transport=\"tcp\""]), 1.0);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.contains("architecture=\"thread_pool\""), "{line}");
    }
    let check =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut promtool) = check else { return println!("skipped: promtool is not installed") };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_is_made_for_a_client_goes_by_its_kind() {
    for (name, kind, other) in [
        ("fork_per_connection", "process", "thread"),
        ("socketserver_forking", "process", "thread"),
        ("thread_per_connection", "thread", "process"),
        ("socketserver_threading", "thread", "process"),
    ] {
        let server = Server::start_on(name, &["tcp"], &[]);
        Stream::connect(&server, "tcp").ask(Q, A);
        let made =
            |kind: &str| server.metric("zen_worker_spawn_duration_seconds_count", &[&format!("kind=\"{kind}\"")]);
        assert_eq!((made(kind), made(other)), (1.0, 0.0), "{name}");
    }
}

#[test]
fn who_waits_in_the_server_for_a_worker_is_told() {
    let server = Server::start_on("worker_queue", &["tcp"], &["workers=1"]);
    let begun = || server.metric("zen_queue_wait_seconds_count", &["transport=\"tcp\""]);
    let occupied = || server.metric("zen_workers", &["state=\"occupied\""]);
    assert_eq!((begun(), occupied()), (0.0, 0.0));
    let mut first = Stream::connect(&server, "tcp");
    first.ask(Q, A);
    let mut second = Stream::connect(&server, "tcp");
    assert_eq!((begun(), occupied()), (1.0, 1.0), "the second has no worker yet");
    drop(first);
    second.ask(Q, A);
    assert_eq!((begun(), occupied()), (2.0, 1.0));
    let (_, text) = Server::start_on("thread_pool", &["tcp"], &[]).get("/metrics");
    assert!(!text.as_str().expect("text").contains("zen_queue_wait"), "there the kernel has the queue");
}

#[test]
fn slow_clients_do_not_lock_the_admin_api() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    let address = server.admin.strip_prefix("http://").unwrap();
    let slow: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    for mut stream in &slow {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost:").unwrap();
    }
    // Their heads never end, so each is cut off in its time, and the next one gets its place.
    let mut polite = TcpStream::connect(address).unwrap();
    polite.set_read_timeout(Some(support::PATIENCE)).unwrap();
    polite.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    polite.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_server_can_go_by_another_name_than_its_architectures() {
    let server = Server::start_on("callbacks", &["tcp"], &["name=echo_callbacks"]);
    let info = server.get("/api/v1/info").1;
    assert_eq!((&info["architecture"], &info["name"]), (&json!("callbacks"), &json!("echo_callbacks")));
    let (_, text) = server.get("/metrics");
    let text = text.as_str().expect("text");
    assert!(text.contains("architecture=\"echo_callbacks\"") && !text.contains("architecture=\"callbacks\""));
}

/// What has happened to a server, in its own words.
fn events(server: &Server) -> Vec<Value> {
    let (status, text) = server.get("/api/v1/events?follow=false");
    assert_eq!(status, 200);
    let lines = text.as_str().expect("text").lines();
    lines.filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
}

/// Of a server with one endpoint.
fn control_plane(server: &Server) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).unwrap();
    let mut pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
    pids.find(|&pid| pid != server.leader("tcp")).expect("a control plane")
}

#[test]
fn events_tell_what_happens_to_the_server() {
    let server = Server::start_on("prefork", &["tcp"], &[]);
    server.set("log_filter", json!("error"));
    let happens = |name: &str, is_it: &dyn Fn(&Value) -> bool| {
        wait_for(&format!("the event {name}"), || {
            events(&server).into_iter().find(|event| event["event"] == name && is_it(event))
        })
    };
    let any = |_: &Value| true;
    happens("listening", &|event| event["url"] == format!("tcp://{}", server.address("tcp")));
    server.set("idle_timeout", json!("9s"));
    let setting = happens("setting", &|event| event["key"] == "idle_timeout");
    assert_eq!((&setting["to"], &setting["source"]), (&json!("9s"), &json!("patch")));
    for (order, state) in [("pause", "paused"), ("resume", "ready")] {
        assert_eq!(server.post(&format!("/api/v1/{order}"), json!({})).0, 200);
        happens("state", &|event| event["state"] == state);
    }
    assert_eq!(server.post("/api/v1/faults", json!({"kind": "abort", "target": "worker"})).0, 202);
    happens("fault", &|event| event["fault"] == "abort" && event["target"] == "worker");
    happens("worker_lost", &any);
    kill(server.leader("tcp"), libc::SIGKILL);
    happens("data_plane_lost", &any);
    happens("respawned", &any);
    let before = events(&server);
    kill(control_plane(&server), libc::SIGKILL);
    wait_for("another control plane", || (server.status()["control_restarts"] == 1).then_some(()));
    assert_eq!(events(&server)[..before.len()], before, "the events outlive the control plane");
    happens("control_lost", &any);
    assert_eq!(server.post("/api/v1/drain", json!({})).0, 202);
    let books = happens("drained", &any);
    assert!(["answered", "forced", "lost", "retryable"].iter().all(|key| books[key].is_u64()), "{books}");
    let states: Vec<_> =
        events(&server).iter().filter_map(|event| event["state"].as_str().map(str::to_owned)).collect();
    assert_eq!(states[..5], ["starting", "ready", "paused", "ready", "draining"]);
    assert!(events(&server).iter().all(|event| event["event"] != "admin"), "who asked is the log's");
    assert!(server.log().iter().all(|line| !line.contains("idle_timeout")), "they are told whatever the log says");
    server.stop();
}

#[test]
fn a_follower_hears_all_to_the_end() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    let mut follower = TcpStream::connect(server.admin.strip_prefix("http://").unwrap()).unwrap();
    follower.set_read_timeout(Some(support::PATIENCE)).unwrap();
    write!(follower, "GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    server.stop();
    let mut all = String::new();
    follower.read_to_string(&mut all).unwrap();
    let names: Vec<_> = all.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert!(names.starts_with(&["state", "listening", "admin_listening", "state"]), "{names:?}");
    assert!(names.ends_with(&["state", "drained"]), "{names:?}");
    assert!(all.ends_with("\r\n0\r\n\r\n"), "it is told that there is no more: {all:?}");
}

#[test]
fn the_program_tells_of_events() {
    let server = Server::start_on("epoll", &["tcp"], &["idle_timeout=7s"]);
    server.set("idle_timeout", json!("9s"));
    let tell = |more: &[&str]| {
        let output = Command::new(ZENLAB).args(["events", &server.admin]).args(more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = tell(&[]);
    let setting = text.lines().find(|line| line.contains("setting")).unwrap_or_else(|| panic!("{text}"));
    assert!(
        setting.ends_with("  setting  from=7s key=idle_timeout role=control source=patch to=9s: a setting changes"),
        "{setting}"
    );
    let events: Vec<Value> = tell(&["--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), text.lines().count());
    assert!(events.iter().any(|event| event["event"] == "setting" && event["key"] == "idle_timeout"));
}

#[test]
fn connections_are_listed_and_those_that_wait_come_first() {
    let server = Server::start_on("single_threaded", &["tcp", "udp", "unix"], &["idle_timeout=1h"]);
    let other = Server::start_on("epoll", &["tcp"], &[]);
    let _not_ours = Stream::connect(&other, "tcp");
    let mut taken = TcpStream::connect(server.address("tcp")).unwrap();
    taken.write_all(Q).unwrap();
    let mut answer = [0; A.len()];
    taken.read_exact(&mut answer).unwrap();
    let mut waits = TcpStream::connect(server.address("tcp")).unwrap();
    waits.write_all(Q).unwrap();
    let mut unix = Stream::connect(&server, "unix");
    unix.ask(Q, A);
    let list = wait_for("all bytes to be where they are going", || {
        let list = server.get("/api/v1/connections").1;
        (list["connections"][1]["unacknowledged_bytes"] == 0).then_some(list)
    });
    assert_eq!((&list["total"], &list["shown"]), (&json!(3), &json!(3)), "{list}");
    let tcp = |peer: &TcpStream, held: bool, unread: usize| {
        json!({
            "endpoint": format!("tcp://{}", server.address("tcp")), "transport": "tcp", "state": "established", "held": held,
            "peer": peer.local_addr().unwrap().to_string(), "unread_bytes": unread, "unacknowledged_bytes": 0, "retransmits": 0,
        })
    };
    assert_eq!(list["connections"][0], tcp(&waits, false, Q.len()), "{list}");
    assert_eq!(list["connections"][1], tcp(&taken, true, 0), "{list}");
    let endpoint = format!("unix://{}", server.path("unix").display());
    assert_eq!(
        list["connections"][2],
        json!({"endpoint": endpoint, "transport": "unix", "state": "connected", "held": true})
    );
    let first = server.get("/api/v1/connections?limit=1").1;
    assert_eq!((&first["total"], &first["shown"]), (&json!(3), &json!(1)));
    assert_eq!(first["connections"], json!([list["connections"][0]]));
    drop((taken, waits, unix));
    wait_for("nobody to be there", || (server.get("/api/v1/connections").1["total"] == 0).then_some(()));
}

#[test]
fn a_runtime_tells_of_its_tasks_and_goes_on_counting_when_it_is_replaced() {
    for name in ["tokio_current_thread", "tokio_multi_thread"] {
        let server = Server::start_on(name, &["tcp", "udp"], &["idle_timeout=1h"]);
        let tcp = |metric: &str| server.metric(metric, &["transport=\"tcp\""]);
        let mut clients: Vec<_> = (0..3).map(|_| Stream::connect(&server, "tcp")).collect();
        for client in &mut clients {
            client.ask(Q, A);
        }
        wait_for("a task for each client", || (tcp("zen_runtime_tasks") == 3.0).then_some(()));
        assert!(
            tcp("zen_runtime_workers") >= 1.0 && server.metric("zen_runtime_workers", &["transport=\"udp\""]) >= 1.0
        );
        let before = ["zen_runtime_parks_total", "zen_runtime_busy_seconds_total"].map(|metric| (metric, tcp(metric)));
        assert!(before.iter().all(|(_, value)| *value > 0.0), "{name}: {before:?}");
        kill(server.leader("tcp"), libc::SIGKILL);
        wait_for("no task to be left", || (tcp("zen_runtime_tasks") == 0.0).then_some(()));
        for (metric, value) in before {
            wait_for(&format!("{name}: {metric} to go on"), || {
                let now = tcp(metric);
                assert!(now >= value, "{name}: {metric} fell from {value} to {now}");
                (now > value).then_some(())
            });
        }
        server.stop();
    }
}

#[test]
fn waiting_for_a_processor_is_told_and_never_falls() {
    let Ok(_) = std::fs::read("/proc/self/schedstat") else {
        return println!("skipped: this kernel does not tell how long a thread waited for a processor");
    };
    let server = Server::start_on("thread_per_connection", &["tcp"], &[]);
    let told = || server.metric("zen_run_queue_wait_seconds_total", &["role=\"data\""]);
    let mut last = wait_for("some wait", || Some(told()).filter(|waited| *waited > 0.0));
    for _ in 0..5 {
        let mut clients: Vec<_> = (0..20).map(|_| Stream::connect(&server, "tcp")).collect();
        for client in &mut clients {
            client.ask(Q, A);
        }
        for clients in [Some(clients), None] {
            let now = told();
            assert!(now >= last, "it fell from {last} to {now}");
            last = now;
            drop(clients);
        }
    }
    server.stop();
}
