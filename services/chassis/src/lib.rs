//! What every server of the laboratory has, so that an architecture's file holds the architecture and nothing else.
//!
//! A container is a small family of processes:
//!
//! ```text
//! supervisor   settings → bind → map the page → fork → signals, deadlines, respawn        (supervise)
//!  ├─ control      admin API, metrics, traces; holds no data socket                        (control)
//!  ├─ data plane   tcp://…    the architecture alone: a function over a Site               (site, talk, visit, letter)
//!  └─ data plane   udp://…
//! ```
//!
//! They share one mapping, the [`page`]: settings and orders go one way through it, counters the other.
//!
//! What an architecture sees of all this is [`Site`]: an endpoint with clients to [`accept`](Site::accept) or datagrams to
//! [`receive`](Site::receive), and orders to obey. Blocking code lets a [`Visit`] [`converse`](Visit::converse); a readiness
//! loop does what a visit [`Wants`]; completion and async code feeds a [`Talk`] with bytes.

mod activation;
pub mod control;
mod crowd;
mod desk;
pub mod fork;
mod letter;
mod linger;
pub mod logs;
pub mod page;
pub mod settings;
mod site;
mod socket;
mod supervise;
mod talk;
pub mod thread;
pub mod trace;
mod visit;

use std::io;

use zen::Transport;

pub use crowd::{Change, Crowd, NEWCOMERS, Waiting};
pub use letter::Letter;
pub use linger::linger;
pub use page::{Closed, IoUring, Rejected, RuntimeFigures};
pub use site::{Endpoint, Errand, Newcomer, Site, Worker};
pub use socket::{DatagramSocket, Stream, StreamListener};
pub use supervise::{exit, run};
pub use talk::{Talk, Wants};
pub use visit::Visit;

/// A way of serving: a plain value, so that tests, help texts and deployment walk one list of them.
#[derive(Debug)]
pub struct Architecture {
    /// Its name on the command line, in metrics and as a container.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// Added to the base ports 1060 and 9060 where many servers share a host. Never changes.
    pub offset: u16,
    /// What it is one of.
    pub family: Family,
    /// Serves a stream endpoint until it is drained, if it can.
    pub stream: Option<fn(Site<StreamListener>) -> io::Result<()>>,
    /// Serves a datagram endpoint until it is drained, if it can.
    pub datagram: Option<fn(Site<DatagramSocket>) -> io::Result<()>>,
    /// What the setting `workers` means to it.
    pub workers: Workers,
    /// How many clients it serves at once.
    pub capacity: Capacity,
}

/// The kinds of architecture that the chapter tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Code that waits for one client at a time, in one or many threads or processes.
    Blocking,
    /// The same, through a framework.
    Framework,
    /// One loop that asks which of its clients is ready.
    Readiness,
    /// The kernel is given the operations and reports what is done.
    Completion,
    /// Callbacks or coroutines on an event loop.
    Async,
}

impl Family {
    /// The name that the API and the metrics use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Framework => "framework",
            Self::Readiness => "readiness",
            Self::Completion => "completion",
            Self::Async => "async",
        }
    }
}

/// What the setting `workers` means to an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// So many threads; this many by default.
    Threads(usize),
    /// So many processes; this many by default.
    Processes(usize),
    /// Nothing, and why.
    Ignored(&'static str),
}

/// How many clients an architecture serves at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// One for each worker; the others wait in the accept queue. Its timeouts are short by default, since a silent client
    /// holds up everybody behind it.
    PerWorker,
    /// Up to `max_connections`, this many by default; the next one hears that the server is busy.
    Connections(usize),
    /// The same, and each has a thread of its own.
    Threads(usize),
    /// The same, and each has a process of its own.
    Processes(usize),
}

impl Capacity {
    /// The default of `max_connections`, where that is what limits it.
    pub const fn connections(self) -> Option<usize> {
        match self {
            Self::PerWorker => None,
            Self::Connections(most) | Self::Threads(most) | Self::Processes(most) => Some(most),
        }
    }
}

impl Architecture {
    /// Whether it serves this transport.
    pub fn supports(&self, transport: Transport) -> bool {
        if transport.is_stream() { self.stream.is_some() } else { self.datagram.is_some() }
    }
}
