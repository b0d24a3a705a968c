//! The admin API: what it refuses, and that a refusal changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use support::client::{A, Q, Stream};
use support::{Directory, Server, exchange, request, wait_for};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const MATCH: (&str, &str) = ("If-Match", "*");
const TOKEN: &str = "open-sesame-open-sesame-open-sesame";

type Case = (u16, &'static str, &'static str, &'static [(&'static str, &'static str)], Option<&'static str>);

const REFUSED: &[Case] = &[
    (404, "GET", "/nothing", &[], None),
    (404, "POST", "/api/v1/nothing", &[], None),
    (404, "GET", "/api/v1/config/", &[], None),
    (405, "POST", "/livez", &[], None),
    (404, "GET", "//livez", &[], None),
    (404, "GET", "/livez/", &[], None),
    (404, "GET", "/%6civez", &[], None),
    (405, "DELETE", "/api/v1/config", &[], None),
    (405, "PUT", "/api/v1/config", &[JSON, MATCH], Some("{}")),
    (405, "OPTIONS", "/api/v1/pause", &[], None),
    (405, "TRACE", "/livez", &[], None),
    (405, "PURGE", "/metrics", &[], None),
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
    (412, "PATCH", "/api/v1/config", &[JSON, ("If-Match", "W/\"1\"")], Some("{\"idle_timeout\": \"9s\"}")),
    (428, "PATCH", "/api/v1/config?dry_run=true", &[JSON], Some("{\"idle_timeout\": \"9s\"}")),
    (412, "PATCH", "/api/v1/config?dry_run=true", &[JSON, ("If-Match", "\"0\"")], Some("{\"idle_timeout\": \"9s\"}")),
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
    (422, "POST", "/api/v1/workers", &[JSON], Some("{}")),
    (409, "POST", "/api/v1/workers", &[JSON], Some("{\"count\": 8}")),
    (422, "POST", "/api/v1/resume", &[JSON], Some("{\"now\": true}")),
    (422, "POST", "/api/v1/start", &[JSON], Some("{\"now\": true}")),
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
    let now = server.get("/api/v1/config").1;
    assert_eq!((&now["settings"], &now["generation"]), (&before["settings"], &before["generation"]));
    assert_eq!(server.status()["state"], "ready");
    assert_eq!(server.metric("zen_config_changes_total", &["result=\"applied\""]), 0.0);
    // Each attempt to change something is in the log with what became of it.
    let logged = || server.events("admin").iter().map(|event| event["status"].as_u64().unwrap() as u16).collect();
    let attempts: Vec<u16> = REFUSED.iter().filter(|case| !is_reading(case.1)).map(|case| case.0).collect();
    wait_for("the log", || {
        let logged: Vec<u16> = logged();
        (logged.len() >= attempts.len()).then(|| assert_eq!(logged, attempts))
    });
    Stream::connect(&server, "tcp").ask(Q, A);
    server.stop();
}

fn is_reading(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

#[test]
fn a_refusal_points_at_what_is_wrong() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    for (body, pointers) in [
        (json!({"idle_timeout": "1ms"}), vec!["/idle_timeout"]),
        (json!({"idle_timeout": "9s", "write_stall": 5}), vec!["/write_stall"]),
        (json!({"dialogue": "chat", "trace_one_in": -1}), vec!["/dialogue", "/trace_one_in"]),
        (json!({"nothing": 1}), vec!["/nothing"]),
        (json!({"max_connections": {"least": 1}}), vec!["/max_connections"]),
        (json!({"backlog": 10}), vec!["/backlog"]),
        (json!({"answer_delay": "1s", "workers": 2}), vec!["/workers"]),
    ] {
        let (status, problem) = server.patch(body.clone());
        assert!(matches!(status, 422 | 409), "{body}: {status} {problem}");
        let found: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
        assert_eq!(found, pointers, "{body}: {problem}");
    }
    server.stop();
}

