//! A client of the admin APIs: JSON in, JSON or a problem out.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;
use crate::token;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is said with a 401: the server tells how curl brings the token, and this is how we do.
const TOKEN_HINT: &str = "; zenlab sends the token in the file $ZENLAB_TOKEN_FILE, else in ~/.config/zenlab/token";

/// What an admin API says no with, or why it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody answered: one sentence.
    Unreachable(String),
    /// It answered with an error status and this sentence.
    Refused(u16, String),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(400 | 422, sentence) => Self::usage(sentence),
            Trouble::Refused(_, sentence) | Trouble::Unreachable(sentence) => Self::runtime(sentence),
        }
    }
}

/// A good answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The `ETag` header.
    pub etag: Option<String>,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// One admin API.
#[derive(Debug, Clone)]
pub struct Api {
    agent: ureq::Agent,
    base: String,
}

impl Api {
    /// The API at `base`, such as `http://127.0.0.1:9071`.
    pub fn at(base: &str) -> Self {
        Self::with_patience(base, PATIENCE)
    }

    /// The same, waiting for an answer as long as `patience`.
    pub fn with_patience(base: &str, patience: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            // What is asked here is on this machine or in the same network of containers.
            .proxy(None)
            .build();
        Self { agent: config.into(), base: base.trim_end_matches('/').to_owned() }
    }

    /// Reads.
    pub fn get(&self, path: &str) -> Result<Answer, Trouble> {
        self.answer(self.agent.get(self.url(path)).call())
    }

    /// Reads server-sent events, as long as `each` wants more and the other end sends some. It gets the event's name and what
    /// it says.
    pub fn events(&self, path: &str, mut each: impl FnMut(&str, Value) -> bool) -> Result<(), Trouble> {
        // Events may come for hours, so there is a time for the beginning only.
        let request = self.agent.get(self.url(path)).config();
        let request = request.timeout_global(None).timeout_recv_response(Some(PATIENCE)).build();
        let response = request.call();
        if !response.as_ref().is_ok_and(|response| response.status().is_success()) {
            return self.answer(response).map(drop);
        }
        let Ok(response) = response else { return Ok(()) };
        let mut event = String::new();
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line.map_err(|error| self.unreachable(&ureq::Error::Io(error)))?;
            match line.split_once(": ") {
                Some(("event", name)) => name.clone_into(&mut event),
                Some(("data", data)) if !each(&event, serde_json::from_str(data).unwrap_or_default()) => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Orders. Without a body none is sent.
    pub fn post(&self, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        let mut request = self.agent.post(self.url(path));
        if let Some(token) = token::of_user()? {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = match body {
            Some(body) => request.content_type("application/json").send(body.to_string()),
            None => request.send_empty(),
        };
        Ok(self.answer(response)?)
    }

    /// Changes what `etag` names.
    pub fn patch(&self, path: &str, etag: &str, body: &Value) -> Result<Answer, Failure> {
        let mut request = self.agent.patch(self.url(path)).header("if-match", etag);
        if let Some(token) = token::of_user()? {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = request.content_type("application/merge-patch+json").send(body.to_string());
        Ok(self.answer(response)?)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn answer(&self, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, Trouble> {
        let mut response = response.map_err(|error| self.unreachable(&error))?;
        let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let text = response.body_mut().read_to_string().map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(Answer { etag, text });
        }
        let status = response.status().as_u16();
        let hint = if status == 401 { TOKEN_HINT } else { "" };
        Err(Trouble::Refused(status, format!("{} says {status}: {}{hint}", self.base, problem(&text))))
    }

    fn unreachable(&self, error: &ureq::Error) -> Trouble {
        let why = match error {
            ureq::Error::Io(error) => error.to_string(),
            ureq::Error::Timeout(_) => "no answer in time".to_owned(),
            other => other.to_string(),
        };
        Trouble::Unreachable(format!("{} cannot be reached: {why}", self.base))
    }
}

/// A problem (RFC 9457) as one sentence; what is none, as it is.
fn problem(text: &str) -> String {
    let Ok(problem) = serde_json::from_str::<Value>(text) else {
        return text.lines().next().unwrap_or_default().chars().take(200).collect();
    };
    let detail = problem["detail"].as_str().or_else(|| problem["title"].as_str()).unwrap_or("no reason given");
    let errors: Vec<String> = problem["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|error| Some((error["pointer"].as_str()?, error["detail"].as_str()?)))
        // The first error is often the detail of the whole.
        .filter(|(_, why)| !detail.contains(why))
        .map(|(pointer, why)| format!("{pointer} {why}"))
        .collect();
    if errors.is_empty() { detail.to_owned() } else { format!("{detail} ({})", errors.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn a_problem_is_one_sentence_with_its_errors() {
        let text = r#"{"title":"Invalid","detail":"1 setting is wrong","errors":[{"pointer":"/workers","detail":"must be 1..=4096"}]}"#;
        assert_eq!(problem(text), "1 setting is wrong (/workers must be 1..=4096)");
        let text = r#"{"detail":"`a` is wrong","errors":[{"pointer":"/a","detail":"`a` is wrong"}]}"#;
        assert_eq!(problem(text), "`a` is wrong");
        assert_eq!(problem(r#"{"title":"Not found"}"#), "Not found");
        assert_eq!(problem("plain text\nmore"), "plain text");
    }
}
