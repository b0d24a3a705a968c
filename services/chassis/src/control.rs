//! The control plane: the admin API, metrics and traces of one server, in a process of its own that holds no data socket.
//!
//! Whatever is asked here reaches the data planes through the [`page`](crate::page), and whatever is told about them is read
//! from there, so nothing that happens here can hold up a client. If it dies, the supervisor starts another one.

pub mod catalogue;
pub mod cgroup;
mod connections;
mod events;
mod handlers;
mod metrics;
mod orders;
mod process;
mod routes;
mod run_queue;
mod spans;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use admin::{Guard, Observation};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, Semaphore};

use crate::Architecture;
use crate::page::{EndpointPage, LiveValue, Page, State};
use crate::settings::{self, Changes, Start};
use metrics::Metrics;
use spans::Spans;

pub use routes::{ROUTES, Route};

/// The methods that are counted by their names.
const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

/// How long a change waits for all workers to have seen it. A worker looks at least once a second.
const SETTLE: Duration = Duration::from_millis(1500);

/// How long the last answers may take when the process is told to end.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

/// What the control plane is given when it is born.
pub struct Context {
    /// The shared page.
    pub page: &'static Page,
    /// What is served.
    pub architecture: &'static Architecture,
    /// What the container was started with; its endpoints are those that were bound.
    pub start: Start,
    /// The admin socket, bound and listening.
    pub listener: std::net::TcpListener,
    /// The read end of the pipe of sampled exchanges; it does not block.
    pub traces: OwnedFd,
}

/// What the handlers share.
struct Control {
    page: &'static Page,
    architecture: &'static Architecture,
    start: Start,
    guard: Arc<Guard>,
    metrics: Metrics,
    /// Changes of settings come one after the other.
    changing: Mutex<()>,
    /// Places for those who follow the events.
    followers: Arc<Semaphore>,
    /// Whether the process has been told to end, so that nobody need wait for another event.
    is_ending: AtomicBool,
}

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// Every worker has seen it.
    Everywhere,
    /// Some are still busy with something else.
    NotYet,
}

/// Serves the admin API until the process is told to end by SIGTERM; gives its exit code.
pub fn run(context: Context) -> i32 {
    let spans = Spans::new(&context.start.otlp_endpoint, &context.start.name, context.page);
    let served = serve(context, &spans);
    spans.end();
    match served {
        Ok(()) => crate::exit::OK,
        Err(error) => {
            tracing::error!(event = "control_failed", "{error}");
            crate::exit::FAILED
        }
    }
}

fn serve(context: Context, spans: &Spans) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        context.listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(context.listener)?;
        let control = Arc::new(Control::new(context.page, context.architecture, context.start)?);
        let last_answers = async {
            term.recv().await;
            control.is_ending.store(true, Ordering::Relaxed);
            // Who follows a drain asks once more how it went.
            tokio::time::sleep(LAST_ANSWERS).await;
        };
        tokio::select! {
            () = control.clone().serve(listener) => Ok(()),
            result = spans.forward(context.traces) => result,
            () = spans.follow_drains() => Ok(()),
            () = control.follow_reload_requests() => Ok(()),
            () = last_answers => Ok(()),
        }
    })
}

impl Control {
    fn new(page: &'static Page, architecture: &'static Architecture, start: Start) -> io::Result<Self> {
        let metrics = Metrics::new(page, architecture, &start).map_err(io::Error::other)?;
        let guard = Arc::new(guard(&start, architecture.name));
        Ok(Self {
            page,
            architecture,
            start,
            guard,
            metrics,
            changing: Mutex::new(()),
            followers: Arc::new(Semaphore::new(events::FOLLOWERS)),
            is_ending: AtomicBool::new(false),
        })
    }

    /// The endpoints with their parts of the page.
    fn endpoints(&self) -> impl Iterator<Item = (&zen::Endpoint, &'static EndpointPage)> {
        self.start.listen.iter().zip(self.page.endpoints())
    }

    async fn serve(self: Arc<Self>, listener: tokio::net::TcpListener) {
        let (router, guard) = (routes::router(self.clone()), self.guard.clone());
        admin::serve(listener, router, guard, move |request| self.observe(request)).await;
    }

    fn observe(&self, request: &Observation<'_>) {
        // Nothing that a client invents becomes a label.
        let route = ROUTES.iter().map(|route| route.path).find(|path| request.route == Some(path)).unwrap_or("other");
        let method = METHODS.into_iter().find(|method| *method == request.method.as_str()).unwrap_or("other");
        self.metrics.own.count_request(method, route, request.status, request.took);
        admin::audit::audit(request);
    }

    /// Writes changes into the page, if there are any, and gives the generation that holds then. The caller holds `changing`.
    fn apply(&self, changes: &Changes, source: &'static str) -> u64 {
        let _span = span(source).entered();
        self.metrics.own.count_change(source, true);
        if changes.is_empty() {
            return self.page.settings.generation();
        }
        for &(which, value, _) in changes {
            let (from, to) = (in_words(which, self.page.settings.get(which).0), in_words(which, value));
            tracing::info!(event = "setting", key = which.key(), from, to, source, "a setting changes");
        }
        self.page.settings.write(changes)
    }

    /// Waits until every worker has seen this generation.
    async fn settle(&self, generation: u64) -> Settled {
        let patience = Instant::now() + SETTLE;
        while !self.has_settled(generation) {
            if Instant::now() > patience {
                return Settled::NotYet;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Settled::Everywhere
    }

    fn has_settled(&self, generation: u64) -> bool {
        let serving = matches!(self.page.state(), State::Ready | State::Paused);
        let mut slots = self.page.endpoints().iter().flat_map(EndpointPage::slots).filter(|slot| slot.owner.get() != 0);
        !serving || slots.all(|slot| slot.generation.get() >= generation)
    }

    /// Reads the settings file again; the old settings stay if anything is wrong with it.
    async fn reload(&self) -> Result<u64, String> {
        let _one_at_a_time = self.changing.lock().await;
        let result = settings::reload(self.architecture, self.page, &self.start);
        match result {
            Ok(changes) => Ok(self.apply(&changes, "reload")),
            Err(why) => {
                let _span = span("reload").entered();
                self.metrics.own.count_change("reload", false);
                tracing::warn!(event = "reload_failed", "the settings stay as they were: {why}");
                Err(why)
            }
        }
    }

    /// SIGHUP arrives at the supervisor, which counts it in the page.
    async fn follow_reload_requests(&self) {
        let mut seen = self.page.reload_requests.get();
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let asked = self.page.reload_requests.get();
            if asked != seen {
                seen = asked;
                // Whoever sent the signal reads the log.
                let _ = self.reload().await;
            }
        }
    }
}

/// Of a change of settings; what is logged meanwhile is in it.
fn span(source: &str) -> tracing::Span {
    tracing::info_span!("config", otel.name = format!("config {source}"))
}

fn in_words(which: LiveValue, value: u64) -> String {
    let value = settings::show(which, value);
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn guard(start: &Start, architecture: &str) -> Guard {
    let names = start.admin_hosts.iter().cloned().chain([architecture.to_owned(), start.name.clone()]);
    Guard::new(names, start.token_file.clone(), start.admin_listen)
}
