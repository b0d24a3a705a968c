//! That a document has the form of a model, so that an error can name the place: serde's errors name none.

use serde_json::{Map, Value};

use super::PlanError;

/// Members that are one of some words, by their name.
const WORDS: [(&str, &[&str]); 5] = [
    ("mode", &["turn", "fixed", "off"]),
    ("shape", &["constant", "ramp", "step", "sine"]),
    ("arrivals", &["even", "poisson", "burst"]),
    ("over_run", &["queue", "drop", "cap"]),
    ("transport", &["tcp", "udp", "unix", "unixgram"]),
];

/// Whether `document` has the members of `model`, all of them and no others, each of its kind. An empty object in the model
/// stands for numbers under any name.
pub(crate) fn check(document: &Value, model: &Value, pointer: &str) -> Result<(), PlanError> {
    let wrong = |sentence| Err(PlanError { pointer: pointer.to_owned(), sentence });
    let name = name_of(pointer);
    match (document, model) {
        (Value::Object(members), Value::Object(models)) if models.is_empty() => {
            members.iter().try_for_each(|(key, value)| check_number(value, &format!("{pointer}/{}", escape(key))))
        }
        (Value::Object(members), Value::Object(models)) => check_members(members, models, pointer),
        (Value::Array(members), Value::Array(_)) => check_names(members, pointer),
        (Value::String(word), Value::String(_)) => check_word(word, pointer),
        (Value::Number(_), Value::Number(model)) if !model.is_u64() || document.is_u64() => Ok(()),
        (_, Value::Number(model)) if model.is_u64() => wrong(format!("`{name}` = {document} must be a whole number")),
        (_, Value::Number(_)) => check_number(document, pointer),
        (_, Value::Array(_)) => wrong(format!("`{name}` = {document} must be a list of {}", listed(pointer))),
        (_, Value::String(_)) => wrong(format!("`{name}` = {document} must be a text")),
        _ => wrong(format!("`{name}` = {document} must be an object")),
    }
}

fn check_names(members: &[Value], pointer: &str) -> Result<(), PlanError> {
    let Some(at) = members.iter().position(|member| !member.is_string()) else { return Ok(()) };
    let sentence =
        format!("`{}[{at}]` = {} must be a text: the list is of {}", name_of(pointer), members[at], listed(pointer));
    Err(PlanError { pointer: format!("{pointer}/{at}"), sentence })
}

/// What a list has.
fn listed(pointer: &str) -> &'static str {
    if pointer.ends_with("/expect") { "expectations" } else { "targets' names" }
}

fn check_members(members: &Map<String, Value>, models: &Map<String, Value>, pointer: &str) -> Result<(), PlanError> {
    let names = || models.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    for (key, value) in members {
        let place = format!("{pointer}/{}", escape(key));
        let Some(model) = models.get(key) else {
            let sentence = format!("there is no `{}`; there is {}", name_of(&place), names());
            return Err(PlanError { pointer: place, sentence });
        };
        check(value, model, &place)?;
    }
    let Some(key) = models.keys().find(|key| !members.contains_key(*key)) else { return Ok(()) };
    let place = format!("{pointer}/{key}");
    let sentence = format!("`{}` is missing; there must be {}", name_of(&place), names());
    Err(PlanError { pointer: place, sentence })
}

/// The words of which a member must be one, if there are any.
pub(super) fn words(member: &str) -> Option<&'static [&'static str]> {
    WORDS.iter().find(|(name, _)| *name == member).map(|(_, words)| *words)
}

/// Texts that must be one of some words.
fn check_word(word: &str, pointer: &str) -> Result<(), PlanError> {
    match words(pointer.rsplit('/').next().unwrap_or_default()) {
        Some(words) if !words.contains(&word) => {
            let sentence = format!("`{}` = {word:?} must be one of {}", name_of(pointer), words.join(", "));
            Err(PlanError { pointer: pointer.into(), sentence })
        }
        _ => Ok(()),
    }
}

fn check_number(value: &Value, pointer: &str) -> Result<(), PlanError> {
    if value.is_number() {
        return Ok(());
    }
    Err(PlanError { pointer: pointer.into(), sentence: format!("`{}` = {value} must be a number", name_of(pointer)) })
}

/// A member's name in a JSON pointer (RFC 6901).
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What sentences call the place of a pointer.
pub(crate) fn name_of(pointer: &str) -> String {
    if pointer.is_empty() { "document".to_owned() } else { pointer.trim_start_matches('/').replace('/', ".") }
}

/// Whether a number is in its range, both ends included.
pub(crate) fn within(pointer: &str, value: f64, least: f64, most: f64) -> Result<(), PlanError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let sentence = format!("`{}` = {value} must be in {least}..={most}", name_of(pointer));
    Err(PlanError { pointer: pointer.into(), sentence })
}
