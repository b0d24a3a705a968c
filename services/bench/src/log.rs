//! Response times over time: an HdrHistogram for each slot, as its public tools read them.

use std::io;

use report::{IntervalLog, hdr};
use zen::Transport;

use crate::slot::Slot;

/// The slots of one server, in their order.
#[derive(Debug)]
pub(crate) struct Log {
    /// When the run began, in nanoseconds of CLOCK_MONOTONIC.
    began: u64,
    intervals: IntervalLog,
}

impl Log {
    /// Of a server's response times in a run that began at `began`.
    pub fn new(server: &str, transport: Transport, began: u64) -> Self {
        let tag = format!("{server}/{transport}/response");
        Self { began, intervals: IntervalLog { tag, intervals: Vec::new() } }
    }

    /// Enters a slot that began at `at`. A slot without an answer has no interval.
    ///
    /// # Errors
    /// If the histogram cannot be encoded.
    pub fn enter(&mut self, at: u64, slot: &Slot) -> io::Result<()> {
        if slot.response.is_empty() {
            return Ok(());
        }
        let histogram = hdr::encode(&slot.response).map_err(io::Error::other)?;
        let begin = at.saturating_sub(self.began) as f64 / 1e9;
        let interval = (begin, slot.wall.as_secs_f64(), slot.response.max(), histogram);
        self.intervals.intervals.push(interval);
        Ok(())
    }

    /// What was entered.
    pub fn take(&mut self) -> IntervalLog {
        let tag = self.intervals.tag.clone();
        std::mem::replace(&mut self.intervals, IntervalLog { tag, intervals: Vec::new() })
    }
}
