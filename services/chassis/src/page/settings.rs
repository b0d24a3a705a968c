//! The settings that may change while a server serves, as every worker reads them.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use zen::{Dialogue, Limits};

use crate::settings::{AnswerWork, Source};

/// The live settings, read at any time by any worker.
///
/// A change of several of them holds at once: `writing` is odd while one is written, so a reader never sees half of it.
#[repr(C)]
pub struct Settings {
    writing: AtomicU64,
    generation: AtomicU64,
    values: [LiveSlot; LiveValue::ALL.len()],
    /// Longest question in bytes; fixed at the start.
    max_question: AtomicU64,
    /// An [`IoUring`]; fixed at the start.
    io_uring: AtomicU32,
}

/// What the architecture `io_uring` does where the kernel refuses a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum IoUring {
    /// Serve by epoll, and say so everywhere.
    #[default]
    Auto = 0,
    /// End.
    Require = 1,
    /// Serve by epoll without trying.
    Off = 2,
}

impl IoUring {
    /// Every one, in the order of the page.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Require, Self::Off];

    /// The name that settings use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Require => "require",
            Self::Off => "off",
        }
    }
}

#[repr(C)]
struct LiveSlot {
    value: AtomicU64,
    source: AtomicU32,
}

/// The live settings by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum LiveValue {
    /// How many workers an endpoint has.
    Workers,
    /// How many conversations an endpoint has at most.
    MaxConnections,
    /// See [`Limits::idle_timeout`]; in nanoseconds, as all durations.
    IdleTimeout,
    /// See [`Limits::question_deadline`].
    QuestionDeadline,
    /// How long a client may take none of the bytes it is owed.
    WriteStall,
    /// What is said.
    Dialogue,
    /// What an answer costs beyond itself.
    AnswerDelay,
    /// How that cost is paid.
    AnswerWork,
    /// One exchange in how many is traced; 0 is none.
    TraceOneIn,
    /// How long a drain takes at most.
    DrainTimeout,
    /// How many UDP replies a prefix of sources gets a second; 0 is no limit.
    UdpRepliesPerPrefix,
    /// The least important log lines that are written.
    LogFilter,
}

impl LiveValue {
    /// Every one, in the order of the page.
    pub const ALL: [Self; 12] = [
        Self::Workers,
        Self::MaxConnections,
        Self::IdleTimeout,
        Self::QuestionDeadline,
        Self::WriteStall,
        Self::Dialogue,
        Self::AnswerDelay,
        Self::AnswerWork,
        Self::TraceOneIn,
        Self::DrainTimeout,
        Self::UdpRepliesPerPrefix,
        Self::LogFilter,
    ];

    /// The key that files, flags and the API use.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::MaxConnections => "max_connections",
            Self::IdleTimeout => "idle_timeout",
            Self::QuestionDeadline => "question_deadline",
            Self::WriteStall => "write_stall",
            Self::Dialogue => "dialogue",
            Self::AnswerDelay => "answer_delay",
            Self::AnswerWork => "answer_work",
            Self::TraceOneIn => "trace_one_in",
            Self::DrainTimeout => "drain_timeout",
            Self::UdpRepliesPerPrefix => "udp_replies_per_prefix",
            Self::LogFilter => "log_filter",
        }
    }
}

/// The live settings at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// Which version of the settings this is.
    pub generation: u64,
    /// How many workers an endpoint has.
    pub workers: usize,
    /// How many conversations an endpoint has at most.
    pub max_connections: usize,
    /// Limits of the dialogue.
    pub limits: Limits,
    /// How long a client may take none of the bytes it is owed.
    pub write_stall: Duration,
    /// What is said.
    pub dialogue: Dialogue,
    /// What an answer costs beyond itself.
    pub answer_delay: Duration,
    /// How that cost is paid.
    pub answer_work: AnswerWork,
    /// One exchange in how many is traced; 0 is none.
    pub trace_one_in: u64,
    /// How long a drain takes at most.
    pub drain_timeout: Duration,
    /// How many UDP replies a prefix of sources gets a second; 0 is no limit.
    pub udp_replies_per_prefix: u64,
}

