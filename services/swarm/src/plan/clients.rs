//! Who asks, when, and how: what steady load, spotlight and scenarios have in common.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use zen::{Dialogue, Endpoint, Transport};

use super::fields::{self, CLIENTS_FIELDS};
use super::form::within;
use super::{MOST_RATE, PlanError, Source};
use crate::population::{Kind, MOST_WEIGHT, Population};
use crate::schedule::stages;
use crate::schedule::{Arrivals, Profile, Rate, Shape};

/// Clients, and what they do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clients {
    /// How they are made up.
    pub population: Population,
    /// How the rate changes.
    pub shape: Shape,
    /// How long it takes to come back, in seconds.
    pub period_seconds: f64,
    /// How far it goes from its mean, as a part of it: 0 to 1.
    pub swing: f64,
    /// What the rate is instead, one time after another, as `10s@1k,30s@1k..5k`; the last one goes on. Empty is nothing.
    pub stages: String,
    /// How the instants follow each other, but for kinds whose point that is.
    pub arrivals: Arrivals,
    /// How many come at the same instant, for bursts: 1 to 10,000.
    pub burst: usize,
    /// What chance is made of.
    pub seed: u64,
    /// What becomes of questions that cannot be asked at their instant.
    pub over_run: OverRun,
    /// Connections of those kinds that keep theirs.
    pub connections: usize,
    /// Connections that are open beside these, and silent.
    pub idle: usize,
    /// Questions that a pipeliner has on their way at once.
    pub pipeline: usize,
    /// Questions after which a connection is closed; 0 is the usual: three for a churner, any number for others.
    pub requests_per_connection: usize,
    /// How old a connection may become, in seconds; 0 is any age.
    pub connection_lifetime_seconds: f64,
    /// How long a client thinks about an answer before it may be asked for more, in seconds.
    pub think_time_seconds: f64,
    /// Between two bytes of a trickler and two reads of a slow reader, in seconds.
    pub interval_seconds: f64,
    /// How many addresses clients come from, where the target is on loopback: each has its own 28,000 ports or so.
    pub source_addresses: usize,
}

/// What becomes of questions that cannot be asked at their instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverRun {
    /// They wait, and their latency grows as it does for people; what comes while 10,000 of one load wait is dropped, and counted.
    #[default]
    Queue,
    /// They are dropped.
    Drop,
    /// They wait, as many at the most, and are asked at most at twice the rate.
    Cap,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            population: Population::only(Kind::Churner),
            shape: Shape::Constant,
            period_seconds: 10.0,
            swing: 0.5,
            stages: String::new(),
            arrivals: Arrivals::Even,
            burst: 16,
            seed: 1,
            over_run: OverRun::Queue,
            connections: 16,
            idle: 0,
            pipeline: 8,
            requests_per_connection: 0,
            connection_lifetime_seconds: 0.0,
            think_time_seconds: 0.0,
            interval_seconds: 0.1,
            source_addresses: 1,
        }
    }
}

impl Clients {
    /// What is out of its range, if anything is.
    pub(crate) fn check(&self, pointer: &str) -> Result<(), PlanError> {
        for kind in Kind::ALL {
            let place = format!("{pointer}/population/{}", kind.label());
            within(&place, self.population.weight(kind) as f64, 0.0, MOST_WEIGHT as f64)?;
        }
        if self.population == Population::default() {
            let sentence = "`population` has no kind with a weight above 0".to_owned();
            return Err(PlanError { pointer: format!("{pointer}/population"), sentence });
        }
        stages::parse(&self.stages, MOST_RATE).map_err(|sentence| PlanError {
            pointer: format!("{pointer}/stages"),
            sentence: format!("`stages`: {sentence}"),
        })?;
        fields::check(CLIENTS_FIELDS, &json!(self), pointer)
    }

    /// How long the stages take together, in seconds; 0 if there are none.
    pub(crate) fn seconds(&self) -> f64 {
        stages::parse(&self.stages, MOST_RATE).unwrap_or_default().iter().map(|stage| stage.seconds).sum()
    }

    /// The loads for one endpoint: one for each kind.
    pub(crate) fn loads(&self, target: usize, endpoint: &Endpoint, rate: f64, source: &Source) -> Vec<Load> {
        let transport = endpoint.transport;
        let is_there = |kind: &Kind| self.population.weight(*kind) > 0 || (*kind == Kind::Idler && self.idle > 0);
        let kinds = Kind::ALL.into_iter().filter(|kind| is_there(kind) && kind.fits(transport));
        let load = |kind: Kind| {
            let part = self.population.part(kind, transport, Kind::has_rate);
            Load {
                target,
                endpoint: endpoint.clone(),
                source: source.clone(),
                kind,
                profile: self.profile(kind, rate, part),
                over_run: self.over_run,
                connections: self.connections_of(kind, transport),
                habits: Habits {
                    pipeline: self.pipeline,
                    requests_per_connection: self.requests_per_connection,
                    lifetime: Some(Duration::from_secs_f64(self.connection_lifetime_seconds))
                        .filter(|lifetime| !lifetime.is_zero()),
                    think: Duration::from_secs_f64(self.think_time_seconds),
                    interval: Duration::from_secs_f64(self.interval_seconds),
                    source_addresses: self.source_addresses,
                },
            }
        };
        kinds.map(load).collect()
    }

    fn connections_of(&self, kind: Kind, transport: Transport) -> usize {
        let part = self.population.part(kind, transport, Kind::has_connections);
        let own = if part > 0.0 { ((self.connections as f64 * part).round() as usize).max(1) } else { 0 };
        own + if kind == Kind::Idler { self.idle } else { 0 }
    }

    fn profile(&self, kind: Kind, rate: f64, part: f64) -> Profile {
        let stages = stages::parse(&self.stages, MOST_RATE).unwrap_or_default();
        let questions = kind.questions_at_once(self.requests_per_connection) as f64;
        let mean = if stages.is_empty() { rate } else { 1.0 } * part / questions;
        let rate = Rate { mean, shape: self.shape, period: self.period_seconds, swing: self.swing, stages };
        let arrivals = kind.manner().arrivals.unwrap_or(self.arrivals);
        Profile { rate, arrivals, burst: self.burst, seed: self.seed }
    }
}

/// How clients of one load behave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Habits {
    pub pipeline: usize,
    /// 0 is the usual number.
    pub requests_per_connection: usize,
    pub lifetime: Option<Duration>,
    pub think: Duration,
    pub interval: Duration,
    pub source_addresses: usize,
}

/// One kind of clients of one endpoint at this moment.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub target: usize,
    pub endpoint: Endpoint,
    pub source: Source,
    pub kind: Kind,
    pub profile: Profile,
    pub over_run: OverRun,
    /// Connections that are kept.
    pub connections: usize,
    pub habits: Habits,
}

impl Load {
    /// Whether it is the same load, at whatever rate.
    pub fn is_the_same(&self, other: &Self) -> bool {
        (self.target, self.kind) == (other.target, other.kind)
            && self.source.is(&other.source)
            && self.endpoint == other.endpoint
    }

    /// Questions that belong to one of its instants.
    pub const fn questions(&self) -> usize {
        self.kind.questions_at_once(self.habits.requests_per_connection)
    }

    /// How long a question takes by the client's own doing: no server is to be blamed for that.
    pub fn own_time(&self, dialogue: Dialogue) -> Duration {
        self.habits.interval * self.kind.own_intervals(dialogue)
    }

    /// The highest rate that there will be, in questions a second; 0 for those who have none.
    pub fn highest_rate(&self) -> f64 {
        self.profile.rate.highest() * self.questions() as f64
    }
}
