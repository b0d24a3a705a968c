//! All at once, for the eye.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use zen::Transport;

use crate::bench::{Contestant, Progress};
use crate::lab::{Lab, Server};
use crate::{Crowd, Options, Pace, Slot};

/// What must stand beside every race.
pub const A_SHOW: &str = "a show, not a measurement: on few cores the scheduler picks the winner";

/// How often the lanes are looked at.
const FRAME: Duration = Duration::from_millis(100);

/// A race.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How questions travel.
    pub transport: Transport,
    /// Connections for each, if it can serve so many at once.
    pub connections: usize,
    /// How long it is.
    pub duration: Duration,
    /// Ends it early.
    pub stop: &'static AtomicBool,
}

/// How far one runner is.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// Right answers.
    pub answers: u64,
    /// Questions without one.
    pub errors: u64,
    /// The median of its response times up to now, in microseconds; none without an answer.
    pub p50_us: Option<f64>,
    /// The same for p99.
    pub p99_us: Option<f64>,
    /// CPU time of the server since it was started, in nanoseconds; none where it cannot be seen.
    pub cpu_ns: Option<u64>,
}

/// Lets all run at the same time, and shows the lanes ten times a second. Gives how far each came.
///
/// # Errors
/// If a server cannot be started or reached.
pub fn run(
    plan: &Plan,
    lab: &Lab,
    contestants: &[Contestant],
    progress: Progress<'_>,
    show: &mut dyn FnMut(&[Lane]),
) -> io::Result<Vec<Lane>> {
    let (mut servers, mut crowds) = (Vec::new(), Vec::new());
    for contestant in contestants {
        progress(&format!("to the start: {}", contestant.subject.name));
        let server = contestant.server(lab)?;
        let place = server.endpoint(plan.transport).cloned();
        let place =
            place.ok_or_else(|| io::Error::other(format!("{} does not serve {}", server.name, plan.transport)))?;
        let options = Options { stop: Some(plan.stop), ..Options::default() };
        crowds.push(Crowd::connect(&place, contestant.holds(plan.connections, plan.transport), options)?);
        servers.push(server);
    }
    let standings: Vec<Mutex<Slot>> = servers.iter().map(|_| Mutex::default()).collect();
    let lanes =
        || -> Vec<Lane> { servers.iter().zip(&standings).map(|(server, slot)| lane(server, plan, slot)).collect() };
    let end = Instant::now() + plan.duration;
    let is_off = AtomicBool::new(false);
    thread::scope(|scope| {
        for (crowd, standing) in crowds.iter_mut().zip(&standings) {
            thread::Builder::new()
                .name("runner".into())
                .spawn_scoped(scope, || gallop(crowd, end, plan, standing, &is_off))
                // Those who run already would not be heard of before the end.
                .inspect_err(|_| is_off.store(true, Ordering::Relaxed))?;
        }
        while Instant::now() < end && !plan.stop.load(Ordering::Relaxed) {
            thread::sleep(FRAME);
            show(&lanes());
        }
        io::Result::Ok(())
    })?;
    Ok(lanes())
}

fn lane(server: &Server, plan: &Plan, standing: &Mutex<Slot>) -> Lane {
    let slot = standing.lock().unwrap_or_else(PoisonError::into_inner);
    let quantile = |q| (!slot.response.is_empty()).then(|| slot.response.value_at_quantile(q) as f64 / 1e3);
    Lane {
        name: server.name.clone(),
        answers: slot.ok,
        errors: slot.failed(),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        cpu_ns: server.usage(plan.transport).map(|used| used.cpu_ns),
    }
}

fn gallop(crowd: &mut Crowd, end: Instant, plan: &Plan, standing: &Mutex<Slot>, is_off: &AtomicBool) {
    while Instant::now() < end && !plan.stop.load(Ordering::Relaxed) && !is_off.load(Ordering::Relaxed) {
        // A runner whose sockets fail stands still, and everybody sees it.
        let Ok(slot) = crowd.slot(FRAME, Pace::Closed) else { return };
        standing.lock().unwrap_or_else(PoisonError::into_inner).add(&slot);
    }
}
