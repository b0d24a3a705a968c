//! `zenlab config get` and `config set`: the settings of a running server.

use serde_json::{Map, Value};

use super::{each, present};
use crate::failure::{Failure, OK, Outcome};
use crate::output;
use crate::target::{self, Target};

const PATH: &str = "/api/v1/config";

/// What `config` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Print settings with the source of each
    Get {
        #[arg(help = target::HELP)]
        target: String,
        /// Only these keys
        keys: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change settings while the server runs: all of them, or none if one is wrong
    Set {
        #[arg(help = target::HELP)]
        target: String,
        /// Such as `workers=8` or `answer_delay=5ms`; `key=null` restores what the server was started with
        #[arg(required = true, value_name = "KEY=VALUE")]
        changes: Vec<String>,
        /// Only check
        #[arg(long)]
        dry_run: bool,
    },
}

/// Reads or changes.
pub fn run(action: &Action) -> Outcome {
    match action {
        Action::Get { target, keys, json: true } => get_json(target, keys),
        Action::Get { target, keys, json: false } => each(target, |target| get(target, keys)),
        Action::Set { target, changes, dry_run } => set_all(target, changes, *dry_run),
    }
}

fn get_json(target: &str, keys: &[String]) -> Outcome {
    let mut all = Vec::new();
    for one in present(target)? {
        let mut config = one.api().get(PATH).map_err(Failure::from)?.json();
        if let Some(settings) = config["settings"].as_object_mut().filter(|_| !keys.is_empty()) {
            settings.retain(|key, _| keys.contains(key));
        }
        all.push((one.name, config));
    }
    output::say_json(all, target == "all");
    Ok(OK)
}

fn get(target: &Target, keys: &[String]) -> Result<(), Failure> {
    let config = target.api().get(PATH)?.json();
    let settings = config["settings"].as_object().cloned().unwrap_or_default();
    if let Some(key) = keys.iter().find(|key| !settings.contains_key(*key)) {
        let known: Vec<&str> = settings.keys().map(String::as_str).collect();
        return Err(Failure::usage(format!("{key:?} is no setting; there are {}", known.join(", "))));
    }
    let mut rows = vec![["SETTING", "VALUE", "SOURCE"].map(String::from).to_vec()];
    for (key, value) in settings.iter().filter(|(key, _)| keys.is_empty() || keys.contains(key)) {
        let source = config["sources"][key].as_str().unwrap_or("-").to_owned();
        rows.push(vec![key.clone(), show(value), source]);
    }
    output::say(&format!("{}: generation {}", target.name, config["generation"]));
    output::say_all(&output::table(&rows));
    Ok(())
}

fn set_all(target: &str, changes: &[String], dry_run: bool) -> Outcome {
    let changes = changes.iter().map(|change| split(change)).collect::<Result<Vec<_>, _>>()?;
    each(target, |target| set(target, &changes, dry_run))
}

fn split(change: &str) -> Result<(&str, &str), Failure> {
    let parts = change.split_once('=').filter(|(key, _)| !key.is_empty());
    parts.ok_or_else(|| Failure::usage(format!("{change:?} is no change: it is written KEY=VALUE, as in workers=8")))
}

fn set(target: &Target, changes: &[(&str, &str)], dry_run: bool) -> Result<(), Failure> {
    let api = target.api();
    let etag = api.get(PATH)?.etag.unwrap_or_else(|| "*".to_owned());
    let schema = api.get("/api/v1/config/schema")?.json();
    let path = if dry_run { format!("{PATH}?dry_run=true") } else { PATH.to_owned() };
    let done = api.patch(&path, &etag, &merge_patch(changes, &schema))?.json();
    output::say(&format!("{}: {}", target.name, outcome(&done, changes, dry_run)));
    Ok(())
}

fn outcome(done: &Value, changes: &[(&str, &str)], dry_run: bool) -> String {
    let keys: Vec<&str> = done["changed"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let generation = &done["generation"];
    if keys.is_empty() {
        return format!("nothing to change, generation {generation}");
    }
    if dry_run {
        let wanted = changes.iter().filter(|(key, _)| keys.contains(key)).map(|(key, value)| format!("{key}={value}"));
        return format!("would change {}", wanted.collect::<Vec<_>>().join(" "));
    }
    let now: Vec<String> = keys.iter().map(|key| format!("{key}={}", show(&done["settings"][key]))).collect();
    format!("changed {}, generation {generation}", now.join(" "))
}

/// The merge patch (RFC 7396) that makes `changes`; a dot in a key leads into a section.
fn merge_patch(changes: &[(&str, &str)], schema: &Value) -> Value {
    let mut patch = Value::Object(Map::new());
    for (key, text) in changes {
        let pointer = format!("/properties/{}", key.replace('.', "/properties/"));
        let value = typed(text, schema.pointer(&pointer).unwrap_or(&Value::Null));
        let mut place = &mut patch;
        for part in key.split('.') {
            place = &mut place[part];
        }
        *place = value;
    }
    patch
}

/// `text` as the type that `property` of the schema wants. What does not fit is sent as text: the server knows the range.
fn typed(text: &str, property: &Value) -> Value {
    let as_text = || Value::from(text);
    match property["type"].as_str() {
        _ if text == "null" => Value::Null,
        Some("string") => as_text(),
        _ if property["enum"].is_array() => as_text(),
        _ => serde_json::from_str(text).unwrap_or_else(|_| as_text()),
    }
}

fn show(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn values_get_the_type_that_the_schema_wants() {
        let schema = json!({"properties": {"workers": {"type": "integer"}, "log_filter": {"type": "string"}}});
        let changes = [("workers", "8"), ("log_filter", "1"), ("other", "true"), ("a.b", "x"), ("gone", "null")];
        let wanted = json!({"workers": 8, "log_filter": "1", "other": true, "a": {"b": "x"}, "gone": null});
        assert_eq!(super::merge_patch(&changes, &schema), wanted);
    }
}
