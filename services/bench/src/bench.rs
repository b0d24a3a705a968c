//! Which architecture costs what: randomised complete blocks of short slots.
//!
//! Every block starts a new process of every contestant, and visits them in turn, several times each, in an order drawn anew for
//! every round. A visit is two slots: one at a rate that is the same for all (what does a question cost, how long does it take?)
//! and one closed loop (how much is possible?). What is claimed comes from the ratios within blocks, so that whatever the machine
//! did meanwhile met all alike. The reference takes part twice: a run that tells it from itself is unreliable.

mod blocks;
mod hostile;
mod outcome;
mod settings;
mod tables;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use zen::Transport;

use crate::clock;
use crate::lab::{Lab, Server, Subject};
use crate::log::Log;
use crate::slot::Slot;
use crate::{Crowd, Life, Options, Pace};

pub(crate) use blocks::busier_than_usual;
pub use outcome::{Outcome, report};
pub use settings::{SETTINGS, Setting, settings};

/// How the twin is called after the reference.
const TWIN: &str = " (twin)";

/// Whether a subject of a report is the reference measured once more.
pub fn is_twin(subject: &str) -> bool {
    subject.ends_with(TWIN)
}

/// Time at the offered rate that a visit has at least, if the whole slot has it. In a closed loop of half of it a question costs
/// what it costs in a longer one to within 1 %, measured side by side; in 5 ms it is some 3 % dearer to threads.
const SHORTEST_VISIT: Duration = Duration::from_millis(20);

/// The same for each connection: at usual capacities some ten questions.
const FOR_EACH_CONNECTION: Duration = Duration::from_micros(150);

/// Silent connections whose memory is measured.
const IDLE: usize = 200;

/// What is measured, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How questions travel.
    pub transport: Transport,
    /// Connections that a contestant holds, if it can serve so many at once.
    pub connections: usize,
    /// Questions a second that are offered to all alike; none for half of what the slowest can do.
    pub rate: Option<f64>,
    /// Blocks, and so pairs for each claim.
    pub pairs: usize,
    /// Time at the offered rate that a block has for each contestant, in [`Plan::visits`] slots; closed loops have half as much.
    pub slot: Duration,
    /// Questions on the way on each connection, in the closed loop.
    pub pipeline: usize,
    /// How long each contestant is warmed up at most.
    pub warmup: Duration,
    /// What the orders and the arrivals follow from.
    pub seed: u64,
    /// Name of the contestant that all are compared with.
    pub reference: String,
    /// Whether latency is measured over a range of rates, too.
    pub curve: bool,
    /// The stages of that range, each a time and a rate; none for parts of each contestant's capacity.
    pub stages: Vec<(Duration, f64)>,
    /// Whether unfriendly clients come, too.
    pub hostile: bool,
    /// Ends the run early, with what is there.
    pub stop: &'static AtomicBool,
}

impl Plan {
    /// Visits of a block to each contestant, at least one. A visit is short beside what a machine does to it (some tenths of a
    /// second), and long beside what it costs to begin: cold caches, and a first question on each connection.
    pub fn visits(&self) -> u32 {
        let shortest = SHORTEST_VISIT.max(FOR_EACH_CONNECTION * self.connections as u32);
        (self.slot.as_nanos() / shortest.as_nanos()).clamp(1, u128::from(u32::MAX)) as u32
    }
}

/// Who takes part.
#[derive(Debug, Clone)]
pub struct Contestant {
    /// What is started, or its name if it runs already.
    pub subject: Subject,
    /// Clients that it can serve at once; none for more than it is asked to.
    pub at_once: Option<usize>,
    /// A server that is there already, as its endpoints and admin URL.
    pub running: Option<(Vec<zen::Endpoint>, Option<String>)>,
}

/// Tells how far the run is.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

/// A contestant in the ring.
struct Entrant {
    name: String,
    contestant: Contestant,
    server: Server,
    /// Connections that it holds.
    held: usize,
    crowd: Crowd,
    /// Sum of the slots at the offered rate, and of the closed loops.
    paced: Slot,
    closed: Slot,
    usage: crate::Usage,
    /// The slots at the offered rate.
    log: Log,
}

/// Measures all contestants.
///
/// # Errors
/// If a server cannot be started or reached.
pub fn run(plan: &Plan, lab: &Lab, contestants: &[Contestant], progress: Progress<'_>) -> io::Result<Outcome> {
    let mut field = enter(plan, lab, contestants, progress)?;
    let capacities = warm_up(plan, &mut field, progress)?;
    let slowest = capacities.iter().copied().fold(f64::INFINITY, f64::min);
    let rate = plan.rate.unwrap_or_else(|| round(slowest / 2.0)).max(1.0);
    let observations = blocks::run(plan, lab, rate, &mut field, progress)?;
    let curves = if plan.curve { blocks::curves(plan, &capacities, &mut field, progress)? } else { Vec::new() };
    let mut outcome = Outcome::new(rate, observations, curves, lab.placement());
    outcome.settings = settings(plan, lab, contestants);
    outcome.settings.push(("offered rate that came of it".to_owned(), format!("{rate}/s")));
    for (at, mut entrant) in field.into_iter().enumerate() {
        outcome.add(plan, &mut entrant)?;
        let is_twin = at == 1;
        if plan.stop.load(Ordering::Relaxed) || is_twin {
            continue;
        }
        let name = entrant.name.clone();
        progress(&format!("{name}: memory of idle connections, unfriendly clients"));
        match outcome.examine(plan, entrant) {
            // What the blocks found is not lost for it.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
            Err(error) => outcome.unexamined.push(format!("{name}: {error}")),
            Ok(()) => {}
        }
    }
    outcome.is_complete = !plan.stop.load(Ordering::Relaxed);
    Ok(outcome)
}

