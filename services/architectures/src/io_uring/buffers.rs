//! Buffers of which the kernel takes one when something has come: a client who is silent has none.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// How many; a power of two. When all are taken, an operation ends with ENOBUFS and is begun again.
pub const BUFFERS: u16 = 1024;

/// The kernel's name for them.
pub const GROUP: u16 = 0;

/// The buffers, and the ring in which they are offered to the kernel.
pub struct Buffers {
    offers: *mut BufRingEntry,
    offered: u16,
    memory: *mut u8,
    /// The size of one in bytes.
    size: usize,
}

impl Buffers {
    /// Buffers of `size` bytes for the operations of `ring`.
    pub fn register(ring: &IoUring, size: usize) -> io::Result<Self> {
        let length = usize::from(BUFFERS) * (size_of::<BufRingEntry>() + size);
        let (access, kind) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a fresh mapping, page-aligned and zero-filled. It is never unmapped: a data plane has one ring, and the
        // kernel may write here as long as that lives.
        let offers = unsafe { mmap_anonymous(std::ptr::null_mut(), length, access, kind)? }.cast::<BufRingEntry>();
        // SAFETY: the mapping begins with so many offers, and stays.
        unsafe { ring.submitter().register_buf_ring_with_flags(offers as u64, BUFFERS, GROUP, 0)? };
        // SAFETY: the mapping goes on behind them.
        let memory = unsafe { offers.add(usize::from(BUFFERS)) }.cast::<u8>();
        let mut buffers = Self { offers, offered: 0, memory, size };
        (0..BUFFERS).for_each(|buffer| buffers.give_back(buffer));
        Ok(buffers)
    }

    /// Offers a buffer to the kernel.
    pub fn give_back(&mut self, buffer: u16) {
        // SAFETY: both places are inside the mapping. The kernel looks at an offer only after the tail has passed it; the
        // tail itself lies in a part of the first offer that nothing else uses.
        unsafe {
            let offer = &mut *self.offers.add(usize::from(self.offered % BUFFERS));
            offer.set_addr(self.memory.add(usize::from(buffer) * self.size) as u64);
            offer.set_len(self.size as u32);
            offer.set_bid(buffer);
            self.offered = self.offered.wrapping_add(1);
            let tail = BufRingEntry::tail(self.offers).cast_mut();
            AtomicU16::from_ptr(tail).store(self.offered, Ordering::Release);
        }
    }

    /// The first `length` bytes of a buffer that was received into and not given back yet.
    pub fn bytes(&self, buffer: u16, length: usize) -> &[u8] {
        let place = usize::from(buffer % BUFFERS) * self.size;
        // SAFETY: inside the mapping; and the kernel leaves a buffer alone from its completion until it is offered again.
        unsafe { std::slice::from_raw_parts(self.memory.add(place), length.min(self.size)) }
    }
}
