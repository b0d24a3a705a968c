//! What the admin API tells of itself: a JSON line on stderr for each attempt to change something, and a span for each request.
//!
//! It all happens on the admin API's thread, so that is where the subscriber is: a program may have several swarms, or a
//! subscriber of its own.

use std::io::{self, Write};
use std::time::SystemTime;

use admin::audit::Fields;
use opentelemetry_sdk::trace::SdkTracer;
use serde_json::{Map, Value};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Does `work` with a subscriber for what it tells; spans are made by `tracer`, if there is one.
pub(crate) fn within<T>(tracer: Option<SdkTracer>, work: impl FnOnce() -> T) -> T {
    let spans = tracer.map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(spans).with(Lines), work)
}

/// Writes each event of the admin API as a line.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || !metadata.target().starts_with("admin") {
            return;
        }
        let mut line = Map::new();
        line.insert("timestamp".into(), humantime::format_rfc3339_micros(SystemTime::now()).to_string().into());
        line.insert("level".into(), metadata.level().as_str().to_ascii_lowercase().into());
        event.record(&mut Fields(&mut line));
        // A log that nobody can write to stops nobody.
        let _ = writeln!(io::stderr().lock(), "{}", Value::Object(line));
    }
}
