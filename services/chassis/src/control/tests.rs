//! The admin API over its own HTTP, with a task that obeys as the supervisor does.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::catalogue::{Kind, METRICS};
use super::{Control, ROUTES};
use crate::page::{KEPT, Order, Page, RuntimeFigures, State};
use crate::settings::{self, Flags};
use crate::{Architecture, Capacity, Family, Workers};

static POOL: Architecture = Architecture {
    name: "pool",
    summary: "a pool",
    offset: 0,
    family: Family::Blocking,
    stream: Some(|_| Ok(())),
    datagram: Some(|_| Ok(())),
    workers: Workers::Threads(8),
    capacity: Capacity::PerWorker,
};

const TOKEN: &str = "a token of thirty-two characters";
const MERGE: &str = "Content-Type: application/merge-patch+json";

const EVENTS: &str = "/api/v1/events";

/// A server without data planes.
struct Server {
    page: &'static Page,
    address: SocketAddr,
    token_file: Option<PathBuf>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        })
    }

    /// Server-sent events: id, name and data of each.
    fn events(&self) -> Vec<(String, String, Value)> {
        let fields = |text: &str| {
            let field = |name| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            Some((field("id: ")?, field("event: ")?, serde_json::from_str(&field("data: ")?).unwrap()))
        };
        self.body.split("\n\n").filter_map(fields).collect()
    }

    fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

impl Server {
    async fn start(set: &[&str]) -> Self {
        Self::start_with(set, None).await
    }

    async fn start_with(set: &[&str], token_file: Option<PathBuf>) -> Self {
        let token = token_file.iter().map(|file| format!("admin.token_file={}", file.display()));
        let flags = Flags {
            set: set.iter().map(ToString::to_string).chain(token).collect(),
            listen: vec!["tcp://127.0.0.1:1060".into(), "udp://127.0.0.1:1060".into()],
            ..Flags::default()
        };
        let start = settings::load(&POOL, &flags).unwrap();
        let page = Page::map().unwrap();
        page.settings.write(&start.live);
        page.endpoint_count.store(2, std::sync::atomic::Ordering::Relaxed);
        page.set_state(State::Ready);
        for endpoint in page.endpoints() {
            endpoint.leader.set(1);
            endpoint.heartbeat.set(1);
        }
        tokio::spawn(supervise(page));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(Arc::new(Control::new(page, &POOL, start).unwrap()).serve(listener));
        Self { page, address, token_file }
    }

    /// One request; `headers` replace the usual ones of the same name.
    async fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let has = |name: &str| headers.iter().any(|header| header.to_ascii_lowercase().starts_with(name));
        let usual =
            [("host:", "Host: localhost", true), ("content-type:", "Content-Type: application/json", !body.is_empty())];
        let usual = usual.into_iter().filter(|(name, _, wanted)| *wanted && !has(name)).map(|(_, header, _)| header);
        let first = [
            format!("{method} {path} HTTP/1.1"),
            "Connection: close".into(),
            format!("Content-Length: {}", body.len()),
        ];
        let lines: Vec<_> = first.iter().map(String::as_str).chain(usual).chain(headers.iter().copied()).collect();
        let request = format!("{}\r\n\r\n{body}", lines.join("\r\n"));
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.into(), body: body.into() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[], body).await
    }

    async fn patch(&self, body: &Value) -> Answer {
        self.ask("PATCH", "/api/v1/config", &["If-Match: *", MERGE], &body.to_string()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(file) = &self.token_file {
            let _ = fs::remove_file(file);
        }
    }
}

/// Obeys orders at once; a drain takes a moment.
async fn supervise(page: &'static Page) {
    loop {
        match page.orders.take() {
            Some(Order::Pause) => page.set_state(State::Paused),
            Some(Order::Resume | Order::Start) => page.set_state(State::Ready),
            Some(Order::DrainToPark) => {
                page.begin_drain(false);
                tokio::time::sleep(Duration::from_millis(50)).await;
                page.set_state(State::Parked);
            }
            Some(Order::DrainToExit | Order::FastExit) => page.begin_drain(true),
            None => {}
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn token_file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("chassis-{}-{name}.token", std::process::id()));
    fs::write(&path, text).unwrap();
    path
}

fn is_problem(answer: &Answer, path: &str) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}: {}", answer.head);
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status, "{path}");
    assert_eq!(problem["instance"], path.split('?').next().unwrap(), "{path}");
    assert!(problem["type"].as_str().is_some_and(|kind| kind.starts_with("/problems/")), "{problem}");
    assert!(["title", "detail"].iter().all(|key| problem[key].as_str().is_some_and(|text| !text.is_empty())));
    assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"), "{path}");
}

