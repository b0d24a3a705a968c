//! Numbers in shared memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows, with one writer: a relaxed load and store, no locked instruction.
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds. Only the one writer may.
    pub fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is replaced.
#[repr(transparent)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Replaces it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of [`Histogram`]'s buckets in nanoseconds: 1, 1.5, 2, 3, 5 and 7 times each power of ten from a microsecond
/// to a second. No step is wider than half, so two architectures' percentiles do not look equal by accident.
pub const DURATION_BOUNDS: [u64; 37] = admin::metrics::bounds(100);

/// Durations counted by bucket, with one writer.
#[repr(C)]
pub struct Histogram {
    /// The last bucket holds what is above every bound.
    buckets: [Counter; 38],
    sum: Counter,
}

impl Histogram {
    /// Counts `times` events that took `time` each.
    pub fn record(&self, time: Duration, times: u64) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = DURATION_BOUNDS.partition_point(|&bound| bound < ns);
        self.buckets[bucket].add(times);
        self.sum.add(ns.saturating_mul(times));
    }

    /// Events in bucket `index`; index 37 is above every bound.
    pub fn bucket(&self, index: usize) -> u64 {
        self.buckets[index].get()
    }

    /// The sum of all durations in nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum.get()
    }
}

/// What processes have used, as getrusage(2) tells it. Several processes may add to one.
#[repr(C)]
pub struct Usage {
    /// CPU time in user code, in microseconds.
    pub user: AtomicU64,
    /// CPU time in the kernel, in microseconds.
    pub system: AtomicU64,
    /// Context switches because the process waited.
    pub voluntary: AtomicU64,
    /// Context switches because somebody else's turn came.
    pub involuntary: AtomicU64,
    /// Page faults served from memory.
    pub minor_faults: AtomicU64,
    /// Page faults that needed the disk.
    pub major_faults: AtomicU64,
}

impl Usage {
    /// Replaces the numbers by those of `usage`.
    pub fn set(&self, usage: &libc::rusage) {
        for (number, value) in self.numbers().into_iter().zip(numbers_of(usage)) {
            number.store(value, Ordering::Relaxed);
        }
    }

    /// Adds the numbers of `usage`.
    pub fn add(&self, usage: &libc::rusage) {
        for (number, value) in self.numbers().into_iter().zip(numbers_of(usage)) {
            number.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// Makes all numbers zero.
    pub fn clear(&self) {
        for number in self.numbers() {
            number.store(0, Ordering::Relaxed);
        }
    }

    /// User and system time (microseconds), voluntary and involuntary switches, minor and major faults.
    pub fn get(&self) -> [u64; 6] {
        self.numbers().map(|number| number.load(Ordering::Relaxed))
    }

    const fn numbers(&self) -> [&AtomicU64; 6] {
        [&self.user, &self.system, &self.voluntary, &self.involuntary, &self.minor_faults, &self.major_faults]
    }
}

impl Usage {
    /// The numbers of a `rusage`, in the order of [`Self::get`].
    pub fn numbers_of(usage: &libc::rusage) -> [u64; 6] {
        numbers_of(usage)
    }
}

fn numbers_of(usage: &libc::rusage) -> [u64; 6] {
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    [
        micros(usage.ru_utime),
        micros(usage.ru_stime),
        usage.ru_nvcsw as u64,
        usage.ru_nivcsw as u64,
        usage.ru_minflt as u64,
        usage.ru_majflt as u64,
    ]
}
