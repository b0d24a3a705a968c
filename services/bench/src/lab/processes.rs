//! What a data plane uses and holds, from the kernel's clocks and /proc.

use std::fs;
use std::path::Path;

/// The clock of a whole process, ended threads included (kernel: `CPUCLOCK_SCHED`).
const PROCESS_CLOCK: i32 = 2;

/// Ticks of a process from which on the parts of its time mean something: of so many, a part of 10 % is known to 4 points.
const SAMPLES: u64 = 50;

/// What has been used since a data plane was started. Only differences mean something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in nanoseconds, ended threads included. Of processes that ended, in steps of the kernel's tick (10 ms).
    pub cpu_ns: u64,
    /// The user part of it, in ticks.
    pub user_ticks: u64,
    /// The system part of it, in ticks.
    pub system_ticks: u64,
    /// Context switches of the threads that live.
    pub switches: u64,
    /// Nanoseconds in which a thread that lives could run and had no CPU.
    pub waited_ns: u64,
}

/// What a data plane holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Processes.
    pub processes: u64,
    /// Threads of all of them.
    pub threads: u64,
    /// Memory in bytes, shared pages counted in parts (PSS).
    pub memory_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Usage {
    /// Of a leader and all below it; none if it is gone.
    pub(super) fn of(leader: u32) -> Option<Self> {
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        let mut sum = Self::default();
        let own = Stat::of(leader)?;
        sum.cpu_ns += (own.reaped_user + own.reaped_system) * tick;
        sum.user_ticks += own.reaped_user;
        sum.system_ticks += own.reaped_system;
        for pid in family(leader) {
            let Some(stat) = Stat::of(pid) else { continue };
            sum.cpu_ns += process_clock(pid).unwrap_or(0);
            sum.user_ticks += stat.user;
            sum.system_ticks += stat.system;
            for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let (switches, waited_ns) = task_facts(&task.path());
                sum.switches += switches;
                sum.waited_ns += waited_ns;
            }
        }
        Some(sum)
    }

    /// What was used since `earlier`.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(earlier.system_ticks),
            switches: self.switches.saturating_sub(earlier.switches),
            waited_ns: self.waited_ns.saturating_sub(earlier.waited_ns),
        }
    }

    /// Adds what was used at another time.
    pub const fn add(&mut self, other: &Self) {
        self.cpu_ns += other.cpu_ns;
        self.user_ticks += other.user_ticks;
        self.system_ticks += other.system_ticks;
        self.switches += other.switches;
        self.waited_ns += other.waited_ns;
    }

    /// The part of the CPU time that was spent outside the kernel (0 to 1), of so many processes; none before each had
    /// [`SAMPLES`] ticks. The kernel knows it from samples only, and calls all of it user time before the first one.
    pub fn user_share(&self, processes: u64) -> Option<f64> {
        let all = self.user_ticks + self.system_ticks;
        (all >= SAMPLES * processes.max(1)).then(|| self.user_ticks as f64 / all as f64)
    }
}

impl Facts {
    /// Of a leader and all below it; none if it is gone.
    pub(super) fn of(leader: u32) -> Option<Self> {
        Stat::of(leader)?;
        let mut sum = Self::default();
        for pid in family(leader) {
            let Some(stat) = Stat::of(pid) else { continue };
            sum.processes += 1;
            sum.threads += stat.threads;
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            sum.memory_bytes += field(&rollup, "Pss:").unwrap_or(0) * 1024;
            sum.descriptors += fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count) as u64;
        }
        Some(sum)
    }
}

/// The name of a process' program, cut by the kernel to 15 bytes.
pub(super) fn command(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// A process and all below it. Architectures that fork have one thread, so every child is its main thread's.
pub(crate) fn family(leader: u32) -> Vec<u32> {
    let mut all = vec![leader];
    let mut at = 0;
    while let Some(&pid) = all.get(at) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        at += 1;
    }
    all
}

fn process_clock(pid: u32) -> Option<u64> {
    let clock = (!(pid as i32) << 3) | PROCESS_CLOCK;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the call; a clock that is no more is an error.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (result == 0).then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// A thread's context switches, and the nanoseconds it waited for a CPU.
fn task_facts(task: &Path) -> (u64, u64) {
    let status = fs::read_to_string(task.join("status")).unwrap_or_default();
    let switches =
        ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"].map(|name| field(&status, name).unwrap_or(0));
    let schedule = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let waited = schedule.split_whitespace().nth(1).and_then(|waited| waited.parse().ok());
    (switches.iter().sum(), waited.unwrap_or(0))
}

/// Some of a process' line in /proc/PID/stat (proc_pid_stat(5)), times in ticks.
struct Stat {
    user: u64,
    system: u64,
    reaped_user: u64,
    reaped_system: u64,
    threads: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything, spaces and parentheses too.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let at = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Self { user: at(14)?, system: at(15)?, reaped_user: at(16)?, reaped_system: at(17)?, threads: at(20)? })
    }
}

/// The number after `name` in a text of lines.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{Facts, Usage};

    fn burn() -> u64 {
        (0..20_000_000_u64).fold(0, |sum, number| std::hint::black_box(sum ^ number))
    }

    #[test]
    fn work_of_threads_that_ended_is_counted() {
        let me = std::process::id();
        let before = Usage::of(me).expect("this process is there");
        std::thread::scope(|scope| {
            scope.spawn(burn);
        });
        let used = Usage::of(me).expect("it still is").since(&before);
        assert!(used.cpu_ns > 1_000_000, "{used:?}");
        let facts = Facts::of(me).expect("it is there");
        assert!(facts.processes >= 1 && facts.memory_bytes > 0 && facts.descriptors > 2, "{facts:?}");
        assert!(Usage::of(0).is_none() && Facts::of(0).is_none());
    }
}
