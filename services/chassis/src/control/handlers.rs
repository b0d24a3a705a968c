//! What the API answers about the server and its settings.

use std::sync::Arc;

use admin::{Problem, body, query};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use zen::Transport;

use super::routes::{self, ROUTES};
use super::{Control, Settled};
use crate::Workers;
use crate::page::{self, Closed, EndpointPage, LiveValue, Slot};
use crate::settings::{self, Changes, LEVELS, Refused};

type Answer = Result<Response, Problem>;
type Shared = State<Arc<Control>>;

pub(super) async fn index() -> Json<Value> {
    Json(
        ROUTES
            .iter()
            .map(|route| json!({"method": route.method, "path": route.path, "summary": route.summary}))
            .collect(),
    )
}

pub(super) async fn livez() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

pub(super) async fn readyz(State(control): Shared, request: Request<Body>) -> Answer {
    let verbose = query::flag(request.uri(), "verbose")?.unwrap_or(false);
    let state = control.page.state();
    let not_ready = |detail| Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready", detail));
    if state != page::State::Ready {
        return not_ready(format!("{} for {:.1} s", state.label(), control.page.in_state().as_secs_f64()));
    }
    if let Some((endpoint, _)) = control.endpoints().find(|(_, page)| !page.is_served()) {
        return not_ready(format!("{endpoint} has no data plane at present; it is being replaced"));
    }
    let mut ready = json!({"status": "ready"});
    if verbose {
        ready["endpoints"] = control.endpoints().map(|(endpoint, page)| endpoint_readiness(endpoint, page)).collect();
    } else if let Some(why) = control.endpoints().find_map(|(_, page)| page.fallback()) {
        ready["fallback"] = fallback(&why).into();
    }
    Ok(Json(ready).into_response())
}

fn endpoint_readiness(endpoint: &zen::Endpoint, page: &EndpointPage) -> Value {
    let mut ready = json!({"url": endpoint.to_string(), "pid": page.leader.get()});
    if let Some(why) = page.fallback() {
        ready["fallback"] = fallback(&why).into();
    }
    ready
}

fn fallback(why: &std::io::Error) -> String {
    format!("epoll serves instead of io_uring: {why}")
}

pub(super) async fn metrics(State(control): Shared) -> Answer {
    let text = tokio::task::spawn_blocking(move || control.metrics.text()).await;
    match text {
        Ok(Ok(text)) => Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()),
        _ => Err(Problem::internal("the metrics cannot be written")),
    }
}

pub(super) async fn openapi() -> Json<Value> {
    Json(routes::openapi())
}

pub(super) async fn info(State(control): Shared) -> Json<Value> {
    let meaning = match control.architecture.workers {
        Workers::Threads(_) => "threads",
        Workers::Processes(_) => "processes",
        Workers::Ignored(why) => why,
    };
    Json(json!({
        "architecture": control.architecture.name,
        "name": control.start.name,
        "summary": control.architecture.summary,
        "family": control.architecture.family.label(),
        "version": env!("CARGO_PKG_VERSION"),
        "listen": control.start.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "workers_meaning": meaning,
        "lab": control.start.lab,
    }))
}

pub(super) async fn status(State(control): Shared) -> Json<Value> {
    let page = control.page;
    let uptime = page::monotonic_ns().saturating_sub(page.started.get()) as f64 / 1e9;
    let state = page.state();
    let drained = matches!(state, page::State::Draining | page::State::Parked);
    Json(json!({
        "architecture": control.architecture.name,
        "name": control.start.name,
        "state": state.label(),
        "in_state_seconds": page.in_state().as_secs_f64(),
        "uptime_seconds": uptime,
        "generation": page.settings.generation(),
        "control_restarts": page.control_restarts.get(),
        "endpoints": control.endpoints().map(|(endpoint, part)| endpoint_status(&control, endpoint, part)).collect::<Vec<_>>(),
        "drain": drained.then(|| drain_status(&control)),
    }))
}

