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

    pub fn threads(&self) -> usize {
        entries(&format!("/proc/{}/task", self.pid))
    }

    pub fn descriptors(&self) -> usize {
        entries(&format!("/proc/{}/fd", self.pid))
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
