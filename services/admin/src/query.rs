//! What a request says behind the question mark.

use axum::http::{StatusCode, Uri};

use crate::Problem;

/// The value of a parameter in the query, as it stands there; of several of that name the first.
pub fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

/// A parameter that is yes or no, if it is there: `name=true` or `name=false`, `name=1` or `name=0`, or the bare `name`.
///
/// # Errors
/// 400 for any other value, and for two values that say different things: a change must not be made by whoever did not want
/// one, nor be left out for whoever did.
pub fn flag(uri: &Uri, name: &str) -> Result<Option<bool>, Problem> {
    let mut said: Option<(&str, bool)> = None;
    for text in uri.query().into_iter().flat_map(|query| query.split('&')).filter_map(|part| value(part, name)) {
        let is_on = yes_or_no(text).ok_or_else(|| {
            refused(format!("`{name}` = {text:?} must be true or false (or 1, 0, or `{name}` alone)"))
        })?;
        match said {
            Some((before, was_on)) if was_on != is_on => {
                return Err(refused(format!("`{name}` is given as {before:?} and as {text:?}; it can be only one")));
            }
            _ => said = Some((text, is_on)),
        }
    }
    Ok(said.map(|(_, is_on)| is_on))
}

/// What a part of a query says of `name`; the bare name says that it is so.
fn value<'a>(part: &'a str, name: &str) -> Option<&'a str> {
    let rest = part.strip_prefix(name)?;
    if rest.is_empty() { Some("true") } else { rest.strip_prefix('=') }
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn refused(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "query", "Wrong parameter", detail)
}
