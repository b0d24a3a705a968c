//! Traces: the sampled exchanges of the data planes, the admin API's own requests, changes of settings and drains, on their
//! way to a collector.
//!
//! `tracing-opentelemetry` stamps a span when it is opened, so an exchange that is over becomes a span by the OpenTelemetry
//! API itself, with its own begin and end. A collector that is not there costs nothing: the queue is bounded and forgets.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
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

use super::metrics::on_epoll;
use crate::logs;
use crate::page::{Page, State};
use crate::trace::{RECORD_BYTES, Record};

/// How long the last spans may take to leave.
const FLUSH: Duration = Duration::from_secs(2);

/// How long one export may take.
const EXPORT: Duration = Duration::from_secs(1);

/// The tracer of what the control plane does and sees.
const CONTROL: &str = "zenlab-admin";

/// How often it is looked whether a drain is over. Its span has the page's instants, however late it is made.
const LOOK: Duration = Duration::from_millis(20);

/// Records read at once.
const BATCH: usize = 64;

/// The way to the collector, if there is one.
pub(super) struct Spans {
    provider: Option<SdkTracerProvider>,
    page: &'static Page,
    name: String,
}

impl Spans {
    /// `endpoint` is the collector's base URL, or empty. Must not be called inside a runtime: the exporter's client is a
    /// blocking one.
    pub fn new(endpoint: &str, name: &str, page: &'static Page) -> Self {
        let provider = (!endpoint.is_empty()).then(|| provider(endpoint, name)).and_then(|provider| {
            provider.inspect_err(|error| tracing::warn!(event = "no_traces", "spans cannot be exported: {error}")).ok()
        });
        if let Some(provider) = &provider {
            logs::add_spans(Box::new(tracing_opentelemetry::layer().with_tracer(provider.tracer(CONTROL))));
        }
        Self { provider, page, name: name.to_owned() }
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
        let name = if self.page.falls_back() { on_epoll(&self.name) } else { self.name.clone() };
        let builder =
            SpanBuilder::from_name("zen answer").with_kind(SpanKind::Server).with_start_time(start).with_attributes([
                KeyValue::new("network.transport", record.transport.label()),
                KeyValue::new("network.protocol.name", "zen"),
                KeyValue::new("zen.architecture", name),
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

    /// Makes a span of each drain after which the server is parked. Never ends.
    pub async fn follow_drains(&self) {
        let mut was_draining = false;
        loop {
            tokio::time::sleep(LOOK).await;
            let state = self.page.state();
            if was_draining && state == State::Parked {
                self.report_drain("drain to parked");
            }
            was_draining = state == State::Draining;
        }
    }

    /// The drain that goes on, or the one that led to where we are. It may have been ordered by a signal, so no request's span
    /// tells of it; and it takes longer than the request that ordered it.
    fn report_drain(&self, name: &'static str) {
        let Some(provider) = &self.provider else { return };
        let since = if self.page.state() == State::Draining { Duration::ZERO } else { self.page.in_state() };
        let end = SystemTime::now() - since;
        let start = end - self.page.drain_time();
        let lost = self.page.endpoints().iter().map(|part| part.drain_lost.load(Ordering::Relaxed)).sum::<u64>();
        let builder =
            SpanBuilder::from_name(name).with_kind(SpanKind::Internal).with_start_time(start).with_attributes([
                KeyValue::new("zen.architecture", self.name.clone()),
                KeyValue::new("zen.drain.lost", i64::try_from(lost).unwrap_or(i64::MAX)),
            ]);
        let mut span = provider.tracer(CONTROL).build_with_context(builder, &Context::new());
        span.end_with_timestamp(end);
    }

    /// Tells of the drain that the server ends with, if it does, and sends what is left. Blocks; not for async code.
    pub fn end(self) {
        if self.page.state() == State::Draining {
            self.report_drain("drain to the end");
        }
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

fn provider(endpoint: &str, name: &str) -> Result<SdkTracerProvider, opentelemetry_otlp::ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_timeout(EXPORT)
        .build()?;
    let resource = Resource::builder()
        .with_service_name(format!("zen-{name}"))
        .with_attributes([
            KeyValue::new("service.namespace", "zenlab"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build();
    let spans = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource);
    Ok(spans.with_id_generator(Ids::default()).build())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, channel};

    use zen::Transport;
    use zen::trace::Exchange;

    use super::*;

    const EXCHANGE: Exchange = Exchange {
        trace_id: 0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10,
        client_span: 0xA1A2_A3A4_A5A6_A7A8,
        server_span: 0xB1B2_B3B4_B5B6_B7B8,
    };

    /// A collector that takes requests and hands their bytes over.
    fn collector() -> (String, Receiver<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        let serve = move || {
            for stream in listener.incoming().flatten() {
                let _ = sender.send(take(stream));
            }
        };
        std::thread::Builder::new().name("collector".into()).spawn(serve).unwrap();
        (endpoint, requests)
    }

    fn take(mut stream: TcpStream) -> Vec<u8> {
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut request = Vec::new();
        let _ = stream.read_to_end(&mut request);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        request
    }

    /// Forwards some records and gives how long the end took.
    fn forward(endpoint: &str, records: usize) -> Duration {
        use rustix::pipe::{PipeFlags, pipe_with};
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let record = Record {
            exchange: EXCHANGE,
            started: 1_700_000_000_000_000_000,
            nanoseconds: 5_000,
            transport: Transport::Tcp,
            question: Some(1),
            worker: 3,
        };
        let spans = Spans::new(endpoint, "pool", Page::map().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for _ in 0..records {
                rustix::io::write(&writer, &record.to_bytes()).unwrap();
            }
            drop(writer);
            // It waits for ever when there is no writer left, and lets others run.
            let waited = tokio::time::timeout(Duration::from_millis(100), spans.forward(reader)).await;
            assert!(waited.is_err());
        });
        drop(runtime);
        let began = std::time::Instant::now();
        spans.end();
        began.elapsed()
    }

    fn contains(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn an_exchange_becomes_the_span_that_both_ends_expect() {
        let (endpoint, requests) = collector();
        forward(&endpoint, 100);
        let request = requests.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(request.starts_with(b"POST /v1/traces "));
        for part in [
            EXCHANGE.trace_id.to_be_bytes().as_slice(),
            &EXCHANGE.client_span.to_be_bytes(),
            &EXCHANGE.server_span.to_be_bytes(),
            b"zen answer",
            b"zen-pool",
            b"zenlab",
            b"explicit",
            // Times are fixed64 in OTLP: begin and end, 5 us apart.
            &1_700_000_000_000_000_000_u64.to_le_bytes(),
            &1_700_000_000_000_005_000_u64.to_le_bytes(),
        ] {
            assert!(contains(&request, part), "{part:02X?} {}", String::from_utf8_lossy(part));
        }
    }

    #[test]
    fn without_a_collector_the_records_are_read_all_the_same() {
        assert!(forward("", 1000) < Duration::from_millis(100));
        let refused = forward("http://127.0.0.1:1", 1000);
        assert!(refused < FLUSH + Duration::from_millis(500), "{refused:?}");
    }
}
