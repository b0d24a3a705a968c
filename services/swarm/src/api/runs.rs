//! Scenarios and their runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use admin::{Problem, body};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::LOCATION;
use axum::http::{Request, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::{Map, Value, json};

use super::{Access, Answer, Api, show};
use crate::expectation::Finding;
use crate::runs::{Run, State as RunState};
use crate::scenario::Scenario;
use crate::service::NotBegun;
use crate::tally::Ledger;

/// Between two events of a run.
const BETWEEN_EVENTS: Duration = Duration::from_millis(500);

/// What a run may have otherwise than its scenario.
const CHANGES: [&str; 6] = ["targets", "rate", "duration_seconds", "connections", "idle", "seed"];

pub(super) async fn scenarios(State(api): Access) -> Json<Value> {
    let show = |scenario: &Scenario| {
        let mut value = json!(scenario);
        value["seconds"] = scenario.seconds().into();
        value
    };
    Json(api.shared.scenarios.iter().map(show).collect())
}

pub(super) async fn all(State(api): Access) -> Json<Value> {
    Json(api.shared.runs.all().iter().map(|run| describe(&api, run)).collect())
}

/// Runs a scenario: 202 with its place, 409 while another one is not over.
pub(super) async fn begin(State(api): Access, request: Request<Body>) -> Answer {
    let document = body::object(request).await?;
    let invalid = |error: crate::plan::PlanError| body::invalid(&error.pointer, error.sentence);
    let (scenario, changes) = wanted(&api, document)?;
    let scenario = scenario.with(&changes).map_err(invalid)?;
    let places = scenario.places(&api.shared.targets).map_err(invalid)?;
    if api.shared.is_paused() {
        return Err(Problem::conflict("the swarm is paused, so nobody would be asked; POST /api/v1/resume first"));
    }
    if let Some(fault) = api.shared.fault() {
        let detail = format!("the swarm has ended, so nobody would be asked: {fault}");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "swarm-ended", "The swarm has ended", detail));
    }
    let run = api.shared.begin_run(scenario, places).map_err(|why| match why {
        NotBegun::TooMuch(error) => invalid(error),
        NotBegun::Other(other) => Problem::conflict(format!(
            "run {} of {} is {}: one at a time; POST {}/cancel ends it",
            other.id,
            other.scenario.name,
            other.state().label(),
            place(&other)
        )),
    })?;
    Ok((StatusCode::ACCEPTED, [(LOCATION, place(&run))], Json(describe(&api, &run))).into_response())
}

/// The scenario that is asked for, by its name or as a whole, and what should be otherwise.
fn wanted(api: &Api, mut document: Map<String, Value>) -> Result<(Scenario, Map<String, Value>), Problem> {
    let mut allowed = vec!["scenario", "load"];
    allowed.extend(CHANGES);
    body::only(&document, &allowed)?;
    let scenario = match (document.remove("scenario"), document.remove("load")) {
        (Some(name), None) => named(api, &name)?,
        (None, Some(load)) => Scenario::from_json(load)
            .map_err(|error| body::invalid(&format!("/load{}", error.pointer), error.sentence))?,
        (Some(_), Some(_)) => {
            return Err(body::invalid("/load", "`load` is a whole scenario, so there can be no `scenario`"));
        }
        (None, None) => {
            let sentence = format!("`scenario` is missing, or a whole one as `load`; there is {}", names(api));
            return Err(body::invalid("/scenario", sentence));
        }
    };
    Ok((scenario, document))
}

fn named(api: &Api, name: &Value) -> Result<Scenario, Problem> {
    let scenario = api.shared.scenarios.iter().find(|scenario| name.as_str() == Some(&scenario.name));
    scenario
        .cloned()
        .ok_or_else(|| body::invalid("/scenario", format!("`scenario` = {name} is none; there is {}", names(api))))
}

fn names(api: &Api) -> String {
    api.shared.scenarios.iter().map(|scenario| scenario.name.as_str()).collect::<Vec<_>>().join(", ")
}

pub(super) async fn one(State(api): Access, Path(id): Path<String>) -> Answer {
    Ok(Json(describe(&api, &*find(&api, &id)?)).into_response())
}

pub(super) async fn cancel(State(api): Access, Path(id): Path<String>) -> Answer {
    let run = find(&api, &id)?;
    api.shared.cancel_run(&run);
    Ok(Json(describe(&api, &run)).into_response())
}

/// What [`one`] says, again and again until the run has ended; the last one's event is `ended`.
pub(super) async fn events(State(api): Access, Path(id): Path<String>) -> Result<Response, Problem> {
    let run = find(&api, &id)?;
    Ok(Sse::new(progress(api, run)).into_response())
}

fn progress(api: Arc<Api>, run: Arc<Run>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(Some((api, run, Duration::ZERO)), |next| async move {
        let (api, run, wait) = next?;
        tokio::time::sleep(wait).await;
        let is_over = matches!(run.state(), RunState::Ended(..)) || api.shared.is_stopping();
        let event =
            Event::default().event(if is_over { "ended" } else { "progress" }).data(describe(&api, &run).to_string());
        Some((Ok(event), (!is_over).then_some((api, run, BETWEEN_EVENTS))))
    })
}

pub(super) fn find(api: &Api, id: &str) -> Result<Arc<Run>, Problem> {
    let run = id.parse().ok().and_then(|id| api.shared.runs.find(id));
    run.ok_or_else(|| {
        let detail = format!("there is no run {id:?}, or it is forgotten; GET /api/v1/runs lists what there is");
        Problem::not_found(detail)
    })
}

fn place(run: &Run) -> String {
    format!("/api/v1/runs/{}", run.id)
}

fn describe(api: &Api, run: &Run) -> Value {
    let (state, elapsed, seconds) = (run.state(), run.elapsed().as_secs_f64(), run.scenario.seconds());
    let snapshots = run.snapshots(&api.shared.targets);
    let mut whole = Ledger::default();
    for seen in &snapshots {
        whole.add(&seen.ledger);
    }
    let show = |seen| {
        let mut value = show::snapshot(seen);
        value["rate"] = json!((elapsed > 0.0).then(|| seen.ledger.ok() as f64 / elapsed));
        value["target_rate"] = json!(run.scenario.clients.stages.is_empty().then_some(run.scenario.rate));
        value
    };
    let results = run.results();
    let expected =
        |finding: &Finding| json!({"expected": finding.expected, "found": finding.found, "holds": finding.holds});
    json!({
        "id": run.id,
        "scenario": run.scenario.name,
        "summary": run.scenario.summary,
        "expectation": run.scenario.expectation,
        "load": run.scenario,
        "state": state.label(),
        "ended": state.why().map(crate::runs::Why::label),
        "started_unix_seconds": run.started,
        "elapsed_seconds": elapsed,
        "duration_seconds": seconds,
        "progress": (elapsed / seconds).clamp(0.0, 1.0),
        "expectations": results.as_ref().map(|all| all.expectations.iter().map(expected).collect::<Vec<_>>()),
        "as_expected": results.as_ref().and_then(|results| results.is_as_expected()),
        "validity": results.as_ref().map(|results| json!(results.report.validity)),
        "report": results.as_ref().map(|_| format!("{}/report.html", place(run))),
        "targets": snapshots.iter().map(show).collect::<Vec<_>>(),
        "ledger": show::ledger(&whole),
        "laws": show::laws(&whole),
        "balanced": whole.is_balanced(),
    })
}
