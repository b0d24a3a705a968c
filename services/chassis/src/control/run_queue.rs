//! How long threads were ready to run and no processor was free: the second field of schedstat
//! (`Documentation/scheduler/sched-stats.rst`).
//!
//! The kernel keeps that for each thread and forgets it when the thread ends. So what each has waited since the last look is
//! added up here, and what it waits after the last look at it is missed, of a thread between two looks all of it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::process::Process;

/// The sums of each role. Whoever looks, looks alone: an older look must not come after a newer one.
#[derive(Default)]
pub(super) struct RunQueues(Mutex<BTreeMap<&'static str, Waits>>);

/// What the threads of one role have waited, in nanoseconds.
#[derive(Debug, Default)]
struct Waits {
    /// By thread, at the last look.
    seen: HashMap<u64, u64>,
    sum: u64,
}

impl RunQueues {
    /// Looks at the threads of these processes, which are all that a role has; gives the sum in seconds. `None` where the
    /// kernel keeps no such figures.
    pub fn look(&self, role: &'static str, processes: &[Process]) -> Option<f64> {
        let mut roles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now: HashMap<u64, u64> = processes.iter().flat_map(|process| threads(&process.path)).collect();
        if now.is_empty() && !roles.contains_key(role) {
            return None;
        }
        let waits = roles.entry(role).or_default();
        waits.add(now);
        Some(waits.sum as f64 / 1e9)
    }
}

impl Waits {
    fn add(&mut self, now: HashMap<u64, u64>) {
        for (thread, &wait) in &now {
            // Less than before: another thread has got the number.
            let before = self.seen.get(thread).copied().filter(|&before| before <= wait);
            self.sum += wait - before.unwrap_or(0);
        }
        self.seen = now;
    }
}

/// The threads of a process and what each has waited so far.
fn threads(process: &Path) -> impl Iterator<Item = (u64, u64)> {
    let tasks = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| {
        let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        Some((task.file_name().to_str()?.parse().ok()?, wait(&schedstat)?))
    })
}

/// Time on a processor, time in a run queue, turns.
fn wait(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_have_waited_stays_when_they_end() {
        let mut waits = Waits::default();
        for (now, sum) in [
            (&[(1, 10), (2, 5)][..], 15),
            (&[(1, 12), (2, 5), (3, 7)], 24),
            (&[(1, 12)], 24),
            (&[(1, 3)], 27),
            (&[], 27),
            (&[(1, 4)], 31),
        ] {
            waits.add(now.iter().copied().collect());
            assert_eq!(waits.sum, sum, "{now:?}");
        }
    }

    #[test]
    fn a_line_has_the_wait_in_its_second_place() {
        assert_eq!(wait("401987 2035929 3\n"), Some(2_035_929));
        assert_eq!([wait(""), wait("1"), wait("1 x 3")], [None; 3]);
    }

    #[test]
    fn every_thread_counts_while_it_lives_and_afterwards() {
        let queues = RunQueues::default();
        assert_eq!(queues.look("nobody", &[]), None);
        let own = crate::control::process::one(std::process::id());
        let Some(before) = queues.look("data", &own) else { return };
        std::thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| (0..50).for_each(|_| std::thread::yield_now()))));
        });
        let after = queues.look("data", &own).unwrap();
        assert!(after >= before && queues.look("data", &[]) == Some(after), "{before} {after}");
    }
}
