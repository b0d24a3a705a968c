//! Signals, as messages: the mask blocks them, and sigtimedwait(2) reads them one by one. No handler ever runs.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

/// What a signal asks the supervisor for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// SIGTERM or SIGINT: drain and exit; the second one: at once.
    Stop,
    /// SIGQUIT: exit without grace.
    StopNow,
    /// SIGHUP: read the settings file again.
    Reload,
    /// SIGCHLD only wakes us.
    Nothing,
}

const SIGNALS: [libc::c_int; 5] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGCHLD];

/// Blocks the signals that [`wait`] reads.
pub(super) fn block() -> io::Result<()> {
    mask(libc::SIG_BLOCK)
}

/// Lets the signals through again, as a new process' own code expects: a blocked mask is inherited.
pub(super) fn restore() -> io::Result<()> {
    mask(libc::SIG_UNBLOCK)
}

/// Waits for a signal, `time` at the most.
pub(super) fn wait(time: Duration) -> Option<Request> {
    let set = set();
    let time = libc::timespec { tv_sec: time.as_secs() as libc::time_t, tv_nsec: i64::from(time.subsec_nanos()) };
    // SAFETY: both structs live to the end of the call; no information about the signal is asked for.
    match unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const time) } {
        libc::SIGTERM | libc::SIGINT => Some(Request::Stop),
        libc::SIGQUIT => Some(Request::StopNow),
        libc::SIGHUP => Some(Request::Reload),
        libc::SIGCHLD => Some(Request::Nothing),
        _ => None,
    }
}

fn mask(how: libc::c_int) -> io::Result<()> {
    let set = set();
    // SAFETY: the set is initialised, and the old one is not asked for.
    match unsafe { libc::pthread_sigmask(how, &raw const set, ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set, and sigaddset only gets signals that exist.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in SIGNALS {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}
