//! A measurement under way: when it began, and what the machine was like.

use std::time::{Instant, SystemTime};

use report::Run;

use crate::lab::Lab;
use crate::machine::{Reading, describe};

/// How a report came about, as far as it is known when the measurement begins.
#[derive(Debug)]
pub struct Session {
    began: SystemTime,
    clock: Instant,
    reading: Reading,
    seed: u64,
}

impl Session {
    /// Begins now; `seed` is what orders and arrivals follow from.
    pub fn begin(seed: u64) -> Self {
        Self { began: SystemTime::now(), clock: Instant::now(), reading: Reading::take(), seed }
    }

    /// Ends now. `command` is the command line that measures anew, `label` a name that may be empty.
    pub fn end(self, lab: &Lab, command: &str, label: &str) -> Run {
        Run {
            command: command.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: self.seed,
            began: humantime::format_rfc3339_seconds(self.began).to_string(),
            took_seconds: self.clock.elapsed().as_secs_f64(),
            machine: describe(lab, &Reading::take().since(&self.reading)),
            label: label.to_owned(),
        }
    }
}
