//! What a request says in its body.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};
use serde_json::{Map, Value};

use crate::Problem;

/// The longest body.
const MOST: usize = 16 * 1024;

/// The object in the body; no body is an empty one.
///
/// # Errors
/// 415 for another content type, 413 for a longer body, 400 for what is no JSON, 422 for JSON that is no object.
pub async fn object(request: Request<Body>) -> Result<Map<String, Value>, Problem> {
    let kind = request.headers().get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default().to_owned());
    let bytes = axum::body::to_bytes(request.into_body(), MOST).await.map_err(|_| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", format!("a body may have {MOST} bytes"))
    })?;
    if bytes.is_empty() && kind.as_deref().is_none_or(is_json) {
        return Ok(Map::new());
    }
    if !kind.as_deref().is_some_and(is_json) {
        let detail = format!(
            "Content-Type {:?} must be application/json or application/merge-patch+json",
            kind.unwrap_or_default()
        );
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", "Wrong content type", detail));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(invalid("", format!("the body must be an object, not {other}"))),
        Err(error) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "not-json", "No JSON", format!("the body is no JSON: {error}")))
        }
    }
}

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    matches!(kind, "application/json" | "application/merge-patch+json")
}

/// One thing that is wrong with a value.
pub fn invalid(pointer: &str, detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Not allowed", detail.clone())
        .with_errors(vec![(pointer.into(), detail)])
}

/// The member `name`, if it is there, as one of some words; other members are errors.
pub fn choice(object: &Map<String, Value>, name: &str, words: &[&str]) -> Result<Option<usize>, Problem> {
    only(object, &[name])?;
    let Some(value) = object.get(name) else { return Ok(None) };
    let at = words.iter().position(|word| value.as_str() == Some(word));
    at.map(Some)
        .ok_or_else(|| invalid(&format!("/{name}"), format!("`{name}` = {value} must be one of {}", words.join(", "))))
}

/// Errors on members that are none of these.
pub fn only(object: &Map<String, Value>, names: &[&str]) -> Result<(), Problem> {
    match object.keys().find(|key| !names.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            Err(invalid(&format!("/{key}"), format!("there is no `{key}` here; there is {}", names.join(", "))))
        }
    }
}
