//! The swarm as a service: the engine's workers, spotlight, name resolution and admin API, each in a thread.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use zen::{Address, Transport};

use crate::dealing::{Dealer, InHand};
use crate::engine::{self, Health};
use crate::kinds::Kinds;
use crate::plan::{Plan, PlanError, Target};
use crate::runs::{self, Condition, Run, Runs, Why};
use crate::scenario::Scenario;
use crate::spans::{self, SpanRecord};
use crate::spotlight::{self, Results};
use crate::tally::{Ledger, Snapshot, Tally};
use crate::{api, log, metrics};

/// How often host names are resolved: a container that was started again may have another address.
const RESOLVE: Duration = Duration::from_secs(2);

/// How often it is looked whether a run or a change for a time is over.
const LOOK: Duration = Duration::from_millis(50);

/// What a swarm is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the admin API listens.
    pub admin: SocketAddr,
    /// Whom it may ask.
    pub targets: Vec<Target>,
    /// The plan that it begins with.
    pub plan: Plan,
    /// Threads that ask: 1 to the number of processors that there are for it.
    pub workers: usize,
    /// What it can be asked to run.
    pub scenarios: Vec<Scenario>,
    /// The file with the token that changes need; there must be one off loopback.
    pub token_file: Option<PathBuf>,
    /// Names under which the admin API may be asked, besides IP addresses and localhost.
    pub hosts: Vec<String>,
    /// Where client spans go, as `http://HOST:4318`; empty is nowhere.
    pub otlp_endpoint: String,
}

/// A running swarm.
pub struct Service {
    shared: Arc<Shared>,
    engine: Vec<JoinHandle<()>>,
    spotlight: JoinHandle<()>,
    spans: Option<JoinHandle<()>>,
    address: SocketAddr,
}

/// What the threads of a swarm share.
pub(crate) struct Shared {
    pub targets: Vec<Target>,
    pub scenarios: Vec<Scenario>,
    pub runs: Runs,
    pub kinds: Kinds,
    plan: Mutex<Planned>,
    /// Counts the changes of the plan: what If-Match asks for.
    generation: AtomicU64,
    /// Counts the changes of plan and spotlight: what the engine looks at.
    changes: AtomicU64,
    paused: AtomicBool,
    stopping: AtomicBool,
    /// How each worker of the engine does.
    workers: Vec<Mutex<Health>>,
    /// Why the engine has ended unasked.
    fault: OnceLock<String>,
    tallies: Vec<[Tally; Transport::ALL.len()]>,
    addresses: Mutex<HashMap<(String, u16), SocketAddr>>,
    pub results: Mutex<Vec<Option<Results>>>,
    trace: Mutex<Option<SyncSender<SpanRecord>>>,
    pub spans_dropped: AtomicU64,
}

struct Planned {
    plan: Plan,
    lit: Vec<usize>,
    dealer: Dealer,
    /// What holds again after the time for which the plan was changed.
    base: Option<Base>,
}

/// Why a plan was not replaced.
pub(crate) enum Unchanged {
    /// It is of this generation, and not of the one that was meant.
    Stale(u64),
    /// The new one and the run that is on would be too much together.
    TooMuch(PlanError),
}

/// Why a run has not begun.
pub(crate) enum NotBegun {
    /// The end of this one must come before.
    Other(Arc<Run>),
    /// It and what goes on beside it would be too much together.
    TooMuch(PlanError),
}

/// The plan as it was before a change for a time.
struct Base {
    plan: Plan,
    until: Instant,
}

/// What a worker of the engine follows.
pub(crate) struct Wanted {
    pub loads: Vec<InHand>,
    pub timeout: Duration,
    pub trace_one_in: u64,
}

