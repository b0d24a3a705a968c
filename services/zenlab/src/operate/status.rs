//! `zenlab status`: what servers are doing.

use serde_json::{Map, Value};

use super::present;
use crate::failure::{Failure, OK, Outcome};
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
    let mut all = Map::new();
    for target in present(&args.target)? {
        match target.api().get("/api/v1/status") {
            Ok(answer) => drop(all.insert(target.name, answer.json())),
            Err(trouble) => {
                let failure = Failure::from(trouble);
                output::complain(&format!("{}: {failure}", target.name));
                code = code.max(failure.code());
            }
        }
    }
    if args.json {
        print_json(all, args.target == "all");
    } else {
        print_table(&all);
    }
    Ok(code)
}

fn print_json(mut all: Map<String, Value>, by_name: bool) {
    let one = all.keys().next().cloned().filter(|_| !by_name).and_then(|name| all.remove(&name));
    output::say(&format!("{:#}", one.unwrap_or(Value::Object(all))));
}

fn print_table(all: &Map<String, Value>) {
    let mut rows = vec![HEAD.map(String::from).to_vec()];
    for (name, status) in all {
        match status["endpoints"].as_array() {
            Some(endpoints) => rows.extend(endpoints.iter().map(|endpoint| row(name, status, endpoint))),
            // The swarm's status is another one.
            None => output::say(&format!("{status:#}")),
        }
    }
    if rows.len() > 1 {
        output::say_all(&output::table(&rows));
    }
}

fn row(name: &str, status: &Value, endpoint: &Value) -> Vec<String> {
    let connections = &endpoint["connections"];
    let questions = &endpoint["questions"];
    let workers = &endpoint["workers"];
    vec![
        text(&status["architecture"]).unwrap_or_else(|| name.to_owned()),
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
        format!("{}/{}", cell(&endpoint["queue"]["length"]), cell(&endpoint["queue"]["limit"])),
        cell(&endpoint["restarts"]),
    ]
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
