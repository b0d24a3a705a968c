//! What is ordered leaves a trace: a line in the log, and spans that a collector gets.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that fails says where; nobody looks for its threads"
)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use support::{Server, ZENLAB, kill, request, wait_for};

/// A collector that takes whatever comes and keeps it.
struct Collector {
    url: String,
    kept: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = kept.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let keep = keep.clone();
                std::thread::spawn(move || take(client, &keep));
            }
        });
        Self { url, kept }
    }

    fn wait_for(&self, text: &str) {
        let has_come = || self.kept.lock().unwrap().windows(text.len()).any(|part| part == text.as_bytes());
        wait_for(&format!("a span with {text:?}"), || has_come().then_some(()));
    }
}

/// Requests of one connection, each answered with 200.
fn take(client: TcpStream, keep: &Mutex<Vec<u8>>) {
    let mut client = BufReader::new(client);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if client.read_line(&mut line).is_err() || line.is_empty() {
                return;
            }
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) =
                line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            {
                length = value.trim().parse().unwrap_or_else(|_| panic!("{name}: {value}"));
            }
        }
        let mut body = vec![0; length];
        if client.read_exact(&mut body).is_err() {
            return;
        }
        keep.lock().unwrap().extend(body);
        if client.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

#[test]
fn who_changes_the_swarm_leaves_a_line_and_a_span() {
    let collector = Collector::start();
    let mut swarm = Command::new(ZENLAB)
        .args(["swarm", "--admin", "127.0.0.1:0", "--target", "epoll=tcp://127.0.0.1:1"])
        .args(["--otlp-endpoint", &collector.url])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(swarm.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut events = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let listening = events.find(|event| event["event"] == "admin_listening").unwrap();
    let url = format!("{}/api/v1/pause", listening["url"].as_str().unwrap());
    let ordered = request("POST", &url, &[("content-type", "application/json")], Some("{}"));
    // Its log ends with it, and with the log the wait for a line.
    kill(swarm.id().cast_signed(), 15);
    let line = events.find(|event| event["event"] == "admin");
    swarm.wait().unwrap();
    assert_eq!(ordered.0, 200, "{ordered:?}");
    let line = line.expect("a line about who asked for a change");
    assert_eq!(
        (&line["method"], &line["path"], &line["status"]),
        (&json!("POST"), &json!("/api/v1/pause"), &json!(200))
    );
    assert!(line["remote"].as_str().unwrap().starts_with("127.0.0.1:") && line["request_id"].is_string(), "{line}");
    assert!(line["timestamp"].is_string() && line["level"] == "info", "{line}");
    collector.wait_for("POST /api/v1/pause");
}

#[test]
fn changes_and_drains_of_a_server_are_spans_whoever_ordered_them() {
    let collector = Collector::start();
    let server = Server::start_on("epoll", &["tcp"], &[&format!("otlp_endpoint={}", collector.url)]);
    server.set("idle_timeout", json!("7s"));
    server.signal(1);
    wait_for("the reload", || {
        let reloads = server.metric("zen_config_changes_total", &["source=\"reload\""]);
        (reloads > 0.0).then_some(())
    });
    assert_eq!(server.post("/api/v1/drain", json!({})).0, 202);
    wait_for("parked", || (server.status()["state"] == "parked").then_some(()));
    collector.wait_for("config reload");
    collector.wait_for("config patch");
    collector.wait_for("drain to parked");
    server.stop();

    let server = Server::start_on("epoll", &["tcp"], &[&format!("otlp_endpoint={}", collector.url)]);
    server.stop();
    collector.wait_for("drain to the end");
}
