//! The page, as metrics. Nothing is kept but what must not fall between two scrapes.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use admin::metrics::{Sheet, descriptions};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Registry, TextEncoder};
use zen::{QUESTIONS, Transport};

use super::catalogue::METRICS;
use super::cgroup::{self, RESOURCES, STALLS};
use super::process::{self, Facts, Process};
use super::run_queue::RunQueues;
use crate::desk::usage_of;
use crate::page::{
    Closed, DURATION_BOUNDS, Dropped, EndpointPage, Histogram, MAX_SLOTS, Made, Page, Rejected, RuntimePage, Slot,
    State, monotonic_ns,
};
use crate::settings::Start;
use crate::{Architecture, Capacity};

/// The metrics of this server.
pub(super) struct Metrics {
    page: &'static Page,
    registry: Registry,
    /// The same under another name, for while another backend serves: nobody is to take its figures for the architecture's.
    fallback: Registry,
    /// What the admin API itself counts.
    pub own: Arc<Own>,
}

/// Counts of the control plane.
#[derive(Default)]
pub(super) struct Own(Mutex<OwnCounts>);

#[derive(Default)]
struct OwnCounts {
    requests: BTreeMap<(&'static str, &'static str, u16), u64>,
    durations: BTreeMap<&'static str, [u64; 38]>,
    duration_sums: BTreeMap<&'static str, f64>,
    changes: BTreeMap<(&'static str, &'static str), u64>,
    last_reload_failed: bool,
    highest: HashMap<String, f64>,
}

impl Metrics {
    pub fn new(page: &'static Page, architecture: &'static Architecture, start: &Start) -> prometheus::Result<Self> {
        let (own, run_queues) = (Arc::new(Own::default()), Arc::new(RunQueues::default()));
        let registry = |name: String| {
            let registry = Registry::new_custom(None, Some(HashMap::from([("architecture".to_owned(), name)])))?;
            registry.register(Box::new(PageCollector {
                page,
                architecture,
                transports: start.listen.iter().map(|endpoint| endpoint.transport).collect(),
                own: own.clone(),
                run_queues: run_queues.clone(),
                descriptions: descriptions(METRICS),
            }))?;
            Ok::<_, prometheus::Error>(registry)
        };
        let (registry, fallback) = (registry(start.name.clone())?, registry(on_epoll(&start.name))?);
        Ok(Self { page, registry, fallback, own })
    }

    /// The exposition text (version 0.0.4).
    pub fn text(&self) -> io::Result<Vec<u8>> {
        let registry = if self.page.falls_back() { &self.fallback } else { &self.registry };
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).map_err(io::Error::other)?;
        Ok(text)
    }
}

/// What a server goes by while epoll serves instead of what its architecture is named after.
pub(super) fn on_epoll(name: &str) -> String {
    format!("{name}_on_epoll")
}

impl Own {
    fn lock(&self) -> MutexGuard<'_, OwnCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request to the admin API.
    pub fn count_request(&self, method: &'static str, route: &'static str, status: u16, took: Duration) {
        let mut counts = self.lock();
        *counts.requests.entry((method, route, status)).or_default() += 1;
        let bucket = DURATION_BOUNDS.partition_point(|&bound| u128::from(bound) < took.as_nanos());
        counts.durations.entry(route).or_insert([0; 38])[bucket] += 1;
        *counts.duration_sums.entry(route).or_default() += took.as_secs_f64();
    }

    /// Counts a change of settings.
    pub fn count_change(&self, source: &'static str, applied: bool) {
        let mut counts = self.lock();
        *counts.changes.entry((source, if applied { "applied" } else { "rejected" })).or_default() += 1;
        if source == "reload" {
            counts.last_reload_failed = !applied;
        }
    }

    /// The value, or what it was before if that was higher: sums over processes that come and go must not fall.
    fn never_less(&self, name: String, value: f64) -> f64 {
        let mut counts = self.lock();
        let highest = counts.highest.entry(name).or_default();
        *highest = highest.max(value);
        *highest
    }
}

struct PageCollector {
    page: &'static Page,
    architecture: &'static Architecture,
    transports: Vec<Transport>,
    own: Arc<Own>,
    run_queues: Arc<RunQueues>,
    descriptions: Vec<Desc>,
}

impl Collector for PageCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut sheet = Sheet::new(METRICS);
        for (endpoint, transport) in self.page.endpoints().iter().zip(&self.transports) {
            self.endpoint(&mut sheet, endpoint, *transport);
            self.queue(&mut sheet, endpoint, *transport);
        }
        self.settings(&mut sheet);
        self.processes(&mut sheet);
        container(&mut sheet);
        self.admin(&mut sheet);
        sheet.into_families()
    }
}

