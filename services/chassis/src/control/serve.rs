//! HTTP/1 for the admin API, with the limits that `axum::serve` does not have: a time for the head of a request, a time for
//! the whole, and a number of connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::ServiceExt;

use super::problem::{self, Problem};
use super::routes::ROUTES;
use super::{Control, audit};

const HEAD: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 64;
const HEAD_BYTES: usize = 16 * 1024;

/// Serves until the process is told to end.
pub(super) async fn serve(listener: TcpListener, router: Router, control: Arc<Control>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, remote)) => {
                let connection = converse(stream, remote, router.clone(), control.clone());
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

async fn converse(stream: TcpStream, remote: SocketAddr, router: Router, control: Arc<Control>) {
    let service = service_fn(move |request| answer(request, remote, router.clone(), control.clone()));
    // A client that breaks off or sends no HTTP has had its answer, or wants none.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    remote: SocketAddr,
    router: Router,
    control: Arc<Control>,
) -> Result<Response, Infallible> {
    let began = Instant::now();
    let request_id = control.next_request_id();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let span = tracing::info_span!("admin", otel.name = format!("{method} {}", uri.path()), request_id);
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(remote));
    let response = match control.guard.check(&method, &uri, request.headers()) {
        Ok(()) => tracing::Instrument::instrument(route(request, router), span).await,
        Err(problem) => problem.into_response(),
    };
    let route = response.extensions().get::<MatchedPath>().map_or("other", |path| known(path.as_str()));
    control.metrics.own.count_request(method.as_str(), route, response.status().as_u16(), began.elapsed());
    audit(&method, uri.path(), remote, &request_id, &response);
    let mut response = problem::complete(response, uri.path(), &request_id);
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    Ok(response)
}

/// In a task of its own: a panic in a handler is an answer of 500 and nothing else.
async fn route(request: Request<Body>, router: Router) -> Response {
    let task = tokio::spawn(tracing::Instrument::in_current_span(router.oneshot(request)));
    match timeout(REQUEST, task).await {
        Ok(Ok(Ok(response))) => response,
        Ok(Ok(Err(never))) => match never {},
        Ok(Err(_)) => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            "the request failed; the log says how",
        )
        .into_response(),
        Err(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "Took too long", "the request took more than 10 s")
                .into_response()
        }
    }
}

/// The route's path as the table has it: nothing that a client invents becomes a label.
fn known(path: &str) -> &'static str {
    ROUTES.iter().map(|route| route.path).find(|known| *known == path).unwrap_or("other")
}
