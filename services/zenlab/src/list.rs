//! `zenlab list`: the registry.

use serde_json::{Value, json};
use zen::Transport;

use crate::failure::OK;
use crate::lab::{Architecture, Capacity, REGISTRY, Workers};
use crate::output;

/// What `list` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints every architecture.
pub fn run(args: &Args) -> u8 {
    if args.json {
        let all: Vec<Value> = REGISTRY.iter().map(|architecture| describe(architecture)).collect();
        output::say(&format!("{:#}", Value::from(all)));
    } else {
        output::say_all(&output::table(&rows()));
    }
    OK
}

fn rows() -> Vec<Vec<String>> {
    let head = ["OFFSET", "NAME", "TRANSPORTS", "WORKERS", "SUMMARY"].map(String::from).to_vec();
    let row = |architecture: &&Architecture| {
        vec![
            architecture.offset.to_string(),
            architecture.name.to_owned(),
            transports(architecture).join(" "),
            workers(architecture.workers),
            architecture.summary.to_owned(),
        ]
    };
    std::iter::once(head).chain(REGISTRY.iter().map(row)).collect()
}

/// The labels of the transports that an architecture serves.
fn transports(architecture: &Architecture) -> Vec<&'static str> {
    Transport::ALL.into_iter().filter(|&transport| architecture.supports(transport)).map(Transport::label).collect()
}

fn workers(workers: Workers) -> String {
    match workers {
        Workers::Threads(default) => format!("threads ({default})"),
        Workers::Processes(default) => format!("processes ({default})"),
        Workers::Ignored(_) => "-".to_owned(),
    }
}

fn describe(architecture: &Architecture) -> Value {
    json!({
        "name": architecture.name,
        "summary": architecture.summary,
        "offset": architecture.offset,
        "family": architecture.family.label(),
        "transports": transports(architecture),
        "workers": describe_workers(architecture.workers),
        "capacity": describe_capacity(architecture.capacity),
    })
}

fn describe_workers(workers: Workers) -> Value {
    match workers {
        Workers::Threads(default) => json!({"kind": "threads", "default": default, "meaning": "so many threads"}),
        Workers::Processes(default) => json!({"kind": "processes", "default": default, "meaning": "so many processes"}),
        Workers::Ignored(why) => json!({"kind": "ignored", "default": null, "meaning": why}),
    }
}

fn describe_capacity(capacity: Capacity) -> Value {
    let default = capacity.connections();
    let kind = if default.is_some() { "connections" } else { "per_worker" };
    json!({"kind": kind, "default": default})
}
