//! `zenlab top`: a fleet that is there already, live, as `up` shows its own.

use std::time::{Duration, Instant};

use crate::api::Api;
use crate::failure::{Failure, OK, Outcome};
use crate::lab::Member;
use crate::live::{Screen, Sight, Watch};
use crate::output;
use crate::signals::{Event, Signals};
use crate::target;

/// Whoever does not answer in this time is shown as it was.
const PATIENCE: Duration = Duration::from_millis(500);

/// What `top` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these servers, separated by commas; `lesson` is the five of a first lesson
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
}

/// Shows the fleet until Ctrl-C. It orders nothing, and ends nobody.
pub fn run(args: &Args) -> Outcome {
    let signals =
        Signals::block().map_err(|error| Failure::runtime(format!("signals cannot be waited for: {error}")))?;
    let servers: Vec<(Member, Api)> =
        target::members(&args.only)?.into_iter().map(|one| (one, api(&target::of(&one).url))).collect();
    if !servers.iter().any(|(_, api)| is_there(api)) {
        return Err(Failure::runtime(target::NOBODY));
    }
    let mut watch = Watch::new(is_there(&api(&target::swarm().url)));
    let mut screen = Screen::new();
    watch.look(&sights(&servers));
    let mut next = Instant::now() + screen.pace();
    loop {
        match signals.wait(next.saturating_duration_since(Instant::now())) {
            Some(Event::Stop | Event::Quit) => return Ok(OK),
            Some(Event::Child) => {}
            None => {
                screen.show(
                    &format!("{} · Ctrl-C ends this view only", watch.spotlight()),
                    &watch.look(&sights(&servers)),
                );
                if output::has_left() {
                    return Ok(OK);
                }
                next = Instant::now() + screen.pace();
            }
        }
    }
}

fn api(url: &str) -> Api {
    Api::with_patience(url, PATIENCE)
}

fn is_there(api: &Api) -> bool {
    api.get("/livez").is_ok()
}

fn sights(servers: &[(Member, Api)]) -> Vec<Sight<'_>> {
    servers.iter().map(|(member, api)| Sight { member: *member, api: Some(api) }).collect()
}
