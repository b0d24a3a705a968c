//! Traces: the sampled exchanges of the data planes, and the admin API's own requests, on their way to a collector.
//!
//! `tracing-opentelemetry` stamps a span when it is opened, so an exchange that is over becomes a span by the OpenTelemetry
//! API itself, with its own begin and end. A collector that is not there costs nothing: the queue is bounded and forgets.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Span, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider};
use tokio::io::unix::AsyncFd;
use zen::QUESTIONS;

use crate::logs;
use crate::trace::{RECORD_BYTES, Record};

/// How long the last spans may take to leave.
const FLUSH: Duration = Duration::from_secs(2);

/// How long one export may take.
const EXPORT: Duration = Duration::from_secs(1);

/// Records read at once.
const BATCH: usize = 64;

/// The way to the collector, if there is one.
pub(super) struct Spans {
    provider: Option<SdkTracerProvider>,
    architecture: &'static str,
}

impl Spans {
    /// `endpoint` is the collector's base URL, or empty. Must not be called inside a runtime: the exporter's client is a
    /// blocking one.
    pub fn new(endpoint: &str, architecture: &'static str) -> Self {
        let provider = (!endpoint.is_empty()).then(|| provider(endpoint, architecture)).and_then(|provider| {
            provider.inspect_err(|error| tracing::warn!(event = "no_traces", "spans cannot be exported: {error}")).ok()
        });
        if let Some(provider) = &provider {
            logs::add_spans(Box::new(tracing_opentelemetry::layer().with_tracer(provider.tracer("zenlab-admin"))));
        }
        Self { provider, architecture }
    }

    /// Reads the data planes' records for ever. Where there is no collector they are read all the same: a pipe that nobody
    /// reads would count every exchange as dropped.
    pub async fn forward(&self, pipe: OwnedFd) -> io::Result<()> {
        let tracer = self.provider.as_ref().map(|provider| provider.tracer("zenlab"));
        // SAFETY: the `AsyncFd` owns the descriptor.
        let pipe = unsafe { AsyncFd::register(pipe)? };
        let mut bytes = [0; BATCH * RECORD_BYTES];
        loop {
            let mut ready = pipe.readable().await?;
            match ready.try_io(|pipe| Ok(rustix::io::read(pipe.get_ref(), &mut bytes)?)) {
                // Every writer is gone, the supervisor too: there is nothing to wait for.
                Ok(Ok(0)) => std::future::pending().await,
                Ok(Ok(length)) => {
                    // Half a record cannot come: writes of this size are whole or not at all.
                    let (records, _) = bytes[..length].as_chunks();
                    if let Some(tracer) = &tracer {
                        for record in records {
                            self.report(tracer, &Record::from_bytes(record));
                        }
                    }
                    // However many come, the admin API gets its turn.
                    tokio::task::yield_now().await;
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn report(&self, tracer: &SdkTracer, record: &Record) {
        let start = SystemTime::UNIX_EPOCH + Duration::from_nanos(record.started);
        let builder =
            SpanBuilder::from_name("zen answer").with_kind(SpanKind::Server).with_start_time(start).with_attributes([
                KeyValue::new("network.transport", record.transport.label()),
                KeyValue::new("network.protocol.name", "zen"),
                KeyValue::new("zen.architecture", self.architecture),
                KeyValue::new(
                    "zen.question",
                    record.question.map_or("other", |known| QUESTIONS[usize::from(known) % 3].label),
                ),
                KeyValue::new("zen.worker", i64::from(record.worker)),
            ]);
        NEXT_SPAN.set(Some(SpanId::from_bytes(record.exchange.server_span.to_be_bytes())));
        let mut span = tracer.build_with_context(builder, &client_context(record));
        span.end_with_timestamp(start + Duration::from_nanos(record.nanoseconds));
    }

    /// Sends what is left. Blocks; not for async code.
    pub fn shut_down(self) {
        if let Some(provider) = self.provider {
            // What a collector does not take in time is lost with the process.
            let _ = provider.shutdown_with_timeout(FLUSH);
        }
    }
}

thread_local! {
    /// The id of the span that is made next on this thread, if it must have a certain one.
    static NEXT_SPAN: Cell<Option<SpanId>> = const { Cell::new(None) };
}

/// Random ids, but where the exchange says which.
#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        self.0.new_trace_id()
    }

    fn new_span_id(&self) -> SpanId {
        NEXT_SPAN.take().unwrap_or_else(|| self.0.new_span_id())
    }
}

/// The client's span, which both ends have worked out for themselves.
fn client_context(record: &Record) -> Context {
    Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from_bytes(record.exchange.trace_id.to_be_bytes()),
        SpanId::from_bytes(record.exchange.client_span.to_be_bytes()),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    ))
}

fn provider(endpoint: &str, architecture: &str) -> Result<SdkTracerProvider, opentelemetry_otlp::ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_timeout(EXPORT)
        .build()?;
    let resource = Resource::builder()
        .with_service_name(format!("zen-{architecture}"))
        .with_attributes([
            KeyValue::new("service.namespace", "zenlab"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build();
    let spans = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource);
    Ok(spans.with_id_generator(Ids::default()).build())
}