#[tokio::test]
async fn the_router_has_exactly_the_routes_of_the_table() {
    let server = Server::start(&["lab=true"]).await;
    let paths: BTreeSet<_> = ROUTES.iter().map(|route| route.path).collect();
    for path in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            // It would go on for ever.
            let whole = if path == EVENTS { format!("{EVENTS}?follow=false") } else { path.to_owned() };
            let answer = server.ask(method, &whole, &[], "").await;
            if ROUTES.iter().any(|route| (route.method, route.path) == (method, path)) {
                assert!(!matches!(answer.status, 404 | 405 | 500), "{method} {path}: {}", answer.status);
                continue;
            }
            assert_eq!(answer.status, 405, "{method} {path}");
            is_problem(&answer, path);
            let allowed: Vec<_> = answer.header("allow").unwrap().split(", ").collect();
            let wanted: Vec<_> = ROUTES.iter().filter(|route| route.path == path).map(|route| route.method).collect();
            assert_eq!(allowed, wanted, "{path}");
        }
    }
    let nowhere = server.get("/api/v1/nowhere").await;
    assert_eq!(nowhere.status, 404);
    is_problem(&nowhere, "/api/v1/nowhere");
}

#[tokio::test]
async fn the_description_has_every_route_and_status() {
    let server = Server::start(&[]).await;
    let description = server.get("/openapi.json").await.json();
    for route in ROUTES {
        let operation = &description["paths"][route.path][route.method.to_ascii_lowercase()];
        assert_eq!(operation["summary"], route.summary, "{route:?}");
        let success = &operation["responses"][route.success.to_string()];
        assert_eq!(success["description"], "done", "{route:?}");
        assert!(route.errors.iter().all(|status| operation["responses"][status.to_string()].is_object()), "{route:?}");
    }
    let index = server.get("/").await.json();
    assert_eq!(index.as_array().map(Vec::len), Some(ROUTES.len()));
}

#[tokio::test]
async fn reads_say_what_they_promise() {
    let server = Server::start(&["workers=4"]).await;
    let keys = |answer: &Answer| answer.json().as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(server.get("/livez").await.json(), json!({"status": "alive"}));
    assert_eq!(server.get("/readyz").await.json(), json!({"status": "ready"}));
    assert!(server.get("/readyz?verbose").await.json()["endpoints"].is_array());
    let info = server.get("/api/v1/info").await.json();
    assert_eq!((&info["architecture"], &info["workers_meaning"]), (&json!("pool"), &json!("threads")));
    assert_eq!(info["listen"], json!(["tcp://127.0.0.1:1060", "udp://127.0.0.1:1060"]));
    let status = server.get("/api/v1/status").await;
    for key in ["architecture", "state", "uptime_seconds", "generation", "in_state_seconds", "endpoints", "drain"] {
        assert!(keys(&status).iter().any(|found| found == key), "{key}");
    }
    let config = server.get("/api/v1/config").await;
    assert_eq!(config.header("etag"), Some("\"1\""));
    let config = config.json();
    assert_eq!((&config["settings"]["workers"], &config["sources"]["workers"]), (&json!(4), &json!("flag")));
    assert!(config["workers_at"]["tcp"].is_array());
    let schema = server.get("/api/v1/config/schema").await.json();
    assert_eq!(schema["properties"]["workers"]["x-live"], true);
}

