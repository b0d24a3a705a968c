//! Sampled exchanges on their way from the data plane to the control plane.
//!
//! A record is a fixed number of bytes, fewer than PIPE_BUF, so writes of many processes to one pipe never mix
//! (pipe(7)). The pipe does not block: when nobody reads in time, the exchange is counted as dropped and the client waits
//! for nothing.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use zen::Transport;
use zen::trace::Exchange;

/// One answered question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Whose trace it belongs to.
    pub exchange: Exchange,
    /// When its bytes were read, in nanoseconds since the Unix epoch.
    pub started: u64,
    /// How long until the answer was the kernel's, in nanoseconds.
    pub nanoseconds: u64,
    /// How it came.
    pub transport: Transport,
    /// The place of the question in [`zen::QUESTIONS`]; `None` for another.
    pub question: Option<u8>,
    /// The worker's slot.
    pub worker: u16,
}

/// The bytes of a record on the pipe.
pub const RECORD_BYTES: usize = 16 + 8 + 8 + 8 + 8 + 1 + 1 + 2;

const OTHER: u8 = u8::MAX;

impl Record {
    /// The record as it travels.
    pub fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..16].copy_from_slice(&self.exchange.trace_id.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.exchange.client_span.to_ne_bytes());
        bytes[24..32].copy_from_slice(&self.exchange.server_span.to_ne_bytes());
        bytes[32..40].copy_from_slice(&self.started.to_ne_bytes());
        bytes[40..48].copy_from_slice(&self.nanoseconds.to_ne_bytes());
        bytes[48] = self.transport as u8;
        bytes[49] = self.question.unwrap_or(OTHER);
        bytes[50..].copy_from_slice(&self.worker.to_ne_bytes());
        bytes
    }

    /// The record that these bytes are.
    pub fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Self {
        Self {
            exchange: Exchange {
                trace_id: u128::from_ne_bytes(part(bytes, 0)),
                client_span: u64::from_ne_bytes(part(bytes, 16)),
                server_span: u64::from_ne_bytes(part(bytes, 24)),
            },
            started: u64::from_ne_bytes(part(bytes, 32)),
            nanoseconds: u64::from_ne_bytes(part(bytes, 40)),
            transport: Transport::ALL[usize::from(bytes[48]) % Transport::ALL.len()],
            question: Some(bytes[49]).filter(|&question| question != OTHER),
            worker: u16::from_ne_bytes(part(bytes, 50)),
        }
    }
}

fn part<const N: usize>(bytes: &[u8; RECORD_BYTES], from: usize) -> [u8; N] {
    std::array::from_fn(|at| bytes[from + at])
}

/// The write end of the pipe in a data plane; -1 while there is none.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Makes `pipe`, which must not block and stays open for the life of the process, the way of this process' records.
pub(crate) fn write_to(pipe: RawFd) {
    PIPE.store(pipe, Ordering::Relaxed);
}

/// Hands a record over; false if nobody can take it now.
pub(crate) fn send(record: Record) -> bool {
    let pipe = PIPE.load(Ordering::Relaxed);
    if pipe < 0 {
        return false;
    }
    // SAFETY: `write_to` is told a descriptor that stays open for the life of the process.
    let pipe = unsafe { BorrowedFd::borrow_raw(pipe) };
    rustix::io::write(pipe, &record.to_bytes()) == Ok(RECORD_BYTES)
}