fn endpoint_status(control: &Control, endpoint: &zen::Endpoint, part: &EndpointPage) -> Value {
    json!({
        "url": endpoint.to_string(),
        "transport": endpoint.transport.label(),
        "pid": part.leader.get(),
        "state": control.page.state().label(),
        "connections": {
            "open": part.open(),
            "accepted": part.sum(|slot| slot.accepted.get()),
            "closed": part.sum(Slot::closed_in_all),
            "rejected": part.sum(|slot| slot.rejected.iter().map(page::Counter::get).sum()),
        },
        "questions": {
            "answered": part.sum(|slot| slot.known.iter().chain([&slot.echoed]).map(page::Counter::get).sum()),
            "unknown": part.sum(|slot| slot.unknown.get()),
            "malformed": part.sum(|slot| slot.too_long.get() + slot.bad_byte.get() + slot.deadline.get()),
        },
        "workers": {"wanted": control.page.settings.live().workers, "running": part.running.get()},
        "restarts": part.restarts.load(std::sync::atomic::Ordering::Relaxed),
        "queue": queue(endpoint.transport, part),
        "last_respawn_ms": part.last_respawn.get() as f64 / 1e6,
    })
}

/// A stream endpoint's queue counts clients, a datagram endpoint's bytes.
fn queue(transport: Transport, part: &EndpointPage) -> Value {
    if transport.is_stream() {
        json!({"length": part.queue_length.get(), "limit": part.queue_limit.get()})
    } else {
        json!({"length": part.datagram_queue.get(), "limit": part.datagram_buffer.get()})
    }
}

/// The books of the drain that goes on, or of the last one.
fn drain_status(control: &Control) -> Value {
    let page = control.page;
    let sum = |count: &dyn Fn(&EndpointPage) -> u64| page.endpoints().iter().map(count).sum::<u64>();
    let answered = sum(&|part| part.sum(Slot::answered) - part.drain_answered_before.get());
    let lost = sum(&|part| part.drain_lost.load(std::sync::atomic::Ordering::Relaxed));
    json!({
        "open_at_start": sum(&|part| part.drain_open.get()),
        "answered": answered,
        "owed": answered + lost,
        "lost": lost,
        "retryable": sum(&|part| part.drain_retryable.load(std::sync::atomic::Ordering::Relaxed)),
        "forced": sum(&|part| part.sum(|slot| slot.closed[Closed::Forced as usize].get()) - part.drain_forced_before.get()),
        "seconds": page.drain_time().as_secs_f64(),
    })
}

pub(super) async fn config(State(control): Shared) -> Response {
    let generation = control.page.settings.generation();
    let body = json!({
        "generation": generation,
        "settings": settings::values(control.page, &control.start),
        "sources": settings::sources(control.page, &control.start),
        "workers_at": workers_at(&control),
    });
    ([(ETAG, format!("\"{generation}\""))], Json(body)).into_response()
}

/// The generation of settings that each worker has seen, by transport.
fn workers_at(control: &Control) -> Map<String, Value> {
    control
        .endpoints()
        .map(|(endpoint, part)| {
            let seen: Vec<_> = in_use(part).map(|(_, slot)| slot.generation.get()).collect();
            (endpoint.transport.label().to_owned(), json!(seen))
        })
        .collect()
}

fn in_use(part: &EndpointPage) -> impl Iterator<Item = (usize, &Slot)> {
    part.slots().iter().enumerate().filter(|(_, slot)| slot.owner.get() != 0)
}

pub(super) async fn schema() -> Json<Value> {
    Json(settings::schema())
}

pub(super) async fn patch_config(State(control): Shared, request: Request<Body>) -> Answer {
    let dry_run = query::flag(request.uri(), "dry_run")?.unwrap_or(false);
    let condition = condition(&control, &request);
    let headers = request.headers().clone();
    let document = body::object(request).await;
    // Wrong type and size come before a missing If-Match, and that before what the body says.
    if !document.as_ref().is_err_and(|problem| is_about_the_envelope(problem.status)) {
        condition?;
    }
    let document = document?;
    let one_at_a_time = control.changing.lock().await;
    matches(&control, &headers)?;
    let changes = changes(&control, &document)?;
    let generation = if dry_run { control.page.settings.generation() } else { control.apply(&changes, "patch") };
    drop(one_at_a_time);
    let applied = !dry_run && control.settle(generation).await == Settled::Everywhere;
    let body = json!({
        "generation": generation,
        "settings": settings::values(control.page, &control.start),
        "changed": changes.iter().map(|(which, ..)| which.key()).collect::<Vec<_>>(),
        "dry_run": dry_run,
        "applied": applied,
    });
    Ok(([(ETAG, format!("\"{generation}\""))], Json(body)).into_response())
}

fn is_about_the_envelope(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::PAYLOAD_TOO_LARGE)
}