impl PageCollector {
    fn endpoint(&self, sheet: &mut Sheet, endpoint: &EndpointPage, transport: Transport) {
        self.workers(sheet, endpoint, transport);
        let transport = transport.label();
        let sum = |counter: fn(&Slot) -> u64| endpoint.sum(counter) as f64;
        requests(sheet, endpoint, transport);
        histogram(
            sheet,
            "zen_request_duration_seconds",
            &[transport],
            endpoint.slots().iter().map(|slot| &slot.durations),
        );
        if endpoint.hands_over.get() != 0 {
            let waits = endpoint.slots().iter().map(|slot| &slot.queue_wait);
            histogram(sheet, "zen_queue_wait_seconds", &[transport], waits);
        }
        for kind in Made::ALL {
            let spawn = &endpoint.spawn[kind as usize];
            // Few architectures fork; the others need no histogram of it.
            if kind == Made::Thread || spawn.sum_ns() > 0 {
                histogram(sheet, "zen_worker_spawn_duration_seconds", &[transport, kind.label()], [spawn].into_iter());
            }
        }
        sheet.put("zen_connections_accepted_total", &[transport], sum(|slot| slot.accepted.get()));
        for reason in Closed::ALL {
            let closed = endpoint.sum(|slot| slot.closed[reason as usize].get());
            sheet.put("zen_connections_closed_total", &[transport, reason.label()], closed as f64);
        }
        for reason in Rejected::ALL {
            let rejected = endpoint.sum(|slot| slot.rejected[reason as usize].get());
            sheet.put("zen_connections_rejected_total", &[transport, reason.label()], rejected as f64);
        }
        for reason in Dropped::ALL {
            let dropped = endpoint.sum(|slot| slot.dropped[reason as usize].get());
            sheet.put("zen_datagrams_dropped_total", &[transport, reason.label()], dropped as f64);
        }
        sheet.put("zen_connections_active", &[transport], endpoint.open() as f64);
        sheet.put("zen_received_bytes_total", &[transport], sum(|slot| slot.received_bytes.get()));
        sheet.put("zen_sent_bytes_total", &[transport], sum(|slot| slot.sent_bytes.get()));
        sheet.put("zen_datagrams_received_total", &[transport], sum(|slot| slot.datagrams.get()));
        sheet.put("zen_event_loop_iterations_total", &[transport], sum(|slot| slot.loop_iterations.get()));
        sheet.put("zen_event_loop_events_total", &[transport], sum(|slot| slot.loop_events.get()));
        sheet.put("zen_event_loop_wait_seconds_total", &[transport], sum(|slot| slot.loop_wait.get()) / 1e9);
        sheet.put("zen_event_loop_spurious_wakeups_total", &[transport], sum(|slot| slot.loop_spurious.get()));
        runtime(sheet, &endpoint.runtime, transport);
        sheet.put("zen_accept_errors_total", &[transport], sum(|slot| slot.accept_errors.get()));
        sheet.put("zen_panics_total", &[transport], sum(|slot| slot.panics.get()));
        sheet.put("zen_faults_total", &[transport], endpoint.faults.happened() as f64);
        sheet.put("zen_drain_forced_total", &[transport], sum(|slot| slot.closed[Closed::Forced as usize].get()));
        let falls_back = endpoint.fallback().is_some();
        sheet.put("zen_backend_fallback", &[transport], f64::from(u8::from(falls_back)));
        let heartbeat = endpoint.heartbeat.get();
        let age = if heartbeat == 0 { 0 } else { monotonic_ns().saturating_sub(heartbeat) };
        sheet.put("zen_heartbeat_age_seconds", &[transport], age as f64 / 1e9);
    }

    fn workers(&self, sheet: &mut Sheet, endpoint: &EndpointPage, transport: Transport) {
        let label = transport.label();
        sheet.put("zen_workers", &[label, "wanted"], self.page.settings.live().workers as f64);
        sheet.put("zen_workers", &[label, "running"], endpoint.running.get() as f64);
        if transport.is_stream() && self.architecture.capacity == Capacity::PerWorker {
            let occupied = endpoint.slots().iter().filter(|slot| slot.open() > 0).count();
            sheet.put("zen_workers", &[label, "occupied"], occupied as f64);
        }
        let restarts = endpoint.restarts.load(Ordering::Relaxed);
        sheet.put("zen_worker_restarts_total", &[label], restarts as f64);
        sheet.put("zen_last_respawn_seconds", &[label], endpoint.last_respawn.get() as f64 / 1e9);
    }

