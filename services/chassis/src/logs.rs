//! Logs: JSON lines to stderr, one for each event of a life, a setting or an order, none for a question.
//!
//! A reader that has stopped must not stop the server, and a log must not need a thread (the supervisor has none to give).
//! So each line is at most PIPE_BUF bytes and is only written when poll(2) says that the pipe has room for so much; otherwise
//! it is counted and dropped.
//!
//! What happens to the server is also written to the page's journal, whatever the log's reader does and `log_filter` says.

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::SystemTime;

use admin::audit::{self, Fields};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::page::{EVENT_BYTES, LiveValue, Page};

/// What a pipe takes whole or not at all (pipe(7)).
const PIPE_BUF: usize = 4096;

/// A layer that may be put beside the log later: the control plane's spans.
pub(crate) type Spans = Box<dyn Layer<Registry> + Send + Sync>;

/// Who writes.
struct Writer {
    page: &'static Page,
    architecture: &'static str,
    spans: reload::Handle<Option<Spans>, Registry>,
}

static WRITER: OnceLock<Writer> = OnceLock::new();

/// Points to the role's name; a pointer, so that a child can replace what it has inherited.
static ROLE: AtomicPtr<&'static str> = AtomicPtr::new(std::ptr::null_mut());

/// Sends this process' `tracing` events to stderr. Its children go on with that.
pub fn init(page: &'static Page, architecture: &'static str, role: &'static str) {
    set_role(role);
    let (spans, handle) = reload::Layer::new(None::<Spans>);
    if WRITER.set(Writer { page, architecture, spans: handle }).is_ok() {
        std::panic::set_hook(Box::new(|panic| tracing::error!(event = "panic", "{panic}")));
        // Somebody who uses this as a library may have made other arrangements.
        let _ = tracing_subscriber::registry().with(spans).with(JsonLines).try_init();
    }
}

/// Says what this process is, after a fork.
pub fn set_role(role: &'static str) {
    ROLE.store(Box::into_raw(Box::new(role)), Ordering::Release);
}

/// Puts a layer for spans beside the log.
pub(crate) fn add_spans(layer: Spans) {
    if let Some(writer) = WRITER.get() {
        // It can only fail when the subscriber is gone, which it never is.
        let _ = writer.spans.modify(|spans| *spans = Some(layer));
    }
}

fn role() -> &'static str {
    // SAFETY: the pointer is null or comes from a box that is never freed.
    unsafe { ROLE.load(Ordering::Acquire).as_ref() }.copied().unwrap_or("server")
}

/// Writes each event as a line, if the setting `log_filter` lets it through at that moment.
struct JsonLines;

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(writer) = WRITER.get() else { return };
        let (is_wanted, is_told) = (is_wanted(writer.page, event.metadata()), is_told(event.metadata()));
        if !is_wanted && !is_told {
            return;
        }
        let mut line = Map::new();
        line.insert("timestamp".into(), humantime::format_rfc3339_micros(SystemTime::now()).to_string().into());
        line.insert("level".into(), event.metadata().level().as_str().to_ascii_lowercase().into());
        line.insert("architecture".into(), writer.architecture.into());
        line.insert("role".into(), role().into());
        event.record(&mut Fields(&mut line));
        if is_told && line.get("event").is_some_and(|name| name != audit::ATTEMPT) {
            writer.page.journal.write(&fit(line.clone(), EVENT_BYTES));
        }
        if is_wanted && !write(&fit(line, PIPE_BUF - 1)) {
            writer.page.log_lines_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Other people's crates are only heard when they warn.
fn is_wanted(page: &Page, metadata: &Metadata<'_>) -> bool {
    let limit = page.settings.get(LiveValue::LogFilter).0;
    let level = rank(*metadata.level());
    level <= limit && (is_ours(metadata) || level <= rank(Level::WARN))
}

fn is_told(metadata: &Metadata<'_>) -> bool {
    is_ours(metadata) && rank(*metadata.level()) <= rank(Level::INFO)
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    ["admin", "chassis", "architectures"].iter().any(|ours| metadata.target().starts_with(ours))
}

fn rank(level: Level) -> u64 {
    [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG].iter().position(|&known| known == level).unwrap_or(4) as u64
}

/// False if the line could not be written at once.
fn write(line: &str) -> bool {
    let stderr = io::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let has_room = poll(&mut fds, Some(&now)) == Ok(1) && fds[0].revents().contains(PollFlags::OUT);
    has_room && rustix::io::write(stderr.as_fd(), &cut(line)).is_ok()
}

/// The line; where it has more bytes than `most`, its texts are shortened, so that it stays JSON.
fn fit(mut line: Map<String, Value>, most: usize) -> String {
    let whole = json(&line);
    if whole.len() <= most {
        return whole;
    }
    for value in line.values_mut() {
        if let Value::String(text) = value {
            text.truncate(text.floor_char_boundary(most / 10));
        }
    }
    line.insert("shortened".into(), true.into());
    json(&line)
}

fn json(line: &Map<String, Value>) -> String {
    // Texts and numbers under text keys: nothing that serde_json could refuse.
    serde_json::to_string(line).unwrap_or_default()
}

/// The line with its end, whole or cut to what a pipe takes at once.
fn cut(line: &str) -> Vec<u8> {
    let mut bytes = line.as_bytes()[..line.floor_char_boundary(PIPE_BUF - 1)].to_vec();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> Map<String, Value> {
        Map::from_iter([("event".into(), "test".into()), ("message".into(), message.into())])
    }

    #[test]
    fn a_short_line_is_left_alone() {
        assert_eq!(fit(line("hello"), PIPE_BUF), "{\"event\":\"test\",\"message\":\"hello\"}");
    }

    #[test]
    fn a_long_line_stays_json_and_fits_a_pipe() {
        for message in ["x".repeat(10_000), "\u{0}".repeat(10_000), "\u{1F980}".repeat(3_000)] {
            let line = cut(&fit(line(&message), PIPE_BUF - 1));
            assert!(line.len() <= PIPE_BUF);
            let line: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!((&line["event"], &line["shortened"]), (&"test".into(), &true.into()));
        }
    }

    #[test]
    fn what_cannot_be_shortened_is_cut() {
        let line: Map<String, Value> = (0..100).map(|at| (at.to_string(), "x".repeat(100).into())).collect();
        let line = cut(&fit(line, PIPE_BUF - 1));
        assert_eq!((line.len(), line.last()), (PIPE_BUF, Some(&b'\n')));
    }
}
