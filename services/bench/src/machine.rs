//! The machine a measurement ran on, and what else it did meanwhile.

use std::fs;

use report::Machine;

use crate::clock;
use crate::lab::field;
use crate::lab::{Lab, packet_filter};

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
            at: clock::now(),
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

/// This machine, with the weather of the whole run.
pub fn describe(lab: &Lab, weather: &Weather) -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let own_network = lab.has_own_network();
    let cpu = read("/proc/cpuinfo");
    let processor = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    Machine {
        kernel: read("/proc/sys/kernel/osrelease"),
        cores: lab.cores(),
        processor: processor.map_or(String::new(), |(_, name)| name.trim().to_owned()),
        memory_bytes: field(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0) * 1024,
        open_files: files.unwrap_or(u64::MAX),
        clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        cpu_pressure: weather.pressure,
        steal: weather.steal,
        own_network,
        packet_filter: packet_filter(own_network),
    }
}

#[cfg(test)]
mod tests {
    use super::{Reading, describe};
    use crate::lab::Lab;

    #[test]
    fn this_machine_can_be_described() {
        let before = Reading::take();
        let weather = Reading::take().since(&before);
        let lab = Lab::open(std::path::Path::new("/nonexistent"), false).expect("a directory can be made");
        let machine = describe(&lab, &weather);
        assert!(machine.cores > 0 && machine.memory_bytes > 1 << 20 && !machine.kernel.is_empty(), "{machine:?}");
        assert!((0.0..=1.0).contains(&weather.steal) && (0.0..=1.0).contains(&weather.client_waited), "{weather:?}");
    }
}
