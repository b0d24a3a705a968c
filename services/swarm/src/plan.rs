//! What the swarm is asked to do.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zen::{Endpoint, Transport};

/// The highest rate of one lane, in questions a second.
const MOST_RATE: f64 = 200_000.0;

/// The most connections that one lane holds.
const MOST_CONNECTIONS: usize = 20_000;

/// A server with its endpoints: what the swarm was started with. Nothing else can be asked.
#[derive(Debug, Clone)]
pub struct Target {
    /// The architecture's name.
    pub name: String,
    /// Where it serves.
    pub endpoints: Vec<Endpoint>,
    /// Its admin API, for the CPU time of the spotlight's window; none if that is not to be had.
    pub admin: Option<String>,
}

/// The plan as a whole: always valid, changed as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Questions a second for each endpoint, from the chapter's client: connect, three questions, close.
    pub steady_rate: f64,
    /// Another steady rate for some targets, by name.
    pub steady_rates: BTreeMap<String, f64>,
    /// The harder load on some.
    pub spotlight: Spotlight,
    /// How long an answer may take, in seconds.
    pub timeout_seconds: f64,
    /// One exchange in how many is traced; 0 is none.
    pub trace_one_in: u64,
}

/// A harder load on one architecture at a time, or on those that are named. It goes to their TCP endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spotlight {
    /// Who is meant; empty means everybody.
    pub targets: Vec<String>,
    /// One after the other, or all the time.
    pub mode: Mode,
    /// How long a turn is, in seconds.
    pub turn_seconds: f64,
    /// Questions a second for each that is loaded; the same for everybody, so that they can be compared.
    pub rate: f64,
    /// What its clients do.
    pub kind: Kind,
    /// Targets that get [`Kind::Visits`] whatever `kind` says: held connections starve the other clients of a server that
    /// serves each client to its end by one of few workers.
    pub never_held: Vec<String>,
    /// Connections that ask, for [`Kind::Held`].
    pub connections: usize,
    /// Connections that are open beside these, and silent.
    pub idle: usize,
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

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The chapter's client: connects, asks three questions, closes. Every architecture can serve it, so this compares all.
    Visits,
    /// Connections that stay. Servers that serve a client to its end serve only as many of these as they have workers.
    Held,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            steady_rate: 30.0,
            steady_rates: BTreeMap::new(),
            spotlight: Spotlight {
                targets: Vec::new(),
                mode: Mode::Turn,
                turn_seconds: 20.0,
                rate: 600.0,
                kind: Kind::Visits,
                never_held: Vec::new(),
                connections: 16,
                idle: 0,
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
        check_form(&document, &serde_json::json!(Self::default()), "")?;
        let plan: Self = serde_json::from_value(document)
            .map_err(|error| PlanError { pointer: String::new(), sentence: format!("this is no plan: {error}") })?;
        plan.check(targets)?;
        Ok(plan)
    }

    fn check(&self, targets: &[Target]) -> Result<(), PlanError> {
        let light = &self.spotlight;
        within("/steady_rate", self.steady_rate, 0.0, MOST_RATE)?;
        for (name, &rate) in &self.steady_rates {
            known(&format!("/steady_rates/{}", escape(name)), name, targets)?;
            within(&format!("/steady_rates/{}", escape(name)), rate, 0.0, MOST_RATE)?;
        }
        within("/timeout_seconds", self.timeout_seconds, 0.05, 60.0)?;
        within("/trace_one_in", self.trace_one_in as f64, 0.0, 1e6)?;
        within("/spotlight/turn_seconds", light.turn_seconds, 2.0, 3600.0)?;
        within("/spotlight/rate", light.rate, 0.0, MOST_RATE)?;
        within("/spotlight/connections", light.connections as f64, 1.0, MOST_CONNECTIONS as f64)?;
        within("/spotlight/idle", light.idle as f64, 0.0, MOST_CONNECTIONS as f64)?;
        for (member, names) in [("targets", &light.targets), ("never_held", &light.never_held)] {
            for (at, name) in names.iter().enumerate() {
                known(&format!("/spotlight/{member}/{at}"), name, targets)?;
            }
        }
        Ok(())
    }
}

/// That nobody is meant whom the swarm was not started with.
fn known(pointer: &str, name: &str, targets: &[Target]) -> Result<(), PlanError> {
    if targets.iter().any(|target| target.name == name) {
        return Ok(());
    }
    let known: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
    let sentence = format!("`{name}` is no target of this swarm; it was started with {}", known.join(", "));
    Err(PlanError { pointer: pointer.into(), sentence })
}