impl Service {
    /// Starts a swarm.
    ///
    /// # Errors
    /// If there are to be more workers than processors, or the admin address cannot be bound, or has no token and is not a
    /// loopback address.
    pub fn start(settings: Settings) -> io::Result<Self> {
        check_workers(settings.workers)?;
        if !settings.admin.ip().is_loopback() && settings.token_file.is_none() {
            let sentence =
                format!("the admin address {} can be reached from elsewhere, so it needs a token file", settings.admin);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, sentence));
        }
        let listener = TcpListener::bind(settings.admin).map_err(|error| {
            io::Error::new(error.kind(), format!("the admin address {} cannot be bound: {error}", settings.admin))
        })?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(&settings));
        engine::remove_stale_sockets(&settings.targets);
        let (spans, tracer) = spans::start(&settings.otlp_endpoint, &shared)?.unzip();
        let engine = engine::start(&shared)?;
        let director = shared.clone();
        let spotlight = Builder::new().name("spotlight".into()).spawn(move || spotlight::direct(&director))?;
        let keeper = shared.clone();
        Builder::new().name("keeper".into()).spawn(move || keeper.keep_times())?;
        let resolver = shared.clone();
        Builder::new().name("resolver".into()).spawn(move || resolver.keep_resolving())?;
        let registry = metrics::registry(shared.clone()).map_err(io::Error::other)?;
        let api = shared.clone();
        Builder::new()
            .name("admin".into())
            .spawn(move || log::within(tracer, || api::run(api, registry, listener, &settings)))?;
        Ok(Self { shared, engine, spotlight, spans, address })
    }

    /// Where the admin API listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is seen now, for each target and transport that it has.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.shared.snapshots()
    }

    /// Stops asking, waits for what is on its way (2 s at the most), and gives the books of everything.
    pub fn stop(self) -> Ledger {
        self.shared.stopping.store(true, Ordering::Release);
        // A thread that panicked has said so; the books are as good as they can be.
        self.engine.into_iter().for_each(|worker| drop(worker.join()));
        let _ = self.spotlight.join();
        self.shared.trace.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(spans) = self.spans {
            let _ = spans.join();
        }
        let mut ledger = Ledger::default();
        for snapshot in self.shared.snapshots() {
            ledger.add(&snapshot.ledger);
        }
        ledger
    }
}

fn check_workers(workers: usize) -> io::Result<()> {
    let most = thread::available_parallelism().map_or(1, usize::from);
    if (1..=most).contains(&workers) {
        return Ok(());
    }
    let sentence =
        format!("`workers` = {workers} must be in 1..={most}: as many as there are processors for the swarm");
    Err(io::Error::new(io::ErrorKind::InvalidInput, sentence))
}

impl Shared {
    fn new(settings: &Settings) -> Self {
        let (targets, workers) = (settings.targets.clone(), settings.workers);
        let planned =
            Planned { plan: settings.plan.clone(), lit: Vec::new(), dealer: Dealer::new(workers), base: None };
        Self {
            scenarios: settings.scenarios.clone(),
            runs: Runs::default(),
            kinds: Kinds::default(),
            plan: Mutex::new(planned),
            generation: AtomicU64::new(1),
            changes: AtomicU64::new(1),
            paused: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            workers: (0..workers).map(|_| Mutex::default()).collect(),
            fault: OnceLock::new(),
            tallies: targets.iter().map(|_| std::array::from_fn(|_| Tally::new(workers))).collect(),
            addresses: Mutex::default(),
            results: Mutex::new(vec![None; targets.len()]),
            trace: Mutex::new(None),
            spans_dropped: AtomicU64::new(0),
            targets,
        }
    }

    fn planned(&self) -> MutexGuard<'_, Planned> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plan with its generation.
    pub fn plan(&self) -> (Plan, u64) {
        let planned = self.planned();
        (planned.plan.clone(), self.generation.load(Ordering::Acquire))
    }

    /// Whether a plan is within the ceilings together with the run that is on, if one is.
    ///
    /// # Errors
    /// What both come to.
    pub fn check_plan(&self, plan: &Plan) -> Result<(), PlanError> {
        self.runs.active().map_or(Ok(()), |run| plan.check_beside(&self.targets, &run))
    }

    /// Replaces the plan, if it is still the one of this generation (or of any, for `None`); gives the new generation. With a
    /// `time` the plan of before holds again after it, unless somebody changes it for good meanwhile.
    ///
    /// # Errors
    /// Why the plan stays as it is.
    pub fn replace_plan(&self, plan: Plan, if_still: Option<u64>, time: Option<Duration>) -> Result<u64, Unchanged> {
        let mut planned = self.planned();
        let generation = self.generation.load(Ordering::Acquire);
        if if_still.is_some_and(|wanted| wanted != generation) {
            return Err(Unchanged::Stale(generation));
        }
        // No run begins meanwhile: it would have to see the plan.
        self.check_plan(&plan).map_err(Unchanged::TooMuch)?;
        let before = std::mem::replace(&mut planned.plan, plan);
        let base = planned.base.take().map_or(before, |base| base.plan);
        planned.base = time.map(|time| Base { plan: base, until: Instant::now() + time });
        Ok(self.count_change())
    }

