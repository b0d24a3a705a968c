//! Processes, as /proc shows them.

use std::fs;
use std::path::Path;

/// A process that is not mistaken for a later one with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    born: u64,
}

impl Process {
    pub fn find(pid: u32) -> Option<Self> {
        Some(Self { pid, born: stat(pid)?.1 })
    }

    /// Whether it still runs; a zombie does not.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|(state, born)| born == self.born && !matches!(state, 'Z' | 'X'))
    }

    pub fn signal(&self, signal: i32) {
        if self.is_alive() {
            super::kill(self.pid as i32, signal);
        }
    }

    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    pub fn threads(&self) -> usize {
        entries(&format!("/proc/{}/task", self.pid))
    }

    pub fn descriptors(&self) -> usize {
        entries(&format!("/proc/{}/fd", self.pid))
    }

    /// Whether each of its threads is stopped.
    pub fn is_stopped(&self) -> bool {
        let mut tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten();
        tasks.all(|task| parse(&task.path().join("stat")).is_none_or(|(state, _)| matches!(state, 'T' | 'Z' | 'X')))
    }
}

fn stat(pid: u32) -> Option<(char, u64)> {
    parse(Path::new(&format!("/proc/{pid}/stat")))
}

/// A state's letter (`Z` is a zombie), and when it was born: fields 3 and 22 of proc_pid_stat(5).
fn parse(stat: &Path) -> Option<(char, u64)> {
    let stat = fs::read_to_string(stat).ok()?;
    // The name, in parentheses, may have any character.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.nth(18)?.parse().ok()?))
}

fn entries(directory: &str) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

/// The children of a process, and theirs, zombies included.
pub fn descendants(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<u32> = children
        .flat_map(|pids| pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    children.iter().flat_map(|&child| [vec![child], descendants(child)].concat()).collect()
}

/// The process and its descendants.
pub fn family(pid: u32) -> Vec<Process> {
    [vec![pid], descendants(pid)].concat().into_iter().filter_map(Process::find).collect()
}

pub fn is_zombie(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state == 'Z')
}

/// Processes that are stopped until this is dropped: their clients wait in the kernel's queues, where everybody who is not
/// taken yet can be told from everybody who is.
pub struct Frozen(Vec<Process>);

impl Frozen {
    /// Stops them from the leader down, so that nobody is born meanwhile who is not stopped.
    pub fn new(leader: u32) -> Self {
        let leader = Process::find(leader).expect("the leader lives");
        stop(leader);
        let family = family(leader.pid);
        family.iter().copied().for_each(stop);
        Self(family)
    }

    /// Kills the leader, as it is: stopped.
    pub fn kill_leader(self) {
        self.0[0].kill();
    }
}

fn stop(process: Process) {
    process.signal(libc::SIGSTOP);
    super::wait_for("a process to stop", || (process.is_stopped() || !process.is_alive()).then_some(()));
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for process in &self.0 {
            process.signal(libc::SIGCONT);
        }
    }
}
