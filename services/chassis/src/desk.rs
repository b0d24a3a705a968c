//! Where a thread sits while it works: what it publishes, and how often.
//!
//! Blocking code may be in one conversation for minutes, so it is the conversations that look after these duties as they
//! go on, and they find their worker here.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::linger;
use crate::page::{EndpointPage, Page, Slot, Usage, monotonic_ns};

/// How often a worker publishes what it used.
const PUBLISH: Duration = Duration::from_millis(100);

/// A worker of one endpoint.
#[derive(Clone, Copy)]
pub(crate) struct Desk {
    pub page: &'static Page,
    pub endpoint: &'static EndpointPage,
    pub slot: &'static Slot,
    pub role: Role,
    /// Whose this slot is.
    pub tenure: Tenure,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("role", &self.role).field("tenure", &self.tenure).finish_non_exhaustive()
    }
}

/// How long a slot is somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tenure {
    /// A worker's, for all its clients.
    Worker,
    /// One client's, who leaves it when it goes.
    Client,
    /// Whichever thread goes on with the client counts in its own slot.
    Roaming,
}

/// Whose use of the machine a worker answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The whole data plane's: its process and the children it has reaped. It also serves clients itself.
    Leader,
    /// The same, but others serve the clients.
    Manager,
    /// Its own process'.
    Child,
    /// Nobody's: it is a thread of the leader's process.
    Thread,
}

thread_local! {
    static DESK: Cell<Option<Desk>> = const { Cell::new(None) };
    static NEXT: Cell<Option<Instant>> = const { Cell::new(None) };
}

impl Desk {
    /// Makes this the calling thread's desk.
    pub fn sit(&self) {
        DESK.set(Some(*self));
    }

    /// The slot to count in now.
    pub fn slot(&self) -> &'static Slot {
        if self.tenure == Tenure::Roaming { DESK.get().map_or(self.slot, |desk| desk.slot) } else { self.slot }
    }

    /// Does something for one client. A panic in it is counted and goes no further: `None`.
    pub fn contain<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(work)).ok();
        if done.is_none() {
            self.slot().panics.add(1);
        }
        done
    }

    fn publish(&self) {
        self.endpoint.heartbeat.set(monotonic_ns());
        if self.role != Role::Manager {
            self.slot.generation.set(self.page.settings.generation());
        }
        match self.role {
            Role::Leader | Role::Manager => publish_leading(&self.endpoint.leading),
            Role::Child => {
                self.slot.take(std::process::id());
                self.slot.usage.set(&usage_of(libc::RUSAGE_SELF));
            }
            Role::Thread => {}
        }
    }
}

/// Publishes what the calling thread owes and sees off those who linger, if it is time.
pub(crate) fn tick(now: Instant) {
    if NEXT.get().is_some_and(|next| now < next) {
        return;
    }
    NEXT.set(Some(now + PUBLISH));
    linger::sweep();
    if let Some(desk) = DESK.get() {
        desk.publish();
    }
}

fn publish_leading(usage: &Usage) {
    let mut sum = usage_of(libc::RUSAGE_SELF);
    add(&mut sum, &usage_of(libc::RUSAGE_CHILDREN));
    usage.set(&sum);
}

/// getrusage(2).
pub(crate) fn usage_of(who: libc::c_int) -> libc::rusage {
    // SAFETY: rusage is plain integers, for which zero is valid; the call fills it and cannot fail for these arguments.
    unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(who, &raw mut usage);
        usage
    }
}

fn add(sum: &mut libc::rusage, more: &libc::rusage) {
    add_time(&mut sum.ru_utime, more.ru_utime);
    add_time(&mut sum.ru_stime, more.ru_stime);
    sum.ru_nvcsw += more.ru_nvcsw;
    sum.ru_nivcsw += more.ru_nivcsw;
    sum.ru_minflt += more.ru_minflt;
    sum.ru_majflt += more.ru_majflt;
}

fn add_time(sum: &mut libc::timeval, more: libc::timeval) {
    // Microseconds may pass a million here; whoever reads adds them up anyway.
    sum.tv_sec += more.tv_sec;
    sum.tv_usec += more.tv_usec;
}
