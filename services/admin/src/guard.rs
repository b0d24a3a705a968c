//! Who may ask, and who may change something.
//!
//! The order of checks is that of the design: Host (a page in a browser must not reach us under a name of its own, DNS
//! rebinding), what a browser sends for other people's pages, then the token. Only after these is looked at what is asked.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use subtle::ConstantTimeEq;

use crate::Problem;

/// What the checks need to know.
pub struct Guard {
    hosts: Vec<String>,
    token_file: Option<PathBuf>,
    url: String,
}

impl Guard {
    /// `names` are the host names under which this API may be asked, besides IP addresses, `localhost` and this machine's
    /// own; `listen` is where it listens. Without a token file nobody needs a token, so there must be one off loopback.
    pub fn new(names: impl IntoIterator<Item = String>, token_file: Option<PathBuf>, listen: SocketAddr) -> Self {
        let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let hosts = ["localhost".to_owned(), own].into_iter().chain(names).collect();
        Self { hosts, token_file, url: format!("http://{listen}") }
    }

    /// Lets a request through, or says why not.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        self.check_host(headers)?;
        check_origin(headers)?;
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            Ok(())
        } else {
            self.check_token(method, uri, headers)
        }
    }

    fn check_host(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = without_port(host);
        if name.parse::<IpAddr>().is_ok() || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Ok(());
        }
        let known = self.hosts.join(", ");
        Err(forbidden("host", format!("Host {host:?} is none of an IP address, {known}; `admin.hosts` adds names")))
    }

    fn check_token(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(file) = &self.token_file else { return Ok(()) };
        let wanted = fs::read_to_string(file).unwrap_or_default();
        let wanted = wanted.trim().as_bytes();
        let given = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let right = given.is_some_and(|given| given.trim().as_bytes().ct_eq(wanted).into());
        if right && !wanted.is_empty() {
            return Ok(());
        }
        let curl = self.curl(method, uri);
        let what = if given.is_some() { "the token is not the right one" } else { "a change needs the token" };
        Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Not authorized",
            format!("{what}, of the file {}: {curl}", file.display()),
        ))
    }

    /// The line that would do it.
    pub fn curl(&self, method: &Method, uri: &Uri) -> String {
        let token = if self.token_file.is_some() { " -H \"Authorization: Bearer $TOKEN\"" } else { "" };
        let patch = if *method == Method::PATCH {
            " -H 'If-Match: *' -H 'Content-Type: application/merge-patch+json' -d '{…}'"
        } else {
            ""
        };
        format!("curl -X {method}{token}{patch} {}{uri}", self.url)
    }
}

fn without_port(host: &str) -> &str {
    if let Some(bracketed) = host.strip_prefix('[') {
        return bracketed.split(']').next().unwrap_or(bracketed);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    if headers.get(ORIGIN).is_some_and(|origin| !is_own(origin, headers)) {
        return Err(forbidden("origin", "a page of another origin may not ask"));
    }
    if is("sec-fetch-site", "cross-site") || is("sec-fetch-mode", "no-cors") {
        return Err(forbidden("origin", "a browser may not ask for another site's page"));
    }
    if headers.contains_key(UPGRADE) {
        return Err(forbidden("upgrade", "there is no other protocol here"));
    }
    Ok(())
}

/// Whether an origin is that of our own pages: of the host, port included, that is being asked, which has been checked before.
fn is_own(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), headers.get(HOST).map(HeaderValue::to_str)) else {
        return false;
    };
    origin.strip_prefix("http://").is_some_and(|from| from.eq_ignore_ascii_case(host))
}

fn forbidden(slug: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, slug, "Not allowed", detail)
}
