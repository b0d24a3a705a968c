//! The control page: what the admin API tells and takes, for people with a browser.
//!
//! Page, style and script are files of this program. Nothing else is loaded, and the script writes text only, never markup.

use axum::http::HeaderMap;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use axum::response::{IntoResponse, Redirect, Response};

use super::index;

const PAGE: &str = include_str!("control/page.html");
const STYLE: &str = include_str!("control/page.css");
const SCRIPT: &str = include_str!("control/page.js");

/// Where the style goes. A style of its own address would be refused: the guard lets nothing through that a page embeds.
const STYLE_PLACE: &str = "/* page.css */";

/// The script comes from here, and asks here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The index for programs, the page for browsers.
pub(super) async fn home(headers: HeaderMap) -> Response {
    let wanted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if wanted.contains("text/html") { Redirect::temporary("/control").into_response() } else { index().into_response() }
}

pub(super) async fn page() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, PAGE.replace(STYLE_PLACE, STYLE)).into_response()
}

pub(super) async fn script() -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, "no-cache")], SCRIPT).into_response()
}
