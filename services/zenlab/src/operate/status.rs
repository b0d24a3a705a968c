//! `zenlab status`: what servers are doing.

use serde_json::Value;

use super::{present, report};
use crate::failure::{OK, Outcome};
use crate::output;
use crate::target;

const HEAD: [&str; 13] = [
    "NAME", "STATE", "SECONDS", "ENDPOINT", "WORKERS", "OPEN", "ACCEPTED", "REJECTED", "ANSWERED", "UNKNOWN", "BAD",
    "QUEUE", "RESTARTS",
];

/// What `status` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(help = target::HELP, default_value = "all")]
    target: String,
    /// Print JSON: one object, or for `all` an object of them by name
    #[arg(long)]
    json: bool,
}

/// Prints a row for each endpoint.
pub fn run(args: &Args) -> Outcome {
    let mut code = OK;
    let mut all = Vec::new();
    for target in present(&args.target)? {
        match target.api().get("/api/v1/status") {
            Ok(answer) => all.push((target.name, answer.json())),
            Err(trouble) => code = code.max(report(&target, &trouble.into())),
        }
    }
    if args.json {
        output::say_json(all, args.target == "all");
    } else {
        print_table(&all);
    }
    Ok(code)
}

fn print_table(all: &[(String, Value)]) {
    let mut rows = vec![HEAD.map(String::from).to_vec()];
    for (name, status) in all {
        let endpoints = status["endpoints"].as_array().into_iter().flatten();
        rows.extend(endpoints.map(|endpoint| row(name, status, endpoint)));
        if let Some(targets) = status["targets"].as_array() {
            print_swarm(status, targets);
        }
    }
    if rows.len() > 1 {
        output::say_all(&output::table(&rows));
    }
}

const SWARM_HEAD: [&str; 10] =
    ["TARGET", "TRANSPORT", "RATE", "CONNECTIONS", "SENT", "OK", "WRONG", "TIMEOUT", "P50 µs", "P99 µs"];

/// The swarm's status is another one: what it sees of each target over each transport.
fn print_swarm(status: &Value, targets: &[Value]) {
    let mut rows = vec![SWARM_HEAD.map(String::from).to_vec()];
    for target in targets {
        let outcomes = &target["outcomes"];
        let time = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |time| format!("{time:.0}"));
        rows.push(vec![
            cell(&target["target"]),
            cell(&target["transport"]),
            cell(&target["target_rate"]),
            cell(&target["connections"]),
            cell(&target["sent"]),
            cell(&outcomes["ok"]),
            cell(&outcomes["wrong_answer"]),
            cell(&outcomes["timeout"]),
            time(&target["p50_us"]),
            time(&target["p99_us"]),
        ]);
    }
    output::say_all(&output::table(&rows));
    let lit: Vec<&str> = status["spotlight"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    output::say(&format!("paused: {}; spotlight: {}; books: {}", status["paused"], lit.join(", "), status["ledger"]));
}

fn row(name: &str, status: &Value, endpoint: &Value) -> Vec<String> {
    let connections = &endpoint["connections"];
    let questions = &endpoint["questions"];
    let workers = &endpoint["workers"];
    vec![
        text(&status["name"]).unwrap_or_else(|| name.to_owned()),
        cell(&status["state"]),
        status["in_state_seconds"].as_f64().map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.0}")),
        cell(&endpoint["url"]),
        format!("{}/{}", cell(&workers["running"]), cell(&workers["wanted"])),
        cell(&connections["open"]),
        cell(&connections["accepted"]),
        cell(&connections["rejected"]),
        cell(&questions["answered"]),
        cell(&questions["unknown"]),
        cell(&questions["malformed"]),
        queue(&endpoint["queue"]),
        cell(&endpoint["restarts"]),
    ]
}

/// Nobody tells how many wait at a Unix stream socket: its limit is 0 then.
fn queue(queue: &Value) -> String {
    match queue["limit"].as_u64() {
        None | Some(0) => "-".to_owned(),
        Some(limit) => format!("{}/{limit}", cell(&queue["length"])),
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
