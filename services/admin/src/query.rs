//! What a request says behind the question mark.

use axum::http::Uri;

/// The value of a parameter in the query, as it stands there; of several of that name the first.
pub fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}
