//! Signals as events of a loop: blocked for the whole life of the program and waited for.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

/// What a signal means to a command that runs until it is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// SIGINT (Ctrl-C), SIGTERM or SIGHUP (the terminal is gone): end in order; said again, end fast.
    Stop,
    /// SIGQUIT: end fast.
    Quit,
    /// SIGCHLD: a child has ended.
    Child,
}

/// The set of signals that are blocked in this process.
#[derive(Clone, Copy)]
pub struct Signals(libc::sigset_t);

impl Signals {
    /// Blocks the signals of every [`Event`], in this thread and in those that it will start. Nobody hears them any more
    /// but [`Self::wait`].
    ///
    /// SIGHUP is left alone where it is ignored: that is what `nohup` asks for.
    pub fn block() -> io::Result<Self> {
        let mut wanted = vec![libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, libc::SIGCHLD];
        if !is_ignored(libc::SIGHUP) {
            wanted.push(libc::SIGHUP);
        }
        let set = set_of(&wanted);
        change_mask(libc::SIG_BLOCK, &set)?;
        Ok(Self(set))
    }

    /// The next event, or `None` after `timeout`.
    pub fn wait(&self, timeout: Duration) -> Option<Event> {
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos() as libc::c_long,
        };
        // SAFETY: set and timeout are valid for the call, and no information about the signal is asked for.
        match unsafe { libc::sigtimedwait(&raw const self.0, ptr::null_mut(), &raw const timeout) } {
            libc::SIGINT | libc::SIGTERM | libc::SIGHUP => Some(Event::Stop),
            libc::SIGQUIT => Some(Event::Quit),
            libc::SIGCHLD => Some(Event::Child),
            _ => None,
        }
    }

    /// Lets all signals through again: for a child between fork and exec, which inherits the mask.
    pub fn unblock_all() -> io::Result<()> {
        change_mask(libc::SIG_SETMASK, &set_of(&[]))
    }
}

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set, and sigaddset only fails for numbers that are no signals.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

fn change_mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: `set` is initialised, and the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(how, ptr::from_ref(set), ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Whether this program was started so that it does not hear this signal.
pub fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only reads the present one into `action`, for which all zeros are valid, too.
    let action = unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}
