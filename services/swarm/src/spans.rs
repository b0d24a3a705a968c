//! The clients' halves of traced exchanges, on their way to a collector.
//!
//! Both ends work out the same trace id (see [`zen::trace`]), and the server's span names the client's as its parent, so the
//! client's span must have exactly the id that both know. The SDK takes ids from a generator; ours hands out the one that was
//! set just before. Spans of the admin API go the same way, with ids that are nobody else's.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{Span, SpanBuilder, SpanId, SpanKind, TraceId, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider};
use zen::trace::Exchange;
use zen::{QUESTIONS, Transport};

use crate::service::Shared;

/// Exchanges that may wait to become spans.
const QUEUE: usize = 1024;

/// One exchange that is traced.
#[derive(Debug)]
pub(crate) struct SpanRecord {
    pub exchange: Exchange,
    /// Since the Unix epoch.
    pub started: Duration,
    pub took: Duration,
    pub target: usize,
    pub transport: Transport,
    pub question: usize,
}

thread_local! {
    /// The ids of the span that is made next on this thread, where spans must have certain ones.
    static NEXT: Cell<Option<(u128, u64)>> = const { Cell::new(None) };
}

/// Random ids, but where this thread has set them.
#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        NEXT.get().map_or_else(|| self.0.new_trace_id(), |(trace, _)| TraceId::from_bytes(trace.to_be_bytes()))
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.get().map_or_else(|| self.0.new_span_id(), |(_, span)| SpanId::from_bytes(span.to_be_bytes()))
    }
}

/// Starts the thread that makes spans of exchanges, if there is a collector to send them to; beside it the tracer of the admin
/// API, whose spans leave until that thread has ended.
pub(crate) fn start(endpoint: &str, shared: &Arc<Shared>) -> io::Result<Option<(JoinHandle<()>, SdkTracer)>> {
    if endpoint.is_empty() {
        return Ok(None);
    }
    let (sender, records) = sync_channel(QUEUE);
    let provider = provider(endpoint).map_err(io::Error::other)?;
    shared.set_trace(sender);
    let (shared, tracer) = (shared.clone(), provider.tracer("zenlab-admin"));
    let reporter = Builder::new().name("spans".into()).spawn(move || report(&shared, &records, &provider))?;
    Ok(Some((reporter, tracer)))
}

fn provider(endpoint: &str) -> Result<SdkTracerProvider, opentelemetry_otlp::ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(Duration::from_secs(1))
        .build()?;
    let resource = Resource::builder()
        .with_service_name("zen-swarm")
        .with_attributes([
            KeyValue::new("service.namespace", "zenlab"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build();
    Ok(SdkTracerProvider::builder()
        .with_id_generator(Ids::default())
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

fn report(shared: &Shared, records: &Receiver<SpanRecord>, provider: &SdkTracerProvider) {
    let tracer = provider.tracer("zenlab");
    // Ends when the swarm has dropped its end of the channel.
    for record in records {
        report_one(&tracer, &record, &shared.targets[record.target].name);
    }
    // What a collector does not take in time is lost with the process.
    let _ = provider.shutdown_with_timeout(Duration::from_secs(2));
}

fn report_one(tracer: &SdkTracer, record: &SpanRecord, target: &str) {
    NEXT.set(Some((record.exchange.trace_id, record.exchange.client_span)));
    let start = UNIX_EPOCH + record.started;
    let builder =
        SpanBuilder::from_name("zen ask").with_kind(SpanKind::Client).with_start_time(start).with_attributes([
            KeyValue::new("network.transport", record.transport.label()),
            KeyValue::new("network.protocol.name", "zen"),
            KeyValue::new("zen.architecture", target.to_owned()),
            KeyValue::new("zen.question", QUESTIONS[record.question].label),
        ]);
    let mut span = tracer.build_with_context(builder, &Context::new());
    span.end_with_timestamp(start + record.took);
}
