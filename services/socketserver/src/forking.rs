//! A process for each request.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::requests::Requests;
use crate::server::{Failure, Handle, MixIn, OnError, run};

/// Handles each request in a process of its own (`ForkingMixIn`).
///
/// The process that serves must have one thread: a child gets only the one that forked.
pub struct ForkingMixIn<S: Requests> {
    /// How many children there may be; the server waits for one to end before it makes another.
    pub max_children: usize,
    /// Whether closing the server waits for its children.
    pub block_on_close: bool,
    /// Is called in each child before its request is handled.
    pub in_child: Box<dyn Fn()>,
    children: Vec<(libc::pid_t, S::Ticket)>,
}

impl<S: Requests> Default for ForkingMixIn<S> {
    fn default() -> Self {
        Self { max_children: 40, block_on_close: true, in_child: Box::new(|| {}), children: Vec::new() }
    }
}

impl<S: Requests> ForkingMixIn<S> {
    /// With so many children at the most.
    pub fn new(max_children: usize) -> Self {
        Self { max_children, ..Self::default() }
    }

    /// Waits for children that have ended; with `block` for one at least, if there is one.
    fn collect_children(&mut self, requests: &mut S, block: bool) {
        let mut options = if block { 0 } else { libc::WNOHANG };
        let mut at = 0;
        while at < self.children.len() {
            if has_ended(self.children[at].0, options) {
                let (_, ticket) = self.children.swap_remove(at);
                requests.child_ended(ticket);
                // One is enough to wait for.
                options = libc::WNOHANG;
            } else {
                at += 1;
            }
        }
    }
}

/// waitpid(2) for one child; a child that is nobody's any more has ended as well.
fn has_ended(pid: libc::pid_t, options: libc::c_int) -> bool {
    loop {
        // SAFETY: the status is not asked for.
        match unsafe { libc::waitpid(pid, std::ptr::null_mut(), options) } {
            0 => return false,
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => return true,
        }
    }
}

impl<S: Requests> MixIn<S> for ForkingMixIn<S> {
    fn process_request(
        &mut self,
        requests: &mut S,
        request: S::Request,
        handle: &Handle<S::Request>,
        on_error: &OnError,
    ) {
        self.collect_children(requests, self.children.len() >= self.max_children);
        let ticket = requests.ticket(&request);
        // SAFETY: the process has one thread (see the type), so the child is a whole copy of it.
        match unsafe { libc::fork() } {
            -1 => {
                let error = io::Error::last_os_error();
                requests.refuse_request(request);
                on_error(&Failure::Spawn(error));
            }
            0 => {
                let done = catch_unwind(AssertUnwindSafe(|| {
                    (self.in_child)();
                    requests.close_in_child();
                    run(request, handle, on_error);
                }));
                // SAFETY: _exit ends the process at once: nothing of the parent's is torn down in the child.
                unsafe { libc::_exit(i32::from(done.is_err())) }
            }
            pid => {
                self.children.push((pid, ticket));
                requests.close_request(request);
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
