//! A process for each request.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;

use crate::handler::{Failure, Work};
use crate::mix_in::MixIn;
use crate::requests::Requests;

/// Handles each request in a process of its own (`ForkingMixIn`).
///
/// The process that serves must have one thread: a child gets only the one that forked, and a lock that another one held
/// (the allocator's, say) would stay locked in it for ever.
///
/// A child closes the listener, handles its request and ends at once, by _exit(2): with 0, or with 1 if the handler failed or
/// panicked. `handle_error` is told of that in the child.
pub struct ForkingMixIn<S: Requests> {
    /// How many children there may be, from 1; the server waits for one to end before it makes another, and does nothing else
    /// meanwhile.
    pub max_children: usize,
    /// Whether closing the server waits for its children.
    pub block_on_close: bool,
    in_child: Box<dyn Fn() + Send>,
    on_child_ended: Box<dyn FnMut(&ChildEnded) + Send>,
    children: Vec<(libc::pid_t, S::Ticket)>,
}

/// A child that was waited for.
#[derive(Debug, Clone, Copy)]
pub struct ChildEnded {
    /// Which.
    pub pid: libc::pid_t,
    /// How it ended.
    pub status: ExitStatus,
    /// What it cost, with its own children that it waited for (getrusage(2)).
    pub usage: libc::rusage,
}

impl<S: Requests> Default for ForkingMixIn<S> {
    fn default() -> Self {
        Self::new(40)
    }
}

impl<S: Requests> ForkingMixIn<S> {
    /// With so many children at the most.
    pub fn new(max_children: usize) -> Self {
        Self {
            max_children,
            block_on_close: true,
            in_child: Box::new(|| {}),
            on_child_ended: Box::new(|_| {}),
            children: Vec::new(),
        }
    }

    /// Is called in each child before its request is handled, when the listener is closed.
    #[must_use]
    pub fn in_child(mut self, call: impl Fn() + Send + 'static) -> Self {
        self.in_child = Box::new(call);
        self
    }

    /// Is told of each child that has ended; not of one that somebody else has waited for.
    #[must_use]
    pub fn on_child_ended(mut self, call: impl FnMut(&ChildEnded) + Send + 'static) -> Self {
        self.on_child_ended = Box::new(call);
        self
    }

    /// Waits for children that have ended (`collect_children`); with `block` for one at least, if there is one.
    pub fn collect_children(&mut self, requests: &mut S, block: bool) {
        let mut options = if block { 0 } else { libc::WNOHANG };
        while !self.children.is_empty() {
            let Some(pid) = any_ended(options) else { return };
            match self.children.iter().position(|child| child.0 == pid) {
                Some(at) => self.collect(at, 0, requests),
                // A child that is not ours stands in front and may stay there: asks for ours one by one.
                None => return self.collect_each(requests, options),
            };
            // One is enough to wait for.
            options = libc::WNOHANG;
        }
    }

    fn collect_each(&mut self, requests: &mut S, mut options: libc::c_int) {
        for at in (0..self.children.len()).rev() {
            if self.collect(at, options, requests) {
                options = libc::WNOHANG;
            }
        }
    }

    /// Waits for the child at this place; whether it has ended.
    fn collect(&mut self, at: usize, options: libc::c_int, requests: &mut S) -> bool {
        let ended = match wait_for(self.children[at].0, options) {
            Ok(None) => return false,
            Ok(ended) => ended,
            // Nobody's child any more: somebody else has waited for it.
            Err(_) => None,
        };
        let (_, ticket) = self.children.swap_remove(at);
        requests.child_ended(ticket);
        if let Some(ended) = ended {
            (self.on_child_ended)(&ended);
        }
        true
    }
}

/// Forks a process that does `work` and ends: with 0 if that says true, otherwise, or if it panics, with 1.
pub(crate) fn fork(work: impl FnOnce() -> bool) -> io::Result<libc::pid_t> {
    // SAFETY: the process has one thread (see [`ForkingMixIn`]), so the child is a whole copy of it.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let done = catch_unwind(AssertUnwindSafe(work));
            // SAFETY: _exit ends the process at once: nothing of the parent's is torn down in the child.
            unsafe { libc::_exit(i32::from(!matches!(done, Ok(true)))) }
        }
        pid => Ok(pid),
    }
}

/// Some child of this process that has ended and is not yet waited for, or -1 if it has no children.
fn any_ended(options: libc::c_int) -> Option<libc::pid_t> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: `info` is room for one siginfo_t. WNOWAIT leaves the child to be waited for.
        let result =
            unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options | libc::WEXITED | libc::WNOWAIT) };
        if result == 0 {
            // SAFETY: waitid has filled it in for a child, or left it zeroed where there was none.
            let pid = unsafe { info.assume_init().si_pid() };
            return (pid != 0).then_some(pid);
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return Some(-1);
        }
    }
}

/// wait4(2) for one child. `None` if it is still at work.
fn wait_for(pid: libc::pid_t, options: libc::c_int) -> io::Result<Option<ChildEnded>> {
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    loop {
        // SAFETY: room for a status and a rusage, of which all zeroes is a value.
        match unsafe { libc::wait4(pid, &raw mut status, options, usage.as_mut_ptr()) } {
            0 => return Ok(None),
            -1 => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            _ => {
                // SAFETY: wait4 has filled it in.
                let usage = unsafe { usage.assume_init() };
                return Ok(Some(ChildEnded { pid, status: ExitStatus::from_raw(status), usage }));
            }
        }
    }
}

impl<S: Requests> MixIn<S> for ForkingMixIn<S> {
    fn process_request(&mut self, requests: &mut S, request: S::Request, work: &Work<S::Request>) {
        self.collect_children(requests, self.children.len() >= self.max_children);
        let ticket = requests.ticket(&request);
        // The child takes its copy of the request; ours is still here then.
        let mut request = Some(request);
        let forked = requests.fork(|| {
            (self.in_child)();
            request.take().is_some_and(|request| work.run(request))
        });
        let Some(request) = request else { return };
        match forked {
            Ok(pid) => {
                self.children.push((pid, ticket));
                requests.close_request(request);
            }
            Err(error) => {
                requests.refuse_request(request);
                work.failed(&Failure::Spawn(error));
            }
        }
    }

    fn service_actions(&mut self, requests: &mut S) {
        self.collect_children(requests, false);
    }

    fn active(&self) -> usize {
        self.children.len()
    }

    fn server_close(&mut self, requests: &mut S) {
        while self.block_on_close && !self.children.is_empty() {
            self.collect_children(requests, true);
        }
    }
}
