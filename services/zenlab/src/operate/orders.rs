//! `zenlab pause`, `resume` and `start`: orders that are obeyed at once.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::each;
use crate::api::Trouble;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::target::{self, Target};

/// How long a server may take until it is ready again.
const START: Duration = Duration::from_secs(10);

/// What `pause` is told.
#[derive(Debug, clap::Args)]
pub struct Pause {
    #[arg(help = target::HELP)]
    target: String,
    /// Resume by itself after this time, such as 30s
    #[arg(long = "for", value_name = "DURATION")]
    length: Option<String>,
}

impl Pause {
    /// Pauses.
    pub fn run(&self) -> Outcome {
        let body = self.length.as_ref().map(|length| json!({"for": length}));
        each(&self.target, |target| {
            target.api().post("/api/v1/pause", body.as_ref())?;
            let until = self.length.as_ref().map(|length| format!(" for {length}")).unwrap_or_default();
            output::say(&format!("{}: paused{until}", target.name));
            Ok(())
        })
    }
}

/// What `resume` is told.
#[derive(Debug, clap::Args)]
pub struct Resume {
    #[arg(help = target::HELP)]
    target: String,
}

impl Resume {
    /// Resumes.
    pub fn run(&self) -> Outcome {
        each(&self.target, |target| {
            target.api().post("/api/v1/resume", None)?;
            output::say(&format!("{}: resumed", target.name));
            Ok(())
        })
    }
}

/// What `start` is told.
#[derive(Debug, clap::Args)]
pub struct Start {
    #[arg(help = target::HELP)]
    target: String,
}

impl Start {
    /// Starts, and waits until the server is ready.
    pub fn run(&self) -> Outcome {
        each(&self.target, |target| {
            target.api().post("/api/v1/start", None)?;
            wait_until_ready(target)?;
            output::say(&format!("{}: ready", target.name));
            Ok(())
        })
    }
}

fn wait_until_ready(target: &Target) -> Result<(), Failure> {
    let api = target.api();
    let end = Instant::now() + START;
    loop {
        match api.get("/readyz") {
            Ok(_) => return Ok(()),
            Err(Trouble::Unreachable(sentence) | Trouble::Refused(_, sentence)) if Instant::now() >= end => {
                return Err(Failure::runtime(format!("not ready after {} s: {sentence}", START.as_secs())));
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}
