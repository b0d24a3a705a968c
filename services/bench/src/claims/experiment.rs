//! What all experiments are made of: servers, crowds, and what a stretch of load costs.

use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use zen::Transport;

use super::How;
use crate::driver::Crowd;
use crate::lab::{Lab, Server, Subject, Usage};
use crate::pace::Pace;
use crate::random::Random;
use crate::slot::Slot;
use crate::stats;

/// Descriptors that the client keeps for other things than connections.
const RESERVED: usize = 200;

/// One experiment under way.
pub(super) struct Experiment<'a> {
    lab: &'a Lab,
    how: &'a How,
    tell: &'a mut dyn FnMut(&str),
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
        Self { lab, how, tell, random: Random::new(how.seed) }
    }

    pub fn seed(&self) -> u64 {
        self.how.seed
    }

    /// Says what is being done.
    pub fn tell(&mut self, what: &str) {
        (self.tell)(what);
    }

    /// Starts a server that serves these transports.
    pub fn start(&self, architecture: &str, transports: &[Transport], settings: &[&str]) -> io::Result<Server> {
        self.lab.start(&Subject {
            name: architecture.to_owned(),
            architecture: architecture.to_owned(),
            transports: transports.to_vec(),
            settings: settings.iter().map(ToString::to_string).collect(),
        })
    }

    /// How often something is repeated that is usually repeated `usual` times; at least once.
    pub fn rounds(&self, usual: usize) -> usize {
        ((usual as f64 * self.how.pace).ceil() as usize).max(1)
    }

    /// Numbers below `count` in random order.
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        self.random.shuffle(&mut order);
        order
    }
}

/// Loads a server for a while.
pub(super) fn measure(
    server: &Server,
    transport: Transport,
    crowd: &mut Crowd,
    time: Duration,
    pace: Pace,
) -> io::Result<Measured> {
    let before = server.usage(transport).unwrap_or_default();
    let slot = crowd.slot(time, pace)?;
    let usage = server.usage(transport).unwrap_or_default().since(&before);
    Ok(Measured { slot, usage })
}

/// Connects clients to a server.
pub(super) fn connect(
    server: &Server,
    transport: Transport,
    connections: usize,
    options: crate::Options,
) -> io::Result<Crowd> {
    let endpoint = server
        .endpoint(transport)
        .ok_or_else(|| io::Error::other(format!("{} does not serve {transport}", server.name)))?;
    Crowd::connect(endpoint, connections, options)
}

/// Lets something fail in a server at the next question.
pub(super) fn fault(server: &Server, kind: &str, target: &str) -> io::Result<()> {
    server.order("/api/v1/faults", &json!({"kind": kind, "target": target}))
}

impl Measured {
    /// CPU time of the server for each right answer, in microseconds.
    pub fn cpu_us(&self) -> Option<f64> {
        (self.slot.ok > 0).then(|| self.usage.cpu_ns as f64 / 1e3 / self.slot.ok as f64)
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
