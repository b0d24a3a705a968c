//! `zenlab swarm`: the load generator as a service.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Config, File, FileFormat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use swarm::{Ledger, Plan, Scenario, Service, Settings, Target};
use zen::{Dialogue, Endpoint, EndpointError};

use crate::failure::{Failure, OK, Outcome};
use crate::lab::Member;
use crate::output;
use crate::places;
use crate::signals::{Event, Signals};
use crate::target;

/// What `swarm` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the swarm's admin API and metrics are
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9080")]
    admin: SocketAddr,
    /// Load a whole fleet: that of `zenlab up`, or that of compose
    #[arg(long, value_enum, conflicts_with = "target")]
    fleet: Option<Fleet>,
    /// Where the Unix sockets of the local fleet are
    #[arg(long, value_name = "PATH", required_if_eq("fleet", "local"))]
    dir: Option<PathBuf>,
    /// Only these servers of the fleet; `lesson` is the five of a first lesson
    #[arg(long, value_delimiter = ',', value_name = "NAMES", requires = "fleet")]
    only: Vec<String>,
    /// One endpoint to load, with the name of its architecture; once for each. What goes by the name of a server that echoes is
    /// asked as that
    #[arg(long, value_name = "NAME=URL", required_unless_present = "fleet")]
    target: Vec<String>,
    /// The plan to begin with (TOML); what it does not say is as usual
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Threads that ask, 1 to the number of processors; each load is asked by one of them
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: usize,
    /// A directory of scenarios (TOML) beside those that are always there; one of a known name is taken instead of it
    #[arg(long, value_name = "PATH", env = "ZENLAB__SCENARIOS")]
    scenarios: Option<PathBuf>,
    /// The file of the token that changes need
    #[arg(long, value_name = "PATH", env = "ZENLAB__ADMIN__TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Names under which the admin API may be asked, besides IP addresses and localhost
    #[arg(long, value_name = "NAMES", value_delimiter = ',', env = "ZENLAB__ADMIN__HOSTS")]
    hosts: Vec<String>,
    /// Where traces go, such as `http://tempo:4318`
    #[arg(long, value_name = "URL", default_value = "", env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true)]
    otlp_endpoint: String,
}

/// A fleet whose addresses are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Fleet {
    /// The fleet of `zenlab up`.
    Local,
    /// The fleet of compose.
    Compose,
}

/// Runs until it is told to end, then waits for the last answers and logs the books.
pub fn run(args: &Args) -> Outcome {
    let settings = settings(args)?;
    raise_descriptor_limit();
    // Before there are threads: they all inherit what is blocked.
    let signals =
        Signals::block().map_err(|error| Failure::runtime(format!("signals cannot be waited for: {error}")))?;
    let service = Service::start(settings).map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => Failure::usage(error.to_string()),
        _ => Failure::runtime(error.to_string()),
    })?;
    log("admin_listening", json!({"url": format!("http://{}", service.address())}));
    while !matches!(signals.wait(Duration::from_mins(1)), Some(Event::Stop | Event::Quit)) {}
    let ledger = service.stop();
    log("stopped", books(&ledger));
    Ok(OK)
}

/// As many descriptors as may be had: every client has one.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        log("descriptors", json!({"error": format!("the limit of descriptors cannot be raised: {error}")}));
    }
}

fn settings(args: &Args) -> Result<Settings, Failure> {
    let targets = targets(args)?;
    Ok(Settings {
        admin: args.admin,
        plan: plan(args.config.as_deref(), &targets)?,
        workers: args.workers,
        scenarios: scenarios(args.scenarios.as_deref())?,
        targets,
        token_file: args.token_file.clone().filter(|path| !path.as_os_str().is_empty()),
        hosts: args.hosts.iter().filter(|name| !name.is_empty()).cloned().collect(),
        otlp_endpoint: args.otlp_endpoint.clone(),
    })
}

