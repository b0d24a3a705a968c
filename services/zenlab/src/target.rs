//! What an operator's command is about: TARGET, a name, an admin URL or `all`.

use crate::api::Api;
use crate::failure::Failure;
use crate::lab::{Architecture, REGISTRY};
use crate::places;

/// The swarm's admin port, everywhere.
pub const SWARM_PORT: u16 = 9080;

/// The help text of a TARGET argument.
pub const HELP: &str = "The name of an architecture, `swarm`, an admin URL, or `all`";

/// One admin API with the name people know it by.
#[derive(Debug, Clone)]
pub struct Target {
    /// A name of the registry or `swarm`; the URL itself where no name is known.
    pub name: String,
    /// Such as `http://127.0.0.1:9071`.
    pub url: String,
}

impl Target {
    fn new(name: &str, url: String) -> Self {
        Self { name: name.to_owned(), url }
    }

    /// A client for it.
    pub fn api(&self) -> Api {
        Api::at(&self.url)
    }
}

/// Who is meant by `text`: at least one target. More than one only for `all`.
pub fn resolve(text: &str) -> Result<Vec<Target>, Failure> {
    if text == "all" { Ok(fleet()) } else { single(text).map(|target| vec![target]) }
}

/// Who is meant by `text`, which may not be `all`.
pub fn single(text: &str) -> Result<Target, Failure> {
    if text.starts_with("http://") {
        return Ok(Target::new(text, text.trim_end_matches('/').to_owned()));
    }
    let place = place(text)?;
    let url = std::env::var("ZENLAB_ADMIN").ok().filter(|url| !url.is_empty()).unwrap_or(place);
    Ok(Target::new(text, url.trim_end_matches('/').to_owned()))
}

/// What is said when nobody of the fleet answers.
pub const NOBODY: &str = "no architecture can be reached: start them with `zenlab up` or `docker compose up`";

/// An architecture where it is usually served.
pub fn of(architecture: &Architecture) -> Target {
    Target::new(architecture.name, address(architecture))
}

/// Every architecture.
pub fn fleet() -> Vec<Target> {
    REGISTRY.iter().map(|architecture| of(architecture)).collect()
}

/// The swarm.
pub fn swarm() -> Target {
    Target::new("swarm", swarm_address())
}

/// The architecture called `name`.
pub fn architecture(name: &str) -> Result<&'static Architecture, Failure> {
    REGISTRY.iter().copied().find(|architecture| architecture.name == name).ok_or_else(|| {
        let names: Vec<&str> = REGISTRY.iter().map(|architecture| architecture.name).collect();
        Failure::usage(format!("{name:?} is no architecture; there are {}", names.join(", ")))
    })
}

/// What a first lesson compares; as a name it stands for all of them.
pub const LESSON: [&str; 5] = ["single_threaded", "thread_pool", "thread_per_connection", "select", "epoll"];

/// The architectures named in `names`, or all when that is empty, in the registry's order. `lesson` is [`LESSON`], `all` is all.
pub fn architectures(names: &[String]) -> Result<Vec<&'static Architecture>, Failure> {
    let is_group = |name: &str| matches!(name, "lesson" | "all");
    for name in names.iter().filter(|name| !is_group(name)) {
        architecture(name)?;
    }
    let is_meant = |name: &str, one: &str| name == one || name == "all" || (name == "lesson" && LESSON.contains(&one));
    let wanted = |one: &&&Architecture| names.is_empty() || names.iter().any(|name| is_meant(name, one.name));
    Ok(REGISTRY.iter().filter(wanted).copied().collect())
}

/// Whether this program runs in a container of the compose project, where services find each other by name.
pub fn in_compose() -> bool {
    std::env::var_os("ZENLAB_IN_COMPOSE").is_some_and(|value| value == "1")
}

fn place(name: &str) -> Result<String, Failure> {
    if name == "swarm" { Ok(swarm_address()) } else { architecture(name).map(address) }
}

fn address(architecture: &Architecture) -> String {
    if in_compose() { places::compose_admin(architecture) } else { places::local_admin(architecture) }
}

fn swarm_address() -> String {
    let host = if in_compose() { "swarm" } else { "127.0.0.1" };
    format!("http://{host}:{SWARM_PORT}")
}