#[tokio::test]
async fn a_change_needs_the_token_and_says_how_it_is_given() {
    let server = Server::start_with(&[], Some(token_file("auth", &format!("{TOKEN}\n")))).await;
    let right = format!("Authorization: Bearer {TOKEN}");
    for wrong in
        [None, Some("Authorization: Bearer wrong"), Some("Authorization: Basic YTpi"), Some("Authorization: Bearer ")]
    {
        let answer = server.ask("POST", "/api/v1/pause", wrong.as_slice(), "").await;
        assert_eq!(answer.status, 401, "{wrong:?}");
        is_problem(&answer, "/api/v1/pause");
        let detail = answer.detail();
        assert!(detail.contains("curl -X POST -H \"Authorization: Bearer $TOKEN\""), "{detail}");
        assert!(!detail.contains(TOKEN), "{detail}");
        assert_eq!(server.page.state(), State::Ready);
    }
    assert_eq!(server.ask("GET", "/api/v1/status", &[], "").await.status, 200);
    assert_eq!(server.ask("POST", "/api/v1/pause", &[&right], "").await.status, 200);
    // The file is read again for each change, so that the token can be replaced, and without it nobody may.
    let file = server.token_file.clone().unwrap();
    fs::write(&file, "another").unwrap();
    assert_eq!(server.ask("POST", "/api/v1/resume", &[&right], "").await.status, 401);
    assert_eq!(server.ask("POST", "/api/v1/resume", &["Authorization: Bearer another"], "").await.status, 200);
    for nothing in ["", "\n"] {
        fs::write(&file, nothing).unwrap();
        assert_eq!(server.ask("POST", "/api/v1/pause", &["Authorization: Bearer "], "").await.status, 401);
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(server.ask("POST", "/api/v1/pause", &[&right], "").await.status, 401);
}

#[tokio::test]
async fn other_peoples_pages_may_not_ask() {
    let server = Server::start(&["admin.hosts=zen.example"]).await;
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "10.1.2.3:9060", "[::1]:9060", "pool:9060", "zen.example"] {
        assert_eq!(server.ask("GET", "/livez", &[&format!("Host: {host}")], "").await.status, 200, "{host}");
    }
    for header in [
        "Host: evil.example",
        "Host: localhost.evil.example",
        "Host: ",
        "Origin: null",
        "Origin: http://evil.example",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Mode: no-cors",
        "Upgrade: websocket",
    ] {
        let answer = server.ask("POST", "/api/v1/pause", &[header], "").await;
        assert_eq!(answer.status, 403, "{header}");
        is_problem(&answer, "/api/v1/pause");
    }
    assert_eq!(server.page.state(), State::Ready);
}

