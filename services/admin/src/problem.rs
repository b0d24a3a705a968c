//! Errors of the admin API, as RFC 9457 asks for them.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Something that is wrong with a request, or with what it asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The response's status.
    pub status: StatusCode,
    /// The last part of the problem's type.
    slug: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<(String, String)>,
    allow: Option<String>,
}

/// What is filled in where the request is known.
#[derive(Debug, Clone)]
struct Pending(Problem);

impl Problem {
    /// A problem of the type `/problems/SLUG`; `detail` is one sentence about this one.
    pub fn new(status: StatusCode, slug: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, slug, title, detail: detail.into(), errors: Vec::new(), allow: None }
    }

    /// 404: there is nothing of that name.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 500: right, and nothing that whoever asked could do better.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// 409: right, but not now or not here.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Not in this state", detail)
    }

    /// With what is wrong where: JSON pointers and sentences.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<(String, String)>) -> Self {
        self.errors = errors;
        self
    }

    /// With the methods that are allowed.
    #[must_use]
    pub fn with_allow(mut self, allow: impl Into<String>) -> Self {
        self.allow = Some(allow.into());
        self
    }

    fn body(&self, path: &str, request_id: &str) -> Value {
        let mut body = json!({
            "type": format!("/problems/{}", self.slug),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "instance": path,
            "request_id": request_id,
        });
        if !self.errors.is_empty() {
            let errors = self.errors.iter().map(|(pointer, detail)| json!({"pointer": pointer, "detail": detail}));
            body["errors"] = errors.collect();
        }
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            response.headers_mut().insert(ALLOW, allow);
        }
        response.extensions_mut().insert(Pending(self));
        response
    }
}

/// Writes the body of a problem, now that it is known whose it is.
pub(crate) fn complete(mut response: Response, path: &str, request_id: &str) -> Response {
    let Some(Pending(problem)) = response.extensions_mut().remove::<Pending>() else { return response };
    let body = problem.body(path, request_id).to_string();
    *response.body_mut() = Body::from(body);
    // The router has written the length of the empty body.
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
