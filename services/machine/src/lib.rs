//! The machine a measurement ran on, and what else it did meanwhile.

use std::fs;

use report::Machine;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Readings of the machine; two of them say what happened between.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    at: u64,
    /// Microseconds in which something waited for a CPU; none where the kernel does not say.
    pressure_us: Option<u64>,
    steal_ticks: u64,
    all_ticks: u64,
    /// Nanoseconds in which this thread waited for a CPU.
    waited_ns: u64,
}

/// What the machine did between two readings, each as a part of the time (0 to 1).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Weather {
    /// Something waited for a CPU.
    pub pressure: Option<f64>,
    /// A hypervisor took the CPU away.
    pub steal: f64,
    /// The client waited for a CPU.
    pub client_waited: f64,
}

impl Weather {
    /// Of several stretches of about the same length; of none, calm.
    pub fn mean(of: &[Self]) -> Self {
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / of.len().max(1) as f64;
        let is_told = of.iter().all(|one| one.pressure.is_some());
        Self {
            pressure: is_told.then(|| mean(&mut of.iter().filter_map(|one| one.pressure))),
            steal: mean(&mut of.iter().map(|one| one.steal)),
            client_waited: mean(&mut of.iter().map(|one| one.client_waited)),
        }
    }
}

impl Reading {
    /// The machine now.
    pub fn take() -> Self {
        let pressure = fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
        let total = pressure.lines().find(|line| line.starts_with("some")).and_then(|line| line.rsplit_once("total="));
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let ticks: Vec<u64> =
            stat.lines().next().unwrap_or_default().split_whitespace().filter_map(|tick| tick.parse().ok()).collect();
        let schedule = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Self {
            at: now(),
            pressure_us: total.and_then(|(_, total)| total.parse().ok()),
            steal_ticks: ticks.get(7).copied().unwrap_or(0),
            // Guests are part of user time already.
            all_ticks: ticks.iter().take(8).sum(),
            waited_ns: schedule.split_whitespace().nth(1).and_then(|waited| waited.parse().ok()).unwrap_or(0),
        }
    }

    /// What happened since `earlier`.
    pub fn since(&self, earlier: &Self) -> Weather {
        let part = |of: u64, all: u64| (of as f64 / all.max(1) as f64).min(1.0);
        let time = self.at - earlier.at;
        let pressure = self.pressure_us.zip(earlier.pressure_us);
        Weather {
            pressure: pressure.map(|(now, then)| part(now.saturating_sub(then) * 1000, time)),
            steal: part(
                self.steal_ticks.saturating_sub(earlier.steal_ticks),
                self.all_ticks.saturating_sub(earlier.all_ticks),
            ),
            client_waited: part(self.waited_ns.saturating_sub(earlier.waited_ns), time),
        }
    }
}

/// Nanoseconds of CLOCK_MONOTONIC.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// This machine with the weather of a whole run, in which so many cores could be used. Whether the run had a network namespace
/// of its own, and whether a packet filter was in the path, is for the caller to know.
pub fn describe(cores: u32, own_network: bool, packet_filter: Option<bool>, weather: &Weather) -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpu = read("/proc/cpuinfo");
    let processor = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let memory = read("/proc/meminfo");
    let kilobytes =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    Machine {
        kernel: read("/proc/sys/kernel/osrelease"),
        cores,
        processor: processor.map_or(String::new(), |(_, name)| name.trim().to_owned()),
        memory_bytes: kilobytes.unwrap_or(0_u64) * 1024,
        open_files: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        cpu_pressure: weather.pressure,
        steal: weather.steal,
        own_network,
        packet_filter,
    }
}

#[cfg(test)]
mod tests {
    use super::{Reading, describe};

    #[test]
    fn this_machine_can_be_described() {
        let before = Reading::take();
        let weather = Reading::take().since(&before);
        let machine = describe(2, false, None, &weather);
        assert!(machine.memory_bytes > 1 << 20 && machine.open_files > 0 && !machine.kernel.is_empty(), "{machine:?}");
        assert!((0.0..=1.0).contains(&weather.steal) && (0.0..=1.0).contains(&weather.client_waited), "{weather:?}");
    }
}
