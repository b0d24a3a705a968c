//! All at once, for the eye.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zen::Transport;

use crate::bench::{Contestant, Progress};
use crate::lab::Lab;
use crate::{Crowd, Options, Pace};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// Right answers.
    pub answers: u64,
    /// Questions without one.
    pub errors: u64,
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
    let mut runners = Vec::new();
    for contestant in contestants {
        progress(&format!("to the start: {}", contestant.subject.name));
        let server = contestant.server(lab)?;
        let place = server.endpoint(plan.transport).cloned();
        let place =
            place.ok_or_else(|| io::Error::other(format!("{} does not serve {}", server.name, plan.transport)))?;
        let most = if plan.transport.is_stream() { contestant.at_once.unwrap_or(usize::MAX) } else { usize::MAX };
        let options = Options { stop: Some(plan.stop), ..Options::default() };
        runners.push((server, Crowd::connect(&place, plan.connections.min(most), options)?));
    }
    let counts: Vec<[AtomicU64; 2]> = runners.iter().map(|_| <[AtomicU64; 2]>::default()).collect();
    let end = Instant::now() + plan.duration;
    let lanes = |counts: &[[AtomicU64; 2]]| -> Vec<Lane> {
        let lane = |(contestant, count): (&Contestant, &[AtomicU64; 2])| Lane {
            name: contestant.subject.name.clone(),
            answers: count[0].load(Ordering::Relaxed),
            errors: count[1].load(Ordering::Relaxed),
        };
        contestants.iter().zip(counts).map(lane).collect()
    };
    thread::scope(|scope| {
        for ((_, crowd), count) in runners.iter_mut().zip(&counts) {
            thread::Builder::new()
                .name("runner".into())
                .spawn_scoped(scope, move || gallop(crowd, end, plan, count))?;
        }
        while Instant::now() < end && !plan.stop.load(Ordering::Relaxed) {
            thread::sleep(FRAME);
            show(&lanes(&counts));
        }
        io::Result::Ok(())
    })?;
    Ok(lanes(&counts))
}

fn gallop(crowd: &mut Crowd, end: Instant, plan: &Plan, count: &[AtomicU64; 2]) {
    while Instant::now() < end && !plan.stop.load(Ordering::Relaxed) {
        // A runner whose sockets fail stands still, and everybody sees it.
        let Ok(slot) = crowd.slot(FRAME, Pace::Closed) else { return };
        count[0].fetch_add(slot.ok, Ordering::Relaxed);
        count[1].fetch_add(slot.failed(), Ordering::Relaxed);
    }
}