/// Says something to the admin port as it is, and hears the answer to its end.
fn say_raw(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.admin.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // What is not read of a request may end in a reset, behind the answer.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_is_no_proper_request_is_refused() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    let endless = [&b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: "[..], &[b'x'; 64 * 1024], b"\r\n\r\n"].concat();
    let chunk = format!("4400\r\n{}\r\n0\r\n\r\n", "x".repeat(0x4400));
    let chunked = format!(
        "PATCH /api/v1/config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nIf-Match: *\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
    );
    let cases: [(&[u8], &str); 5] = [
        (b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n", "HTTP/1.1 403"),
        (b"GARBAGE\r\n\r\n", "HTTP/1.1 400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "HTTP/1.1 400"),
        (&endless, "HTTP/1.1 431"),
        (chunked.as_bytes(), "HTTP/1.1 413"),
    ];
    for (request, begin) in cases {
        let answer = say_raw(&server, request);
        let what = String::from_utf8_lossy(&request[..request.len().min(60)]);
        assert!(answer.starts_with(begin), "{what:?}: {answer:?}");
    }
    // HTTP/2 is not spoken.
    assert!(!say_raw(&server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").starts_with("HTTP/1.1 2"));
    assert_eq!(server.get("/livez").0, 200);
    server.stop();
}

#[test]
fn a_body_may_have_16_kib() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    let patch = |bytes: usize| {
        let body = format!("{:1$}", "{\"idle_timeout\": \"9s\"}", bytes);
        request("PATCH", &format!("{}/api/v1/config", server.admin), &[JSON, MATCH], Some(&body)).0
    };
    assert_eq!((patch(16 * 1024 + 1), patch(16 * 1024)), (413, 200));
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
fn changes_need_the_token_where_there_is_one_and_no_log_tells_it() {
    let directory = Directory::new();
    let file = directory.0.join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let setting = format!("admin.token_file={}", file.display());
    let server = Server::start_on("epoll", &["tcp"], &[&setting]);
    let url = format!("{}/api/v1/pause", server.admin);
    let pause = |headers: &[(&str, &str)]| request("POST", &url, headers, None);
    let (_, routes) = server.get("/");
    for route in routes.as_array().expect("an index") {
        let (method, path) = (route["method"].as_str().unwrap(), route["path"].as_str().unwrap());
        let (status, _) = request(method, &format!("{}{path}", server.admin), &[], None);
        assert_eq!(status, if is_reading(method) { 200 } else { 401 }, "{method} {path}");
    }
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
    for path in ["/api/v1/config", "/metrics", "/api/v1/status", "/api/v1/info"] {
        assert!(!server.get(path).1.to_string().contains(TOKEN), "{path} tells the token");
    }
    let wanted = server.events("admin").len();
    server.stop_and(|log| {
        assert!(wanted > 0 && !log.contains(TOKEN), "the log tells the token");
    });
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
            assert_eq!(server.get(path).0, 200, "{path}");
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
    check_exposition(text);
    let check =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut promtool) = check else { return println!("skipped: promtool is not installed") };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What the text format demands: a type before each family's samples, families in one piece, no series twice, buckets that
/// do not fall and end in the count.
fn check_exposition(text: &str) {
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut series = BTreeMap::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(types.insert(name, kind).is_none(), "{name} is in two pieces");
            family = name;
        } else if !line.starts_with('#') {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            let name = sample.split('{').next().expect("a name");
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(name == family || (base == family && types[family] == "histogram"), "{line} is of no family");
            assert!(types[family] != "counter" || value >= 0.0, "{line}");
            assert!(series.insert(sample, value).is_none(), "{sample} is there twice");
        }
    }
    let histograms = types.iter().filter(|(_, kind)| **kind == "histogram");
    let mut buckets_seen = 0;
    for (name, _) in histograms {
        for (sample, count) in series.iter().filter(|(sample, _)| sample.starts_with(&format!("{name}_count"))) {
            let labels = sample[name.len() + "_count".len()..].trim_matches(['{', '}']).to_owned();
            let mut buckets: Vec<(f64, f64)> = series
                .iter()
                .filter(|(sample, _)| sample.starts_with(&format!("{name}_bucket{{")))
                .filter(|(sample, _)| labels.split(',').all(|label| sample.contains(label)))
                .map(|(sample, count)| {
                    let bound = sample.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a bound");
                    (bound.replace("+Inf", "inf").parse().expect("a number"), *count)
                })
                .collect();
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(buckets.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1), "{sample}: {buckets:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{sample}");
            buckets_seen += buckets.len();
        }
    }
    assert!(series.len() > 100 && buckets_seen > 100, "{} series, {buckets_seen} buckets", series.len());
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