fn condition(control: &Control, request: &Request<Body>) -> Result<(), Problem> {
    if request.headers().contains_key(IF_MATCH) {
        return Ok(());
    }
    let curl = control.guard.curl(request.method(), request.uri());
    let detail = format!("a change needs If-Match with the ETag of what it changes, or *: {curl}");
    Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "if-match", "If-Match is missing", detail))
}

/// Whether the settings are still those that the client has seen.
fn matches(control: &Control, headers: &HeaderMap) -> Result<(), Problem> {
    let wanted = headers.get(IF_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let generation = control.page.settings.generation().to_string();
    if wanted.split(',').map(|tag| tag.trim().trim_matches('"')).any(|tag| tag == "*" || tag == generation) {
        return Ok(());
    }
    let detail = format!(
        "If-Match {wanted} is not the present generation \"{generation}\": somebody else has changed the settings"
    );
    Err(Problem::new(StatusCode::PRECONDITION_FAILED, "stale", "Changed meanwhile", detail))
}

fn changes(control: &Control, document: &Map<String, Value>) -> Result<Changes, Problem> {
    settings::patch(control.architecture, control.page, &control.start, document).map_err(|refusal| {
        control.metrics.own.count_change("patch", false);
        let detail = refusal.errors.iter().map(|(_, detail)| detail.as_str()).collect::<Vec<_>>().join("; ");
        let problem = match refusal.kind {
            Refused::Invalid => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Not allowed", detail),
            Refused::Conflict => Problem::conflict(detail),
        };
        problem.with_errors(refusal.errors)
    })
}

/// Changes one setting by another route than the patch.
async fn set_one(control: &Control, which: LiveValue, value: Value) -> Answer {
    let document = Map::from_iter([(which.key().to_owned(), value)]);
    let one_at_a_time = control.changing.lock().await;
    let changes = changes(control, &document)?;
    let generation = control.apply(&changes, "patch");
    drop(one_at_a_time);
    control.settle(generation).await;
    Ok(Json(one(control, which)).into_response())
}

fn one(control: &Control, which: LiveValue) -> Value {
    let mut values = settings::values(control.page, &control.start);
    json!({which.key(): values.remove(which.key()), "generation": control.page.settings.generation()})
}

pub(super) async fn reload(State(control): Shared) -> Answer {
    let generation = control.reload().await.map_err(|why| body::invalid("", why))?;
    Ok(Json(json!({"generation": generation, "settings": settings::values(control.page, &control.start)}))
        .into_response())
}

pub(super) async fn workers(State(control): Shared) -> Json<Value> {
    let mut workers = Vec::new();
    for (endpoint, part) in control.endpoints() {
        workers.extend(in_use(part).map(|(index, slot)| {
            json!({
                "endpoint": endpoint.to_string(),
                "worker": index,
                "pid": slot.owner.get(),
                "open": slot.open(),
                "questions": slot.answered(),
                "generation": slot.generation.get(),
                "busy": slot.open() > 0,
            })
        }));
    }
    Json(workers.into())
}

pub(super) async fn set_workers(State(control): Shared, request: Request<Body>) -> Answer {
    let document = body::object(request).await?;
    body::only(&document, &["count"])?;
    let count = document.get("count").cloned().ok_or_else(|| body::invalid("/count", "`count` is missing"))?;
    set_one(&control, LiveValue::Workers, count).await
}

pub(super) async fn log_filter(State(control): Shared) -> Json<Value> {
    Json(one(&control, LiveValue::LogFilter))
}

pub(super) async fn set_log_filter(State(control): Shared, request: Request<Body>) -> Answer {
    let document = body::object(request).await?;
    let level =
        body::choice(&document, "filter", &LEVELS)?.ok_or_else(|| body::invalid("/filter", "`filter` is missing"))?;
    set_one(&control, LiveValue::LogFilter, LEVELS[level].into()).await
}

pub(super) async fn trace_sampling(State(control): Shared) -> Json<Value> {
    Json(one(&control, LiveValue::TraceOneIn))
}

pub(super) async fn set_trace_sampling(State(control): Shared, request: Request<Body>) -> Answer {
    let document = body::object(request).await?;
    body::only(&document, &["one_in"])?;
    let one_in = document.get("one_in").cloned().ok_or_else(|| body::invalid("/one_in", "`one_in` is missing"))?;
    set_one(&control, LiveValue::TraceOneIn, one_in).await
}