    /// What waits: clients at a stream endpoint, bytes at a datagram endpoint.
    fn queue(&self, sheet: &mut Sheet, endpoint: &EndpointPage, transport: Transport) {
        let label = &[transport.label()];
        if transport == Transport::Unix {
            // The kernel tells nobody.
            return;
        }
        if transport.is_stream() {
            sheet.put("zen_listen_queue_length", label, endpoint.queue_length.get() as f64);
            sheet.put("zen_listen_queue_limit", label, endpoint.queue_limit.get() as f64);
            return;
        }
        sheet.put("zen_udp_receive_queue_bytes", label, endpoint.datagram_queue.get() as f64);
        sheet.put("zen_udp_receive_buffer_bytes", label, endpoint.datagram_buffer.get() as f64);
        let drops = self.own.never_less(format!("drops {transport}"), endpoint.datagram_drops.get() as f64);
        sheet.put("zen_udp_receive_drops_total", label, drops);
    }

    fn settings(&self, sheet: &mut Sheet) {
        let live = self.page.settings.live();
        sheet.put("zen_connections_limit", &[], live.max_connections as f64);
        sheet.put("zen_workers_limit", &[], (MAX_SLOTS - 1) as f64);
        sheet.put("zen_config_generation", &[], live.generation as f64);
        let present = self.page.state();
        for state in State::ALL {
            sheet.put("zen_server_state", &[state.label()], f64::from(u8::from(state == present)));
        }
        sheet.put("zen_build_info", &[env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_RUST_VERSION")], 1.0);
        sheet.put("zen_server_info", &[self.architecture.family.label()], 1.0);
        sheet.put("zen_log_lines_dropped_total", &[], self.page.log_lines_dropped.load(Ordering::Relaxed) as f64);
        let spans =
            |counter: fn(&Slot) -> u64| self.page.endpoints().iter().map(|endpoint| endpoint.sum(counter)).sum::<u64>();
        sheet.put("zen_trace_spans_total", &["sampled"], spans(|slot| slot.traces_sampled.get()) as f64);
        sheet.put("zen_trace_spans_total", &["dropped"], spans(|slot| slot.traces_dropped.get()) as f64);
    }

    fn processes(&self, sheet: &mut Sheet) {
        let leaders: Vec<u64> =
            self.page.endpoints().iter().map(|endpoint| endpoint.leader.get()).filter(|&pid| pid != 0).collect();
        let supervisor = std::os::unix::process::parent_id();
        let data = self.role(sheet, "data", &process::groups(&leaders));
        self.role(sheet, "control", &process::one(std::process::id()));
        self.role(sheet, "supervisor", &process::one(supervisor));
        sheet.put("zen_processes", &[], data.processes as f64);
        sheet.put("process_resident_memory_bytes", &[], data.resident_bytes as f64);
        sheet.put("process_open_fds", &[], data.open_fds as f64);
        sheet.put("process_threads", &[], data.threads as f64);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        sheet.put("process_max_fds", &[], limit.unwrap_or(0) as f64);
        sheet.put("process_start_time_seconds", &[], process::start_time(supervisor));
        sheet.put("zen_listen_overflows_total", &[], process::listen_overflows() as f64);
        self.usage(sheet, supervisor);
    }

    /// What every role tells of itself; gives what was found, since looking is dear.
    fn role(&self, sheet: &mut Sheet, role: &'static str, processes: &[Process]) -> Facts {
        let facts = Facts::of(processes);
        sheet.put("zen_threads", &[role], facts.threads as f64);
        sheet.put("zen_memory_pss_bytes", &[role], facts.pss_bytes as f64);
        if let Some(seconds) = self.run_queues.look(role, processes) {
            sheet.put("zen_run_queue_wait_seconds_total", &[role], seconds);
        }
        facts
    }

    fn usage(&self, sheet: &mut Sheet, supervisor: u32) {
        let data = self.data_usage();
        let mut control = self.page.control_ended.get();
        let own = crate::page::Usage::numbers_of(&usage_of(libc::RUSAGE_SELF));
        control.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        for (role, usage) in [("data", data), ("control", control)] {
            self.put_usage(sheet, role, usage.map(|number| number as f64));
        }
        let [user, system] = process::cpu_seconds(supervisor);
        let [voluntary, involuntary] = process::switches(supervisor);
        self.put_usage(sheet, "supervisor", [user * 1e6, system * 1e6, voluntary as f64, involuntary as f64, 0.0, 0.0]);
        let seconds = self.own.never_less("process".into(), (data[0] + data[1]) as f64 / 1e6);
        sheet.put("process_cpu_seconds_total", &[], seconds);
    }

    fn data_usage(&self) -> [u64; 6] {
        let mut sum = [0; 6];
        for endpoint in self.page.endpoints() {
            let slots = endpoint.slots().iter().map(|slot| slot.usage.get());
            for usage in slots.chain([endpoint.leading.get(), endpoint.ended.get()]) {
                sum.iter_mut().zip(usage).for_each(|(sum, part)| *sum += part);
            }
        }
        sum
    }

    fn put_usage(&self, sheet: &mut Sheet, role: &str, usage: [f64; 6]) {
        let metrics = [
            ("zen_cpu_seconds_total", "user", 1e6),
            ("zen_cpu_seconds_total", "system", 1e6),
            ("zen_context_switches_total", "voluntary", 1.0),
            ("zen_context_switches_total", "involuntary", 1.0),
            ("zen_page_faults_total", "minor", 1.0),
            ("zen_page_faults_total", "major", 1.0),
        ];
        for ((name, part, unit), value) in metrics.into_iter().zip(usage) {
            sheet.put(name, &[role, part], self.own.never_less(format!("{name} {role} {part}"), value / unit));
        }
    }

    fn admin(&self, sheet: &mut Sheet) {
        let counts = self.own.lock();
        for source in ["patch", "reload"] {
            for result in ["applied", "rejected"] {
                let changes = counts.changes.get(&(source, result)).copied().unwrap_or(0);
                sheet.put("zen_config_changes_total", &[source, result], changes as f64);
            }
        }
        sheet.put("zen_config_last_reload_successful", &[], f64::from(u8::from(!counts.last_reload_failed)));
        for ((method, route, status), requests) in &counts.requests {
            sheet.put("zen_admin_http_requests_total", &[method, route, &status.to_string()], *requests as f64);
        }
        for (route, buckets) in &counts.durations {
            let sum = counts.duration_sums.get(route).copied().unwrap_or(0.0);
            sheet.put_histogram("zen_admin_http_request_duration_seconds", &[route], &bounds(), buckets, sum);
        }
    }
}

fn requests(sheet: &mut Sheet, endpoint: &EndpointPage, transport: &str) {
    let mut put = |question: &str, outcome: &str, count: u64| {
        sheet.put("zen_requests_total", &[transport, question, outcome], count as f64);
    };
    for (at, aphorism) in QUESTIONS.iter().enumerate() {
        put(aphorism.label, "answered", endpoint.sum(|slot| slot.known[at].get()));
    }
    put("other", "answered", endpoint.sum(|slot| slot.echoed.get()));
    put("other", "unknown", endpoint.sum(|slot| slot.unknown.get()));
    put("other", "too_long", endpoint.sum(|slot| slot.too_long.get()));
    put("other", "bad_byte", endpoint.sum(|slot| slot.bad_byte.get()));
    put("other", "deadline", endpoint.sum(|slot| slot.deadline.get()));
}

/// What an async runtime says of itself, where there is one.
fn runtime(sheet: &mut Sheet, runtime: &RuntimePage, transport: &str) {
    let workers = runtime.workers.get();
    if workers == 0 {
        return;
    }
    sheet.put("zen_runtime_workers", &[transport], workers as f64);
    sheet.put("zen_runtime_tasks", &[transport], runtime.tasks.get() as f64);
    sheet.put("zen_runtime_queue_length", &[transport], runtime.queue_length.get() as f64);
    sheet.put("zen_runtime_busy_seconds_total", &[transport], runtime.busy.get() as f64 / 1e9);
    sheet.put("zen_runtime_parks_total", &[transport], runtime.parks.get() as f64);
}

fn histogram<'a>(sheet: &mut Sheet, name: &'static str, labels: &[&str], parts: impl Iterator<Item = &'a Histogram>) {
    let mut counts = [0; 38];
    let mut sum = 0;
    for part in parts {
        counts.iter_mut().enumerate().for_each(|(at, count)| *count += part.bucket(at));
        sum += part.sum_ns();
    }
    sheet.put_histogram(name, labels, &bounds(), &counts, sum as f64 / 1e9);
}

fn bounds() -> [f64; 37] {
    DURATION_BOUNDS.map(|ns| ns as f64 / 1e9)
}

fn container(sheet: &mut Sheet) {
    let group = cgroup::read(Path::new("/"), "self");
    sheet.put("zen_cgroup_memory_bytes", &[], group.memory_bytes as f64);
    sheet.put("zen_cgroup_memory_limit_bytes", &[], group.memory_limit_bytes as f64);
    sheet.put("zen_cgroup_cpu_throttled_seconds_total", &[], group.throttled_seconds);
    sheet.put("zen_cgroup_cpu_limit_cores", &[], group.cpu_limit_cores);
    for (resource, stalls) in RESOURCES.iter().zip(group.pressure_seconds) {
        for (stall, seconds) in STALLS.iter().zip(stalls) {
            if let Some(seconds) = seconds {
                sheet.put("zen_cgroup_pressure_seconds_total", &[resource, stall], seconds);
            }
        }
    }
    sheet.put("zen_cgroup_pids", &[], group.pids as f64);
    sheet.put("zen_cgroup_pids_limit", &[], group.pids_limit as f64);
}
