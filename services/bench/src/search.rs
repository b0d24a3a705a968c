//! The greatest rate at which a server keeps a limit such as "p99 < 5 ms".
//!
//! "p99 < 5 ms" means that less than 1 % of the questions took longer; it is that share which is tested, over short windows in a
//! random order with windows of a low rate. Those tell whether it is the machine that is late: a window whose neighbour breaks
//! the limit at the low rate says nothing of the server.

mod hunt;
mod null;
mod outcome;
mod probe;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use zen::Transport;

use crate::bench::{Contestant, Progress};
use crate::clock;
use crate::lab::{Lab, Server};
use crate::log::Log;
use crate::stats::median;
use crate::{Crowd, Options, Pace, Random, Slot};

use hunt::Hunt;
pub use outcome::{Limit, Outcome, report};
pub use probe::{Probe, Verdict};

/// The low rate, as a part of what a closed loop reaches.
const LOW: f64 = 0.05;

/// Where the search begins.
const FIRST: f64 = 0.25;

/// What is searched for, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How questions travel.
    pub transport: Transport,
    /// Connections.
    pub connections: usize,
    /// The quantile of the limit, such as 0.99.
    pub quantile: f64,
    /// What that quantile of the response time must be below.
    pub longest: Duration,
    /// Length of a window: at least twenty times the limit, or a slight overload does not show within it.
    pub window: Duration,
    /// Time for each contestant. What is not known by then is printed as an interval as wide as it is.
    pub budget: Duration,
    /// What orders and arrivals follow from.
    pub seed: u64,
    /// Ends the search early.
    pub stop: &'static AtomicBool,
}

/// Why nothing is known of a server if somebody ended the search.
const ENDED: &str = "the search was ended early";

impl Plan {
    /// The quantile of the limit as people write it, such as `p99.9`.
    pub fn percentile(&self) -> String {
        format!("p{}", percent(self.quantile))
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A part as a percentage, without the digits that a multiplication adds.
fn percent(part: f64) -> f64 {
    (part * 1e9).round() / 1e7
}

/// One server under search.
struct Search<'a> {
    plan: &'a Plan,
    server: Server,
    /// Cores that the server may have.
    cores: u32,
    crowd: Crowd,
    /// Questions a second of the windows that watch the machine.
    low: f64,
    random: Random,
    log: Log,
    /// Slots up to now, and those whose books do not balance.
    books: (usize, usize),
}

/// Searches each contestant's limit, one after the other.
///
/// # Errors
/// If a server cannot be started or reached.
pub fn run(plan: &Plan, lab: &Lab, contestants: &[Contestant], progress: Progress<'_>) -> io::Result<Vec<Outcome>> {
    progress("how late is the machine itself?");
    let began = clock::now();
    let floor = null::floor(plan, lab)?;
    let mut outcomes = Vec::new();
    for contestant in contestants {
        let name = contestant.subject.name.clone();
        if floor > plan.longest / 2 {
            let why = format!(
                "the machine itself is too late: a server that does nothing answers in {floor:.1?} at {}, more than half of the \
                 limit",
                plan.percentile()
            );
            outcomes.push(Outcome::unknown(name, floor, why));
            continue;
        }
        if plan.is_stopped() {
            outcomes.push(Outcome::unknown(name, floor, ENDED.to_owned()));
            continue;
        }
        let mut search = Search::begin(plan, lab, contestant, began)?;
        let (limit, probes) = search.find(progress)?;
        outcomes.push(Outcome { name, floor, limit, probes, log: Some(search.log.take()), books: search.books });
    }
    Ok(outcomes)
}

impl<'a> Search<'a> {
    fn begin(plan: &'a Plan, lab: &Lab, contestant: &Contestant, began: u64) -> io::Result<Self> {
        let server = contestant.server(lab)?;
        let endpoint = server
            .endpoint(plan.transport)
            .ok_or_else(|| io::Error::other(format!("{} does not serve {}", server.name, plan.transport)))?;
        let options = Options { stop: Some(plan.stop), ..Options::default() };
        let crowd = Crowd::connect(endpoint, contestant.holds(plan.connections, plan.transport), options)?;
        let random = Random::new(plan.seed);
        let log = Log::new(&server.name, plan.transport, began);
        Ok(Self { plan, server, cores: lab.server_cores(), crowd, low: 1.0, random, log, books: (0, 0) })
    }

    /// A slot of load, whose books are checked.
    fn slot(&mut self, time: Duration, pace: Pace) -> io::Result<Slot> {
        let slot = self.crowd.slot(time, pace)?;
        self.books.0 += 1;
        self.books.1 += usize::from(!slot.balances());
        Ok(slot)
    }

    fn find(&mut self, progress: Progress<'_>) -> io::Result<(Limit, Vec<Probe>)> {
        let plan = self.plan;
        progress(&format!("{}: what a closed loop reaches", self.server.name));
        let mut reached = Vec::new();
        for _ in 0..3 {
            reached.push(self.slot(self.plan.window, Pace::Closed)?.throughput());
        }
        if plan.is_stopped() {
            return Ok((Limit::Inconclusive(ENDED.to_owned()), Vec::new()));
        }
        let most = median(&reached);
        if most == 0.0 {
            return Ok((Limit::Inconclusive("a closed loop got no right answer".to_owned()), Vec::new()));
        }
        let low = (most * LOW).max(1.0);
        self.low = low;
        let allowance = 1.0 + self.plan.longest.as_secs_f64() / self.plan.window.as_secs_f64();
        let begun = Instant::now();
        let mut measure = |rate: f64, windows: usize| {
            progress(&format!("{}: {rate:.0}/s", self.server.name));
            let is_over = begun.elapsed() > plan.budget;
            // What was found is confirmed even when the time is over.
            if is_over && windows < probe::MOST { Ok(None) } else { self.measure(rate, windows) }
        };
        let mut hunt = Hunt::new(&mut measure, allowance);
        let limit = match hunt.run(most * FIRST, low)? {
            Limit::Inconclusive(_) if plan.is_stopped() => Limit::Inconclusive(ENDED.to_owned()),
            limit => limit,
        };
        Ok((limit, hunt.probes))
    }
}
