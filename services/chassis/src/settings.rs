//! Settings, from defaults, a file, the environment, flags and changes over the admin API.
//!
//! Later layers win: defaults < `--config FILE` (TOML) < environment (`ZENLAB__KEY`, `ZENLAB__ADMIN__KEY`) < flags < PATCH.

mod change;
mod load;
mod room;
mod show;
mod table;
#[cfg(test)]
mod tests;

pub use change::{Changes, Refusal, Refused, patch, reload};
pub use load::{Flags, Origin, SettingsError, load};
pub use show::{print, schema, show, sources, values};
pub use table::{KEYS, Key, Kind, LEVELS};

/// How the cost of an expensive answer is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnswerWork {
    /// The CPU is burnt.
    Spin,
    /// The thread sleeps, whoever else it serves (the chapter's `sleep`).
    #[default]
    Block,
    /// Something else is awaited: loops and async code go on with others, a thread sleeps.
    Wait,
}

impl AnswerWork {
    /// Every one, in the order of the page.
    pub const ALL: [Self; 3] = [Self::Spin, Self::Block, Self::Wait];

    /// The name that settings use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Block => "block",
            Self::Wait => "wait",
        }
    }
}

/// Where a setting's value came from; later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Source {
    /// The program.
    Default = 0,
    /// The settings file.
    File = 1,
    /// An environment variable.
    Environment = 2,
    /// The command line.
    Flag = 3,
    /// The admin API.
    Patch = 4,
}

impl Source {
    /// Every source, in the order of precedence.
    pub const ALL: [Self; 5] = [Self::Default, Self::File, Self::Environment, Self::Flag, Self::Patch];

    /// The name that the API uses.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
            Self::Patch => "patch",
        }
    }

    /// The name that sentences use.
    pub(crate) const fn place(self) -> &'static str {
        match self {
            Self::Default => "defaults",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "command line",
            Self::Patch => "admin API",
        }
    }

    /// The source that lies in the page as `number`.
    pub fn from_number(number: u32) -> Self {
        Self::ALL.get(number as usize).copied().unwrap_or(Self::Default)
    }
}

/// All that a container needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Start {
    /// Endpoints to serve, at most one of each transport.
    pub listen: Vec<zen::Endpoint>,
    /// How many clients may wait to be accepted.
    pub backlog: u32,
    /// The longest question in bytes.
    pub max_question_bytes: usize,
    /// What SO_RCVBUF is asked to be for datagram sockets, in bytes.
    pub receive_buffer: usize,
    /// What is done where the kernel refuses a ring.
    pub io_uring: crate::page::IoUring,
    /// Whether experiments that hurt (expensive answers, faults) are allowed.
    pub lab: bool,
    /// The name under which metrics and traces know this server: its architecture's, or another's where two share one.
    pub name: String,
    /// Where traces go; none when empty.
    pub otlp_endpoint: String,
    /// Where the admin API listens.
    pub admin_listen: std::net::SocketAddr,
    /// The file of the bearer token that changes need.
    pub token_file: Option<std::path::PathBuf>,
    /// Host names, besides IP addresses and localhost, under which the admin API may be asked.
    pub admin_hosts: Vec<String>,
    /// Where all this came from, so that the settings file can be read again; `None` if nothing was loaded.
    pub config_file: Option<Origin>,
    /// The live settings with their sources; every one is there.
    pub live: Vec<(crate::page::LiveValue, u64, Source)>,
}
