//! HTTP/1 for the admin API, with the limits that `axum::serve` does not have: a time for the head of a request, a time for
//! the whole, and a number of connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath};
use axum::http::{HeaderValue, Method, Request, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::problem;
use crate::{Guard, Problem};

const HEAD: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(10);
const UNREAD: Duration = Duration::from_secs(5);
const CONNECTIONS: usize = 64;
const HEAD_BYTES: usize = 16 * 1024;

/// What became of one request.
#[derive(Debug)]
pub struct Observation<'a> {
    /// Its method.
    pub method: &'a Method,
    /// The path that was asked for.
    pub path: &'a str,
    /// The route that it took, as the router knows it; see [`keep_path`].
    pub route: Option<&'a str>,
    /// The response's status.
    pub status: u16,
    /// How long it took.
    pub took: Duration,
    /// Who asked.
    pub remote: SocketAddr,
    /// The name that request and log line share.
    pub request_id: &'a str,
}

type Observer = dyn Fn(&Observation<'_>) + Send + Sync;

/// What all connections share.
struct Api {
    router: Router,
    guard: Arc<Guard>,
    observer: Box<Observer>,
    requests: AtomicU64,
}

/// Serves for ever; `observer` is told of each request.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    guard: Arc<Guard>,
    observer: impl Fn(&Observation<'_>) + Send + Sync + 'static,
) {
    let api = Arc::new(Api { router, guard, observer: Box::new(observer), requests: AtomicU64::new(0) });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, remote)) => {
                let connection = converse(stream, remote, api.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            // No descriptor, or a client that has gone: the next one may do.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn converse(stream: TcpStream, remote: SocketAddr, api: Arc<Api>) {
    // A client that does not read what it asked for would keep its place for ever; the kernel ends it (tcp(7)).
    if rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD.as_millis() as u32).is_err() {
        return;
    }
    let service = service_fn(move |request| answer(request, remote, api.clone()));
    // A client that breaks off or sends no HTTP has had its answer, or wants none.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(request: Request<Incoming>, remote: SocketAddr, api: Arc<Api>) -> Result<Response, Infallible> {
    let began = Instant::now();
    let request_id = format!("{:x}-{:x}", std::process::id(), api.requests.fetch_add(1, Ordering::Relaxed));
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let span = tracing::info_span!("admin", otel.name = format!("{method} {}", uri.path()), request_id);
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(remote));
    let response = match api.guard.check(&method, &uri, request.headers()) {
        Ok(()) => tracing::Instrument::instrument(route(request, api.router.clone()), span).await,
        Err(problem) => problem.into_response(),
    };
    (api.observer)(&Observation {
        method: &method,
        path: uri.path(),
        route: response.extensions().get::<MatchedPath>().map(MatchedPath::as_str),
        status: response.status().as_u16(),
        took: began.elapsed(),
        remote,
        request_id: &request_id,
    });
    let mut response = problem::complete(response, uri.path(), &request_id);
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    Ok(response)
}

/// Middleware for each route: the response carries the route that it came by, so that it can be counted by it.
pub async fn keep_path(path: MatchedPath, request: axum::extract::Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(path);
    response
}

/// In a task of its own: a panic in a handler is an answer of 500 and nothing else.
async fn route(request: Request<Body>, router: Router) -> Response {
    let mut task = tokio::spawn(tracing::Instrument::in_current_span(router.oneshot(request)));
    let answer = timeout(REQUEST, &mut task).await;
    // What is refused must not happen later.
    task.abort();
    match answer {
        Ok(Ok(Ok(response))) => response,
        Ok(Ok(Err(never))) => match never {},
        Ok(Err(_)) => Problem::internal("the request failed; the log says how").into_response(),
        Err(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "Took too long", "the request took more than 10 s")
                .into_response()
        }
    }
}
