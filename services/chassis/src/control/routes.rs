//! The admin API's routes in one table: the router, its description in OpenAPI and the tests follow it.

use std::sync::Arc;

use admin::Problem;
use axum::Router;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde_json::{Map, Value, json};

use super::{Control, connections, events, handlers, orders};

/// One method of one path.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// `GET` and so on.
    pub method: &'static str,
    /// Without parameters in it.
    pub path: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Its status when it does it.
    pub success: u16,
    /// Statuses of refusals besides those that every route may give.
    pub errors: &'static [u16],
}

const fn read(path: &'static str, summary: &'static str) -> Route {
    Route { method: "GET", path, summary, success: 200, errors: &[] }
}

const fn change(
    method: &'static str,
    path: &'static str,
    success: u16,
    errors: &'static [u16],
    summary: &'static str,
) -> Route {
    Route { method, path, summary, success, errors }
}

/// Every route.
pub const ROUTES: &[Route] = &[
    read("/", "An index of these routes"),
    read("/livez", "Whether the control plane is alive"),
    Route {
        errors: &[400, 503],
        ..read(
            "/readyz",
            "Whether new clients are served; 503 says what is going on instead; ?verbose tells of each endpoint",
        )
    },
    read("/metrics", "Metrics for Prometheus"),
    read("/openapi.json", "This description"),
    read("/api/v1/info", "What is served, and where"),
    read("/api/v1/status", "What is going on: state, endpoints, connections, questions, the books of a drain"),
    Route {
        errors: &[422],
        ..read(
            "/api/v1/connections",
            "The clients' connections as the kernel lists them, those with the most bytes waiting first (held is false of one that waits to be accepted); ?limit=100 shows so many",
        )
    },
    Route {
        errors: &[400, 503],
        ..read(
            "/api/v1/events",
            "What happens to the server, as server-sent events: those it remembers, or after Last-Event-ID, then each as it comes; ?follow=false ends there",
        )
    },
    read("/api/v1/config", "Every setting, its source, and which generation of settings each worker runs"),
    change(
        "PATCH",
        "/api/v1/config",
        200,
        &[400, 409, 412, 413, 415, 422, 428],
        "Changes live settings by a merge patch, all or none; ?dry_run=true only checks",
    ),
    read("/api/v1/config/schema", "The settings as a JSON Schema"),
    change("POST", "/api/v1/config/reload", 200, &[422], "Reads the settings file again"),
    change(
        "POST",
        "/api/v1/pause",
        200,
        &[400, 409, 422],
        "Takes no new clients, for a time if the body says {\"for\": \"30s\"}",
    ),
    change("POST", "/api/v1/resume", 200, &[409], "Takes new clients again"),
    change(
        "POST",
        "/api/v1/drain",
        202,
        &[400, 409, 422],
        "Finishes with all clients, then parks, or exits if the body says {\"then\": \"exit\"}",
    ),
    change("POST", "/api/v1/start", 202, &[409], "Leaves the parked state"),
    change(
        "POST",
        "/api/v1/shutdown",
        202,
        &[400, 422],
        "Drains and exits, at once if the body says {\"mode\": \"fast\"}",
    ),
    read("/api/v1/workers", "Every worker"),
    change("POST", "/api/v1/workers", 200, &[400, 409, 422], "Sets the number of workers: {\"count\": 8}"),
    read("/api/v1/faults", "Faults that were asked for and have not happened yet"),
    change(
        "POST",
        "/api/v1/faults",
        202,
        &[400, 403, 422],
        "Asks for a fault: {\"kind\": \"panic|abort|hang\", \"target\": \"conversation|worker|data\"}",
    ),
    change("DELETE", "/api/v1/faults", 200, &[], "Forgets the faults that have not happened yet"),
    read("/api/v1/log-filter", "The least important log lines that are written"),
    change("PUT", "/api/v1/log-filter", 200, &[400, 422], "Sets that: {\"filter\": \"debug\"}"),
    read("/api/v1/trace-sampling", "One exchange in how many is traced"),
    change("PUT", "/api/v1/trace-sampling", 200, &[400, 422], "Sets that: {\"one_in\": 100}"),
];

/// The router of [`ROUTES`].
pub(super) fn router(control: Arc<Control>) -> Router {
    let mut router = Router::new();
    for (path, methods) in paths() {
        router = router.route(path, methods.fallback(wrong_method).layer(axum::middleware::from_fn(admin::keep_path)));
    }
    router.fallback(no_route).with_state(control)
}

fn paths() -> [(&'static str, MethodRouter<Arc<Control>>); 21] {
    [
        ("/", get(handlers::index)),
        ("/livez", get(handlers::livez)),
        ("/readyz", get(handlers::readyz)),
        ("/metrics", get(handlers::metrics)),
        ("/openapi.json", get(handlers::openapi)),
        ("/api/v1/info", get(handlers::info)),
        ("/api/v1/status", get(handlers::status)),
        ("/api/v1/connections", get(connections::connections)),
        ("/api/v1/events", get(events::events)),
        ("/api/v1/config", get(handlers::config).patch(handlers::patch_config)),
        ("/api/v1/config/schema", get(handlers::schema)),
        ("/api/v1/config/reload", post(handlers::reload)),
        ("/api/v1/pause", post(orders::pause)),
        ("/api/v1/resume", post(orders::resume)),
        ("/api/v1/drain", post(orders::drain)),
        ("/api/v1/start", post(orders::start)),
        ("/api/v1/shutdown", post(orders::shutdown)),
        ("/api/v1/workers", get(handlers::workers).post(handlers::set_workers)),
        ("/api/v1/faults", get(orders::faults).post(orders::ask_for_fault).delete(orders::forget_faults)),
        ("/api/v1/log-filter", get(handlers::log_filter).put(handlers::set_log_filter)),
        ("/api/v1/trace-sampling", get(handlers::trace_sampling).put(handlers::set_trace_sampling)),
    ]
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let allowed: Vec<_> = ROUTES.iter().filter(|route| route.path == uri.path()).map(|route| route.method).collect();
    let allowed = allowed.join(", ");
    let detail = format!("{} does not take {method}; it takes {allowed}", uri.path());
    Problem::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, "method", "Wrong method", detail)
        .with_allow(allowed)
        .into_response()
}

async fn no_route(uri: Uri) -> Response {
    let detail = format!("there is no {}; GET / lists what there is", uri.path());
    Problem::not_found(detail).into_response()
}

/// The description of the API (OpenAPI 3.1).
pub(super) fn openapi() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let mut responses = Map::new();
        responses.insert(route.success.to_string(), json!({"description": "done"}));
        let common: &[u16] = if route.method == "GET" { &[403] } else { &[401, 403] };
        for status in route.errors.iter().chain(common) {
            let reference = json!({"$ref": "#/components/schemas/Problem"});
            responses.entry(status.to_string()).or_insert(
                json!({"description": "refused", "content": {"application/problem+json": {"schema": reference}}}),
            );
        }
        let mut operation = json!({"summary": route.summary, "responses": responses});
        if route.method != "GET" {
            operation["security"] = json!([{"token": []}]);
        }
        if let Some(methods) = paths.entry(route.path).or_insert(json!({})).as_object_mut() {
            methods.insert(route.method.to_ascii_lowercase(), operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Zenlab server", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail", "instance", "request_id"],
                    "properties": {
                        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
                        "detail": {"type": "string"}, "instance": {"type": "string"}, "request_id": {"type": "string"},
                        "errors": {"type": "array", "items": {"type": "object", "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}}}},
                    },
                },
                "Settings": crate::settings::schema(),
            },
        },
    })
}
