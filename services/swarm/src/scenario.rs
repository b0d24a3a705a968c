//! Scenarios: loads with a name and with what they should show.

use std::fs;
use std::path::Path;

use config::{Config, File, FileFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zen::{Endpoint, Transport};

use crate::expectation::Expectation;
use crate::plan::form::{self, within};
use crate::plan::{Clients, Load, MOST_RATE, Peak, PlanError, Source, Target, known};
use crate::population::Population;

/// A load for some time, with what is expected of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// What it is called: small letters, digits and `_`.
    pub name: String,
    /// What happens, in one sentence.
    pub summary: String,
    /// What should be seen, and at whom, in one sentence.
    pub expectation: String,
    /// The same as far as it can be checked: each is `TARGET FIGURE < NUMBER`, or `>`. FIGURE is `right_percent`,
    /// `failed_percent`, `wrong_percent`, `timeout_percent`, `p50_ms` or `p99_ms`; the target `each` means every one.
    pub expect: Vec<String>,
    /// Over which transport its clients come: `tcp`, `udp`, `unix` or `unixgram`.
    pub transport: String,
    /// Whom it loads; empty means everybody who has the transport.
    pub targets: Vec<String>,
    /// For how long, in seconds; 0 is as long as the stages take.
    pub duration_seconds: f64,
    /// Questions a second for each target.
    pub rate: f64,
    /// Who asks.
    #[serde(flatten)]
    pub clients: Clients,
}

/// The text of a scenario's file, with its name.
macro_rules! built_in {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../deploy/scenarios/", $name, ".toml")))
    };
}

/// Scenarios that are always there, so that nothing needs a directory of them.
const BUILT_IN: [(&str, &str); 14] = [
    built_in!("one_trickler"),
    built_in!("idlers"),
    built_in!("churn"),
    built_in!("many_descriptors"),
    built_in!("udp_burst"),
    built_in!("half_closers"),
    built_in!("fragments"),
    built_in!("pipelines"),
    built_in!("bad_askers"),
    built_in!("aborters"),
    built_in!("slow_readers"),
    built_in!("flash_crowd"),
    built_in!("tide"),
    built_in!("poisson"),
];

/// The longest run, in seconds.
const LONGEST: f64 = 24.0 * 3600.0;

impl Scenario {
    /// Those that come with the laboratory.
    ///
    /// # Errors
    /// The first thing that is wrong with one of them.
    pub fn built_in() -> Result<Vec<Self>, String> {
        BUILT_IN.iter().map(|(file, text)| Self::from_text(text).map_err(|why| format!("{file}: {why}"))).collect()
    }

    /// Those of the files `*.toml` in a directory, by name.
    ///
    /// # Errors
    /// The first file that cannot be read or is no scenario, and two of one name.
    pub fn of_directory(directory: &Path) -> Result<Vec<Self>, String> {
        let unreadable = |error: std::io::Error| format!("the scenarios in {}: {error}", directory.display());
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory).map_err(unreadable)? {
            paths.push(entry.map_err(unreadable)?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        let mut scenarios: Vec<Self> = Vec::new();
        for path in paths {
            let scenario = Self::of_file(&path)?;
            if scenarios.iter().any(|other| other.name == scenario.name) {
                let (path, name) = (path.display(), &scenario.name);
                return Err(format!("the scenario {path}: there is another one with the name {name:?}"));
            }
            scenarios.push(scenario);
        }
        Ok(scenarios)
    }

    /// The one of a file, in TOML or JSON.
    ///
    /// # Errors
    /// That it cannot be read, or what is wrong with it.
    pub fn of_file(path: &Path) -> Result<Self, String> {
        let wrong = |why: String| format!("the scenario {}: {why}", path.display());
        Self::from_text(&fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?).map_err(wrong)
    }

    /// The scenario that a text describes, in TOML or JSON. What it does not say is as usual, but it must say who asks.
    fn from_text(text: &str) -> Result<Self, String> {
        let said = if text.trim_start().starts_with('{') { said_in_json(text) } else { said_in_toml(text) }?;
        let mut document = json!(Self::usual());
        for (member, value) in said {
            match (document.get_mut(&member), value) {
                (Some(Value::Object(usual)), Value::Object(said)) => usual.extend(said),
                (_, value) => document[member] = value,
            }
        }
        Self::from_json(document).map_err(|error| error.sentence)
    }

    /// What a scenario does not have to say.
    fn usual() -> Self {
        Self {
            name: String::new(),
            summary: String::new(),
            expectation: String::new(),
            expect: Vec::new(),
            transport: Transport::Tcp.label().into(),
            targets: Vec::new(),
            duration_seconds: 30.0,
            rate: 0.0,
            clients: Clients { population: Population::default(), ..Clients::default() },
        }
    }

    /// The scenario that a whole document is.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn from_json(document: Value) -> Result<Self, PlanError> {
        form::check(&document, &json!(Self::usual()), "")?;
        let scenario: Self = serde_json::from_value(document)
            .map_err(|error| PlanError { pointer: String::new(), sentence: format!("this is no scenario: {error}") })?;
        scenario.check()?;
        Ok(scenario)
    }

