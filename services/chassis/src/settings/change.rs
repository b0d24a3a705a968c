//! Changes of live settings while a server serves.

use serde_json::{Map, Value, json};

use super::load::{Flags, check_live, load};
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

/// The changes that a merge patch (RFC 7396) asks for. `null` brings back the value of the start.
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
    for (name, value) in document {
        let pointer = format!("/{name}");
        match table::find(name).map(|key| (key, key.live)) {
            None => invalid.push((pointer, unknown(name, value))),
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
    Ok(changes)
}

fn unknown(name: &str, value: &Value) -> String {
    if value.is_object() && KEYS.iter().any(|key| key.name.starts_with(&format!("{name}."))) {
        return format!("the settings of `{name}` need a restart");
    }
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

fn check(architecture: &Architecture, page: &Page, start: &Start, changes: &Changes) -> Result<(), Refusal> {
    let after: Changes = LiveValue::ALL
        .into_iter()
        .map(|which| {
            let (value, source) = page.settings.get(which);
            changes.iter().copied().find(|(changed, ..)| *changed == which).unwrap_or((which, value, source))
        })
        .collect();
    check_live(architecture, &after, start.lab)
        .map_err(|error| Refusal { kind: Refused::Invalid, errors: vec![(String::new(), error.to_string())] })
}

/// Reads the settings file again: the changes for every live setting that nothing above the file decides.
///
/// # Errors
/// A sentence; the old settings stay.
pub fn reload(architecture: &Architecture, page: &Page, start: &Start) -> Result<Changes, String> {
    let Some(file) = &start.config_file else {
        return Err(
            "the server was started without a settings file (--config FILE), so there is nothing to read again".into(),
        );
    };
    let flags = Flags { config: Some(file.clone()), listen: vec![], admin: None, set: vec![] };
    // Endpoints and the admin address come from flags that are not known here; they cannot change anyway.
    let listen = start.listen.iter().map(ToString::to_string).collect();
    let fresh = load(architecture, &Flags { listen, admin: Some(start.admin_listen.to_string()), ..flags })
        .map_err(|error| error.to_string())?;
    if (fresh.backlog, fresh.max_question_bytes, fresh.receive_buffer)
        != (start.backlog, start.max_question_bytes, start.receive_buffer)
    {
        return Err("`backlog`, `max_question_bytes` and `receive_buffer` need a restart".into());
    }
    let decided = |which| page.settings.get(which).1 >= Source::Environment;
    Ok(fresh.live.into_iter().filter(|&(which, ..)| !decided(which)).collect())
}

/// Every setting with its value now.
pub fn values(page: &Page, start: &Start) -> Map<String, Value> {
    let fixed = |name: &str| match name {
        "listen" => json!(start.listen.iter().map(ToString::to_string).collect::<Vec<_>>()),
        "backlog" => json!(start.backlog),
        "max_question_bytes" => json!(start.max_question_bytes),
        "receive_buffer" => json!(start.receive_buffer),
        "lab" => json!(start.lab),
        "io_uring" => json!(start.io_uring.label()),
        "otlp_endpoint" => json!(start.otlp_endpoint),
        "admin.listen" => json!(start.admin_listen.to_string()),
        "admin.token_file" => json!(start.token_file),
        _ => json!(start.admin_hosts),
    };
    KEYS.iter()
        .map(|key| {
            let value = key.live.map_or_else(|| fixed(key.name), |which| key.kind.show(page.settings.get(which).0));
            (key.name.to_owned(), value)
        })
        .collect()
}

/// Where each live setting's value came from.
pub fn sources(page: &Page) -> Map<String, Value> {
    LiveValue::ALL.iter().map(|which| (which.key().to_owned(), page.settings.get(*which).1.label().into())).collect()
}

/// The settings as a JSON Schema (draft 2020-12); `x-live` says which may change while the server serves.
pub fn schema() -> Value {
    let properties: Map<String, Value> = KEYS
        .iter()
        .map(|key| {
            let mut schema = match key.kind {
                Kind::Number(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
                Kind::Time(..) => json!({"type": "string", "format": "duration", "x-range": key.kind.range()}),
                Kind::Choice(words) => json!({"type": "string", "enum": words}),
                Kind::Switch => json!({"type": "boolean"}),
                Kind::Text => json!({"type": "string"}),
                Kind::List => json!({"type": "array", "items": {"type": "string"}}),
            };
            schema["description"] = key.doc.into();
            schema["x-live"] = key.live.is_some().into();
            (key.name.to_owned(), schema)
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of a server",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}
