//! The layers: defaults, a file, the environment, flags.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat, Map, Value, ValueKind};
use zen::Endpoint;

use super::room::{Bound, Room};
use super::table::{self, KEYS, Kind};
use super::{Source, Start};
use crate::page::{IoUring, LiveValue};
use crate::{Architecture, Capacity, Family, Workers};

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--set KEY=VALUE`.
    pub set: Vec<String>,
    /// `--listen URL`.
    pub listen: Vec<String>,
    /// `--admin HOST:PORT`.
    pub admin: Option<String>,
}

/// Why settings cannot be used: one sentence with the key, its value and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError(pub(super) String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}

pub(super) type Result<T> = std::result::Result<T, SettingsError>;

pub(super) fn fail<T>(why: impl Into<String>) -> Result<T> {
    Err(SettingsError(why.into()))
}

/// Values with their sources, as text; a list has one entry for each text.
pub(super) type Layers = BTreeMap<&'static str, (Vec<String>, Source)>;

/// The variable that all programs with OpenTelemetry share; weaker than every setting of ours.
const STANDARD_OTLP: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

pub(super) type Variables = Map<String, String>;

/// Where settings came from.
#[derive(Debug, Clone)]
pub struct Origin {
    pub(super) flags: Flags,
    pub(super) layers: Layers,
}

/// Reads all layers for a server of this architecture.
///
/// # Errors
/// The first thing that is wrong, as one sentence.
pub fn load(architecture: &Architecture, flags: &Flags) -> Result<Start> {
    load_with(architecture, flags, &environment())
}

/// The variables that mean something here.
fn environment() -> Variables {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with("ZENLAB__") || name == STANDARD_OTLP)
        .collect()
}

pub(super) fn load_with(architecture: &Architecture, flags: &Flags, variables: &Variables) -> Result<Start> {
    let standard_otlp = variables.get(STANDARD_OTLP).cloned().unwrap_or_default();
    let room = Room::here();
    let mut layers = defaults(architecture, room, standard_otlp);
    if let Some(file) = &flags.config {
        overlay(&mut layers, read_file(file)?, Source::File)?;
    }
    overlay(&mut layers, read_environment(variables)?, Source::Environment)?;
    overlay(&mut layers, read_flags(flags)?, Source::Flag)?;
    build(architecture, room, Origin { flags: flags.clone(), layers })
}

fn defaults(architecture: &Architecture, room: Room, otlp_endpoint: String) -> Layers {
    let per_worker = architecture.capacity == Capacity::PerWorker;
    let patience = |others: &str| if per_worker { "2s".to_owned() } else { others.to_owned() };
    let workers = match architecture.workers {
        Workers::Threads(number) | Workers::Processes(number) => number,
        Workers::Ignored(_) => 1,
    };
    let connections = architecture.capacity.connections().map_or(4096, |number| number as u64);
    // The other layers would say so; a default only does what can be done.
    let most = room.connections(architecture.capacity).map_or(u64::MAX, |bound| bound.most);
    let connections = connections.min(most);
    let one = |name: &'static str, value: String| (name, (vec![value], Source::Default));
    let none = |name: &'static str| (name, (Vec::new(), Source::Default));
    Layers::from([
        one("workers", workers.to_string()),
        one("max_connections", connections.to_string()),
        one("idle_timeout", patience("30s")),
        one("question_deadline", patience("5s")),
        one("write_stall", "5s".into()),
        one("dialogue", "zen".into()),
        one("answer_delay", "0ms".into()),
        one("answer_work", "block".into()),
        one("trace_one_in", "1024".into()),
        one("drain_timeout", "10s".into()),
        one("udp_replies_per_prefix", "0".into()),
        one("log_filter", "info".into()),
        none("listen"),
        one("backlog", "4096".into()),
        one("max_question_bytes", "64".into()),
        one("receive_buffer", (1 << 20).to_string()),
        one("io_uring", IoUring::default().label().into()),
        one("lab", "false".into()),
        one("name", architecture.name.into()),
        one("otlp_endpoint", otlp_endpoint),
        one("admin.listen", "127.0.0.1:9060".into()),
        one("admin.token_file", String::new()),
        none("admin.hosts"),
    ])
}

pub(super) fn read_file(path: &Path) -> Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError(format!("the settings file {} cannot be read: {error}", path.display())))?;
    Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build().and_then(collect).map_err(|error| {
        let why = error.to_string().lines().next().unwrap_or_default().to_owned();
        SettingsError(format!("the settings file {} is no TOML: {why}", path.display()))
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it stands at the end of a chain")]
fn collect(config: Config) -> std::result::Result<Map<String, Value>, config::ConfigError> {
    config::Source::collect(&config)
}

fn read_environment(variables: &Variables) -> Result<Map<String, Value>> {
    let environment = Environment::with_prefix("ZENLAB").prefix_separator("__").separator("__");
    Config::builder()
        .add_source(environment.source(Some(variables.clone())))
        .build()
        .and_then(collect)
        .map_err(|error| SettingsError(format!("the environment cannot be read: {error}")))
}

fn read_flags(flags: &Flags) -> Result<Map<String, Value>> {
    let mut values = Map::new();
    for setting in &flags.set {
        let Some((key, value)) = setting.split_once('=') else {
            return fail(format!("--set {setting:?} must be KEY=VALUE"));
        };
        values.insert(key.to_owned(), Value::from(value));
    }
    if !flags.listen.is_empty() {
        values.insert("listen".into(), Value::from(flags.listen.clone()));
    }
    if let Some(admin) = &flags.admin {
        values.insert("admin.listen".into(), Value::from(admin.as_str()));
    }
    Ok(values)
}

/// Puts a layer over those below; unknown keys and wrong values are errors of that layer.
pub(super) fn overlay(layers: &mut Layers, values: Map<String, Value>, source: Source) -> Result<()> {
    for (name, value) in flatten(values) {
        let Some(key) = table::find(&name) else {
            if value.kind == ValueKind::Table(Map::new()) && table::is_section(&name) {
                continue;
            }
            let known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
            return fail(format!(
                "there is no setting `{name}` (from the {}); there are {}",
                source.place(),
                known.join(", ")
            ));
        };
        let texts = texts_of(key.kind, value)
            .ok_or_else(|| SettingsError(format!("`{name}` (from the {}) {}", source.place(), key.kind.range())))?;
        for text in &texts {
            key.kind.parse(text).map_err(|range| {
                SettingsError(format!("`{name}` = {text:?} (from the {}) is out of range: it {range}", source.place()))
            })?;
        }
        layers.insert(key.name, (texts, source));
    }
    Ok(())
}

/// `{admin: {listen: …}}` as `admin.listen`; an empty section stays what it is.
fn flatten(values: Map<String, Value>) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    for (name, value) in values {
        match value.kind {
            ValueKind::Table(table) if !table.is_empty() => {
                flat.extend(flatten(table).into_iter().map(|(inner, value)| (format!("{name}.{inner}"), value)));
            }
            _ => flat.push((name, value)),
        }
    }
    flat.sort_by(|(one, _), (other, _)| one.cmp(other));
    flat
}

fn texts_of(kind: Kind, value: Value) -> Option<Vec<String>> {
    match (kind, value.kind) {
        (Kind::List, ValueKind::Array(values)) => values.into_iter().map(|value| value.into_string().ok()).collect(),
        (Kind::List, ValueKind::String(text)) => {
            Some(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
        }
        (Kind::List, _)
        | (_, ValueKind::Array(_) | ValueKind::Table(_) | ValueKind::Nil)
        | (Kind::Number(..), ValueKind::Boolean(_)) => None,
        (_, other) => Value::new(None, other).into_string().ok().map(|text| vec![text]),
    }
}

fn build(architecture: &Architecture, room: Room, origin: Origin) -> Result<Start> {
    let layers = &origin.layers;
    let source = |name: &str| layers.get(name).map_or(Source::Default, |(_, source)| *source);
    let text = |name: &str| layers.get(name).and_then(|(texts, _)| texts.first()).cloned().unwrap_or_default();
    let number = |name: &str| -> Result<u64> {
        table::find(name).map_or(Ok(0), |key| key.kind.parse(&text(name)).map_err(SettingsError))
    };
    let blame = |name: &'static str| {
        move |error: SettingsError| SettingsError(format!("{error} (from the {})", source(name).place()))
    };
    let mut live = Vec::new();
    for which in LiveValue::ALL {
        live.push((which, number(which.key())?, source(which.key())));
    }
    let token_file = Some(text("admin.token_file")).filter(|path| !path.is_empty()).map(PathBuf::from);
    let start = Start {
        listen: endpoints(architecture, &layers["listen"].0).map_err(blame("listen"))?,
        backlog: number("backlog")? as u32,
        max_question_bytes: number("max_question_bytes")? as usize,
        receive_buffer: number("receive_buffer")? as usize,
        io_uring: ring(architecture, number("io_uring")?).map_err(blame("io_uring"))?,
        lab: number("lab")? != 0,
        name: Some(text("name")).filter(|name| !name.is_empty()).unwrap_or_else(|| architecture.name.to_owned()),
        otlp_endpoint: otlp(&text("otlp_endpoint")).map_err(blame("otlp_endpoint"))?,
        admin_listen: admin(&text("admin.listen"), token_file.is_some()).map_err(blame("admin.listen"))?,
        token_file,
        admin_hosts: layers["admin.hosts"].0.clone(),
        live,
        config_file: None,
    };
    check_live(architecture, room, &start.live, start.lab).map_err(|wrong| blame(wrong.which.key())(wrong.why))?;
    Ok(Start { config_file: Some(origin), ..start })
}

/// A live setting that does not go with another one, with the architecture or with what the container may.
pub(super) struct Wrong {
    pub which: LiveValue,
    pub why: SettingsError,
}

/// What holds between settings, and between them, the architecture and the container.
pub(super) fn check_live(
    architecture: &Architecture,
    room: Room,
    live: &[(LiveValue, u64, Source)],
    lab: bool,
) -> std::result::Result<(), Wrong> {
    for &(which, value, _) in live {
        let why = match which {
            LiveValue::Workers => check_workers(architecture, room, value),
            LiveValue::MaxConnections => {
                check_bound(which, value, architecture, room.connections(architecture.capacity))
            }
            LiveValue::AnswerDelay if value > 0 && !lab => {
                fail("`answer_delay` above 0ms needs `lab = true`: it is an experiment")
            }
            _ => Ok(()),
        };
        why.map_err(|why| Wrong { which, why })?;
    }
    Ok(())
}

fn check_workers(architecture: &Architecture, room: Room, workers: u64) -> Result<()> {
    if let Workers::Ignored(why) = architecture.workers {
        return if workers == 1 {
            Ok(())
        } else {
            fail(format!("`workers` = {workers} means nothing to {}: {why}", architecture.name))
        };
    }
    check_bound(LiveValue::Workers, workers, architecture, room.workers())
}

fn check_bound(which: LiveValue, value: u64, architecture: &Architecture, bound: Option<Bound>) -> Result<()> {
    match bound {
        Some(Bound { most, since }) if value > most => fail(format!(
            "`{}` = {value} is more than {} can have here: at most {most}, since {since}",
            which.key(),
            architecture.name
        )),
        _ => Ok(()),
    }
}

fn endpoints(architecture: &Architecture, urls: &[String]) -> Result<Vec<Endpoint>> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for url in urls {
        let endpoint: Endpoint = url.parse().map_err(|error| SettingsError(format!("`listen`: {error}")))?;
        if !architecture.supports(endpoint.transport) {
            return fail(format!("`listen` = {url:?}: {} does not serve {}", architecture.name, endpoint.transport));
        }
        if endpoints.iter().any(|other| other.transport == endpoint.transport) {
            return fail(format!("`listen` = {url:?}: there can be one endpoint of each transport"));
        }
        endpoints.push(endpoint);
    }
    if endpoints.is_empty() {
        return fail("`listen` = [] must name at least one endpoint, such as tcp://127.0.0.1:1060");
    }
    Ok(endpoints)
}

fn admin(text: &str, has_token: bool) -> Result<SocketAddr> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        return fail(format!("`admin.listen` = {text:?} must be IP:PORT, as 127.0.0.1:9060"));
    };
    if !address.ip().is_loopback() && !has_token {
        return fail(format!(
            "`admin.listen` = {text:?} can be reached from elsewhere, so it needs `admin.token_file`; without one only a \
             loopback address is allowed"
        ));
    }
    Ok(address)
}

fn ring(architecture: &Architecture, number: u64) -> Result<IoUring> {
    let wish = IoUring::ALL[number as usize % IoUring::ALL.len()];
    if wish != IoUring::default() && architecture.family != Family::Completion {
        return fail(format!(
            "`io_uring` = {:?} means nothing to {}: only io_uring has a ring",
            wish.label(),
            architecture.name
        ));
    }
    Ok(wish)
}

fn otlp(text: &str) -> Result<String> {
    if text.is_empty() || text.starts_with("http://") {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        fail(format!("`otlp_endpoint` = {text:?} must be http://HOST:PORT or empty"))
    }
}
