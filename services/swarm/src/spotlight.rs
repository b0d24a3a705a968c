//! Who is loaded harder now, and what became of it.
//!
//! A turn's first fifth is for caches and queues to settle; what is seen in the rest is the architecture's last window, and
//! stays on the scoreboard, with its age, until its next turn.

use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use zen::Transport;

use crate::plan::{Mode, Plan};
use crate::service::Shared;
use crate::tally::Window;

/// How often the director looks whether the plan has changed.
const LOOK: Duration = Duration::from_millis(100);

/// The part of a turn that does not count.
const SETTLING: f64 = 0.2;

/// What one architecture's last window has shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Results {
    /// When the window ended, in seconds since the Unix epoch.
    pub ended: f64,
    /// Right answers a second.
    pub rate: f64,
    /// Responses, in seconds.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// The part of the questions that got no right answer.
    pub failures: f64,
    /// CPU time of the data planes for each question; `NaN` if the server does not say.
    pub cpu_per_question: f64,
}

/// What a server has used and answered so far.
#[derive(Debug, Clone, Copy)]
struct Use {
    cpu_seconds: f64,
    questions: f64,
}

/// Directs the spotlight until the swarm stops.
pub(crate) fn direct(shared: &Shared) {
    let mut turn = 0;
    while !shared.is_stopping() {
        if shared.is_paused() || shared.runs.active().is_some() {
            thread::sleep(LOOK);
            continue;
        }
        let (plan, _) = shared.plan();
        let lit = next(&plan, shared, turn);
        turn += 1;
        shared.light(lit.clone());
        hold(shared, &plan, &lit);
    }
}

fn next(plan: &Plan, shared: &Shared, turn: usize) -> Vec<usize> {
    let names = &plan.spotlight.targets;
    let is_meant = |at: &usize| names.is_empty() || names.contains(&shared.targets[*at].name);
    let meant: Vec<usize> = (0..shared.targets.len()).filter(is_meant).collect();
    match plan.spotlight.mode {
        Mode::Off => Vec::new(),
        Mode::Fixed => meant,
        Mode::Turn if meant.is_empty() => meant,
        Mode::Turn => vec![meant[turn % meant.len()]],
    }
}

/// One turn: lets it settle, then watches, then writes down what was seen. A changed plan or a pause ends it without results.
fn hold(shared: &Shared, plan: &Plan, lit: &[usize]) {
    let turn = Duration::from_secs_f64(plan.spotlight.turn_seconds);
    if !rest(shared, plan, turn.mul_f64(SETTLING)) || lit.is_empty() {
        return;
    }
    // The servers are asked before and after: they may take a second each, and no window waits for that.
    let before: Vec<_> = lit.iter().map(|&at| used(shared, at)).collect();
    let began: Vec<_> = lit.iter().map(|&at| begin(shared, at)).collect();
    let whole = rest(shared, plan, turn.mul_f64(1.0 - SETTLING));
    let seen: Vec<_> = lit.iter().zip(began).map(|(&at, began)| end(shared, at, began)).collect();
    if !whole {
        return;
    }
    for ((&at, before), seen) in lit.iter().zip(before).zip(seen) {
        let results = seen.results(before.zip(used(shared, at)));
        shared.results.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(results);
    }
}

/// Waits; false if the plan has changed, a run has begun, or the swarm has been paused or stopped meanwhile.
fn rest(shared: &Shared, plan: &Plan, time: Duration) -> bool {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let is_disturbed = shared.is_stopping() || shared.is_paused() || shared.runs.active().is_some();
        if is_disturbed || shared.plan().0 != *plan {
            return false;
        }
        thread::sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
    }
    true
}

/// A window that is over.
struct Seen {
    window: Window,
    took: Duration,
    /// In seconds since the Unix epoch.
    ended: f64,
}

fn begin(shared: &Shared, target: usize) -> Instant {
    shared.tally(target, Transport::Tcp).begin_window();
    Instant::now()
}

fn end(shared: &Shared, target: usize, began: Instant) -> Seen {
    let window = shared.tally(target, Transport::Tcp).end_window();
    let ended = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    Seen { window, took: began.elapsed(), ended }
}

impl Seen {
    /// With what the server had used before and after, if it says.
    fn results(&self, used: Option<(Use, Use)>) -> Results {
        let Window { response, right, failed } = &self.window;
        let quantile = |q| response.quantile(q).map_or(f64::NAN, |ns| ns / 1e9);
        Results {
            ended: self.ended,
            rate: *right as f64 / self.took.as_secs_f64(),
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            failures: if right + failed == 0 { f64::NAN } else { *failed as f64 / (right + failed) as f64 },
            cpu_per_question: used.map_or(f64::NAN, |(before, after)| {
                let questions = after.questions - before.questions;
                if questions > 0.0 { (after.cpu_seconds - before.cpu_seconds) / questions } else { f64::NAN }
            }),
        }
    }
}

/// Asks the server what it has used. A server that does not answer in a second says nothing.
fn used(shared: &Shared, target: usize) -> Option<Use> {
    let url = format!("{}/metrics", shared.targets[target].admin.as_ref()?);
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(1))).build().into();
    let text = agent.get(&url).call().ok()?.into_body().read_to_string().ok()?;
    Some(Use {
        cpu_seconds: sum(&text, "zen_cpu_seconds_total", "role=\"data\""),
        questions: sum(&text, "zen_requests_total", ""),
    })
}

/// The sum of a metric's values over the series that have this label.
fn sum(text: &str, name: &str, label: &str) -> f64 {
    text.lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')) && line.contains(label))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
