//! Faults on request: what happens to everybody else when one conversation, worker or data plane fails.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How something fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Fault {
    /// The code panics; Rust unwinds the stack up to whoever catches that.
    Panic,
    /// The process is ended by SIGABRT, as by a broken C library.
    Abort,
    /// The code never comes back.
    Hang,
}

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Target {
    /// The conversation that asks the next question.
    Conversation,
    /// The next worker that looks for orders.
    Worker,
    /// The data plane's leader.
    Data,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 3] = [Self::Panic, Self::Abort, Self::Hang];

    /// The name that the API uses.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Abort => "abort",
            Self::Hang => "hang",
        }
    }

    fn happen(self) {
        match self {
            Self::Panic => panic!("a fault that was asked for"),
            Self::Abort => std::process::abort(),
            Self::Hang => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
        }
    }
}

impl Target {
    /// Every target.
    pub const ALL: [Self; 3] = [Self::Conversation, Self::Worker, Self::Data];

    /// The name that the API uses.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::Worker => "worker",
            Self::Data => "data",
        }
    }
}

/// The faults that were asked for and have not happened yet.
#[repr(C)]
pub struct Faults {
    pending: [[AtomicU32; Fault::ALL.len()]; Target::ALL.len()],
    happened: AtomicU64,
}

impl Faults {
    /// Asks for a fault to happen once.
    pub fn ask_for(&self, target: Target, fault: Fault) {
        self.pending[target as usize][fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often a fault is still to happen.
    pub fn pending(&self, target: Target, fault: Fault) -> u32 {
        self.pending[target as usize][fault as usize].load(Ordering::Relaxed)
    }

    /// Forgets the faults that have not happened yet.
    pub fn clear(&self) {
        for pending in self.pending.as_flattened() {
            pending.store(0, Ordering::Relaxed);
        }
    }

    /// How many faults have happened.
    pub fn happened(&self) -> u64 {
        self.happened.load(Ordering::Relaxed)
    }

    /// Lets a fault of this target happen, if one was asked for. Almost always this is three loads.
    pub(crate) fn strike(&self, target: Target) {
        for fault in Fault::ALL {
            let pending = &self.pending[target as usize][fault as usize];
            if pending.load(Ordering::Relaxed) > 0 && take_one(pending) {
                self.happened.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    event = "fault",
                    fault = fault.label(),
                    target = target.label(),
                    "a fault that was asked for"
                );
                fault.happen();
            }
        }
    }
}

/// Several workers may try at once; one gets it.
fn take_one(pending: &AtomicU32) -> bool {
    pending.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |count| count.checked_sub(1)).is_ok()
}
