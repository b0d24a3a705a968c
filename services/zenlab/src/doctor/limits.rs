//! What the kernel and the container allow.

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::process::{Resource, getrlimit};

use super::{Finding, Grade};

/// Descriptors that the biggest architecture's default of 10,000 connections needs, and some for itself.
const DESCRIPTORS: u64 = 10_240;

/// What one fleet needs: each process per connection or thread is one.
const PIDS: u64 = 8_192;

/// The backlog that servers ask for by default.
const BACKLOG: u64 = 4_096;

/// The receive buffer that servers ask for by default, in bytes.
const RECEIVE_BUFFER: u64 = 1 << 20;

/// Everything looked at here.
pub fn all() -> Vec<Finding> {
    let cgroup = Cgroup::of_this_process();
    vec![
        kernel(),
        cpus(),
        memory(&cgroup),
        descriptors(),
        pids(&cgroup),
        backlog(),
        receive_buffer(),
        Finding::new(Grade::Good, "control groups", cgroup.name(), ""),
        io_uring(),
    ]
}

fn kernel() -> Finding {
    let name = rustix::system::uname();
    let text = format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy());
    Finding::new(Grade::Good, "kernel", text, "")
}

fn cpus() -> Finding {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Finding::judged(cpus > 1, "processors", cpus.to_string(), "servers and swarm share one: figures say little")
}

fn memory(cgroup: &Cgroup) -> Finding {
    let free = meminfo("MemAvailable:").unwrap_or(0);
    let limit =
        cgroup.memory_limit().map_or_else(|| "no limit".to_owned(), |bytes| format!("limit {}", mebibytes(bytes)));
    let value = format!("{} available, {limit}", mebibytes(free));
    Finding::judged(free >= 1 << 30, "memory", value, "the whole fleet wants 1 GiB")
}

fn descriptors() -> Finding {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let show = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let value = format!("soft {}, hard {}", show(limit.current), show(limit.maximum));
    match hard {
        ..1_024 => Finding::new(Grade::Bad, "open files", value, "raise it: ulimit -Hn 65536"),
        _ => Finding::judged(
            hard >= DESCRIPTORS,
            "open files",
            value,
            "max_connections = 10000 needs a hard limit of 10240",
        ),
    }
}

fn pids(cgroup: &Cgroup) -> Finding {
    let kernel = number("/proc/sys/kernel/pid_max").unwrap_or(0);
    let limit = cgroup.pids_limit();
    let value =
        format!("kernel {kernel}, {}", limit.map_or_else(|| "no limit".to_owned(), |limit| format!("limit {limit}")));
    let enough = limit.unwrap_or(u64::MAX).min(kernel) >= PIDS;
    Finding::judged(enough, "processes", value, "bounds workers and the connections of thread_ and fork_per_connection")
}

fn backlog() -> Finding {
    let limit = number("/proc/sys/net/core/somaxconn").unwrap_or(0);
    Finding::judged(limit >= BACKLOG, "net.core.somaxconn", limit.to_string(), "cuts the backlog of 4096")
}

fn receive_buffer() -> Finding {
    let limit = number("/proc/sys/net/core/rmem_max").unwrap_or(0);
    let advice = "cuts the receive buffer of 1 MiB: datagrams are dropped sooner in a burst";
    Finding::judged(limit >= RECEIVE_BUFFER, "net.core.rmem_max", limit.to_string(), advice)
}

fn io_uring() -> Finding {
    match probe_io_uring() {
        Ok(()) => Finding::new(Grade::Good, "io_uring", "available", ""),
        Err(error) => {
            Finding::new(Grade::Note, "io_uring", error.to_string(), "the architecture io_uring cannot be itself here")
        }
    }
}

/// Sets up the smallest ring and closes it.
fn probe_io_uring() -> io::Result<()> {
    // struct io_uring_params is 120 bytes of integers; all zero asks for no option.
    let mut parameters = [0_u64; 15];
    // SAFETY: the kernel reads and writes the 120 bytes of `parameters`, which outlive the call.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    if ring < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call gave this descriptor to us, and nobody else knows it.
    drop(unsafe { OwnedFd::from_raw_fd(ring as i32) });
    Ok(())
}

/// The control group that this process is in.
enum Cgroup {
    /// The unified hierarchy: its directory.
    Unified(PathBuf),
    /// A directory for each controller.
    Legacy { memory: PathBuf, pids: PathBuf },
}

impl Cgroup {
    fn of_this_process() -> Self {
        let table = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        if fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false) {
            return Self::Unified(place(&table, "", ""));
        }
        Self::Legacy { memory: place(&table, "memory", "memory"), pids: place(&table, "pids", "pids") }
    }

    fn name(&self) -> String {
        match self {
            Self::Unified(path) => format!("v2, {}", path.display()),
            Self::Legacy { memory, .. } => format!("v1, {}", memory.display()),
        }
    }

    /// In bytes; `None` where there is none.
    fn memory_limit(&self) -> Option<u64> {
        match self {
            Self::Unified(path) => number(path.join("memory.max")),
            // v1 writes the greatest multiple of a page for "no limit".
            Self::Legacy { memory, .. } => {
                number(memory.join("memory.limit_in_bytes")).filter(|&limit| limit < 1 << 60)
            }
        }
    }

    fn pids_limit(&self) -> Option<u64> {
        match self {
            Self::Unified(path) => number(path.join("pids.max")),
            Self::Legacy { pids, .. } => number(pids.join("pids.max")),
        }
    }
}

/// The directory of the group that `table` (/proc/self/cgroup) gives for `controller`. In a container the mount begins at
/// the container's own group, so the path below it does not exist and the mount itself is the place.
fn place(table: &str, controller: &str, mount: &str) -> PathBuf {
    let root = PathBuf::from("/sys/fs/cgroup").join(mount);
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let is_it = parts.next()?.split(',').any(|name| name == controller);
        is_it.then(|| parts.next()).flatten().map(|path| root.join(path.trim_start_matches('/')))
    };
    table.lines().find_map(of_line).filter(|path| path.is_dir()).unwrap_or(root)
}

fn meminfo(key: &str) -> Option<u64> {
    let table = fs::read_to_string("/proc/meminfo").ok()?;
    let line = table.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// The number that a file of the kernel holds; `max` is none.
fn number(path: impl Into<PathBuf>) -> Option<u64> {
    fs::read_to_string(path.into()).ok()?.trim().parse().ok()
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
