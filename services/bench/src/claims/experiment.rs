//! What all experiments are made of: servers, crowds, and what a stretch of load costs.

use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use zen::Transport;

use super::How;
use super::checks::Checks;
use crate::driver::{Crowd, Options};
use crate::lab::{Lab, Server, Subject, Usage};
use crate::machine::Reading;
use crate::pace::Pace;
use crate::random::Random;
use crate::slot::Slot;
use crate::stats;

/// Descriptors that the client keeps for other things than connections.
const RESERVED: usize = 200;

/// The median of fewer is whatever happened to one.
const FEWEST_ROUNDS: usize = 3;

/// How long what is counted at a server may take to be seen.
const SIGHT: Duration = Duration::from_secs(3);

/// One experiment under way.
pub(super) struct Experiment<'a> {
    lab: &'a Lab,
    how: &'a How,
    tell: &'a mut dyn FnMut(&str),
    /// What is being done.
    phase: String,
    /// What its slots are checked for.
    pub checks: Checks,
    /// What chooses the order of visits.
    pub random: Random,
}

/// A stretch of load, and what it cost the server.
pub(super) struct Measured {
    pub slot: Slot,
    pub usage: Usage,
}

impl<'a> Experiment<'a> {
    pub fn new(lab: &'a Lab, how: &'a How, tell: &'a mut dyn FnMut(&str)) -> Self {
        Self { lab, how, tell, phase: String::new(), checks: Checks::new(), random: Random::new(how.seed) }
    }

    /// Cores that client and servers have together.
    pub fn cores(&self) -> u32 {
        self.lab.cores()
    }

    pub fn seed(&self) -> u64 {
        self.how.seed
    }

    /// Says what is being done. What one server does meanwhile is always the same work.
    pub fn tell(&mut self, what: &str) {
        what.clone_into(&mut self.phase);
        (self.tell)(what);
    }

    /// Nothing, unless somebody has ended the experiment.
    pub fn go_on(&self) -> io::Result<()> {
        if self.how.stop.load(Ordering::Relaxed) {
            return Err(io::Error::new(ErrorKind::Interrupted, "the experiment was ended early"));
        }
        Ok(())
    }

    /// Starts a server that serves these transports.
    pub fn start(&self, architecture: &str, transports: &[Transport], settings: &[&str]) -> io::Result<Server> {
        self.go_on()?;
        self.lab.start(&Subject {
            name: architecture.to_owned(),
            architecture: architecture.to_owned(),
            transports: transports.to_vec(),
            settings: settings.iter().map(ToString::to_string).collect(),
        })
    }

    /// How often something is repeated that is usually repeated `usual` times.
    pub fn rounds(&self, usual: usize) -> usize {
        ((usual as f64 * self.how.pace).ceil() as usize).max(FEWEST_ROUNDS)
    }

    /// Numbers below `count` in random order.
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        self.random.shuffle(&mut order);
        order
    }

    /// Connects clients to a server.
    pub fn connect(
        &self,
        server: &Server,
        transport: Transport,
        connections: usize,
        options: Options,
    ) -> io::Result<Crowd> {
        let endpoint = server
            .endpoint(transport)
            .ok_or_else(|| io::Error::other(format!("{} does not serve {transport}", server.name)))?;
        Crowd::connect(endpoint, connections, Options { stop: Some(self.how.stop), ..options })
    }

    /// Loads a server for a while.
    pub fn load(
        &mut self,
        server: &Server,
        transport: Transport,
        crowd: &mut Crowd,
        time: Duration,
        pace: Pace,
    ) -> io::Result<Measured> {
        let reading = Reading::take();
        let before = server.usage(transport).unwrap_or_default();
        let slot = crowd.slot(time, pace)?;
        let usage = server.usage(transport).unwrap_or_default().since(&before);
        let weather = Reading::take().since(&reading);
        // A slot that was cut short is none.
        self.go_on()?;
        let work = format!("{}: {} over {transport}", self.phase, server.name);
        self.checks.enter(work, crowd.len(), pace, &slot, weather);
        Ok(Measured { slot, usage })
    }
}

/// Lets something fail in a server at the next question.
pub(super) fn fault(server: &Server, kind: &str, target: &str) -> io::Result<()> {
    server.order("/api/v1/faults", &json!({"kind": kind, "target": target}))
}

/// Asks a server's metrics until they say what is waited for, or for [`SIGHT`]: it looks at its sockets from time to time only.
/// Gives the sum of the series whose name and labels begin so.
pub(super) fn metric(server: &Server, series: &str, is_there: impl Fn(f64) -> bool) -> io::Result<f64> {
    let end = Instant::now() + SIGHT;
    loop {
        let metrics = server.get("/metrics")?;
        let values = metrics.lines().filter(|line| line.starts_with(series));
        let sum = values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        if is_there(sum) || Instant::now() > end {
            return Ok(sum);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Measured {
    /// CPU time of the server for each right answer, in microseconds.
    pub fn cpu_us(&self) -> Option<f64> {
        (self.slot.ok > 0).then(|| self.usage.cpu_ns as f64 / 1e3 / self.slot.ok as f64)
    }

    /// CPU time of the server, as a part of one core.
    pub fn core_share(&self) -> f64 {
        self.usage.cpu_ns as f64 / 1e9 / self.slot.wall.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Context switches of the server for each right answer.
    pub fn switches(&self) -> Option<f64> {
        (self.slot.ok > 0).then(|| self.usage.switches as f64 / self.slot.ok as f64)
    }
}

/// The median of what was measured; none if nothing was.
pub(super) fn median(values: &[Option<f64>]) -> Option<f64> {
    let values: Vec<f64> = values.iter().copied().flatten().collect();
    (!values.is_empty()).then(|| stats::median(&values))
}

/// How many connections the client may have in all: its limit of descriptors is raised as far as it may be.
pub(super) fn most_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Where it may not be raised, it stays.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(RESERVED)
}
