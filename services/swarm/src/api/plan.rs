//! The plan: read, replaced, changed; for good or for a time.

use std::time::Duration;

use admin::{Problem, body, query};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Access, Answer, Api};
use crate::plan::{Plan, PlanError};
use crate::service::Unchanged;

/// For how long a plan may be changed at least and at most.
const TIMES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(24));

pub(super) async fn get(State(api): Access) -> Response {
    let (plan, generation) = api.shared.plan();
    ([(ETAG, format!("\"{generation}\""))], Json(json!(plan))).into_response()
}

pub(super) async fn put(State(api): Access, request: Request<Body>) -> Answer {
    change(&api, request, |_, document| document).await
}

pub(super) async fn patch(State(api): Access, request: Request<Body>) -> Answer {
    change(&api, request, |present, patch| {
        let mut document = present;
        merge(&mut document, patch, &json!(Plan::default()));
        document
    })
    .await
}

/// A merge patch (RFC 7396), but that `null` brings back the default where there is one.
fn merge(document: &mut Value, patch: Value, defaults: &Value) {
    let (Value::Object(members), Value::Object(patch)) = (&mut *document, &patch) else {
        *document = patch;
        return;
    };
    for (name, value) in patch {
        let default = defaults.get(name);
        match (value, default) {
            (Value::Null, None) => drop(members.remove(name)),
            (Value::Null, Some(default)) => drop(members.insert(name.clone(), default.clone())),
            _ => {
                let member = members.entry(name.clone()).or_insert(Value::Null);
                merge(member, value.clone(), default.unwrap_or(&Value::Null));
            }
        }
    }
}

async fn change(api: &Api, request: Request<Body>, how: impl FnOnce(Value, Value) -> Value) -> Answer {
    let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
    let dry_run = query::flag(&uri, "dry_run")?.unwrap_or(false);
    let time = query::parameter(&uri, "ttl").map(time).transpose()?;
    let document = Value::Object(body::object(request).await?);
    let wanted = condition(api, &method, &uri, &headers)?;
    let (present, generation) = api.shared.plan();
    if wanted.is_some_and(|wanted| wanted != generation) {
        return Err(stale(generation));
    }
    let plan = Plan::from_json(how(json!(present), document), &api.shared.targets).map_err(invalid)?;
    let generation = if dry_run {
        api.shared.check_plan(&plan).map_err(invalid)?;
        generation
    } else {
        api.shared.replace_plan(plan.clone(), wanted, time).map_err(|why| match why {
            Unchanged::Stale(generation) => stale(generation),
            Unchanged::TooMuch(error) => invalid(error),
        })?
    };
    Ok(([(ETAG, format!("\"{generation}\""))], Json(json!(plan))).into_response())
}

fn invalid(error: PlanError) -> Problem {
    body::invalid(&error.pointer, error.sentence)
}

/// For how long a change should hold.
fn time(text: &str) -> Result<Duration, Problem> {
    let time = humantime::parse_duration(text).ok().filter(|time| (TIMES.0..=TIMES.1).contains(time));
    time.ok_or_else(|| {
        body::invalid(
            "",
            format!("`ttl` = {text:?} must be a time in 1s..=24h, as 60s or 5m: how long the change holds"),
        )
    })
}

/// The generation that If-Match asks for; `None` for any.
fn condition(api: &Api, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else {
        let detail =
            format!("a change needs If-Match with the ETag of what it changes, or *: {}", api.guard.curl(method, uri));
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "if-match", "If-Match is missing", detail));
    };
    match value.to_str().unwrap_or_default().trim().trim_matches('"') {
        "*" => Ok(None),
        // What is no number is no generation that ever was.
        tag => Ok(Some(tag.parse().unwrap_or(0))),
    }
}

fn stale(generation: u64) -> Problem {
    let detail = format!("the present generation is \"{generation}\": the plan has changed meanwhile");
    Problem::new(StatusCode::PRECONDITION_FAILED, "stale", "Changed meanwhile", detail)
}
