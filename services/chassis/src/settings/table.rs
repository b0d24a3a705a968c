//! Every setting in one table: parsing, checks, the JSON schema and the documentation follow it.

use std::time::Duration;

use crate::page::{IoUring, LiveValue};
use crate::settings::AnswerWork;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its name in files, flags, the environment and the API; `admin.listen` is `listen` in the section `admin`.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Its place in the page, if it may change while the server serves.
    pub live: Option<LiveValue>,
    /// What it means.
    pub doc: &'static str,
}

/// What a setting may be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A whole number in a range, ends included.
    Number(u64, u64),
    /// A duration such as `250ms` in a range, ends included.
    Time(Duration, Duration),
    /// One of some words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// Any text.
    Text,
    /// Several texts; one text with commas where there are no lists.
    List,
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn live(value: LiveValue, kind: Kind, doc: &'static str) -> Key {
    Key { name: value.key(), kind, live: Some(value), doc }
}

const fn fixed(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, live: None, doc }
}

/// The words for the levels of the log, from the most important.
pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

const WORK: [&str; 3] = [AnswerWork::Spin.label(), AnswerWork::Block.label(), AnswerWork::Wait.label()];
const IO_URING: [&str; 3] = [IoUring::Auto.label(), IoUring::Require.label(), IoUring::Off.label()];
const DIALOGUES: [&str; 2] = [zen::Dialogue::Zen.label(), zen::Dialogue::Echo.label()];

/// Every setting.
pub const KEYS: [Key; 23] = [
    live(LiveValue::Workers, Kind::Number(1, 4095), "Threads or processes that serve an endpoint."),
    live(
        LiveValue::MaxConnections,
        Kind::Number(1, 100_000),
        "Conversations of an endpoint; the next client hears `Error: busy.`.",
    ),
    live(
        LiveValue::IdleTimeout,
        Kind::Time(ms(100), ms(3_600_000)),
        "How long a client may be silent between questions.",
    ),
    live(
        LiveValue::QuestionDeadline,
        Kind::Time(ms(50), ms(60_000)),
        "How long a question may take from its first byte to its `?`.",
    ),
    live(LiveValue::WriteStall, Kind::Time(ms(100), ms(60_000)), "How long a client may take none of its answers."),
    live(LiveValue::Dialogue, Kind::Choice(&DIALOGUES), "What is said: the Zen of Python, or the client's own bytes."),
    live(
        LiveValue::AnswerDelay,
        Kind::Time(ms(0), ms(5_000)),
        "What each answer costs beyond itself; needs `lab = true`.",
    ),
    live(
        LiveValue::AnswerWork,
        Kind::Choice(&WORK),
        "How that is paid: `spin` burns the CPU, `block` sleeps, `wait` awaits.",
    ),
    live(LiveValue::TraceOneIn, Kind::Number(0, 1_000_000), "One exchange in how many is traced; 0 is none."),
    live(LiveValue::DrainTimeout, Kind::Time(ms(1_000), ms(60_000)), "How long a drain takes at most."),
    live(
        LiveValue::UdpRepliesPerPrefix,
        Kind::Number(0, 1_000_000),
        "UDP replies a second to one /24 (IPv4) or /56 (IPv6) of sources, twice as many at once; 0 is no limit.",
    ),
    live(LiveValue::LogFilter, Kind::Choice(&LEVELS), "The least important log lines that are written."),
    fixed("listen", Kind::List, "Endpoints, at most one of each transport."),
    fixed(
        "backlog",
        Kind::Number(1, 65_535),
        "Clients that may wait to be accepted; the kernel's somaxconn may lower it.",
    ),
    fixed(
        "max_question_bytes",
        Kind::Number(zen::MIN_MAX_QUESTION as u64, zen::MAX_MAX_QUESTION as u64),
        "The longest question, its `?` included.",
    ),
    fixed(
        "receive_buffer",
        Kind::Number(4096, 16_777_216),
        "Bytes of datagrams that may wait (SO_RCVBUF); the kernel's rmem_max may lower it.",
    ),
    fixed(
        "io_uring",
        Kind::Choice(&IO_URING),
        "Where the kernel refuses a ring: `auto` serves by epoll and says so, `require` ends; `off` does not try.",
    ),
    fixed("lab", Kind::Switch, "Whether experiments that hurt are allowed: expensive answers and faults."),
    fixed(
        "name",
        Kind::Text,
        "The name under which metrics and traces know this server; empty is that of its architecture.",
    ),
    fixed("otlp_endpoint", Kind::Text, "Where traces go, as http://HOST:4318; empty is nowhere."),
    fixed("admin.listen", Kind::Text, "Where the admin API listens, as IP:PORT."),
    fixed(
        "admin.token_file",
        Kind::Text,
        "The file with the token that changes need; empty is none, which only a loopback address may have.",
    ),
    fixed(
        "admin.hosts",
        Kind::List,
        "Host names, besides IP addresses and localhost, under which the admin API may be asked.",
    ),
];

/// The setting of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether settings have names that begin with `name` and a dot.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.split_once('.').is_some_and(|(section, _)| section == name))
}

impl Kind {
    /// The value as it lies in the page, or a sentence of what is allowed.
    pub fn parse(self, text: &str) -> Result<u64, String> {
        let number = match self {
            Self::Number(least, most) => text.parse().ok().filter(|number| (least..=most).contains(number)),
            Self::Time(least, most) => humantime::parse_duration(text)
                .ok()
                .filter(|time| (least..=most).contains(time))
                .map(|time| time.as_nanos() as u64),
            Self::Choice(words) => words.iter().position(|word| *word == text).map(|at| at as u64),
            Self::Switch => text.parse::<bool>().ok().map(u64::from),
            Self::Text | Self::List => Some(0),
        };
        number.ok_or_else(|| self.range())
    }

    /// What is allowed, as the end of a sentence.
    pub fn range(self) -> String {
        match self {
            Self::Number(least, most) => format!("must be a whole number in {least}..={most}"),
            Self::Time(least, most) => {
                format!("must be a duration in {}..={}, such as \"30s\"", show_time(least), show_time(most))
            }
            Self::Choice(words) => format!("must be one of {}", words.join(", ")),
            Self::Switch => "must be true or false".into(),
            Self::Text => "must be text".into(),
            Self::List => "must be a list of texts".into(),
        }
    }

    /// A value of the page, as JSON.
    pub fn show(self, value: u64) -> serde_json::Value {
        match self {
            Self::Time(..) => show_time(Duration::from_nanos(value)).into(),
            Self::Choice(words) => words.get(value as usize).copied().unwrap_or_default().into(),
            Self::Switch => (value != 0).into(),
            _ => value.into(),
        }
    }
}

/// A duration as a person would write it: `1s 500ms` is `1500ms`.
fn show_time(time: Duration) -> String {
    if time.is_zero() { "0ms".into() } else { humantime::format_duration(time).to_string().replace(' ', "") }
}
