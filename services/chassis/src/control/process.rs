//! What /proc tells of the processes of this container. It works for siblings of the same user, without any capability.

use std::fs;
use std::path::{Path, PathBuf};

/// How many processes are looked at closely for all that were forked alike.
const SAMPLE: usize = 32;

/// Some processes, added up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub processes: u64,
    pub threads: u64,
    pub pss_bytes: u64,
    pub resident_bytes: u64,
    pub open_fds: u64,
}

/// One process' line in /proc/PID/stat (proc_pid_stat(5)).
struct Stat {
    group: u64,
    user_ticks: u64,
    system_ticks: u64,
    threads: u64,
    start_ticks: u64,
    resident_pages: u64,
}

/// A process that is there.
pub(super) struct Process {
    /// Its directory in /proc.
    pub path: PathBuf,
    is_leader: bool,
    stat: Stat,
}

impl Process {
    fn find(pid: u64) -> Option<Self> {
        let path = Path::new("/proc").join(pid.to_string());
        let stat = stat(&path)?;
        Some(Self { is_leader: stat.group == pid, path, stat })
    }
}

/// All processes whose group's leader is one of these.
pub(super) fn groups(leaders: &[u64]) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::find).filter(|process| leaders.contains(&process.stat.group)).collect()
}

/// One process; nobody if it is gone.
pub(super) fn one(pid: u32) -> Vec<Process> {
    Process::find(pid.into()).into_iter().collect()
}

/// CPU time of a process, user and system, in seconds.
pub(super) fn cpu_seconds(pid: u32) -> [f64; 2] {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    stat(&Path::new("/proc").join(pid.to_string()))
        .map_or([0.0; 2], |stat| [stat.user_ticks as f64 / ticks, stat.system_ticks as f64 / ticks])
}

/// Voluntary and involuntary context switches of a process' main thread.
pub(super) fn switches(pid: u32) -> [u64; 2] {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"].map(|name| field(&status, name).unwrap_or(0))
}

/// When a process started, in seconds since the Unix epoch.
pub(super) fn start_time(pid: u32) -> f64 {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let boot = fs::read_to_string("/proc/stat").ok().and_then(|stat| field(&stat, "btime")).unwrap_or(0) as f64;
    stat(&Path::new("/proc").join(pid.to_string())).map_or(0.0, |stat| boot + stat.start_ticks as f64 / ticks)
}

/// Clients that found an accept queue full, in this network namespace.
pub(super) fn listen_overflows() -> u64 {
    let netstat = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    names
        .zip(values)
        .find(|(name, _)| *name == "ListenOverflows")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

impl Facts {
    /// Of many that were forked alike, a sample stands for all where looking costs the kernel a walk through a process'
    /// memory.
    pub fn of(processes: &[Process]) -> Self {
        let mut facts = Self::default();
        for process in processes {
            facts.count(&process.stat);
        }
        let (leaders, others): (Vec<&Process>, Vec<&Process>) = processes.iter().partition(|process| process.is_leader);
        for leader in leaders {
            facts.pss_bytes += pss_bytes(&leader.path);
            facts.open_fds += open_fds(&leader.path);
        }
        facts.measure_some_of(&others.iter().map(|process| process.path.as_path()).collect::<Vec<_>>());
        facts
    }

    fn count(&mut self, stat: &Stat) {
        self.processes += 1;
        self.threads += stat.threads;
        self.resident_bytes += stat.resident_pages * rustix::param::page_size() as u64;
    }

    fn measure_some_of(&mut self, processes: &[&Path]) {
        let sample: Vec<_> = processes.iter().step_by(processes.len().div_ceil(SAMPLE).max(1)).collect();
        let all_of = |sum: u64| sum * processes.len() as u64 / sample.len().max(1) as u64;
        self.pss_bytes += all_of(sample.iter().map(|path| pss_bytes(path)).sum());
        self.open_fds += all_of(sample.iter().map(|path| open_fds(path)).sum());
    }
}

fn pss_bytes(path: &Path) -> u64 {
    let rollup = fs::read_to_string(path.join("smaps_rollup")).unwrap_or_default();
    field(&rollup, "Pss:").unwrap_or(0) * 1024
}

fn open_fds(path: &Path) -> u64 {
    fs::read_dir(path.join("fd")).map_or(0, Iterator::count) as u64
}

fn stat(path: &Path) -> Option<Stat> {
    let text = fs::read_to_string(path.join("stat")).ok()?;
    // The name may hold anything, spaces and parentheses too.
    let fields: Vec<u64> =
        text.rsplit_once(')')?.1.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let at = |number: usize| fields.get(number - 3).copied();
    Some(Stat {
        group: at(5)?,
        user_ticks: at(14)?,
        system_ticks: at(15)?,
        threads: at(20)?,
        start_ticks: at(22)?,
        resident_pages: at(24)?,
    })
}

/// The number after `name` in a text of lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let directory = std::env::temp_dir().join(format!("chassis-stat-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let text = "7 (a) b (c)) S 1 70 70 0 -1 0 11 12 13 14 150 160 0 0 20 0 3 0 900 1000 25 0";
        fs::write(directory.join("stat"), text).unwrap();
        let stat = stat(&directory).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!((stat.group, stat.user_ticks, stat.system_ticks), (70, 150, 160));
        assert_eq!((stat.threads, stat.start_ticks, stat.resident_pages), (3, 900, 25));
    }

    #[test]
    fn this_process_can_be_seen() {
        let facts = Facts::of(&one(std::process::id()));
        assert_eq!(facts.processes, 1);
        assert!(facts.threads >= 1 && facts.pss_bytes > 0 && facts.open_fds > 2, "{facts:?}");
        let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((age - start_time(std::process::id())).abs() < 3600.0);
        assert_eq!(Facts::of(&groups(&[])), Facts::default());
    }

    #[test]
    fn a_sample_stands_for_all() {
        let own = Path::new("/proc/self");
        let mut facts = Facts::default();
        facts.measure_some_of(&[own; 100]);
        let one = open_fds(own);
        assert!(facts.open_fds >= 50 * one && facts.open_fds <= 200 * one, "{facts:?} {one}");
        facts.measure_some_of(&[]);
    }
}
