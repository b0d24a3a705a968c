//! The two queues that are shared with the kernel: operations to be begun, and completions of what was done.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};

use super::buffers::Buffers;

/// Operations that may be begun at once.
const OPERATIONS: u32 = 1024;

/// Completions that may wait. What does not fit is kept by the kernel, which is slower.
const COMPLETIONS: u32 = 8192;

/// What an operation does; a completion carries it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    Accept,
    Receive,
    Send,
    /// A send that is done at once, or not at all (MSG_DONTWAIT).
    SendNow,
    Cancel,
}

impl Op {
    const ALL: [Self; 5] = [Self::Accept, Self::Receive, Self::Send, Self::SendNow, Self::Cancel];
}

/// A completion.
#[derive(Debug)]
pub struct Done {
    pub op: Op,
    /// Whose it is: the number that the operation was begun with.
    pub whose: u32,
    pub result: io::Result<usize>,
    /// Whether more completions of the same operation follow.
    pub more: bool,
    /// The buffer that holds what was received. It must be given back.
    pub buffer: Option<u16>,
}

impl Done {
    /// How many bytes were received.
    pub fn length(&self) -> usize {
        *self.result.as_ref().unwrap_or(&0)
    }
}

pub struct Ring {
    queues: IoUring,
    pub buffers: Buffers,
    /// Sends that will be done at once: who waits for news waits for one completion more than these.
    prompt: usize,
    /// Whether they are news themselves.
    hurry: bool,
}

impl Ring {
    /// A ring with buffers of `size` bytes to receive into.
    ///
    /// # Errors
    /// If the kernel is older than 6.1, or somebody (a seccomp profile, a sysctl) forbids it.
    pub fn new(size: usize) -> io::Result<Self> {
        let queues = IoUring::builder()
            .setup_submit_all()
            .setup_single_issuer()
            // Completions are made while we wait for them, and at no other time. Since Linux 6.1.
            .setup_defer_taskrun()
            .setup_cqsize(COMPLETIONS)
            .build(OPERATIONS)?;
        let mut known = Probe::new();
        queues.submitter().register_probe(&mut known)?;
        // One cannot ask for multishot variants, or for a send with an address. The youngest of them came with this
        // operation, in 6.1.
        if !known.is_supported(opcode::SendMsgZc::CODE) {
            return Err(io::Error::from_raw_os_error(libc::ENOSYS));
        }
        let buffers = Buffers::register(&queues, size)?;
        Ok(Self { queues, buffers, prompt: 0, hurry: false })
    }

    /// Has an operation begun with the next [`Self::turn`].
    ///
    /// # Safety
    /// Whatever memory `entry` names must stay as it is until the operation's last completion; in the case of
    /// [`Op::SendNow`], which waits for nothing, until the next turn.
    pub unsafe fn begin(&mut self, op: Op, whose: u32, entry: squeue::Entry) -> io::Result<()> {
        self.prompt += usize::from(op == Op::SendNow);
        let entry = entry.user_data(tag(op, whose));
        // SAFETY: the caller answers for it.
        while unsafe { self.queues.submission().push(&entry) }.is_err() {
            self.queues.submit()?;
        }
        Ok(())
    }

    /// Has an operation ended; its last completion says ECANCELED.
    pub fn cancel(&mut self, op: Op, whose: u32) -> io::Result<()> {
        // SAFETY: a cancellation names no memory.
        unsafe { self.begin(Op::Cancel, whose, opcode::AsyncCancel::new(tag(op, whose)).build()) }
    }

    /// Has all operations ended that go on with a descriptor.
    pub fn cancel_all(&mut self, fd: RawFd) -> io::Result<()> {
        let all = CancelBuilder::fd(Fd(fd)).all();
        // SAFETY: a cancellation names no memory.
        unsafe { self.begin(Op::Cancel, fd as u32, opcode::AsyncCancel2::new(all).build()) }
    }

    /// Has the next [`Self::turn`] wait for nothing but sends: there is more to do when they are done.
    pub const fn hurry(&mut self) {
        self.hurry = true;
    }

    /// One io_uring_enter(2): begins what is to be done, and waits until something comes, for `tick` at the most.
    pub fn turn(&mut self, tick: Duration) -> io::Result<()> {
        let news = if std::mem::take(&mut self.hurry) { 1 } else { self.prompt + 1 };
        match self.queues.submitter().submit_with_args(news, &SubmitArgs::new().timespec(&tick.into())) {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The next completion, if there is one.
    pub fn next_done(&mut self) -> Option<Done> {
        let done = self.queues.completion().next()?;
        let op = Op::ALL[(done.user_data() >> 32) as usize % Op::ALL.len()];
        self.prompt -= usize::from(op == Op::SendNow);
        let result = match done.result() {
            bytes @ 0.. => Ok(bytes as usize),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        };
        let (more, buffer) = (cqueue::more(done.flags()), cqueue::buffer_select(done.flags()));
        Some(Done { op, whose: done.user_data() as u32, result, more, buffer })
    }
}

const fn tag(op: Op, whose: u32) -> u64 {
    (op as u64) << 32 | whose as u64
}
