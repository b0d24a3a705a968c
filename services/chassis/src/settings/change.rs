//! Changes of live settings while a server serves.

use serde_json::{Map, Value};

use super::load::{Layers, check_live, load};
use super::room::Room;
use super::table::{self, KEYS, Kind};
use super::{Source, Start};
use crate::page::{LiveValue, Page};
use crate::{Architecture, Workers};

/// New values for the page.
pub type Changes = Vec<(LiveValue, u64, Source)>;

/// Why a change was refused; nothing of it holds then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which kind of refusal it is.
    pub kind: Refused,
    /// Where in the document (a JSON pointer), and why.
    pub errors: Vec<(String, String)>,
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A value is not allowed.
    Invalid,
    /// The setting cannot change while the server serves, or means nothing to this architecture.
    Conflict,
}

/// The changes that a merge patch (RFC 7396) asks for, without what is so already. `null` brings back the value of the start.
///
/// # Errors
/// Everything that is wrong with it.
pub fn patch(
    architecture: &Architecture,
    page: &Page,
    start: &Start,
    document: &Map<String, Value>,
) -> Result<Changes, Refusal> {
    let mut changes = Changes::new();
    let mut invalid = Vec::new();
    let mut conflicts = Vec::new();
    for Member { pointer, name, value } in flatten(document) {
        match table::find(&name).map(|key| (key, key.live)) {
            None => invalid.push((pointer, unknown(&name))),
            Some((_, None)) => {
                conflicts.push((pointer, format!("`{name}` needs a restart: set it where the server is started")));
            }
            Some((_, Some(LiveValue::Workers))) if let Workers::Ignored(why) = architecture.workers => {
                conflicts.push((pointer, format!("`workers` means nothing to {}: {why}", architecture.name)));
            }
            Some((key, Some(which))) => match change(key.kind, which, value, start) {
                Ok(change) => changes.push(change),
                Err(range) => invalid.push((pointer, format!("`{name}` = {value} is out of range: it {range}"))),
            },
        }
    }
    if !invalid.is_empty() {
        return Err(Refusal { kind: Refused::Invalid, errors: invalid });
    }
    if !conflicts.is_empty() {
        return Err(Refusal { kind: Refused::Conflict, errors: conflicts });
    }
    check(architecture, page, start, &changes)?;
    Ok(without_present(page, changes))
}

/// One value that a patch speaks of.
struct Member<'a> {
    pointer: String,
    name: String,
    value: &'a Value,
}

/// `{"admin": {"listen": …}}` is about `admin.listen`.
fn flatten(document: &Map<String, Value>) -> Vec<Member<'_>> {
    let mut members = Vec::new();
    for (name, value) in document {
        let pointer = format!("/{}", escape(name));
        match value {
            Value::Object(section) if table::is_section(name) => {
                members.extend(section.iter().map(|(inner, value)| Member {
                    pointer: format!("{pointer}/{}", escape(inner)),
                    name: format!("{name}.{inner}"),
                    value,
                }));
            }
            _ => members.push(Member { pointer, name: name.clone(), value }),
        }
    }
    members
}

/// A name as a part of a JSON pointer (RFC 6901).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn unknown(name: &str) -> String {
    let live: Vec<_> = LiveValue::ALL.iter().map(|which| which.key()).collect();
    format!("there is no setting `{name}`; those that can change are {}", live.join(", "))
}

fn change(kind: Kind, which: LiveValue, value: &Value, start: &Start) -> Result<(LiveValue, u64, Source), String> {
    let text = match value {
        Value::Null => return Ok(initial(which, start)),
        Value::String(text) if !matches!(kind, Kind::Number(..)) => text.clone(),
        Value::Number(number) if matches!(kind, Kind::Number(..)) => number.to_string(),
        _ => return Err(kind.range()),
    };
    kind.parse(&text).map(|value| (which, value, Source::Patch))
}

fn initial(which: LiveValue, start: &Start) -> (LiveValue, u64, Source) {
    start.live.iter().copied().find(|(other, ..)| *other == which).unwrap_or((which, 0, Source::Default))
}

/// The page's values after a change must go together.
fn check(architecture: &Architecture, page: &Page, start: &Start, changes: &Changes) -> Result<(), Refusal> {
    let present = |which: LiveValue| {
        let (value, source) = page.settings.get(which);
        (which, value, source)
    };
    let after: Changes = LiveValue::ALL
        .into_iter()
        .map(|which| changes.iter().copied().find(|(changed, ..)| *changed == which).unwrap_or_else(|| present(which)))
        .collect();
    check_live(architecture, Room::here(), &after, start.lab).map_err(|wrong| Refusal {
        kind: Refused::Invalid,
        errors: vec![(format!("/{}", wrong.which.key()), wrong.why.to_string())],
    })
}

fn without_present(page: &Page, mut changes: Changes) -> Changes {
    changes.retain(|&(which, value, source)| page.settings.get(which) != (value, source));
    changes
}

/// Reads the settings file again: the changes of every live setting that nothing above the file decides.
///
/// # Errors
/// A sentence; the old settings stay. A setting that needs a restart is such an error, too: a file of which half is obeyed
/// would be worse than one that is refused.
pub fn reload(architecture: &Architecture, page: &Page, start: &Start) -> Result<Changes, String> {
    let Some(origin) = start.config_file.as_ref().filter(|origin| origin.flags.config.is_some()) else {
        return Err(
            "the server was started without a settings file (--config FILE), so there is nothing to read again".into(),
        );
    };
    let fresh = load(architecture, &origin.flags).map_err(|error| error.to_string())?;
    let restart = fresh.config_file.map(|fresh| need_restart(&origin.layers, &fresh.layers)).unwrap_or_default();
    if !restart.is_empty() {
        return Err(format!("{} in the settings file would need a restart", restart.join(", ")));
    }
    let decided = |which| page.settings.get(which).1 >= Source::Environment;
    Ok(without_present(page, fresh.live.into_iter().filter(|&(which, ..)| !decided(which)).collect()))
}

fn need_restart(old: &Layers, new: &Layers) -> Vec<String> {
    let changed = |name: &str| old.get(name).map(|(texts, _)| texts) != new.get(name).map(|(texts, _)| texts);
    let fixed = KEYS.iter().filter(|key| key.live.is_none() && changed(key.name));
    fixed.map(|key| format!("`{}`", key.name)).collect()
}