    /// What it says otherwise than usual: as a file of JSON it makes the same scenario.
    pub(crate) fn in_short(&self) -> Value {
        otherwise(json!(self), &json!(Self::usual()))
    }

    /// The same with other values for some members, as a run may ask for.
    ///
    /// # Errors
    /// The first member that may not be changed, or not to that value.
    pub(crate) fn with(&self, changes: &Map<String, Value>) -> Result<Self, PlanError> {
        let mut document = json!(self);
        for (member, value) in changes {
            document[member] = value.clone();
        }
        Self::from_json(document)
    }

    fn check(&self) -> Result<(), PlanError> {
        let is_name = !self.name.is_empty()
            && self.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !is_name {
            let sentence = format!("`name` = {:?} must have small letters, digits and `_`, at least one", self.name);
            return Err(PlanError { pointer: "/name".into(), sentence });
        }
        for (member, text) in [("summary", &self.summary), ("expectation", &self.expectation)] {
            if !text.trim_end().ends_with('.') {
                let sentence = format!("`{member}` = {text:?} must be a sentence that ends in a full stop");
                return Err(PlanError { pointer: format!("/{member}"), sentence });
            }
        }
        for (at, text) in self.expect.iter().enumerate() {
            text.parse::<Expectation>().map_err(|why| PlanError {
                pointer: format!("/expect/{at}"),
                sentence: format!("`expect[{at}]` = {why}"),
            })?;
        }
        within("/rate", self.rate, 0.0, MOST_RATE)?;
        self.clients.check("")?;
        let least = if self.clients.stages.trim().is_empty() { 0.5 } else { 0.0 };
        within("/duration_seconds", self.duration_seconds, least, LONGEST)
    }

    /// What it expects, as far as that can be checked.
    pub(crate) fn expectations(&self) -> impl Iterator<Item = Expectation> + '_ {
        // Each was understood when the scenario was made.
        self.expect.iter().filter_map(|text| text.parse().ok())
    }

    /// Over which transport its clients come.
    pub(crate) fn over(&self) -> Transport {
        self.transport.parse().unwrap_or(Transport::Tcp)
    }

    /// How long it takes, in seconds.
    pub fn seconds(&self) -> f64 {
        if self.duration_seconds > 0.0 { self.duration_seconds } else { self.clients.seconds() }
    }

    /// Whom a run of it loads, as places in `targets`; all of them together must be within the ceilings.
    pub(crate) fn places(&self, targets: &[Target]) -> Result<Vec<usize>, PlanError> {
        let has_it = |target: &Target| endpoint(target, self.over()).is_some();
        let mut places = Vec::new();
        for (at, name) in self.targets.iter().enumerate() {
            let pointer = format!("/targets/{at}");
            known(&pointer, name, targets)?;
            let place = targets.iter().position(|target| target.name == *name).filter(|at| has_it(&targets[*at]));
            places.push(place.ok_or_else(|| PlanError {
                pointer,
                sentence: format!("`{name}` has no {} endpoint, and {} needs one", self.transport, self.name),
            })?);
        }
        if self.targets.is_empty() {
            places = (0..targets.len()).filter(|at| has_it(&targets[*at])).collect();
        }
        places.sort_unstable();
        places.dedup();
        if places.is_empty() {
            let sentence =
                format!("no target of this swarm has a {} endpoint, and {} needs one", self.transport, self.name);
            return Err(PlanError { pointer: "/targets".into(), sentence });
        }
        let together = Peak::of(&self.loads(targets, &places, &Source::Steady));
        together.check("/rate", "/connections", "all targets together")?;
        Ok(places)
    }

    /// What it loads these places with.
    pub(crate) fn loads(&self, targets: &[Target], places: &[usize], source: &Source) -> Vec<Load> {
        let of_one = |&place: &usize| {
            let endpoint = endpoint(&targets[place], self.over())?;
            Some(self.clients.loads(place, endpoint, self.rate, source))
        };
        places.iter().filter_map(of_one).flatten().collect()
    }
}

fn said_in_toml(text: &str) -> Result<Map<String, Value>, String> {
    Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .build()
        .and_then(Config::try_deserialize)
        .map_err(|error| sentence(&error.to_string()))
}

fn said_in_json(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))
}

/// Those members of an object, and of objects in it, that are not as usual.
fn otherwise(document: Value, usual: &Value) -> Value {
    let (Value::Object(members), Value::Object(usual)) = (&document, usual) else { return document };
    let new = members.iter().filter(|(name, value)| usual.get(*name) != Some(value));
    new.map(|(name, value)| (name.clone(), otherwise(value.clone(), usual.get(name).unwrap_or(&Value::Null)))).collect()
}

/// What a parser says over several lines, without the drawing between the first and the last.
fn sentence(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines[..] {
        [] | [_] => text.to_owned(),
        [first, .., last] => format!("{first}: {last}"),
    }
}

/// The endpoint of a target over a transport.
pub(crate) fn endpoint(target: &Target, transport: Transport) -> Option<&Endpoint> {
    target.endpoints.iter().find(|endpoint| endpoint.transport == transport)
}
