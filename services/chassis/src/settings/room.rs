//! What a container has room for: the bounds of `workers` and `max_connections`.

use std::path::Path;

use rustix::process::Resource;

use crate::Capacity;
use crate::control::cgroup;
use crate::page::MAX_SLOTS;

/// Descriptors, and processes with their threads, that a server keeps for other things than clients and workers.
const RESERVED: u64 = 64;

/// Clients that have a slot of their own: slot 0 is the leader's.
const SEATS: u64 = MAX_SLOTS as u64 - 1;

/// Limits of this process and of its container; `None` is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Room {
    /// The hard limit of descriptors.
    pub nofile: Option<u64>,
    /// Threads and processes.
    pub pids: Option<u64>,
    /// Memory in bytes.
    pub memory: Option<u64>,
}

/// The most that something can be, and why, as the end of a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub most: u64,
    pub since: String,
}

impl Room {
    /// That of this process, read anew: some ten small files.
    pub fn here() -> Self {
        let group = cgroup::read(Path::new("/"), "self");
        let limit = |limit: u64| Some(limit).filter(|&limit| limit > 0);
        Self {
            nofile: rustix::process::getrlimit(Resource::Nofile).maximum,
            pids: limit(group.pids_limit),
            memory: limit(group.memory_limit_bytes),
        }
    }

    /// How many workers an endpoint can have, as far as the container limits that.
    pub fn workers(&self) -> Option<Bound> {
        self.pids.map(|pids| {
            Bound::new(
                pids.saturating_sub(RESERVED),
                format!("its container's limit of processes and threads (pids) is {pids}"),
            )
        })
    }

    /// How many clients an endpoint can have: the tightest of all bounds.
    pub fn connections(&self, capacity: Capacity) -> Option<Bound> {
        let nofile = self.nofile.map(|nofile| {
            Bound::new(nofile.saturating_sub(RESERVED), format!("its hard limit of descriptors (nofile) is {nofile}"))
        });
        let memory = self.memory.map(|memory| {
            let each = least_memory(capacity);
            let since = format!("its container's limit of memory is {memory} bytes, and each takes {each} at least");
            Bound::new(memory / each, since)
        });
        let apart = matches!(capacity, Capacity::Threads(_) | Capacity::Processes(_));
        let seats = || Bound::new(SEATS, "there are no more slots for clients with a worker of their own".into());
        let seats = [apart.then(seats), self.workers().filter(|_| apart)];
        [nofile, memory].into_iter().chain(seats).flatten().min_by_key(|bound| bound.most)
    }
}

impl Bound {
    fn new(most: u64, since: String) -> Self {
        Self { most: most.max(1), since }
    }
}

/// What a client costs at the least, in bytes: its socket (about 5 KiB in the kernel), and what a thread (a stack at either
/// side of the kernel) or a process (page tables as well) of its own takes beside. Measured: `docs/claims/threads`, `docs/bench`.
const fn least_memory(capacity: Capacity) -> u64 {
    match capacity {
        Capacity::PerWorker | Capacity::Connections(_) => 4 << 10,
        Capacity::Threads(_) => 36 << 10,
        Capacity::Processes(_) => 96 << 10,
    }
}
