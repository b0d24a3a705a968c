//! What only the supervisor can see of an endpoint, because it holds the socket: its queues. And the books of a drain.

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::Ordering;

use zen::{Address, Transport};

use super::Plane;
use crate::page::{Closed, Slot, monotonic_ns};
use crate::socket;

/// From `linux/sock_diag.h`; libc does not name them.
const SK_MEMINFO_RMEM_ALLOC: usize = 0;
const SK_MEMINFO_RCVBUF: usize = 1;
const SK_MEMINFO_DROPS: usize = 8;

impl Plane {
    /// Samples the queues into the page, and notes when a new leader has begun.
    pub(super) fn sample(&self) {
        self.note_respawn();
        let Some(socket) = &self.socket else { return self.note_empty_queues() };
        match self.endpoint.transport {
            Transport::Tcp => self.sample_listener(socket.as_fd()),
            Transport::Udp | Transport::Unixgram => self.sample_datagrams(socket.as_fd()),
            // The kernel tells nobody how many clients wait at a Unix listener, but by /proc/net/unix.
            Transport::Unix => {}
        }
    }

    fn note_respawn(&self) {
        let heartbeat = self.page.heartbeat.get();
        if let Some(died) = self.died
            && heartbeat > died
            && self.page.respawn_of.get() != died
        {
            self.page.respawn_of.set(died);
            self.page.last_respawn.set(heartbeat - died);
            tracing::info!(event = "respawned", url = %self.endpoint, milliseconds = (heartbeat - died) / 1_000_000, "a new data plane serves");
        }
    }

    /// Nobody can wait at an endpoint that is closed.
    fn note_empty_queues(&self) {
        for queue in [&self.page.queue_length, &self.page.queue_limit, &self.page.datagram_queue] {
            queue.set(0);
        }
    }

    /// For a listening socket TCP_INFO tells the queue in `unacked` and its limit in `sacked` (tcp(7), `tcp_get_info`).
    fn sample_listener(&self, socket: BorrowedFd<'_>) {
        if let Some(info) = option::<libc::tcp_info>(socket, libc::IPPROTO_TCP, libc::TCP_INFO) {
            self.page.queue_length.set(u64::from(info.tcpi_unacked));
            self.page.queue_limit.set(u64::from(info.tcpi_sacked));
        }
    }

    fn sample_datagrams(&self, socket: BorrowedFd<'_>) {
        if let Some(info) = option::<[u32; 9]>(socket, libc::SOL_SOCKET, libc::SO_MEMINFO) {
            self.page.datagram_queue.set(u64::from(info[SK_MEMINFO_RMEM_ALLOC]));
            self.page.datagram_buffer.set(u64::from(info[SK_MEMINFO_RCVBUF]));
            self.page.datagram_drops.set(self.drops_before + u64::from(info[SK_MEMINFO_DROPS]));
        }
    }

    /// Opens the books of a drain.
    pub(super) fn note_drain(&self) {
        let page = self.page;
        page.drain_open.set(page.open());
        page.drain_answered_before.set(page.sum(Slot::answered));
        page.drain_forced_before.set(page.sum(|slot| slot.closed[Closed::Forced as usize].get()));
        page.drain_lost.store(0, Ordering::Relaxed);
        page.drain_retryable.store(0, Ordering::Relaxed);
    }

    /// Closes the books of a drain.
    pub(super) fn log_ledger(&self) {
        let page = self.page;
        tracing::info!(
            event = "drained",
            url = %self.endpoint,
            open_at_start = page.drain_open.get(),
            answered = page.sum(Slot::answered) - page.drain_answered_before.get(),
            forced = page.sum(|slot| slot.closed[Closed::Forced as usize].get()) - page.drain_forced_before.get(),
            lost = page.drain_lost.load(Ordering::Relaxed),
            retryable = page.drain_retryable.load(Ordering::Relaxed),
            at = monotonic_ns(),
            "drained"
        );
    }

    /// Removes the file of a Unix socket that nobody listens on any more, if it still is the one that was made here: while the
    /// last clients were served, a successor may have put its own in its place.
    pub(super) fn unlink(&self) {
        if let Address::Path(path) = &self.endpoint.address
            && self.file.as_ref().is_some_and(|file| socket::is_at(file, path))
        {
            // Somebody may have been quicker.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// getsockopt(2) of a plain struct of integers.
fn option<T: Copy>(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> Option<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `value`; the types used here are integers throughout, for which
    // the zero of what an older kernel does not write is valid.
    unsafe {
        let result = libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length);
        (result == 0).then(|| value.assume_init())
    }
}
