//! The books by kind of client, over all targets.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::population::Kind;
use crate::tally::Outcome;

/// What clients of each kind have seen.
#[derive(Debug, Default)]
pub(crate) struct Kinds([OneKind; Kind::ALL.len()]);

#[derive(Debug, Default)]
struct OneKind {
    connections: AtomicU64,
    outcomes: [AtomicU64; Outcome::ALL.len()],
}

impl Kinds {
    pub fn connected(&self, kind: Kind) {
        self.0[kind as usize].connections.fetch_add(1, Ordering::Relaxed);
    }

    pub fn gone(&self, kind: Kind) {
        self.0[kind as usize].connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn ended(&self, kind: Kind, outcome: Outcome) {
        self.0[kind as usize].outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Open connections.
    pub fn connections(&self, kind: Kind) -> u64 {
        self.0[kind as usize].connections.load(Ordering::Relaxed)
    }

    /// Questions with this outcome.
    pub fn outcomes(&self, kind: Kind, outcome: Outcome) -> u64 {
        self.0[kind as usize].outcomes[outcome as usize].load(Ordering::Relaxed)
    }
}