thread_local! {
    /// What this thread has seen last, and on which page.
    static SEEN: RefCell<Option<(*const Settings, Live)>> = const { RefCell::new(None) };
}

impl Settings {
    /// Replaces values, all at once, and counts a new generation. Only one process may: the supervisor before the first
    /// fork, then the control plane.
    pub fn write(&self, changes: &[(LiveValue, u64, Source)]) -> u64 {
        self.writing.fetch_add(1, Ordering::AcqRel);
        for &(which, value, source) in changes {
            let slot = &self.values[which as usize];
            slot.value.store(value, Ordering::Relaxed);
            slot.source.store(source as u32, Ordering::Relaxed);
        }
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        self.writing.fetch_add(1, Ordering::Release);
        generation
    }

    /// Fixes the longest question, once, before the first fork.
    pub fn set_max_question(&self, bytes: usize) {
        self.max_question.store(bytes as u64, Ordering::Relaxed);
    }

    /// The longest question in bytes.
    pub fn max_question(&self) -> usize {
        self.max_question.load(Ordering::Relaxed) as usize
    }

    /// Fixes what happens where there is no ring, once, before the first fork.
    pub fn set_io_uring(&self, io_uring: IoUring) {
        self.io_uring.store(io_uring as u32, Ordering::Relaxed);
    }

    /// What happens where there is no ring.
    pub fn io_uring(&self) -> IoUring {
        IoUring::ALL[self.io_uring.load(Ordering::Relaxed) as usize % IoUring::ALL.len()]
    }

    /// The number of the present settings; the first is 1.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// One value as it lies in the page, and where it came from.
    pub fn get(&self, which: LiveValue) -> (u64, Source) {
        let slot = &self.values[which as usize];
        (slot.value.load(Ordering::Relaxed), Source::from_number(slot.source.load(Ordering::Relaxed)))
    }

    /// All values, of one generation.
    pub fn live(&self) -> Live {
        self.choose(|live| *live)
    }

    /// Those values that `choose` takes, of one generation. Each thread keeps what it has seen last, so that this costs a
    /// question one load and no copy of the others. `choose` must not ask for settings itself.
    pub fn choose<T>(&self, choose: impl FnOnce(&Live) -> T) -> T {
        SEEN.with_borrow_mut(|seen| {
            let (page, generation) = (std::ptr::from_ref(self), self.generation());
            match seen {
                Some((known, live)) if *known == page && live.generation == generation => choose(live),
                _ => choose(&seen.insert((page, self.read_whole())).1),
            }
        })
    }

    #[cold]
    fn read_whole(&self) -> Live {
        loop {
            let before = self.writing.load(Ordering::Acquire);
            let live = self.read();
            std::sync::atomic::fence(Ordering::Acquire);
            if before.is_multiple_of(2) && before == self.writing.load(Ordering::Relaxed) {
                return live;
            }
            std::hint::spin_loop();
        }
    }

    fn read(&self) -> Live {
        let value = |which: LiveValue| self.values[which as usize].value.load(Ordering::Relaxed);
        let time = |which| Duration::from_nanos(value(which));
        Live {
            generation: self.generation(),
            workers: value(LiveValue::Workers) as usize,
            max_connections: value(LiveValue::MaxConnections) as usize,
            limits: Limits {
                max_question: self.max_question(),
                idle_timeout: time(LiveValue::IdleTimeout),
                question_deadline: time(LiveValue::QuestionDeadline),
            },
            write_stall: time(LiveValue::WriteStall),
            dialogue: Dialogue::ALL[value(LiveValue::Dialogue) as usize % Dialogue::ALL.len()],
            answer_delay: time(LiveValue::AnswerDelay),
            answer_work: AnswerWork::ALL[value(LiveValue::AnswerWork) as usize % AnswerWork::ALL.len()],
            trace_one_in: value(LiveValue::TraceOneIn),
            drain_timeout: time(LiveValue::DrainTimeout),
            udp_replies_per_prefix: value(LiveValue::UdpRepliesPerPrefix),
        }
    }
}
