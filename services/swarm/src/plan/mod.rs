//! What the swarm is asked to do.

mod ceilings;
mod clients;
mod fields;
pub(crate) mod form;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zen::{Dialogue, Endpoint, Transport};

pub(crate) use ceilings::{MOST_CONNECTIONS, MOST_RATE, Peak};
pub(crate) use clients::Load;
pub use clients::{Clients, OverRun};
pub use fields::{CLIENTS_FIELDS, Field, MayBe, PLAN_FIELDS, SPOTLIGHT_FIELDS};
use form::escape;

use crate::runs::Run;
use crate::scenario::Scenario;

/// The most that come at the same instant in a burst, and so the most of one load that may wait: a burst never drops by itself.
pub(crate) const MOST_AT_ONCE: usize = 10_000;

/// A server with its endpoints: what the swarm was started with. Nothing else can be asked.
#[derive(Debug, Clone)]
pub struct Target {
    /// The architecture's name, or the one it goes by.
    pub name: String,
    /// What is said there, and so which answers are right.
    pub dialogue: Dialogue,
    /// Where it serves.
    pub endpoints: Vec<Endpoint>,
    /// Its admin API, for the CPU time of the spotlight's window; none if that is not to be had.
    pub admin: Option<String>,
}

/// The plan as a whole: always valid, changed as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Questions a second for each endpoint.
    pub steady_rate: f64,
    /// Another steady rate for some targets, by name.
    pub steady_rates: BTreeMap<String, f64>,
    /// Who asks them. Usually the chapter's client: connect, three questions, close.
    pub steady: Clients,
    /// The harder load on some.
    pub spotlight: Spotlight,
    /// How long an answer may take, in seconds.
    pub timeout_seconds: f64,
    /// One exchange in how many is traced; 0 is none.
    pub trace_one_in: u64,
}

/// A harder load on one architecture at a time, or on those that are named. It goes to their TCP endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spotlight {
    /// Who is meant; empty means everybody.
    pub targets: Vec<String>,
    /// One after the other, or all the time.
    pub mode: Mode,
    /// How long a turn is, in seconds.
    pub turn_seconds: f64,
    /// Questions a second for each that is loaded; the same for everybody, so that they can be compared.
    pub rate: f64,
    /// Who asks them. Kinds that keep their connection starve each other at a server that serves each client to its end by one
    /// of few workers; churners compare all architectures.
    #[serde(flatten)]
    pub clients: Clients,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One after the other.
    Turn,
    /// All of them all the time.
    Fixed,
    /// Nobody.
    Off,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            steady_rate: 30.0,
            steady_rates: BTreeMap::new(),
            steady: Clients { connections: 3, ..Clients::default() },
            spotlight: Spotlight {
                targets: Vec::new(),
                mode: Mode::Turn,
                turn_seconds: 20.0,
                rate: 600.0,
                clients: Clients::default(),
            },
            timeout_seconds: 5.0,
            trace_one_in: 1024,
        }
    }
}

/// Why a plan cannot be followed: where, and one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    /// A JSON pointer.
    pub pointer: String,
    /// The member, its value, what is allowed.
    pub sentence: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for PlanError {}

