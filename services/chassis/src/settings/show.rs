//! Settings as people and programs see them.

use serde_json::{Map, Value, json};

use super::table::{self, KEYS, Kind};
use super::{Source, Start};
use crate::page::{LiveValue, Page};

/// Every setting of `start` with its source, a line each.
pub fn print(start: &Start) -> String {
    let live =
        |which: LiveValue| start.live.iter().find(|(other, ..)| *other == which).map_or(0, |(_, value, _)| *value);
    let describe = |key: &table::Key| {
        let value = key.live.map_or_else(|| fixed(start, key.name), |which| show(which, live(which)));
        format!("{} = {value}  # {}\n", key.name, loaded_from(start, key.name).place())
    };
    KEYS.iter().map(describe).collect()
}

/// Every setting with its value now.
pub fn values(page: &Page, start: &Start) -> Map<String, Value> {
    let value = |key: &table::Key| {
        key.live.map_or_else(|| fixed(start, key.name), |which| show(which, page.settings.get(which).0))
    };
    KEYS.iter().map(|key| (key.name.to_owned(), value(key))).collect()
}

/// Where each setting's value came from.
pub fn sources(page: &Page, start: &Start) -> Map<String, Value> {
    let source = |key: &table::Key| {
        key.live.map_or_else(|| loaded_from(start, key.name), |which| page.settings.get(which).1).label()
    };
    KEYS.iter().map(|key| (key.name.to_owned(), source(key).into())).collect()
}

/// A live value of the page as files and the API have it.
pub fn show(which: LiveValue, value: u64) -> Value {
    table::find(which.key()).map_or(Value::Null, |key| key.kind.show(value))
}

/// A setting that needs a restart.
fn fixed(start: &Start, name: &str) -> Value {
    match name {
        "listen" => json!(start.listen.iter().map(ToString::to_string).collect::<Vec<_>>()),
        "backlog" => json!(start.backlog),
        "max_question_bytes" => json!(start.max_question_bytes),
        "receive_buffer" => json!(start.receive_buffer),
        "io_uring" => json!(start.io_uring.label()),
        "lab" => json!(start.lab),
        "name" => json!(start.name),
        "otlp_endpoint" => json!(start.otlp_endpoint),
        "admin.listen" => json!(start.admin_listen.to_string()),
        "admin.token_file" => json!(start.token_file.as_deref().unwrap_or_else(|| "".as_ref())),
        _ => json!(start.admin_hosts),
    }
}

fn loaded_from(start: &Start, name: &str) -> Source {
    let layers = start.config_file.as_ref().map(|origin| &origin.layers);
    layers.and_then(|layers| layers.get(name)).map_or(Source::Default, |(_, source)| *source)
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