/// Starts the reference, its twin, then all others.
fn enter(plan: &Plan, lab: &Lab, contestants: &[Contestant], progress: Progress<'_>) -> io::Result<Vec<Entrant>> {
    let is_reference = |one: &&Contestant| one.subject.name == plan.reference;
    let reference = contestants.iter().find(is_reference).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("the reference {:?} takes no part", plan.reference))
    })?;
    let mut twin = reference.clone();
    twin.subject.name.push_str(TWIN);
    let others = contestants.iter().filter(|one| one.subject.name != plan.reference);
    let (mut field, began) = (Vec::new(), clock::now());
    for contestant in [reference, &twin].into_iter().chain(others) {
        progress(&format!("starting {}", contestant.subject.name));
        field.push(contestant.enter(plan, lab, began)?);
    }
    Ok(field)
}

impl Contestant {
    /// Its server: started, or found where it runs.
    pub(crate) fn server(&self, lab: &Lab) -> io::Result<Server> {
        match &self.running {
            Some((endpoints, admin)) => Server::running(&self.subject.name, endpoints.clone(), admin.clone()),
            None => lab.start(&self.subject),
        }
    }

    /// So many of the wanted connections can it serve at once.
    pub(crate) fn holds(&self, wanted: usize, transport: Transport) -> usize {
        // A datagram socket is no connection: it holds nobody up.
        self.at_once.filter(|_| transport.is_stream()).map_or(wanted, |most| wanted.min(most))
    }

    fn enter(&self, plan: &Plan, lab: &Lab, began: u64) -> io::Result<Entrant> {
        let name = &self.subject.name;
        let (server, crowd) = self.appear(plan, lab)?;
        Ok(Entrant {
            name: name.clone(),
            contestant: self.clone(),
            server,
            held: crowd.len(),
            crowd,
            paced: Slot::default(),
            closed: Slot::default(),
            usage: crate::Usage::default(),
            log: Log::new(name, plan.transport, began),
        })
    }

    /// Its server, and the clients of the blocks.
    fn appear(&self, plan: &Plan, lab: &Lab) -> io::Result<(Server, Crowd)> {
        let server = self.server(lab)?;
        let options = Options { depth: plan.pipeline, ..options(plan) };
        let crowd = Crowd::connect(endpoint(&server, plan)?, self.holds(plan.connections, plan.transport), options)?;
        Ok((server, crowd))
    }
}

impl Entrant {
    /// A new process in place of the old one. Where its memory and its sockets happen to lie makes a process dearer or cheaper
    /// than its like by some per cent for as long as it lives, and no number of slots on the same one would show that
    /// (Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time", 2013). What ran before us is left alone.
    fn renew(&mut self, plan: &Plan, lab: &Lab) -> io::Result<()> {
        if self.contestant.running.is_none() {
            (self.server, self.crowd) = self.contestant.appear(plan, lab)?;
        }
        Ok(())
    }
}

fn endpoint<'a>(server: &'a Server, plan: &Plan) -> io::Result<&'a zen::Endpoint> {
    server
        .endpoint(plan.transport)
        .ok_or_else(|| io::Error::other(format!("{} does not serve {}", server.name, plan.transport)))
}

fn options(plan: &Plan) -> Options {
    Options { stop: Some(plan.stop), ..Options::default() }
}

/// Closed-loop slots until two in a row agree within a tenth; gives the last throughput of each.
fn warm_up(plan: &Plan, field: &mut [Entrant], progress: Progress<'_>) -> io::Result<Vec<f64>> {
    let window = (plan.warmup / 10).max(Duration::from_millis(10));
    let mut capacities = Vec::new();
    for entrant in field {
        progress(&format!("warming up {}", entrant.name));
        let mut last = entrant.crowd.slot(window, Pace::Closed)?.throughput();
        for _ in 1..10 {
            let now = entrant.crowd.slot(window, Pace::Closed)?.throughput();
            let agree = (now / last.max(1.0) - 1.0).abs() < 0.1;
            last = now;
            if agree {
                break;
            }
        }
        capacities.push(last);
    }
    Ok(capacities)
}

/// Two significant digits, which are easier to say again.
fn round(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.max(1.0).log10().floor() - 1.0);
    (rate / unit).round() * unit
}

fn conversations(plan: &Plan, reset: bool) -> Options {
    Options {
        life: Life::Conversations { questions: 3, reset },
        patience: Duration::from_millis(300),
        drain: Duration::from_millis(400),
        ..options(plan)
    }
}
