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

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Its own pages, and its shares of those that it shares.
    pub pss: u64,
    /// All of its pages.
    pub rss: u64,
}

/// What the kernel says of a process' memory.
pub fn memory(pid: i32) -> Memory {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the process' memory");
    let bytes = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)).expect("a line of that name");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    };
    Memory { pss: bytes("Pss:"), rss: bytes("Rss:") }
}

/// Lets this process, and the servers that it starts, have as many descriptors as they may. Gives how many that are.
pub fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("a limit within what is allowed");
    maximum.unwrap_or(u64::MAX)
}
