//! `zenlab up`: the fleet as processes of this machine, with the swarm. The main job without containers.
//!
//! One thread does everything: it starts the children (the signal that a child gets when its parent dies follows the thread
//! that forked it), waits for signals, asks the admin APIs and prints. Nothing here needs to be faster.

mod child;
mod directory;
mod fleet;
mod ledger;
mod member;

use std::time::{Duration, Instant};

use crate::failure::{FAILED, Failure, OK, Outcome};
use crate::live::{Screen, Watch};
use crate::output;
use crate::signals::{Event, Signals};
use crate::target;
use fleet::Fleet;

/// What `up` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these servers, separated by commas; `lesson` is the five of a first lesson
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
    /// Start no clients
    #[arg(long)]
    no_swarm: bool,
}

/// How long the servers may take until all are ready.
const BOOT: Duration = Duration::from_secs(20);

/// Runs the fleet until Ctrl-C or SIGTERM; exits with 1 if a server or the swarm died unasked.
pub fn run(args: &Args) -> Outcome {
    let members = target::members(&args.only)?;
    member::check_ports(&members, !args.no_swarm)?;
    let signals =
        Signals::block().map_err(|error| Failure::runtime(format!("signals cannot be waited for: {error}")))?;
    let directory = directory::Directory::create()?;
    let mut fleet = Fleet::start(members, directory.path())?;
    let is_stopped = boot(&mut fleet, &signals);
    if !fleet.is_alive() {
        output::complain("no server is left");
    } else if !is_stopped {
        output::say_all(&member::endpoint_table(&fleet.members(), directory.path()));
        if !args.no_swarm {
            fleet.start_swarm(directory.path());
        }
    }
    let mut watch = Watch::new(fleet.has_swarm());
    if !is_stopped {
        show(&mut fleet, &mut watch, &signals);
    }
    ledger::stop(&mut fleet, &mut watch, &signals);
    Ok(if fleet.had_accidents() { FAILED } else { OK })
}

/// Waits until every server is ready or dead; says whether it is told to stop.
fn boot(fleet: &mut Fleet, signals: &Signals) -> bool {
    let end = Instant::now() + BOOT;
    while !fleet.is_ready() {
        if Instant::now() >= end {
            output::complain_all(&fleet.note_unready(BOOT));
            return false;
        }
        match signals.wait(Duration::from_millis(20)) {
            Some(Event::Stop | Event::Quit) => return true,
            Some(Event::Child) | None => output::complain_all(&fleet.bury()),
        }
    }
    false
}

/// Shows lines until it is told to stop or no server is left.
fn show(fleet: &mut Fleet, watch: &mut Watch, signals: &Signals) {
    let mut screen = Screen::new();
    // Rates are differences: this is what the first line is measured against.
    watch.look(&fleet.sights());
    let mut next = Instant::now() + screen.pace();
    while fleet.is_alive() {
        match signals.wait(next.saturating_duration_since(Instant::now())) {
            Some(Event::Stop | Event::Quit) => return,
            Some(Event::Child) => screen.news(&fleet.bury()),
            None => {
                let lines = watch.look(&fleet.sights());
                screen.show(&format!("{} · Ctrl-C drains and ends all", watch.spotlight()), &lines);
                next = Instant::now() + screen.pace();
            }
        }
    }
}
