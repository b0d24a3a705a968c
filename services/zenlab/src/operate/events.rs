//! `zenlab events`: what has happened to a server, and what happens.

use std::io::{self, Write};

use serde_json::Value;

use crate::failure::{OK, Outcome};
use crate::target;

/// What stands in a place of its own, or goes without saying.
const KNOWN: [&str; 5] = ["timestamp", "event", "message", "level", "architecture"];

/// What `events` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of an architecture, or an admin URL
    target: String,
    /// Go on until the server ends
    #[arg(long)]
    follow: bool,
    /// Print each as a line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints a line for each event.
pub fn run(args: &Args) -> Outcome {
    let api = target::single(&args.target)?.api();
    api.events(&format!("/api/v1/events?follow={}", args.follow), |name, event| {
        let line = if args.json { event.to_string() } else { line(name, &event) };
        // A reader that has left (`zenlab events epoll --follow | head -1`) hears no more, and nobody follows for it.
        writeln!(io::stdout().lock(), "{line}").is_ok()
    })?;
    Ok(OK)
}

fn line(name: &str, event: &Value) -> String {
    if let Some(lost) = event["lost"].as_u64().filter(|_| name == "lagged") {
        return format!("{lost} events are forgotten");
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = event.as_object().into_iter().flatten().filter(|(key, _)| !KNOWN.contains(&key.as_str()));
    let fields: Vec<String> = fields.map(|(key, value)| format!("{key}={}", text(value))).collect();
    format!("{}  {name}  {}: {}", text(&event["timestamp"]), fields.join(" "), text(&event["message"]))
}
