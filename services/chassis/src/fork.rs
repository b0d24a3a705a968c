//! Processes by fork(2), and their end.
//!
//! Fork is safe only while the process has a single thread: the child gets that one alone, and whatever lock another held
//! stays locked for ever. The supervisor and every data plane are born single-threaded; the architectures that fork stay so.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;

use rustix::process::Signal;

use crate::linger;

use crate::thread::worker_failed;

/// A child process.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
}

/// How a process ended, and what it used.
pub(crate) struct Ended {
    pub pid: libc::pid_t,
    status: libc::c_int,
    pub usage: libc::rusage,
}

/// Forks a process that does `work`, then ends: with code 0, or 1 if the work failed or panicked.
///
/// It is killed when the process dies that made it.
///
/// # Errors
/// If there is no room for another process (EAGAIN, ENOMEM).
pub fn spawn(work: impl FnOnce() -> io::Result<()>) -> io::Result<Child> {
    spawn_with_code(|| match work() {
        Ok(()) => 0,
        Err(error) => {
            worker_failed(&error);
            1
        }
    })
}

/// As [`spawn`], for a child that must not keep `listener` open: it would go on taking clients that nobody serves.
///
/// # Errors
/// If there is no room for another process (EAGAIN, ENOMEM).
pub fn spawn_without(listener: BorrowedFd<'_>, work: impl FnOnce()) -> io::Result<Child> {
    spawn(|| {
        // SAFETY: the child leaves by _exit and never returns to the owner of this descriptor.
        unsafe { rustix::io::close(listener.as_raw_fd()) };
        work();
        Ok(())
    })
}

/// As [`spawn`], for work that gives its own exit code.
pub(crate) fn spawn_with_code(work: impl FnOnce() -> i32) -> io::Result<Child> {
    let parent = process::id();
    // SAFETY: the process has one thread (see the module), so the child is a whole copy of it.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            linger::leave_to_parent();
            let code = catch_unwind(AssertUnwindSafe(|| if die_with(parent) { work() } else { 1 }));
            // SAFETY: _exit ends the process at once: no destructor of the parent's belongings runs in the child.
            unsafe { libc::_exit(code.unwrap_or(1)) }
        }
        pid => Ok(Child { pid }),
    }
}

/// Asks to be killed when the parent dies; false if it is dead already.
fn die_with(parent: u32) -> bool {
    // PR_SET_PDEATHSIG only fails for a signal that does not exist.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    rustix::process::getppid().is_some_and(|pid| pid.as_raw_nonzero().get() as u32 == parent)
}

impl Child {
    /// The process id.
    pub const fn id(&self) -> u32 {
        self.pid as u32
    }

    /// Whether it has ended (waitpid(2) without waiting). Must not be asked again after it said yes.
    pub fn has_ended(&self) -> bool {
        wait4(self.pid, libc::WNOHANG).is_some()
    }

    /// Waits for its end.
    pub fn wait(self) {
        wait4(self.pid, 0);
    }
}

impl Ended {
    /// Whether it ended by itself with code 0.
    pub const fn was_orderly(&self) -> bool {
        self.exited_with(0)
    }

    /// Whether it ended by itself with this code.
    pub const fn exited_with(&self, code: i32) -> bool {
        libc::WIFEXITED(self.status) && libc::WEXITSTATUS(self.status) == code
    }

    /// How it ended, in words.
    pub fn describe(&self) -> String {
        if libc::WIFSIGNALED(self.status) {
            format!("signal {}", libc::WTERMSIG(self.status))
        } else {
            format!("exit code {}", libc::WEXITSTATUS(self.status))
        }
    }
}

/// Any child that has ended, if one has.
pub(crate) fn reap() -> Option<Ended> {
    wait4(-1, libc::WNOHANG)
}

/// wait4(2). `None` if there is nobody to wait for, or nobody has ended yet.
pub(crate) fn wait4(pid: libc::pid_t, options: libc::c_int) -> Option<Ended> {
    loop {
        let mut status = 0;
        // SAFETY: rusage is plain integers, for which zero is valid.
        let mut usage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to variables of this function.
        match unsafe { libc::wait4(pid, &raw mut status, options, &raw mut usage) } {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 | 0 => return None,
            pid => return Some(Ended { pid, status, usage }),
        }
    }
}
