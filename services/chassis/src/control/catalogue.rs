//! Every metric of a server, in one table that the collector, the documentation and the dashboards are checked against.

use admin::metrics::{counter, gauge, histogram};

pub use admin::metrics::{Kind, Metric};

const T: &[&str] = &["transport"];
const ROLE: &[&str] = &["role"];
const NONE: &[&str] = &[];

/// The metrics, in the order of `/metrics`.
pub const METRICS: &[Metric] = &[
    counter(
        "zen_requests_total",
        &["transport", "question", "outcome"],
        "Questions heard, by which and by what became of them.",
    ),
    histogram("zen_request_duration_seconds", T, "From reading a question to its answer being the kernel's."),
    histogram(
        "zen_queue_wait_seconds",
        T,
        "From taking a client, or a datagram, to a worker's beginning with it; absent where nothing is handed over.",
    ),
    counter("zen_connections_accepted_total", T, "Clients taken."),
    counter("zen_connections_closed_total", &["transport", "reason"], "Clients gone, by how their conversation ended."),
    counter("zen_connections_rejected_total", &["transport", "reason"], "Clients turned away, by why."),
    gauge("zen_connections_active", T, "Clients being served."),
    gauge("zen_connections_limit", NONE, "Clients that an endpoint serves at most."),
    counter("zen_received_bytes_total", T, "Bytes heard."),
    counter("zen_sent_bytes_total", T, "Bytes sent."),
    counter("zen_datagrams_received_total", T, "Datagrams heard."),
    counter("zen_datagrams_dropped_total", &["transport", "reason"], "Datagrams not answered, by why."),
    gauge(
        "zen_workers",
        &["transport", "state"],
        "Workers that there should be (wanted), that there are (running), and that have a client (occupied; where a worker has one at a time).",
    ),
    gauge("zen_workers_limit", NONE, "Workers that an endpoint can have."),
    counter("zen_worker_restarts_total", T, "Workers and data planes that ended before their time and were replaced."),
    histogram(
        "zen_worker_spawn_duration_seconds",
        &["transport", "kind"],
        "How long it took to make a thread or process.",
    ),
    gauge("zen_last_respawn_seconds", T, "From the last death of a data plane to the first turn of its successor."),
    counter("zen_event_loop_iterations_total", T, "Turns of the event loop."),
    counter("zen_event_loop_events_total", T, "Events that these turns brought."),
    counter("zen_event_loop_wait_seconds_total", T, "Time that the event loop waited for events."),
    counter("zen_event_loop_spurious_wakeups_total", T, "Clients that a loop was told of who had sent nothing."),
    gauge(
        "zen_runtime_workers",
        T,
        "Threads of an async runtime that run tasks; absent, with what follows, for others.",
    ),
    gauge("zen_runtime_tasks", T, "Tasks of the runtime that have not ended."),
    gauge("zen_runtime_queue_length", T, "Tasks that wait in the runtime's common queue."),
    counter(
        "zen_runtime_busy_seconds_total",
        T,
        "Time that these threads did not wait for events; a thread beside them that runs one task alone is not counted.",
    ),
    counter("zen_runtime_parks_total", T, "How often the runtime's threads began to wait for events."),
    counter("zen_accept_errors_total", T, "Failed accepts for want of descriptors or memory."),
    gauge("zen_listen_queue_length", T, "Clients that wait to be accepted."),
    gauge("zen_listen_queue_limit", T, "Clients that may wait to be accepted."),
    counter("zen_listen_overflows_total", NONE, "Clients that found an accept queue full, in this network namespace."),
    gauge("zen_udp_receive_queue_bytes", T, "Bytes of datagrams that wait, as the kernel counts them."),
    gauge("zen_udp_receive_buffer_bytes", T, "Bytes of datagrams that may wait, as the kernel counts them."),
    counter("zen_udp_receive_drops_total", T, "Datagrams that found the buffer full."),
    counter(
        "zen_cpu_seconds_total",
        &["role", "mode"],
        "CPU time of the data planes, the control plane and the supervisor.",
    ),
    counter(
        "zen_run_queue_wait_seconds_total",
        ROLE,
        "Time that threads were ready to run and had no processor, as seen at each scrape; absent where the kernel does not tell.",
    ),
    counter("zen_context_switches_total", &["role", "type"], "Context switches: voluntary where the code waited."),
    counter("zen_page_faults_total", &["role", "type"], "Page faults: minor ones were served from memory."),
    gauge("zen_threads", ROLE, "Threads."),
    gauge("zen_processes", NONE, "Processes of the data planes."),
    gauge("zen_memory_pss_bytes", ROLE, "Memory in use, shared pages counted in shares (PSS)."),
    counter("process_cpu_seconds_total", NONE, "CPU time of the data planes."),
    gauge("process_resident_memory_bytes", NONE, "Resident memory of the data planes, shared pages counted in each."),
    gauge("process_open_fds", NONE, "Open descriptors of the data planes."),
    gauge("process_max_fds", NONE, "Descriptors that a process may have."),
    gauge("process_threads", NONE, "Threads of the data planes."),
    gauge("process_start_time_seconds", NONE, "When the server started, since the Unix epoch."),
    gauge("zen_cgroup_memory_bytes", NONE, "Memory charged to the container."),
    gauge("zen_cgroup_memory_limit_bytes", NONE, "Memory that the container may use; 0 is no limit."),
    counter("zen_cgroup_cpu_throttled_seconds_total", NONE, "Time in which the container had used up its CPU quota."),
    gauge("zen_cgroup_cpu_limit_cores", NONE, "CPU cores that the container may use; 0 is no limit."),
    counter(
        "zen_cgroup_pressure_seconds_total",
        &["resource", "stall"],
        "Time in which some or all of the container's work stood still for want of it; absent with control groups of version 1.",
    ),
    gauge("zen_cgroup_pids", NONE, "Threads and processes of the container."),
    gauge("zen_cgroup_pids_limit", NONE, "Threads and processes that it may have; 0 is no limit."),
    gauge("zen_server_state", &["state"], "1 for the present state."),
    gauge("zen_config_generation", NONE, "How often the live settings were written."),
    counter(
        "zen_config_changes_total",
        &["source", "result"],
        "Changes of settings, asked for over the API or by reading the file again.",
    ),
    gauge(
        "zen_config_last_reload_successful",
        NONE,
        "Whether the settings file was in order when it was last read again.",
    ),
    gauge("zen_build_info", &["version", "rustc"], "Always 1."),
    gauge("zen_server_info", &["family"], "Always 1."),
    gauge(
        "zen_backend_fallback",
        T,
        "1 where epoll serves because the kernel gives no ring; `architecture` then ends in `_on_epoll`.",
    ),
    counter("zen_panics_total", T, "Panics in conversations; each ended that one."),
    counter("zen_faults_total", T, "Faults that were asked for and have happened."),
    counter("zen_drain_forced_total", T, "Conversations that a drain ended by force."),
    counter("zen_log_lines_dropped_total", NONE, "Log lines that nobody read in time."),
    counter(
        "zen_trace_spans_total",
        &["result"],
        "Exchanges to be traced: handed over, or dropped because nobody took them in time.",
    ),
    counter("zen_admin_http_requests_total", &["method", "route", "status"], "Requests to the admin API."),
    histogram("zen_admin_http_request_duration_seconds", &["route"], "How long requests to the admin API took."),
    gauge("zen_heartbeat_age_seconds", T, "Since a worker last looked for orders."),
];