/// The usual plan with what the file says instead.
fn plan(file: Option<&Path>, targets: &[Target]) -> Result<Plan, Failure> {
    let Some(file) = file else { return Ok(Plan::default()) };
    let wrong = |why: String| Failure::usage(format!("the plan {}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let said = Config::builder()
        .add_source(File::from_str(&text, FileFormat::Toml))
        .build()
        .and_then(Config::try_deserialize::<Value>)
        .map_err(|error| wrong(error.to_string()))?;
    let mut plan = serde_json::to_value(Plan::default()).map_err(|error| wrong(error.to_string()))?;
    merge(&mut plan, said);
    Plan::from_json(plan, targets).map_err(|error| wrong(error.to_string()))
}

/// Those that come with the laboratory, and those of a directory; the directory's win.
fn scenarios(directory: Option<&Path>) -> Result<Vec<Scenario>, Failure> {
    let mut scenarios = Scenario::built_in().map_err(Failure::runtime)?;
    let Some(directory) = directory.filter(|path| !path.as_os_str().is_empty()) else { return Ok(scenarios) };
    for own in Scenario::of_directory(directory).map_err(Failure::usage)? {
        scenarios.retain(|other| other.name != own.name);
        scenarios.push(own);
    }
    Ok(scenarios)
}

/// Puts `changes` over `document`, table by table.
fn merge(document: &mut Value, changes: Value) {
    match (document, changes) {
        (Value::Object(document), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(document.entry(key).or_insert(Value::Null), change);
            }
        }
        (document, changes) => *document = changes,
    }
}

/// Whom the swarm may ask.
fn targets(args: &Args) -> Result<Vec<Target>, Failure> {
    let Some(fleet) = args.fleet else { return named(&args.target) };
    let directory = args.dir.as_deref().unwrap_or(Path::new("."));
    let target = |member: &Member| Target {
        name: member.name.to_owned(),
        dialogue: member.dialogue,
        endpoints: match fleet {
            Fleet::Local => places::local(member, directory),
            Fleet::Compose => places::compose(member),
        },
        admin: Some(match fleet {
            Fleet::Local => places::local_admin(member),
            Fleet::Compose => places::compose_admin(member),
        }),
    };
    Ok(target::members(&args.only)?.iter().map(target).collect())
}

/// Targets from NAME=URL texts; those of one name are one target.
fn named(texts: &[String]) -> Result<Vec<Target>, Failure> {
    let mut targets: Vec<Target> = Vec::new();
    for text in texts {
        let (name, endpoint) = parse(text)?;
        if let Some(target) = targets.iter_mut().find(|target| target.name == name) {
            target.endpoints.push(endpoint);
        } else {
            // Whoever goes by no name of the fleet is asked as nearly all of it.
            let dialogue = target::member(&name).map_or(Dialogue::Zen, |member| member.dialogue);
            targets.push(Target { name, dialogue, endpoints: vec![endpoint], admin: None });
        }
    }
    Ok(targets)
}

fn parse(text: &str) -> Result<(String, Endpoint), Failure> {
    let (name, url) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        Failure::usage(format!("{text:?} is no target: it is written NAME=URL, as in epoll=tcp://127.0.0.1:1071"))
    })?;
    let endpoint = url.parse().map_err(|error: EndpointError| Failure::usage(error.to_string()))?;
    Ok((name.to_owned(), endpoint))
}

/// A JSON line, as servers log.
fn log(event: &str, mut fields: Value) {
    fields["event"] = event.into();
    output::complain(&fields.to_string());
}

fn books(ledger: &Ledger) -> Value {
    json!({
        "planned": ledger.planned,
        "sent": ledger.sent,
        "unsent": ledger.unsent,
        "dropped": ledger.dropped,
        "waiting": ledger.waiting,
        "in_flight": ledger.in_flight,
        "right": ledger.ok(),
        "wrong": ledger.wrong(),
        "failed": ledger.failed() - ledger.wrong(),
        "balanced": ledger.is_balanced(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{merge, named};

    #[test]
    fn endpoints_of_one_name_are_one_target() {
        let texts = ["a=tcp://127.0.0.1:1", "b=udp://127.0.0.1:2", "a=unix:///x"].map(str::to_owned);
        let targets = named(&texts).expect("they are well formed");
        let shape: Vec<_> = targets.iter().map(|target| (target.name.as_str(), target.endpoints.len())).collect();
        assert_eq!(shape, [("a", 2), ("b", 1)]);
        assert!(named(&["tcp://127.0.0.1:1".to_owned()]).is_err());
    }

    #[test]
    fn a_plan_file_says_only_what_is_unusual() {
        let mut plan = json!({"rate": 1, "spotlight": {"mode": "turn", "idle": 0}});
        merge(&mut plan, json!({"spotlight": {"idle": 9}}));
        assert_eq!(plan, json!({"rate": 1, "spotlight": {"mode": "turn", "idle": 9}}));
    }
}
