//! A run as it goes on: one line that changes on a terminal, a line every few seconds elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PATH, show};
use crate::api::Api;
use crate::failure::{FAILED, Failure, INCONCLUSIVE, LIMIT, OK, Outcome};
use crate::output;

/// Between two lines where none can be written over.
const PACE: Duration = Duration::from_secs(2);

/// Follows a run to its end; the exit code says how it ended.
pub fn run(api: &Api, id: u64) -> Outcome {
    let mut line = Line::new();
    let mut last = None;
    api.events(&format!("{PATH}/{id}/events"), |event, run| {
        line.show(&show::progress(&run));
        let is_over = event == "ended";
        last = Some(run);
        !is_over
    })?;
    line.end();
    let run = last.ok_or_else(|| Failure::runtime(format!("the swarm has said nothing about run {id}")))?;
    if run["state"] != "ended" {
        return Err(Failure::runtime(format!("{}: the swarm has gone before its end", show::title(&run))));
    }
    output::say_all(&show::run(&run));
    output::complain(&format!("All of it: zenlab runs report {id} -o DIR"));
    Ok(judge(&run))
}

/// The exit code of a run that has ended.
fn judge(run: &Value) -> u8 {
    if run["ended"] == "cancelled" {
        return FAILED;
    }
    if run["validity"]["verdict"] != "valid" {
        return INCONCLUSIVE;
    }
    if run["as_expected"] == false { LIMIT } else { OK }
}

/// The line about the work, which is no result.
struct Line {
    is_terminal: bool,
    shown: Option<Instant>,
}

impl Line {
    fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), shown: None }
    }

    fn show(&mut self, text: &str) {
        if self.is_terminal {
            let mut error = io::stderr().lock();
            let _gone = write!(error, "\r{text}\x1b[K").and_then(|()| error.flush());
        } else if self.shown.is_none_or(|shown| shown.elapsed() >= PACE) {
            output::complain(text);
        } else {
            return;
        }
        self.shown = Some(Instant::now());
    }

    fn end(&self) {
        if self.is_terminal && self.shown.is_some() {
            output::complain("");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::judge;

    #[test]
    fn the_exit_code_says_how_a_run_ended() {
        let run = |ended: &str, verdict: &str, expected: Option<bool>| {
            judge(&json!({"ended": ended, "validity": {"verdict": verdict}, "as_expected": expected}))
        };
        assert_eq!(run("finished", "valid", Some(true)), 0);
        assert_eq!(run("finished", "valid", None), 0);
        assert_eq!(run("finished", "valid", Some(false)), 3);
        assert_eq!(run("finished", "unreliable", Some(false)), 4, "what cannot be believed is not judged");
        assert_eq!(run("cancelled", "valid", Some(false)), 1);
    }
}