impl Plan {
    /// The plan that this document is.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_json(document: Value, targets: &[Target]) -> Result<Self, PlanError> {
        form::check(&document, &json!(Self::default()), "")?;
        let plan: Self = serde_json::from_value(document)
            .map_err(|error| PlanError { pointer: String::new(), sentence: format!("this is no plan: {error}") })?;
        plan.check(targets)?;
        Ok(plan)
    }

    fn check(&self, targets: &[Target]) -> Result<(), PlanError> {
        let document = json!(self);
        fields::check(PLAN_FIELDS, &document, "")?;
        for name in self.steady_rates.keys() {
            known(&format!("/steady_rates/{}", escape(name)), name, targets)?;
        }
        self.steady.check("/steady")?;
        fields::check(SPOTLIGHT_FIELDS, &document["spotlight"], "/spotlight")?;
        self.spotlight.clients.check("/spotlight")?;
        for (at, name) in self.spotlight.targets.iter().enumerate() {
            known(&format!("/spotlight/targets/{at}"), name, targets)?;
        }
        self.check_ceilings(targets)
    }

    /// All that is asked at once must be within the ceilings as well.
    fn check_ceilings(&self, targets: &[Target]) -> Result<(), PlanError> {
        let steady = Peak::of(&self.steady_loads(targets, |_| true));
        let light = Peak::of(&self.spotlight_loads(targets, &self.lit_at_once(targets)));
        let (rate, connections) = ("/spotlight/rate", "/spotlight/connections");
        light.check(rate, connections, "the spotlight's targets together")?;
        steady.check("/steady_rate", "/steady/connections", "the steady load of all targets")?;
        steady.and(light).check(rate, connections, "the steady load and the spotlight together")
    }

    /// That a run of this scenario at these places leaves the plan's load of the others within the ceilings.
    ///
    /// # Errors
    /// What both come to, at the run's place.
    pub(crate) fn check_run(&self, targets: &[Target], run: &Scenario, at: &[usize]) -> Result<(), PlanError> {
        let both = self.beside(targets, run, at);
        both.check("/rate", "/connections", "the run and the steady load of the other targets together")
    }

    /// The same for a plan that comes while this run is on.
    ///
    /// # Errors
    /// What both come to, at the plan's place.
    pub(crate) fn check_beside(&self, targets: &[Target], run: &Run) -> Result<(), PlanError> {
        let both = self.beside(targets, &run.scenario, run.places());
        let who = format!("the steady load and run {} together", run.id);
        both.check("/steady_rate", "/steady/connections", &who)
    }

    fn beside(&self, targets: &[Target], run: &Scenario, at: &[usize]) -> Peak {
        // On whose account the run's loads are does not matter here.
        let loads = run.loads(targets, at, &Source::Steady);
        Peak::of(&loads).and(Peak::of(&self.steady_loads(targets, |place| !at.contains(&place))))
    }

    /// Whom the spotlight is on at once, at the most.
    fn lit_at_once(&self, targets: &[Target]) -> Vec<usize> {
        let names = &self.spotlight.targets;
        let is_meant = |target: &Target| names.is_empty() || names.contains(&target.name);
        let meant = (0..targets.len()).filter(|at| is_meant(&targets[*at]) && has_tcp(&targets[*at]));
        match self.spotlight.mode {
            Mode::Off => Vec::new(),
            Mode::Turn => meant.take(1).collect(),
            Mode::Fixed => meant.collect(),
        }
    }

    fn steady_rate_of(&self, target: &Target) -> f64 {
        self.steady_rates.get(&target.name).copied().unwrap_or(self.steady_rate)
    }
}

/// That nobody is meant whom the swarm was not started with.
pub(crate) fn known(pointer: &str, name: &str, targets: &[Target]) -> Result<(), PlanError> {
    if targets.iter().any(|target| target.name == name) {
        return Ok(());
    }
    let known: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
    let sentence = format!("`{name}` is no target of this swarm; it was started with {}", known.join(", "));
    Err(PlanError { pointer: pointer.into(), sentence })
}

/// On whose account a load is.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Steady,
    Spotlight,
    Run(Arc<Run>),
}

impl Source {
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Steady, Self::Steady) | (Self::Spotlight, Self::Spotlight) => true,
            (Self::Run(one), Self::Run(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Plan {
    /// The loads for this plan while `lit` are in the spotlight (places in `targets`). While a run is on, it alone loads its
    /// targets, and nobody is in the spotlight.
    pub(crate) fn loads(&self, targets: &[Target], lit: &[usize], run: Option<&Arc<Run>>) -> Vec<Load> {
        let Some(run) = run else {
            let mut loads = self.spotlight_loads(targets, lit);
            loads.extend(self.steady_loads(targets, |_| true));
            return loads;
        };
        let mut loads = self.steady_loads(targets, |at| !run.is_at(at));
        loads.extend(run.loads(targets));
        loads
    }

    fn steady_loads(&self, targets: &[Target], is_meant: impl Fn(usize) -> bool) -> Vec<Load> {
        let mut loads = Vec::new();
        for (at, target) in targets.iter().enumerate().filter(|(at, _)| is_meant(*at)) {
            let rate = self.steady_rate_of(target);
            for endpoint in &target.endpoints {
                loads.extend(self.steady.loads(at, endpoint, rate, &Source::Steady));
            }
        }
        loads
    }

    fn spotlight_loads(&self, targets: &[Target], lit: &[usize]) -> Vec<Load> {
        let light = &self.spotlight;
        let of_one = |&at: &usize| {
            let endpoints = targets[at].endpoints.iter().filter(|endpoint| endpoint.transport == Transport::Tcp);
            endpoints.flat_map(move |endpoint| light.clients.loads(at, endpoint, light.rate, &Source::Spotlight))
        };
        lit.iter().flat_map(of_one).collect()
    }
}

fn has_tcp(target: &Target) -> bool {
    target.endpoints.iter().any(|endpoint| endpoint.transport == Transport::Tcp)
}
