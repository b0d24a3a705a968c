//! What the container may use and has used, by control groups of version 2 or 1.
//!
//! Inside a container its own group is mounted at `/sys/fs/cgroup` in both versions; on a host the paths of
//! `/proc/self/cgroup` lead to it.

use std::fs;
use std::path::{Path, PathBuf};

/// Figures of one control group; a limit of 0 is none.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Cgroup {
    /// Memory charged, in bytes.
    pub memory_bytes: u64,
    /// Memory allowed, in bytes.
    pub memory_limit_bytes: u64,
    /// Time in which the CPU quota was used up, in seconds.
    pub throttled_seconds: f64,
    /// CPU cores allowed.
    pub cpu_limit_cores: f64,
    /// Threads and processes.
    pub pids: u64,
    /// Threads and processes allowed.
    pub pids_limit: u64,
    /// Time in which work stood still for want of something, in seconds: by [`RESOURCES`], then by [`STALLS`]. Version 1 has
    /// no such figures.
    pub pressure_seconds: [[Option<f64>; STALLS.len()]; RESOURCES.len()],
}

/// What work can be in want of.
pub const RESOURCES: [&str; 3] = ["cpu", "memory", "io"];

/// Whether some of the work stood still, or all of it (`Documentation/accounting/psi.rst`).
pub const STALLS: [&str; 2] = ["some", "full"];

/// What a version 1 limit exceeds when there is none: it is then the highest multiple of the page size, whatever that is.
const UNLIMITED: u64 = 1 << 62;

/// Reads the control group of a process; `root` is `/` but in tests.
pub fn read(root: &Path, pid: &str) -> Cgroup {
    let groups = fs::read_to_string(root.join("proc").join(pid).join("cgroup")).unwrap_or_default();
    let mount = root.join("sys/fs/cgroup");
    if mount.join("cgroup.controllers").exists() {
        let path = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        version_2(&own(&mount, path))
    } else {
        version_1(&mount, &groups)
    }
}

fn version_2(group: &Path) -> Cgroup {
    let quota = text(group, "cpu.max");
    let mut quota = quota.split_whitespace().map(|part| part.parse::<f64>().unwrap_or(0.0));
    Cgroup {
        memory_bytes: number(group, "memory.current"),
        memory_limit_bytes: number(group, "memory.max"),
        throttled_seconds: in_stat(group, "cpu.stat", "throttled_usec") as f64 / 1e6,
        cpu_limit_cores: quota.next().unwrap_or(0.0) / quota.next().filter(|period| *period > 0.0).unwrap_or(1.0),
        pids: number(group, "pids.current"),
        pids_limit: number(group, "pids.max"),
        pressure_seconds: RESOURCES.map(|resource| pressure(&text(group, &format!("{resource}.pressure")))),
    }
}

/// The totals, in seconds, of a file with a line such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=12345`.
fn pressure(text: &str) -> [Option<f64>; STALLS.len()] {
    STALLS.map(|stall| {
        let line = text.lines().find_map(|line| line.strip_prefix(stall))?;
        let total = line.split_whitespace().find_map(|field| field.strip_prefix("total="))?;
        total.parse::<u64>().ok().map(|micros| micros as f64 / 1e6)
    })
}

fn version_1(mount: &Path, groups: &str) -> Cgroup {
    let group = |controller: &str| {
        let line = groups
            .lines()
            .find(|line| line.split(':').nth(1).is_some_and(|names| names.split(',').any(|name| name == controller)));
        own(&mount.join(controller), line.and_then(|line| line.splitn(3, ':').nth(2)).unwrap_or("/"))
    };
    let (memory, cpu, pids) = (group("memory"), group("cpu"), group("pids"));
    let quota = text(&cpu, "cpu.cfs_quota_us").trim().parse::<f64>().unwrap_or(0.0).max(0.0);
    let period = number(&cpu, "cpu.cfs_period_us").max(1) as f64;
    Cgroup {
        memory_bytes: number(&memory, "memory.usage_in_bytes"),
        memory_limit_bytes: Some(number(&memory, "memory.limit_in_bytes"))
            .filter(|limit| *limit < UNLIMITED)
            .unwrap_or(0),
        throttled_seconds: in_stat(&cpu, "cpu.stat", "throttled_time") as f64 / 1e9,
        cpu_limit_cores: quota / period,
        pids: number(&pids, "pids.current"),
        pids_limit: number(&pids, "pids.max"),
        ..Cgroup::default()
    }
}

/// The group's directory: below the mount on a host, the mount itself in a container, which may see its group as `/` or as
/// a path that leads out of what is mounted.
fn own(mount: &Path, path: &str) -> PathBuf {
    let below = mount.join(path.trim_start_matches('/'));
    if below.is_dir() && !path.contains("..") { below } else { mount.to_owned() }
}

fn text(group: &Path, file: &str) -> String {
    fs::read_to_string(group.join(file)).unwrap_or_default()
}

/// A file with one number; `max`, and no file, is 0.
fn number(group: &Path, file: &str) -> u64 {
    text(group, file).trim().parse().unwrap_or(0)
}

fn in_stat(group: &Path, file: &str, name: &str) -> u64 {
    text(group, file).lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
}
