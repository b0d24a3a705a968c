//! The swarm's admin API.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use admin::{Guard, Problem, body};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::{Map, Value, json};

use crate::plan::Plan;
use crate::service::{Settings, Shared};
use crate::tally::{Ledger, Outcome, Snapshot};

/// How long the periods are of which the status tells.
const PERIOD: Duration = Duration::from_secs(5);

/// Path, methods, and what they do.
const ROUTES: [(&str, &str, &str); 9] = [
    ("/", "GET", "An index of these routes"),
    ("/livez", "GET", "Whether the swarm is alive"),
    ("/readyz", "GET", "Whether the swarm asks; 503 while it is paused"),
    ("/metrics", "GET", "Metrics for Prometheus"),
    ("/openapi.json", "GET", "This description"),
    (
        "/api/v1/plan",
        "GET, PUT, PATCH",
        "What the swarm is asked to do; changes need If-Match; ?dry_run=true only checks",
    ),
    ("/api/v1/status", "GET", "What is seen: the books of each target and transport"),
    ("/api/v1/pause", "POST", "Asks nobody any more"),
    ("/api/v1/resume", "POST", "Asks again"),
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
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
        if let Ok(listener) = listener {
            tokio::join!(admin::serve(listener, router(api.clone()), guard, |_| {}), api.begin_periods());
        }
    });
}

fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/", get(index).fallback(wrong_method))
        .route("/livez", get(livez).fallback(wrong_method))
        .route("/readyz", get(readyz).fallback(wrong_method))
        .route("/metrics", get(metrics).fallback(wrong_method))
        .route("/openapi.json", get(openapi).fallback(wrong_method))
        .route("/api/v1/plan", get(plan).put(put_plan).patch(patch_plan).fallback(wrong_method))
        .route("/api/v1/status", get(status).fallback(wrong_method))
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

async fn index() -> Json<Value> {
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
        Err(error) => {
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", error.to_string()))
        }
    }
}

async fn openapi() -> Json<Value> {
    let mut paths = Map::new();
    for (path, methods, summary) in ROUTES {
        let operations = methods.split(", ").map(|method| {
            (method.to_ascii_lowercase(), json!({"summary": summary, "responses": {"200": {"description": "done"}}}))
        });
        paths.insert(path.into(), Value::Object(operations.collect()));
    }
    Json(
        json!({"openapi": "3.1.0", "info": {"title": "Zenlab swarm", "version": env!("CARGO_PKG_VERSION")}, "paths": paths}),
    )
}

async fn plan(State(api): Access) -> Response {
    let (plan, generation) = api.shared.plan();
    ([(ETAG, format!("\"{generation}\""))], Json(json!(plan))).into_response()
}

async fn put_plan(State(api): Access, request: Request<Body>) -> Answer {
    change(&api, request, |_, document| document).await
}

async fn patch_plan(State(api): Access, request: Request<Body>) -> Answer {
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
    let dry_run = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "dry_run=true"));
    let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
    let document = Value::Object(body::object(request).await?);
    let wanted = condition(api, &method, &uri, &headers)?;
    let (present, generation) = api.shared.plan();
    if wanted.is_some_and(|wanted| wanted != generation) {
        return Err(stale(generation));
    }
    let plan = Plan::from_json(how(json!(present), document), &api.shared.targets)
        .map_err(|error| body::invalid(&error.pointer, error.sentence))?;
    let generation = if dry_run { generation } else { api.shared.replace_plan(plan.clone(), wanted).map_err(stale)? };
    Ok(([(ETAG, format!("\"{generation}\""))], Json(json!(plan))).into_response())
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
        "fault": api.shared.fault(),
        "spotlight": names(api.shared.lit()),
        "targets": snapshots.iter().map(show).collect::<Vec<_>>(),
        "ledger": ledger(&whole),
        "laws": laws(&whole),
        "balanced": whole.is_balanced(),
    }))
}

fn show(snapshot: &Snapshot) -> Value {
    let mut value = ledger(&snapshot.ledger);
    value["target"] = snapshot.target.clone().into();
    value["transport"] = snapshot.transport.into();
    value["target_rate"] = snapshot.target_rate.into();
    value["rate"] = json!(snapshot.rate);
    value["unasked"] = snapshot.unasked.into();
    value["connections"] = snapshot.connections.into();
    value["p50_us"] = json!(snapshot.p50_us);
    value["p99_us"] = json!(snapshot.p99_us);
    value["service_p50_us"] = json!(snapshot.service_p50_us);
    value["service_p99_us"] = json!(snapshot.service_p99_us);
    value["laws"] = laws(&snapshot.ledger);
    value["balanced"] = snapshot.balanced.into();
    value
}

/// Whether each of the two laws holds: every planned question is accounted for, and every one that was asked.
fn laws(ledger: &Ledger) -> Value {
    json!({"planned": ledger.plans_balance(), "sent": ledger.answers_balance()})
}

fn ledger(ledger: &Ledger) -> Value {
    let outcomes =
        Outcome::ALL.iter().map(|outcome| (outcome.label().to_owned(), ledger.outcomes[*outcome as usize].into()));
    json!({
        "planned": ledger.planned,
        "sent": ledger.sent,
        "unsent": ledger.unsent,
        "dropped": ledger.dropped,
        "waiting": ledger.waiting,
        "in_flight": ledger.in_flight,
        "outcomes": outcomes.collect::<Map<_, _>>(),
    })
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
    let allowed = ROUTES.iter().find(|(path, ..)| *path == uri.path()).map_or("", |(_, methods, _)| methods);
    let detail = format!("{} does not take {method}; it takes {allowed}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "Wrong method", detail).with_allow(allowed).into_response()
}

async fn no_route(uri: Uri) -> Response {
    let detail = format!("there is no {}; GET / lists what there is", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail).into_response()
}