/// That a document has the form of `model`, so that an error can name the place: serde's errors name none.
fn check_form(document: &Value, model: &Value, pointer: &str) -> Result<(), PlanError> {
    let wrong = |sentence| Err(PlanError { pointer: pointer.to_owned(), sentence });
    let name = name_of(pointer);
    match (document, model) {
        // Members of one kind under any name.
        (Value::Object(members), Value::Object(models)) if models.is_empty() => {
            members.iter().try_for_each(|(key, value)| check_number(value, &format!("{pointer}/{}", escape(key))))
        }
        (Value::Object(members), Value::Object(models)) => check_members(members, models, pointer),
        (Value::Array(members), Value::Array(_)) => check_names(members, pointer),
        (Value::String(word), Value::String(_)) => check_word(word, pointer),
        (Value::Number(_), Value::Number(model)) if !model.is_u64() || document.is_u64() => Ok(()),
        (_, Value::Number(model)) if model.is_u64() => wrong(format!("`{name}` = {document} must be a whole number")),
        (_, Value::Number(_)) => check_number(document, pointer),
        (_, Value::Array(_)) => wrong(format!("`{name}` = {document} must be a list of targets' names")),
        (_, Value::String(_)) => wrong(format!("`{name}` = {document} must be a word")),
        _ => wrong(format!("`{name}` = {document} must be an object")),
    }
}

fn check_names(members: &[Value], pointer: &str) -> Result<(), PlanError> {
    let Some(at) = members.iter().position(|member| !member.is_string()) else { return Ok(()) };
    let sentence = format!("`{}[{at}]` = {} must be a target's name", name_of(pointer), members[at]);
    Err(PlanError { pointer: format!("{pointer}/{at}"), sentence })
}

fn check_members(
    members: &serde_json::Map<String, Value>,
    models: &serde_json::Map<String, Value>,
    pointer: &str,
) -> Result<(), PlanError> {
    let names = || models.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    for (key, value) in members {
        let place = format!("{pointer}/{}", escape(key));
        let Some(model) = models.get(key) else {
            let sentence = format!("there is no `{}`; there is {}", name_of(&place), names());
            return Err(PlanError { pointer: place, sentence });
        };
        check_form(value, model, &place)?;
    }
    let Some(key) = models.keys().find(|key| !members.contains_key(*key)) else { return Ok(()) };
    let place = format!("{pointer}/{key}");
    let sentence = format!("`{}` is missing; a whole plan has {}", name_of(&place), names());
    Err(PlanError { pointer: place, sentence })
}

/// The words that stand for [`Mode`] and [`Kind`], which are the only ones that a plan has.
fn check_word(word: &str, pointer: &str) -> Result<(), PlanError> {
    let words: &[&str] = if pointer.ends_with("/mode") { &["turn", "fixed", "off"] } else { &["visits", "held"] };
    if words.contains(&word) {
        return Ok(());
    }
    let sentence = format!("`{}` = {word:?} must be one of {}", name_of(pointer), words.join(", "));
    Err(PlanError { pointer: pointer.into(), sentence })
}

fn check_number(value: &Value, pointer: &str) -> Result<(), PlanError> {
    if value.is_number() {
        return Ok(());
    }
    Err(PlanError { pointer: pointer.into(), sentence: format!("`{}` = {value} must be a number", name_of(pointer)) })
}

/// A member's name in a JSON pointer (RFC 6901).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What sentences call the place of a pointer.
fn name_of(pointer: &str) -> String {
    if pointer.is_empty() { "plan".to_owned() } else { pointer.trim_start_matches('/').replace('/', ".") }
}

fn within(pointer: &str, value: f64, least: f64, most: f64) -> Result<(), PlanError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let sentence = format!("`{}` = {value} must be in {least}..={most}", name_of(pointer));
    Err(PlanError { pointer: pointer.into(), sentence })
}

/// One endpoint's load at this moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Load {
    pub target: usize,
    pub endpoint: Endpoint,
    pub kind: Kind,
    /// Questions a second.
    pub rate: f64,
    pub connections: usize,
    pub idle: usize,
    /// Whether it is the spotlight's.
    pub is_spotlight: bool,
}

impl Plan {
    /// The loads for this plan while `lit` are in the spotlight (places in `targets`).
    pub(crate) fn loads(&self, targets: &[Target], lit: &[usize]) -> Vec<Load> {
        let mut loads = Vec::new();
        for (at, target) in targets.iter().enumerate() {
            let steady_rate = self.steady_rates.get(&target.name).copied().unwrap_or(self.steady_rate);
            for endpoint in &target.endpoints {
                let load = Load {
                    target: at,
                    endpoint: endpoint.clone(),
                    kind: Kind::Visits,
                    rate: steady_rate,
                    connections: 0,
                    idle: 0,
                    is_spotlight: false,
                };
                let light = &self.spotlight;
                if lit.contains(&at) && endpoint.transport == Transport::Tcp {
                    let kind = if light.never_held.contains(&target.name) { Kind::Visits } else { light.kind };
                    let (rate, connections, idle) = (light.rate, light.connections, light.idle);
                    loads.push(Load { rate, kind, connections, idle, is_spotlight: true, ..load.clone() });
                }
                loads.push(load);
            }
        }
        loads
    }
}
