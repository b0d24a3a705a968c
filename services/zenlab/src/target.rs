//! What an operator's command is about: TARGET, a name, an admin URL or `all`.

use crate::api::Api;
use crate::failure::Failure;
use crate::lab::{self, Architecture, Member, REGISTRY};
use crate::places;

/// The swarm's admin port, everywhere.
pub const SWARM_PORT: u16 = 9080;

/// The help text of a TARGET argument.
pub const HELP: &str = "The name of a server of the fleet, `swarm`, an admin URL, or `all`";

/// One admin API with the name people know it by.
#[derive(Debug, Clone)]
pub struct Target {
    /// A name of the fleet or `swarm`; the URL itself where no name is known.
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

/// A server of the fleet where it usually serves.
pub fn of(member: &Member) -> Target {
    Target::new(member.name, address(member))
}

/// Every server of the fleet.
pub fn fleet() -> Vec<Target> {
    lab::fleet().map(|member| of(&member)).collect()
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

/// The server of the fleet called `name`.
pub fn member(name: &str) -> Result<Member, Failure> {
    lab::fleet().find(|member| member.name == name).ok_or_else(|| {
        let names: Vec<&str> = lab::fleet().map(|member| member.name).collect();
        Failure::usage(format!("{name:?} is no server of the fleet; there are {}", names.join(", ")))
    })
}

/// What a first lesson compares; as a name it stands for all of them.
pub const LESSON: [&str; 5] = ["single_threaded", "thread_pool", "thread_per_connection", "select", "epoll"];

/// The architectures named in `names`, or all when that is empty, in the registry's order. `lesson` is [`LESSON`], `all` is all.
pub fn architectures(names: &[String]) -> Result<Vec<&'static Architecture>, Failure> {
    single_names(names).try_for_each(|name| architecture(name).map(drop))?;
    Ok(REGISTRY.iter().copied().filter(|one| is_meant(names, one.name)).collect())
}

/// The servers of the fleet named in `names`, in the same way.
pub fn members(names: &[String]) -> Result<Vec<Member>, Failure> {
    single_names(names).try_for_each(|name| member(name).map(drop))?;
    Ok(lab::fleet().filter(|one| is_meant(names, one.name)).collect())
}

/// Those that are no name of a group.
fn single_names(names: &[String]) -> impl Iterator<Item = &String> {
    names.iter().filter(|name| !matches!(name.as_str(), "lesson" | "all"))
}

fn is_meant(names: &[String], one: &str) -> bool {
    let is_it = |name: &String| name == one || name == "all" || (name == "lesson" && LESSON.contains(&one));
    names.is_empty() || names.iter().any(is_it)
}

/// Whether this program runs in a container of the compose project, where services find each other by name.
pub fn in_compose() -> bool {
    std::env::var_os("ZENLAB_IN_COMPOSE").is_some_and(|value| value == "1")
}

fn place(name: &str) -> Result<String, Failure> {
    if name == "swarm" { Ok(swarm_address()) } else { member(name).map(|member| address(&member)) }
}

fn address(member: &Member) -> String {
    if in_compose() { places::compose_admin(member) } else { places::local_admin(member) }
}

fn swarm_address() -> String {
    let host = if in_compose() { "swarm" } else { "127.0.0.1" };
    format!("http://{host}:{SWARM_PORT}")
}
