//! The stream of what happens to the server: the page's journal, as server-sent events.
//!
//! Nothing is kept for a reader: each reads the journal at its own pace, and one that is too slow is told how many events it
//! has missed. The journal outlives the control plane, and so do the numbers of events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use admin::{Problem, query};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::Control;
use crate::page::{Entry, Journal};

/// How many may follow at once: the API has 64 connections for everybody.
pub(super) const FOLLOWERS: usize = 16;

/// How often a follower looks.
const LOOK: Duration = Duration::from_millis(50);

/// How often a follower looks for an event that is being written. It takes microseconds, so its writer has died then.
const LOOKS: u32 = 4;

/// How often something is sent, so that a client that has gone away is missed.
const ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn events(
    State(control): State<Arc<Control>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let follows = query::flag(&uri, "follow")?.unwrap_or(true);
    let place = follows.then(|| place(&control)).transpose()?;
    let reader = Reader::new(control, headers.get("last-event-id").and_then(|id| id.to_str().ok()), place);
    Ok(Sse::new(reader.stream()).keep_alive(KeepAlive::new().interval(ALIVE)).into_response())
}

fn place(control: &Control) -> Result<OwnedSemaphorePermit, Problem> {
    control.followers.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{FOLLOWERS} clients follow the events already; ?follow=false needs no place among them");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "followers", "Too many followers", detail)
    })
}

/// One client's way through the journal.
struct Reader {
    control: Arc<Control>,
    /// The number of the event that it has not heard yet.
    next: u64,
    /// How often it has looked for it in vain.
    looks: u32,
    /// What it hears next.
    ready: VecDeque<Event>,
    /// What it holds as a follower; whoever only wants what there is holds none.
    place: Option<OwnedSemaphorePermit>,
}

impl Reader {
    /// Begins after the event with the id `last`; with the oldest that there is if this server has not given that id.
    fn new(control: Arc<Control>, last: Option<&str>, place: Option<OwnedSemaphorePermit>) -> Self {
        let journal = &control.page.journal;
        let heard = last.and_then(|last| last.strip_prefix(&life(&control))?.strip_prefix('-')?.parse::<u64>().ok());
        let next = heard.filter(|&heard| heard <= journal.newest()).map_or_else(|| journal.oldest(), |heard| heard + 1);
        Self { control, next, looks: 0, ready: VecDeque::new(), place }
    }

    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut reader| async move {
            loop {
                reader.look();
                if let Some(event) = reader.ready.pop_front() {
                    return Some((Ok(event), reader));
                }
                let has_all = reader.next > reader.control.page.journal.newest();
                let ends = reader.place.is_none() || reader.control.is_ending.load(Ordering::Relaxed);
                if has_all && ends {
                    return None;
                }
                tokio::time::sleep(LOOK).await;
            }
        })
    }

    /// Moves on to the next event that can be read, if the one before was heard; what cannot be read is counted.
    fn look(&mut self) {
        let journal = &self.control.page.journal;
        let first = self.next;
        while self.ready.is_empty() && self.next <= journal.newest() {
            self.next = self.next.max(journal.oldest());
            match read(journal, self.next) {
                Ok(event) => {
                    self.tell_lost(first);
                    self.ready.push_back(self.event(&event));
                }
                Err(Entry::Coming) if self.looks < LOOKS => {
                    self.looks += 1;
                    self.tell_lost(first);
                    return;
                }
                Err(_) => {}
            }
            self.looks = 0;
            self.next += 1;
        }
        if self.ready.is_empty() {
            self.tell_lost(first);
        }
    }

    /// Says how many events are missing between `first` and the next one.
    fn tell_lost(&mut self, first: u64) {
        if self.next > first {
            let event = Event::default().event("lagged").id(self.id(self.next - 1));
            self.ready.push_back(event.data(json!({"lost": self.next - first}).to_string()));
        }
    }

    fn event(&self, event: &Value) -> Event {
        let name = event["event"].as_str().unwrap_or_default();
        Event::default().event(name).id(self.id(self.next)).data(event.to_string())
    }

    fn id(&self, number: u64) -> String {
        format!("{}-{number}", life(&self.control))
    }
}

/// What tells this life of the server from another one, whose events had other numbers.
fn life(control: &Control) -> String {
    format!("{:x}", control.page.started.get())
}

/// The event of this number as JSON; one that was too long for its place is gone.
fn read(journal: &Journal, number: u64) -> Result<Value, Entry> {
    match journal.read(number) {
        Entry::Whole(text) => serde_json::from_str(&text).map_err(|_| Entry::Gone),
        other => Err(other),
    }
}
