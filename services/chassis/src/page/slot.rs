//! One worker's part of the page.

use super::count::{Counter, Gauge, Histogram, Usage};

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every one, in the order of the counters.
            pub const ALL: [Self; [$($label),*].len()] = [$(Self::$variant),*];

            /// The name that metrics use.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

labels! {
    /// How a conversation ended.
    Closed {
        /// The client closed between two questions.
        Eof = "eof",
        /// The client closed in the middle of a question.
        EofPartial = "eof_partial",
        /// The client was silent for the idle timeout.
        Idle = "idle",
        /// The client did not end its question in time.
        Deadline = "deadline",
        /// The client's question was too long.
        TooLong = "too_long",
        /// The client sent a byte that no question contains.
        BadByte = "bad_byte",
        /// The client did not read its answers.
        WriteStall = "write_stall",
        /// The socket failed.
        IoError = "io_error",
        /// The client reset the connection.
        Reset = "reset",
        /// The server was drained.
        Drained = "drained",
        /// The server ran out of time while it drained.
        Forced = "forced",
        /// There was no thread or process for the client.
        Refused = "refused",
        /// The conversation panicked.
        Panic = "panic",
        /// The worker died.
        Crashed = "crashed",
    }
}

labels! {
    /// What a worker is.
    Made {
        /// A thread of the data plane.
        Thread = "thread",
        /// A process of its own.
        Process = "process",
    }
}

labels! {
    /// Why a client was turned away.
    Rejected {
        /// There were as many conversations as `max_connections` allows.
        MaxConnections = "max_connections",
        /// There was no descriptor, thread or process for it.
        Resources = "fd_limit",
        /// Its descriptor was too high for select(2).
        SelectLimit = "select_limit",
    }
}

labels! {
    /// Why a datagram was not answered.
    Dropped {
        /// No bytes.
        Empty = "empty",
        /// Longer than the longest question.
        Truncated = "truncated",
        /// Not ending in `?`.
        NoQuestion = "no_question",
        /// A byte that no question contains.
        BadByte = "bad_byte",
        /// Shorter than its reply.
        Short = "short",
        /// From a port that is never answered.
        Source = "source",
        /// Its source's prefix had had as many replies as `udp_replies_per_prefix` allows.
        Rate = "rate",
        /// The client's buffer, or ours, had no room for the reply.
        WouldBlock = "would_block",
        /// The client was gone.
        Unreachable = "unreachable",
    }
}

/// The counters of one worker. It alone writes them, but for `owner`.
#[repr(C, align(64))]
pub struct Slot {
    /// The process that writes here; 0 is nobody. Written by whoever gives the slot away.
    pub owner: Gauge,
    /// The generation of settings that the worker has seen.
    pub generation: Gauge,
    /// Clients taken.
    pub accepted: Counter,
    /// Clients gone, by [`Closed`].
    pub closed: [Counter; Closed::ALL.len()],
    /// Clients turned away, by [`Rejected`].
    pub rejected: [Counter; Rejected::ALL.len()],
    /// Failed accepts for want of descriptors or memory.
    pub accept_errors: Counter,
    /// Known questions answered, in the order of [`zen::QUESTIONS`].
    pub known: [Counter; zen::QUESTIONS.len()],
    /// Messages echoed.
    pub echoed: Counter,
    /// Unknown questions answered.
    pub unknown: Counter,
    /// Conversations ended for the length of a question.
    pub too_long: Counter,
    /// Conversations ended for a byte that no question contains.
    pub bad_byte: Counter,
    /// Conversations ended for a question that took too long.
    pub deadline: Counter,
    /// Bytes heard.
    pub received_bytes: Counter,
    /// Bytes sent.
    pub sent_bytes: Counter,
    /// Datagrams heard.
    pub datagrams: Counter,
    /// Datagrams not answered, by [`Dropped`].
    pub dropped: [Counter; Dropped::ALL.len()],
    /// Panics that were caught.
    pub panics: Counter,
    /// Turns of an event loop.
    pub loop_iterations: Counter,
    /// Events that those turns brought.
    pub loop_events: Counter,
    /// Time an event loop waited, in nanoseconds.
    pub loop_wait: Counter,
    /// Clients that a loop was told of who had sent nothing.
    pub loop_spurious: Counter,
    /// Exchanges handed over to be traced.
    pub traces_sampled: Counter,
    /// Exchanges that were to be traced, but nobody took them in time.
    pub traces_dropped: Counter,
    /// From the bytes of a question to its answer in the kernel.
    pub durations: Histogram,
    /// From a client's coming into the server to this worker's beginning with it, where they are handed over.
    pub queue_wait: Histogram,
    /// What the owner has used so far, if it publishes that here.
    pub usage: Usage,
}

impl Slot {
    /// Takes the slot for process `pid`.
    pub fn take(&self, pid: u32) {
        self.owner.set(u64::from(pid));
    }

    /// Gives the slot back.
    pub fn release(&self) {
        self.owner.set(0);
    }

    /// Clients gone, for whatever reason.
    pub fn closed_in_all(&self) -> u64 {
        self.closed.iter().map(Counter::get).sum()
    }

    /// Clients that are being served.
    pub fn open(&self) -> u64 {
        let closed = self.closed_in_all();
        self.accepted.get().saturating_sub(closed)
    }

    /// Answers to questions, known or not, and echoes.
    pub fn answered(&self) -> u64 {
        self.known.iter().map(Counter::get).sum::<u64>() + self.unknown.get() + self.echoed.get()
    }

    /// Writes the end of a worker that could not do it itself: what it had open counts as crashed.
    pub(crate) fn settle(&self) {
        self.closed[Closed::Crashed as usize].add(self.open());
        self.usage.clear();
        self.release();
    }
}