    fn count_change(&self) -> u64 {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// How long the plan still holds, if it holds for a time.
    pub fn time_left(&self) -> Option<Duration> {
        self.planned().base.as_ref().map(|base| base.until.saturating_duration_since(Instant::now()))
    }

    /// Ends what has been asked for a time.
    fn keep_times(&self) {
        while !self.is_stopping() {
            {
                let mut planned = self.planned();
                if let Some(base) = planned.base.take_if(|base| base.until <= Instant::now()) {
                    planned.plan = base.plan;
                    self.count_change();
                }
            }
            let answers_take = Duration::from_secs_f64(self.plan().0.timeout_seconds);
            let is_idle = self.is_paused() || self.fault().is_some();
            let condition = Condition { is_saturated: self.is_saturated(), is_idle };
            if self.runs.look(&self.targets, answers_take, condition) {
                self.changes.fetch_add(1, Ordering::AcqRel);
            }
            thread::sleep(LOOK);
        }
    }

    /// Begins a run.
    ///
    /// # Errors
    /// Why it does not begin.
    pub fn begin_run(&self, scenario: Scenario, places: Vec<usize>) -> Result<Arc<Run>, NotBegun> {
        // Held until the run is there, so that no other plan comes between.
        let planned = self.planned();
        let plans = [Some(&planned.plan), planned.base.as_ref().map(|base| &base.plan)];
        let mut plans = plans.into_iter().flatten();
        plans.try_for_each(|plan| plan.check_run(&self.targets, &scenario, &places)).map_err(NotBegun::TooMuch)?;
        let wanted = runs::Wanted::new(scenario, places, &self.targets, &self.scenarios);
        let run = self.runs.begin(wanted, self.workers.len()).map_err(NotBegun::Other)?;
        self.changes.fetch_add(1, Ordering::AcqRel);
        Ok(run)
    }

    /// Ends a run before its time.
    pub fn cancel_run(&self, run: &Run) {
        if self.runs.end(run, Why::Cancelled) {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Moves the spotlight.
    pub fn light(&self, lit: Vec<usize>) {
        self.planned().lit = lit;
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Who is in the spotlight: nobody while a run is on.
    pub fn lit(&self) -> Vec<usize> {
        if self.runs.active().is_some() { Vec::new() } else { self.planned().lit.clone() }
    }

    /// What a worker of the engine should do, if that may have changed since change number `seen`.
    pub fn loads_since(&self, worker: usize, seen: &mut u64) -> Option<Wanted> {
        if self.changes.load(Ordering::Acquire) == *seen {
            return None;
        }
        let Planned { plan, lit, dealer, .. } = &mut *self.planned();
        *seen = self.changes.load(Ordering::Acquire);
        dealer.deal(plan.loads(&self.targets, lit, self.runs.active().as_ref()));
        Some(Wanted {
            loads: dealer.hand(worker),
            timeout: Duration::from_secs_f64(plan.timeout_seconds),
            trace_one_in: plan.trace_one_in,
        })
    }

    pub fn tally(&self, target: usize, transport: Transport) -> &Tally {
        &self.tallies[target][transport as usize]
    }

    /// What is seen now, for each target and transport that it has.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let mut snapshots = Vec::new();
        for (at, target) in self.targets.iter().enumerate() {
            for endpoint in &target.endpoints {
                let transport = endpoint.transport;
                snapshots.push(self.tally(at, transport).snapshot(&target.name, transport.label()));
            }
        }
        snapshots
    }

    /// How a worker of the engine does, for it to write down.
    pub fn health_of(&self, worker: usize) -> MutexGuard<'_, Health> {
        self.workers[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How each worker of the engine does.
    pub fn workers(&self) -> impl Iterator<Item = Health> {
        (0..self.workers.len()).map(|worker| *self.health_of(worker))
    }

    /// Whether the engine itself limits some of the load: then the figures are about the swarm, not about a server.
    pub fn is_saturated(&self) -> bool {
        self.workers().any(|health| health.is_saturated())
    }

    /// Why nobody is asked any more, if that is so and nobody wanted it.
    pub fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// What has ended the engine; the first fault is the one that has.
    pub fn fail(&self, fault: String) {
        let _ = self.fault.set(fault);
    }

    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The address of a host name, as it was found last. Resolving takes its time, so a thread of its own does it.
    pub fn resolve(&self, host: &str, port: u16) -> Option<SocketAddr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).get(&(host.to_owned(), port)).copied()
    }

    fn keep_resolving(&self) {
        let endpoints = self.targets.iter().flat_map(|target| &target.endpoints);
        let hosts: Vec<_> = endpoints
            .filter_map(|endpoint| match &endpoint.address {
                Address::Host(host, port) if host.parse::<std::net::IpAddr>().is_err() => Some((host.clone(), *port)),
                _ => None,
            })
            .collect();
        while !self.is_stopping() && !hosts.is_empty() {
            for host in &hosts {
                let found = (host.0.as_str(), host.1).to_socket_addrs().ok().and_then(|mut found| found.next());
                let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
                match found {
                    Some(address) => addresses.insert(host.clone(), address),
                    None => addresses.remove(host),
                };
            }
            thread::sleep(RESOLVE);
        }
    }

    /// Where exchanges that are traced go.
    pub fn set_trace(&self, sender: SyncSender<SpanRecord>) {
        *self.trace.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
    }

    /// Hands over an exchange to be traced; one that nobody takes in time is counted.
    pub fn trace(&self, record: SpanRecord) {
        let trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = trace.as_ref()
            && sender.try_send(record).is_err()
        {
            self.spans_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
