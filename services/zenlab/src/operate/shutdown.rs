//! `zenlab shutdown`: ends servers, and says how each is brought back.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::each;
use crate::api::{Api, Trouble};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::places;
use crate::target::{self, Target};

/// The longest drain that settings allow takes 60 s; lingering, flushing and exit take a few more.
const LONGEST: Duration = Duration::from_secs(70);

/// What `shutdown` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(help = target::HELP)]
    target: String,
    /// Do not drain
    #[arg(long)]
    fast: bool,
}

/// Orders it and waits until the server is gone.
pub fn run(args: &Args) -> Outcome {
    let mode = if args.fast { "fast" } else { "graceful" };
    each(&args.target, |target| {
        let api = target.api();
        let info = api.get("/api/v1/info")?.json();
        api.post("/api/v1/shutdown", Some(&json!({"mode": mode})))?;
        wait_until_gone(target, &api)?;
        let name = info["name"].as_str().unwrap_or(&target.name);
        output::say(&format!("{name}: gone; bring it back with: {}", bring_back(name, &info)));
        Ok(())
    })
}

fn wait_until_gone(target: &Target, api: &Api) -> Result<(), Failure> {
    let end = Instant::now() + LONGEST;
    while !matches!(api.get("/livez"), Err(Trouble::Unreachable(_))) {
        if Instant::now() >= end {
            return Err(Failure::runtime(format!("{} is still there after {} s", target.url, LONGEST.as_secs())));
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The command that starts the server again where it ran.
fn bring_back(name: &str, info: &Value) -> String {
    let mut listen = info["listen"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if target::in_compose() || listen.any(|url| url.contains(places::COMPOSE_DIRECTORY)) {
        format!("docker compose start {name}")
    } else {
        // The swarm of the fleet that it was taken from goes on.
        format!("zenlab up --only {name} --no-swarm")
    }
}
