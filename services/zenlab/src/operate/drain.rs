//! `zenlab drain`: orders a drain, follows it to the end and prints the ledger.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{present, report};
use crate::api::{Api, Trouble};
use crate::failure::{FAILED, Failure, OK, Outcome};
use crate::output;
use crate::target::{self, Target};

/// The longest drain that settings allow takes 60 s, and a second for the last goodbyes.
const LONGEST: Duration = Duration::from_secs(65);

/// How often is asked how far a drain is.
const PACE: Duration = Duration::from_millis(100);

/// What `drain` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(help = target::HELP)]
    target: String,
    /// What comes after: the server can be started again, or it exits
    #[arg(long, value_enum, default_value = "park")]
    then: Then,
}

/// What comes after a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Then {
    /// The control plane stays and can start the server again.
    Park,
    /// The process exits.
    Exit,
}

impl Then {
    const fn label(self) -> &'static str {
        match self {
            Self::Park => "park",
            Self::Exit => "exit",
        }
    }
}

/// Exits with 1 if an answer was lost.
pub fn run(args: &Args) -> Outcome {
    let mut code = OK;
    let mut drains = Vec::new();
    // All are ordered first and then followed together, so that `all` takes as long as the slowest.
    for target in present(&args.target)? {
        match target.api().post("/api/v1/drain", Some(&json!({"then": args.then.label()}))) {
            Ok(_) => drains.push(Drain::new(target)),
            Err(failure) => code = code.max(report(&target, &failure)),
        }
    }
    Ok(code.max(follow(drains)?))
}

fn follow(mut drains: Vec<Drain>) -> Outcome {
    let end = Instant::now() + LONGEST;
    let mut code = OK;
    while !drains.is_empty() {
        if Instant::now() >= end {
            let names: Vec<&str> = drains.iter().map(|drain| drain.target.name.as_str()).collect();
            return Err(Failure::runtime(format!("not drained after {} s: {}", LONGEST.as_secs(), names.join(", "))));
        }
        drains.iter_mut().for_each(Drain::look);
        let (ended, going): (Vec<Drain>, Vec<Drain>) = drains.into_iter().partition(|drain| drain.end.is_some());
        for drain in ended {
            output::say(&drain.ledger());
            code = code.max(if drain.record["lost"].as_u64().unwrap_or(0) > 0 { FAILED } else { OK });
        }
        drains = going;
        thread::sleep(PACE);
    }
    Ok(code)
}

/// One drain under way.
struct Drain {
    target: Target,
    api: Api,
    began: Instant,
    /// The last that was heard of it.
    record: Value,
    /// How it ended.
    end: Option<String>,
}

impl Drain {
    fn new(target: Target) -> Self {
        let api = target.api();
        Self { target, api, began: Instant::now(), record: Value::Null, end: None }
    }

    fn look(&mut self) {
        match self.api.get("/api/v1/status").map(|answer| answer.json()) {
            Ok(status) => {
                if status["drain"].is_object() {
                    self.record = status["drain"].clone();
                }
                let state = status["state"].as_str().unwrap_or_default();
                // `draining` is what is waited for to be over; `ready` and `paused` are yet to become it.
                self.end = (state == "parked").then(|| state.to_owned());
            }
            Err(Trouble::Unreachable(_)) => self.end = Some("gone".to_owned()),
            // Refused while it is busy with its end: ask again.
            Err(Trouble::Refused(..)) => {}
        }
    }

    fn ledger(&self) -> String {
        let end = self.end.as_deref().unwrap_or("draining");
        ledger(&self.target.name, &format!("{end} after {:.1} s", self.began.elapsed().as_secs_f64()), &self.record)
    }
}

/// A drain's record as one line.
pub fn ledger(name: &str, end: &str, record: &Value) -> String {
    let count = |key: &str| record[key].as_u64().map_or_else(|| "?".to_owned(), |count| count.to_string());
    format!(
        "{name}: {end}: owed={} answered={} retryable={} lost={} forced={}",
        count("owed"),
        count("answered"),
        count("retryable"),
        count("lost"),
        count("forced")
    )
}
