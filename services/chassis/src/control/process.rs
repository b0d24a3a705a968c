//! What /proc tells of the processes of this container. It works for siblings of the same user, without any capability.

use std::fs;
use std::path::Path;

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

/// All processes whose group's leader is one of these.
pub(super) fn groups(leaders: &[u64]) -> Facts {
    let mut facts = Facts::default();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let is_process = entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
        if is_process && let Some(stat) = stat(&path).filter(|stat| leaders.contains(&stat.group)) {
            facts.add(&path, &stat);
        }
    }
    facts
}

/// One process.
pub(super) fn one(pid: u32) -> Facts {
    let path = Path::new("/proc").join(pid.to_string());
    let mut facts = Facts::default();
    if let Some(stat) = stat(&path) {
        facts.add(&path, &stat);
    }
    facts
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
    fn add(&mut self, path: &Path, stat: &Stat) {
        let rollup = fs::read_to_string(path.join("smaps_rollup")).unwrap_or_default();
        self.processes += 1;
        self.threads += stat.threads;
        self.pss_bytes += field(&rollup, "Pss:").unwrap_or(0) * 1024;
        self.resident_bytes += stat.resident_pages * rustix::param::page_size() as u64;
        self.open_fds += fs::read_dir(path.join("fd")).map_or(0, Iterator::count) as u64;
    }
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
