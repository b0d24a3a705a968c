//! The swarm's admin API.

mod control;
mod plan;
mod reports;
mod runs;
mod show;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use admin::audit::audit;
use admin::{Guard, Problem};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::{Map, Value, json};

use crate::service::{Settings, Shared};
use crate::tally::Ledger;

/// How long the periods are of which the status tells.
const PERIOD: Duration = Duration::from_secs(5);

/// Reports that are drawn at the same time: each takes a processor and some megabytes meanwhile.
const DRAWING: usize = 2;

/// Path, methods, and what they do.
const ROUTES: [(&str, &str, &str); 21] = [
    ("/", "GET", "An index of these routes; a browser gets the control page"),
    ("/control", "GET", "The control page"),
    ("/control.js", "GET", "Its script"),
    ("/livez", "GET", "Whether the swarm is alive"),
    ("/readyz", "GET", "Whether the swarm asks; 503 while it is paused"),
    ("/metrics", "GET", "Metrics for Prometheus"),
    ("/openapi.json", "GET", "This description"),
    (
        "/api/v1/plan",
        "GET, PUT, PATCH",
        "What the swarm is asked to do; changes need If-Match; ?dry_run=true only checks, ?ttl=60s changes it for a time",
    ),
    ("/api/v1/status", "GET", "What is seen: the books of each target and transport"),
    ("/api/v1/scenarios", "GET", "Loads with a name, and what they should show"),
    (
        "/api/v1/runs",
        "GET, POST",
        "Scenarios that have been run; POST runs one by its name, or the one in `load`, if none is running",
    ),
    ("/api/v1/runs/{id}", "GET", "What a run has seen"),
    ("/api/v1/runs/{id}/events", "GET", "The same as it goes on, as server-sent events"),
    ("/api/v1/runs/{id}/cancel", "POST", "Ends a run before its time"),
    ("/api/v1/runs/{id}/report.json", "GET", "What a run found, once it has ended, as a report"),
    ("/api/v1/runs/{id}/report.html", "GET", "The same as a page"),
    ("/api/v1/runs/{id}/report.md", "GET", "The same as Markdown"),
    (
        "/api/v1/runs/{id}/charts/{file}",
        "GET",
        "One of its pictures: rate, failures, response or spectrum, .svg or .png",
    ),
    ("/api/v1/runs/{id}/intervals.hlog", "GET", "Its response times over time, as an HdrHistogram log"),
    ("/api/v1/pause", "POST", "Asks nobody any more"),
    ("/api/v1/resume", "POST", "Asks again"),
];

/// Methods of paths whose success is no 200, or that refuse more than every one may: their success, and those refusals.
const STATUSES: [(&str, &str, u16, &[u16]); 12] = [
    ("/readyz", "GET", 200, &[503]),
    ("/api/v1/plan", "PUT", 200, &[400, 412, 413, 415, 422, 428]),
    ("/api/v1/plan", "PATCH", 200, &[400, 412, 413, 415, 422, 428]),
    ("/api/v1/runs", "POST", 202, &[400, 409, 413, 415, 422, 503]),
    ("/api/v1/runs/{id}", "GET", 200, &[404]),
    ("/api/v1/runs/{id}/events", "GET", 200, &[404]),
    ("/api/v1/runs/{id}/cancel", "POST", 200, &[404]),
    ("/api/v1/runs/{id}/report.json", "GET", 200, &[404, 409]),
    ("/api/v1/runs/{id}/report.html", "GET", 200, &[404, 409]),
    ("/api/v1/runs/{id}/report.md", "GET", 200, &[404, 409]),
    ("/api/v1/runs/{id}/charts/{file}", "GET", 200, &[404, 409]),
    ("/api/v1/runs/{id}/intervals.hlog", "GET", 200, &[404, 409]),
];

struct Api {
    shared: Arc<Shared>,
    registry: Registry,
    guard: Arc<Guard>,
}

type Answer = Result<Response, Problem>;
type Access = State<Arc<Api>>;

/// Serves for ever.
pub(crate) fn run(shared: Arc<Shared>, registry: Registry, listener: TcpListener, settings: &Settings) {
    let names = settings.hosts.iter().cloned().chain(["swarm".to_owned()]);
    let guard = Arc::new(Guard::new(names, settings.token_file.clone(), settings.admin));
    let api = Arc::new(Api { shared, registry, guard: guard.clone() });
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(DRAWING).build()
    else {
        return;
    };
    runtime.block_on(async {
        let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
        if let Ok(listener) = listener {
            tokio::join!(admin::serve(listener, router(api.clone()), guard, audit), api.begin_periods());
        }
    });
}

fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/", get(control::home).fallback(wrong_method))
        .route("/control", get(control::page).fallback(wrong_method))
        .route("/control.js", get(control::script).fallback(wrong_method))
        .route("/livez", get(livez).fallback(wrong_method))
        .route("/readyz", get(readyz).fallback(wrong_method))
        .route("/metrics", get(metrics).fallback(wrong_method))
        .route("/openapi.json", get(openapi).fallback(wrong_method))
        .route("/api/v1/plan", get(plan::get).put(plan::put).patch(plan::patch).fallback(wrong_method))
        .route("/api/v1/status", get(status).fallback(wrong_method))
        .route("/api/v1/scenarios", get(runs::scenarios).fallback(wrong_method))
        .route("/api/v1/runs", get(runs::all).post(runs::begin).fallback(wrong_method))
        .route("/api/v1/runs/{id}", get(runs::one).fallback(wrong_method))
        .route("/api/v1/runs/{id}/events", get(runs::events).fallback(wrong_method))
        .route("/api/v1/runs/{id}/cancel", post(runs::cancel).fallback(wrong_method))
        .route("/api/v1/runs/{id}/report.json", get(reports::json).fallback(wrong_method))
        .route("/api/v1/runs/{id}/report.html", get(reports::html).fallback(wrong_method))
        .route("/api/v1/runs/{id}/report.md", get(reports::markdown).fallback(wrong_method))
        .route("/api/v1/runs/{id}/charts/{file}", get(reports::chart).fallback(wrong_method))
        .route("/api/v1/runs/{id}/intervals.hlog", get(reports::intervals).fallback(wrong_method))
        .route("/api/v1/pause", post(pause).fallback(wrong_method))
        .route("/api/v1/resume", post(resume).fallback(wrong_method))
        .fallback(no_route)
        .with_state(api)
}

impl Api {
    /// The status' rates and quantiles are those of the last seconds.
    async fn begin_periods(&self) {
        loop {
            tokio::time::sleep(PERIOD).await;
            for (at, target) in self.shared.targets.iter().enumerate() {
                for endpoint in &target.endpoints {
                    self.shared.tally(at, endpoint.transport).begin_period(Instant::now());
                }
            }
        }
    }
}

fn index() -> Json<Value> {
    Json(
        ROUTES
            .iter()
            .map(|(path, methods, summary)| json!({"path": path, "methods": methods, "summary": summary}))
            .collect(),
    )
}

async fn livez() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

async fn readyz(State(api): Access) -> Answer {
    if let Some(fault) = api.shared.fault() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready", fault));
    }
    if api.shared.is_paused() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready", "paused"));
    }
    Ok(Json(json!({"status": "ready"})).into_response())
}

async fn metrics(State(api): Access) -> Answer {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&api.registry.gather(), &mut text) {
        Ok(()) => Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()),
        Err(error) => Err(Problem::internal(error.to_string())),
    }
}

async fn openapi() -> Json<Value> {
    let mut paths = Map::new();
    for (path, methods, summary) in ROUTES {
        let operations = methods.split(", ").map(|method| {
            (method.to_ascii_lowercase(), json!({"summary": summary, "responses": responses(path, method)}))
        });
        paths.insert(path.into(), Value::Object(operations.collect()));
    }
    Json(
        json!({"openapi": "3.1.0", "info": {"title": "Zenlab swarm", "version": env!("CARGO_PKG_VERSION")}, "paths": paths}),
    )
}

/// What a method of a path may answer.
fn responses(path: &str, method: &str) -> Value {
    let own = STATUSES.iter().find(|(known, of, ..)| (*known, *of) == (path, method));
    let (success, refusals) = own.map_or((200, &[][..]), |(.., success, refusals)| (*success, *refusals));
    let common: &[u16] = if method == "GET" { &[403] } else { &[401, 403] };
    let mut responses = Map::from_iter([(success.to_string(), json!({"description": "done"}))]);
    if path == "/" {
        responses.insert("307".into(), json!({"description": "a browser is sent to the control page"}));
    }
    let problem = json!({"description": "refused", "content": {"application/problem+json": {}}});
    responses.extend(refusals.iter().chain(common).map(|status| (status.to_string(), problem.clone())));
    Value::Object(responses)
}

async fn status(State(api): Access) -> Json<Value> {
    let mut whole = Ledger::default();
    let snapshots = api.shared.snapshots();
    for snapshot in &snapshots {
        whole.add(&snapshot.ledger);
    }
    let names =
        |places: Vec<usize>| places.into_iter().map(|at| api.shared.targets[at].name.clone()).collect::<Vec<_>>();
    Json(json!({
        "paused": api.shared.is_paused(),
        "saturated": api.shared.is_saturated(),
        "workers": api.shared.workers().map(|health| show::worker(&health)).collect::<Vec<_>>(),
        "fault": api.shared.fault(),
        "spotlight": names(api.shared.lit()),
        "run": api.shared.runs.active().map(|run| run.id),
        "plan_reverts_in_seconds": api.shared.time_left().map(|time| time.as_secs_f64()),
        "targets": snapshots.iter().map(show::snapshot).collect::<Vec<_>>(),
        "ledger": show::ledger(&whole),
        "laws": show::laws(&whole),
        "balanced": whole.is_balanced(),
    }))
}

async fn pause(State(api): Access) -> Json<Value> {
    api.shared.set_paused(true);
    Json(json!({"state": "paused"}))
}

async fn resume(State(api): Access) -> Json<Value> {
    api.shared.set_paused(false);
    Json(json!({"state": "ready"}))
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let allowed = ROUTES.iter().find(|(path, ..)| is_route(path, uri.path())).map_or("", |(_, methods, _)| methods);
    let detail = format!("{} does not take {method}; it takes {allowed}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "Wrong method", detail).with_allow(allowed).into_response()
}

/// Whether a path is one of a route, whose `{}` stands for any one part.
fn is_route(route: &str, path: &str) -> bool {
    let (parts, given) = (route.split('/'), path.split('/'));
    parts.clone().count() == given.clone().count()
        && parts.zip(given).all(|(part, given)| part == given || part.starts_with('{'))
}

async fn no_route(uri: Uri) -> Response {
    let detail = format!("there is no {}; GET / lists what there is", uri.path());
    Problem::not_found(detail).into_response()
}