#[tokio::test]
async fn a_patch_is_refused_by_the_first_thing_that_is_wrong() {
    let server = Server::start(&[]).await;
    let long = format!("{{\"workers\": 3, \"x\": \"{}\"}}", "x".repeat(16 * 1024));
    let any = "If-Match: *";
    let cases: &[(&[&str], &str, u16, &str)] = &[
        (&["Content-Type: text/plain"], "{bad", 415, "text/plain"),
        (&["Content-Type: application/xml", any], "{}", 415, "application/xml"),
        (&[MERGE], &long, 413, "16384"),
        (&[MERGE], "{bad", 428, "curl -X PATCH"),
        (&[MERGE], "{\"workers\": 3}", 428, "If-Match"),
        (&[MERGE, any], "{bad", 400, "JSON"),
        (&[MERGE, "If-Match: \"7\""], "{\"workers\": 3}", 412, "\"1\""),
        (&[MERGE, "If-Match: \"7\""], "{\"workers\": 0}", 412, "\"1\""),
        (&[MERGE, any], "[1]", 422, "object"),
        (&[MERGE, any], "{\"workers\": 0}", 422, "1..=4095"),
        (&[MERGE, any], "{\"workers\": 3, \"idle_timeout\": 5}", 422, "duration"),
        (&[MERGE, any], "{\"backlog\": 3, \"workers\": 3}", 409, "restart"),
    ];
    for (headers, body, status, detail) in cases {
        let answer = server.ask("PATCH", "/api/v1/config", headers, body).await;
        assert_eq!(answer.status, *status, "{headers:?} {body:.40}");
        is_problem(&answer, "/api/v1/config");
        assert!(answer.detail().contains(detail), "{}", answer.detail());
        assert_eq!(server.page.settings.generation(), 1, "{headers:?} {body:.40}");
    }
    let pointers = server.patch(&json!({"workers": 0, "colour": 1})).await.json();
    let pointers: BTreeSet<_> = pointers["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str()).collect();
    assert_eq!(pointers, BTreeSet::from([Some("/colour"), Some("/workers")]));
}

#[tokio::test]
async fn a_flag_is_yes_or_no_and_nothing_else() {
    let server = Server::start(&["workers=4"]).await;
    let change = async |query: &str| {
        let path = format!("/api/v1/config{query}");
        let answer = server.ask("PATCH", &path, &["If-Match: *", MERGE], "{\"workers\": 5}").await;
        (path, answer)
    };
    for query in ["?dry_run", "?dry_run=1", "?dry_run=true", "?x=2&dry_run", "?dry_run&dry_run=1"] {
        let (_, answer) = change(query).await;
        assert_eq!((answer.status, &answer.json()["dry_run"]), (200, &json!(true)), "{query}");
        assert_eq!(server.page.settings.generation(), 1, "{query}");
    }
    for (query, detail) in [
        ("?dry_run=yes", "`dry_run` = \"yes\" must be true or false"),
        ("?dry_run=", "`dry_run` = \"\""),
        ("?dry_run=TRUE", "\"TRUE\""),
        ("?dry_run=true&dry_run=0", "`dry_run` is given as \"true\" and as \"0\""),
    ] {
        let (path, answer) = change(query).await;
        assert_eq!(answer.status, 400, "{query}");
        is_problem(&answer, &path);
        assert!(answer.detail().contains(detail), "{}", answer.detail());
        assert_eq!(server.page.settings.generation(), 1, "{query}");
    }
    for query in ["?dry_run=false", "?dry_run=0&dry_run=false", "?dry_runs"] {
        let (_, answer) = change(query).await;
        assert_eq!((answer.status, &answer.json()["dry_run"]), (200, &json!(false)), "{query}");
    }
    assert_eq!(server.page.settings.live().workers, 5);

    for (query, tells) in [("?verbose", true), ("?verbose=1", true), ("?verbose=true", true), ("?verbose=false", false)]
    {
        let ready = server.get(&format!("/readyz{query}")).await.json();
        assert_eq!(ready["endpoints"].is_array(), tells, "{query}");
    }
    assert_eq!(server.get(&format!("{EVENTS}?follow=0")).await.status, 200, "it ends");
    for path in ["/readyz?verbose=2".to_owned(), format!("{EVENTS}?follow=never")] {
        let answer = server.get(&path).await;
        assert_eq!(answer.status, 400, "{path}");
        is_problem(&answer, &path);
    }
}

#[tokio::test]
async fn a_patch_holds_is_numbered_and_can_be_taken_back() {
    let server = Server::start(&["workers=4"]).await;
    let dry = server.ask("PATCH", "/api/v1/config?dry_run=true", &["If-Match: \"1\"", MERGE], "{\"workers\":5}").await;
    assert_eq!((dry.status, &dry.json()["changed"]), (200, &json!(["workers"])));
    assert_eq!(server.page.settings.live().workers, 4);
    let answer = server.patch(&json!({"workers": 5, "idle_timeout": "1m", "dialogue": "zen"})).await;
    assert_eq!((answer.status, answer.header("etag")), (200, Some("\"2\"")));
    let answer = answer.json();
    assert_eq!(answer["applied"], true);
    assert_eq!(answer["settings"]["idle_timeout"], "1m");
    assert_eq!(server.page.settings.live().workers, 5);
    assert_eq!(server.get("/api/v1/config").await.json()["sources"]["workers"], "patch");
    let back = server.patch(&json!({"workers": null})).await.json();
    assert_eq!((&back["changed"], &back["settings"]["workers"]), (&json!(["workers"]), &json!(4)));
    let nothing = server.patch(&json!({})).await.json();
    assert_eq!((&nothing["changed"], &nothing["generation"]), (&json!([]), &json!(3)));
    assert_eq!(server.post("/api/v1/workers", "{\"count\": 6}").await.json()["workers"], 6);
    assert_eq!(server.post("/api/v1/workers", "{}").await.status, 422);
    let filter = server.ask("PUT", "/api/v1/log-filter", &[], "{\"filter\": \"debug\"}").await;
    assert_eq!(filter.json()["log_filter"], "debug");
}

#[tokio::test]
async fn of_two_patches_of_one_generation_one_wins() {
    let server = Server::start(&[]).await;
    for round in 0..50 {
        let tag = format!("If-Match: \"{}\"", server.page.settings.generation());
        let ask = |workers: u64| {
            let body = json!({"workers": workers}).to_string();
            let (server, tag) = (&server, &tag);
            async move { server.ask("PATCH", "/api/v1/config", &[tag, MERGE], &body).await.status }
        };
        let (one, other) = tokio::join!(ask(100 + 2 * round), ask(101 + 2 * round));
        assert_eq!(BTreeSet::from([one, other]), BTreeSet::from([200, 412]));
    }
}

#[tokio::test]
async fn a_worker_that_is_behind_is_told_of() {
    let server = Server::start(&[]).await;
    let slot = server.page.endpoints()[0].slot(0);
    slot.take(1);
    slot.generation.set(1);
    assert_eq!(server.patch(&json!({"workers": 2})).await.json()["applied"], false);
    assert_eq!(server.get("/api/v1/config").await.json()["workers_at"]["tcp"], json!([1]));
    slot.generation.set(9);
    assert_eq!(server.patch(&json!({"workers": 3})).await.json()["applied"], true);
}

/// Every order in every state.
#[tokio::test]
async fn orders_fit_the_state_or_are_conflicts() {
    let calls = [
        ("pause", "", [State::Ready, State::Paused].as_slice(), 200),
        ("pause", "{\"for\": \"30s\"}", &[State::Ready, State::Paused], 200),
        ("resume", "", &[State::Ready, State::Paused], 200),
        ("drain", "", &[State::Starting, State::Ready, State::Paused, State::Draining], 202),
        ("drain", "{\"then\": \"exit\"}", &State::ALL, 202),
        ("start", "", &[State::Parked], 202),
        ("shutdown", "", &State::ALL, 202),
        ("shutdown", "{\"mode\": \"fast\"}", &State::ALL, 202),
    ];
    for state in State::ALL {
        for (call, body, fits, success) in calls {
            let server = Server::start(&[]).await;
            server.page.set_state(state);
            let path = format!("/api/v1/{call}");
            let answer = server.post(&path, body).await;
            if fits.contains(&state) {
                assert_eq!(answer.status, success, "{call} {body} while {state:?}");
                assert_eq!(answer.header("location"), (success == 202).then_some("/api/v1/status"));
            } else {
                assert_eq!(answer.status, 409, "{call} {body} while {state:?}");
                is_problem(&answer, &path);
                assert!(answer.detail().contains(state.label()), "{}", answer.detail());
                assert_eq!(server.page.state(), state);
            }
        }
    }
}

#[tokio::test]
async fn a_server_without_a_data_plane_is_not_ready() {
    let server = Server::start(&[]).await;
    server.page.endpoints()[1].heartbeat.set(0);
    let answer = server.get("/readyz").await;
    assert_eq!(answer.status, 503);
    is_problem(&answer, "/readyz");
    assert!(answer.detail().starts_with("udp://127.0.0.1:1060 has no data plane"), "{}", answer.detail());
    server.page.endpoints()[1].heartbeat.set(1);
    assert_eq!(server.get("/readyz").await.status, 200);
}

#[test]
fn an_order_is_not_lost_to_a_later_one() {
    let orders = &Page::map().unwrap().orders;
    for order in [Order::DrainToExit, Order::DrainToPark, Order::Pause] {
        orders.give(order, None);
    }
    let taken: Vec<_> = std::iter::from_fn(|| orders.take()).collect();
    assert_eq!(taken, [Order::DrainToExit, Order::DrainToPark, Order::Pause], "the strongest first");
    orders.give(Order::Pause, None);
    orders.give(Order::Resume, None);
    assert_eq!((orders.take(), orders.take()), (Some(Order::Resume), None), "a pause that was taken back");
}

#[tokio::test]
async fn readiness_follows_the_state() {
    let server = Server::start(&[]).await;
    for state in State::ALL {
        server.page.set_state(state);
        let answer = server.get("/readyz").await;
        assert_eq!(answer.status, if state == State::Ready { 200 } else { 503 }, "{state:?}");
        if state != State::Ready {
            is_problem(&answer, "/readyz");
            assert!(answer.detail().starts_with(state.label()), "{}", answer.detail());
        }
        assert_eq!(server.get("/livez").await.status, 200);
        // Settings can be changed in every state.
        assert_eq!(server.patch(&json!({"workers": 2 + state as u32})).await.status, 200, "{state:?}");
    }
}

#[tokio::test]
async fn a_drain_keeps_its_books_after_it_is_over() {
    let server = Server::start(&[]).await;
    assert_eq!(server.get("/api/v1/status").await.json()["drain"], Value::Null);
    assert_eq!(server.post("/api/v1/drain", "").await.status, 202);
    while server.page.state() != State::Parked {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seconds = |status: &Answer| status.json()["drain"]["seconds"].as_f64().unwrap();
    let first = seconds(&server.get("/api/v1/status").await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let later = seconds(&server.get("/api/v1/status").await);
    assert!((0.04..1.0).contains(&first) && first.to_bits() == later.to_bits(), "{first} {later}");
}

#[tokio::test]
async fn orders_with_a_wrong_body_do_nothing() {
    let server = Server::start(&["lab=true"]).await;
    for (path, body, status) in [
        ("/api/v1/pause", "{\"for\": 30}", 422),
        ("/api/v1/pause", "{\"for\": \"2h\"}", 422),
        ("/api/v1/pause", "{\"for\": null}", 422),
        ("/api/v1/pause", "{\"until\": \"1s\"}", 422),
        ("/api/v1/pause", "nonsense", 400),
        ("/api/v1/resume", "{\"a\": 1}", 422),
        ("/api/v1/drain", "{\"then\": \"sleep\"}", 422),
        ("/api/v1/drain", "[]", 422),
        ("/api/v1/shutdown", "{\"mode\": 1}", 422),
        ("/api/v1/faults", "{\"kind\": \"melt\", \"target\": \"data\"}", 422),
        ("/api/v1/faults", "{\"kind\": \"panic\"}", 422),
    ] {
        let answer = server.post(path, body).await;
        assert_eq!(answer.status, status, "{path} {body}");
        is_problem(&answer, path);
    }
    let order = server.page.orders.take();
    assert_eq!((server.page.state(), order), (State::Ready, None));
}

#[tokio::test]
async fn faults_need_a_laboratory() {
    let body = "{\"kind\": \"panic\", \"target\": \"worker\"}";
    assert_eq!(Server::start(&[]).await.post("/api/v1/faults", body).await.status, 403);
    let server = Server::start(&["lab=true"]).await;
    assert_eq!(server.post("/api/v1/faults", body).await.status, 202);
    assert_eq!(server.get("/api/v1/faults").await.json()["pending"][0]["kind"], "panic");
    assert_eq!(server.ask("DELETE", "/api/v1/faults", &[], "").await.json()["pending"], json!([]));
}

#[tokio::test]
async fn a_reload_without_a_file_is_refused_and_counted() {
    let server = Server::start(&[]).await;
    let answer = server.post("/api/v1/config/reload", "").await;
    assert_eq!(answer.status, 422);
    is_problem(&answer, "/api/v1/config/reload");
    let metrics = server.get("/metrics").await.body;
    assert!(metrics.contains("zen_config_last_reload_successful{architecture=\"pool\"} 0"));
    assert!(
        metrics.contains("zen_config_changes_total{source=\"reload\",result=\"rejected\",architecture=\"pool\"} 1")
    );
}

/// Bodies of all sorts: nothing crashes, and what is refused changes nothing.
#[tokio::test]
async fn strange_patches_never_break_anything() {
    let server = Server::start(&[]).await;
    let keys = ["workers", "idle_timeout", "log_filter", "admin", "backlog", "", "a/b", "\u{0}"];
    let values = [
        "0",
        "-1",
        "1e99",
        "null",
        "\"\"",
        "\"5s\"",
        "[]",
        "{}",
        "{\"a\":{}}",
        "true",
        "\"\\u0000\"",
        "18446744073709551616",
    ];
    for key in keys {
        for value in values {
            let body = format!("{{{}: {value}}}", Value::from(key));
            let before = server.page.settings.generation();
            let answer = server.ask("PATCH", "/api/v1/config", &["If-Match: *", MERGE], &body).await;
            assert!(matches!(answer.status, 200 | 409 | 422), "{body}: {}", answer.status);
            if answer.status != 200 {
                assert_eq!(server.page.settings.generation(), before, "{body}");
            }
        }
    }
}

/// What the kernel of the machine may not tell, and what only an async runtime has.
const MAY_BE_ABSENT: [&str; 3] = ["zen_run_queue_", "zen_cgroup_pressure_", "zen_runtime_"];

#[tokio::test]
async fn the_metrics_are_those_of_the_catalogue() {
    let server = Server::start(&[]).await;
    server.page.endpoints()[0].hands_over.set(1);
    server.get("/livez").await;
    // Nothing that a client invents becomes a label.
    server.ask("BREW", "/coffee", &[], "").await;
    let answer = server.get("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
    let exposed = |word: &str| answer.body.lines().filter_map(|line| line.strip_prefix(word)).collect::<Vec<_>>();
    let types = exposed("# TYPE ");
    for metric in METRICS {
        if MAY_BE_ABSENT.iter().any(|start| metric.name.starts_with(start)) {
            continue;
        }
        let kind = format!("{:?}", metric.kind).to_ascii_lowercase();
        assert!(types.contains(&format!("{} {kind}", metric.name).as_str()), "{}", metric.name);
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
        assert!(metric.help.ends_with('.'), "{}", metric.name);
    }
    for line in answer.body.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.contains("architecture=\"pool\""), "{line}");
    }
    assert!(!answer.body.contains("BREW") && !answer.body.contains("coffee"));
    assert!(answer.body.contains("method=\"other\",route=\"other\",status=\"404\""), "{}", answer.body);
}

#[tokio::test]
async fn counts_of_the_page_arrive_in_the_metrics() {
    let server = Server::start(&[]).await;
    let slot = server.page.endpoints()[0].slot(3);
    slot.known[0].add(5);
    slot.unknown.add(2);
    slot.durations.record(Duration::from_micros(40), 5);
    slot.loop_spurious.add(3);
    let figures = |busy, parks| RuntimeFigures {
        workers: 2,
        tasks: 7,
        queue_length: 1,
        busy: Duration::from_millis(busy),
        parks,
    };
    let runtime = &server.page.endpoints()[0].runtime;
    runtime.tell(&figures(1000, 10), &RuntimeFigures::default());
    runtime.tell(&figures(1500, 11), &figures(1000, 10));
    let metrics = server.get("/metrics").await.body;
    for line in [
        "zen_requests_total{transport=\"tcp\",question=\"beautiful\",outcome=\"answered\",architecture=\"pool\"} 5",
        "zen_requests_total{transport=\"udp\",question=\"beautiful\",outcome=\"answered\",architecture=\"pool\"} 0",
        "zen_request_duration_seconds_bucket{transport=\"tcp\",architecture=\"pool\",le=\"0.00003\"} 0",
        "zen_request_duration_seconds_bucket{transport=\"tcp\",architecture=\"pool\",le=\"0.00005\"} 5",
        "zen_request_duration_seconds_count{transport=\"tcp\",architecture=\"pool\"} 5",
        "zen_request_duration_seconds_sum{transport=\"tcp\",architecture=\"pool\"} 0.0002",
        "zen_event_loop_spurious_wakeups_total{transport=\"tcp\",architecture=\"pool\"} 3",
        "zen_runtime_workers{transport=\"tcp\",architecture=\"pool\"} 2",
        "zen_runtime_tasks{transport=\"tcp\",architecture=\"pool\"} 7",
        "zen_runtime_queue_length{transport=\"tcp\",architecture=\"pool\"} 1",
        "zen_runtime_busy_seconds_total{transport=\"tcp\",architecture=\"pool\"} 1.5",
        "zen_runtime_parks_total{transport=\"tcp\",architecture=\"pool\"} 11",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    assert!(!metrics.contains("zen_runtime_tasks{transport=\"udp\""), "there is no runtime");
    // Another data plane, and so another runtime: what counts goes on.
    server.page.endpoints()[0].settle();
    runtime.tell(&figures(100, 2), &RuntimeFigures::default());
    assert_eq!((runtime.busy.get(), runtime.parks.get()), (1_600_000_000, 13));
    let status = server.get("/api/v1/status").await.json();
    assert_eq!(status["endpoints"][0]["questions"], json!({"answered": 5, "unknown": 2, "malformed": 0}));
}

fn write_events(page: &Page, numbers: std::ops::RangeInclusive<u64>) {
    numbers.for_each(|number| page.journal.write(&json!({"event": "state", "number": number}).to_string()));
}

#[tokio::test]
async fn events_go_on_where_a_client_stopped_and_tell_it_what_it_has_missed() {
    let server = Server::start(&[]).await;
    let heard = async |id: &str| {
        let answer = server.ask("GET", "/api/v1/events?follow=false", &[&format!("Last-Event-ID: {id}")], "").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
        answer.events()
    };
    assert_eq!(heard("").await, []);
    write_events(server.page, 1..=5);
    let all = heard("").await;
    let numbers: Vec<_> = all.iter().map(|(_, name, data)| (name.as_str(), data["number"].as_u64().unwrap())).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5].map(|number| ("state", number)));
    let id = |at: usize| all[at].0.clone();
    assert_eq!(heard(&id(2)).await, all[3..]);
    assert_eq!(heard(&id(4)).await, []);
    for unknown in ["5", "1-5", "nonsense", &id(4).replace("-5", "-6"), &id(4).replace("-5", "-x")] {
        assert_eq!(heard(unknown).await, all, "{unknown} is no id of this server: all that there is");
    }

    write_events(server.page, 6..=KEPT + 9);
    let later = heard(&id(2)).await;
    assert_eq!((later[0].1.as_str(), &later[0].2), ("lagged", &json!({"lost": 6})));
    assert_eq!((later.len() as u64, &later[1].2["number"]), (KEPT + 1, &json!(10)));
    assert_eq!(later[0].0, id(0).replace("-1", "-9"), "who comes again after that has missed nothing more");
    assert_eq!(heard(&later[0].0).await, later[1..]);
    server.page.journal.write("{\"event\": \"cut o");
    let cut = heard(&later[KEPT as usize].0).await;
    assert_eq!((cut.len(), &cut[0].2), (1, &json!({"lost": 1})));
}

#[tokio::test]
async fn followers_hear_events_as_they_come_and_leave_room_for_others() {
    let server = Server::start(&[]).await;
    let mut followers = Vec::new();
    for _ in 0..super::events::FOLLOWERS {
        let mut stream = BufReader::new(TcpStream::connect(server.address).await.unwrap());
        stream.write_all(format!("GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
        hear(&mut stream, "HTTP/1.1 200 OK").await;
        followers.push(stream);
    }
    let refused = server.get(EVENTS).await;
    assert_eq!(refused.status, 503);
    is_problem(&refused, EVENTS);
    assert_eq!(server.get("/api/v1/events?follow=false").await.status, 200);
    for number in 1..=3 {
        write_events(server.page, number..=number);
        for follower in &mut followers {
            hear(follower, &format!("data: {{\"event\":\"state\",\"number\":{number}}}")).await;
        }
    }
    // A place is free again when its client is gone.
    drop(followers.pop());
    while server.ask("HEAD", EVENTS, &[], "").await.status == 503 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Reads up to a line.
async fn hear(stream: &mut BufReader<TcpStream>, wanted: &str) {
    let mut line = String::new();
    while line.trim_end() != wanted {
        line.clear();
        assert!(stream.read_line(&mut line).await.unwrap() > 0, "{wanted}");
    }
}
