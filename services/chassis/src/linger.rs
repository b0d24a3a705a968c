//! Closing without a reset.
//!
//! A socket that is closed with unread bytes answers with RST, which may destroy the last answer on its way (RFC 9112
//! §9.6; seen: 200 of 200 clients). So a server that ends a conversation itself sends its FIN, then reads on until the
//! client is gone. Nobody waits for that: each thread keeps a bounded list and looks at it between its clients, and once a
//! tick while it serves one. The threads of a runtime, which sleep for ever when nobody comes, have one list together, and
//! its leader looks at it.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};

/// How long a client may take to notice.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many sockets a list keeps; the oldest is closed for the next.
const MOST: usize = 1024;

/// How often a list is looked at. In between, those who are still served have the thread for themselves.
const LOOK: Duration = Duration::from_millis(10);

/// Reads from one socket in one look. Who sends more than that has not noticed, and waits for the next.
const READS: usize = 16;

thread_local! {
    static LIST: RefCell<List> = const { RefCell::new(List::new()) };
}

/// The list of all threads of this process, once [`share`] was called.
static SHARED: OnceLock<Mutex<List>> = OnceLock::new();

struct List {
    leaving: Vec<Leaving>,
    /// When it was looked at last.
    looked: Option<Instant>,
}

struct Leaving {
    socket: OwnedFd,
    until: Instant,
}

/// From now on all threads of this process have one list, which whoever looks at it looks at for all.
pub(crate) fn share() {
    SHARED.get_or_init(|| Mutex::new(List::new()));
}

impl List {
    const fn new() -> Self {
        Self { leaving: Vec::new(), looked: None }
    }

    fn look(&mut self, now: Instant) {
        if self.leaving.is_empty() || self.looked.is_some_and(|looked| now < looked + LOOK) {
            return;
        }
        self.looked = Some(now);
        self.leaving.retain(|leaving| now < leaving.until && !has_left(&leaving.socket));
    }
}

fn with_list<R>(call: impl FnOnce(&mut List) -> R) -> R {
    match SHARED.get() {
        Some(list) => call(&mut list.lock().unwrap_or_else(PoisonError::into_inner)),
        None => LIST.with_borrow_mut(call),
    }
}

/// Ends a stream gently: sends FIN, and closes when the client has closed, after a second at the latest.
pub fn linger(stream: impl Into<OwnedFd>) {
    let socket = stream.into();
    // The client may be gone already; then the list finds that out.
    let _ = rustix::net::shutdown(&socket, rustix::net::Shutdown::Write);
    with_list(|list| {
        if list.leaving.len() >= MOST {
            list.leaving.remove(0);
        }
        list.leaving.push(Leaving { socket, until: Instant::now() + PATIENCE });
    });
}

/// Closes what can be closed now.
pub(crate) fn sweep() {
    with_list(|list| {
        if !list.leaving.is_empty() {
            list.look(Instant::now());
        }
    });
}

/// In a child: closes its copies of what its parent sees off. They would stay open for as long as the child lives.
pub(crate) fn leave_to_parent() {
    with_list(|list| list.leaving.clear());
}

/// Waits for all of them, a second at the most: a worker's last act.
pub(crate) fn finish() {
    let mut list = with_list(|list| std::mem::take(&mut list.leaving));
    while let Some(last) = list.iter().map(|leaving| leaving.until).max() {
        let left = last.saturating_duration_since(Instant::now());
        if left.is_zero() || !wait_for_any(&list, left) {
            return;
        }
        list.retain(|leaving| !has_left(&leaving.socket));
    }
}

fn wait_for_any(list: &[Leaving], time: Duration) -> bool {
    let mut fds: Vec<_> = list.iter().map(|leaving| PollFd::new(&leaving.socket, PollFlags::IN)).collect();
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    !matches!(poll(&mut fds, Some(&time)), Ok(0))
}

/// Reads what the client still sends, as far as one look goes; true when it has closed.
fn has_left(socket: &OwnedFd) -> bool {
    let mut waste = [0; 4096];
    for _ in 0..READS {
        match recv(socket, &mut waste, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return true,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return error != rustix::io::Errno::AGAIN,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Write};
    use std::os::unix::net::UnixStream;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    #[test]
    fn the_oldest_is_closed_where_there_are_too_many() {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
        let lingering = || {
            let (ours, client) = UnixStream::pair().unwrap();
            linger(ours);
            client
        };
        let mut clients: Vec<_> = std::iter::repeat_with(lingering).take(MOST + 3).collect();
        // Nobody has looked at the list yet, so it is not for their time that some are closed.
        let is_closed = |client: &mut UnixStream| {
            client.write(b"?").map_err(|error| error.kind()).err() == Some(ErrorKind::BrokenPipe)
        };
        let closed: Vec<_> = clients.iter_mut().map(is_closed).collect();
        assert_eq!(closed.iter().position(|closed| !closed), Some(3));
        assert_eq!(closed.iter().filter(|closed| **closed).count(), 3);
        with_list(|list| assert_eq!(list.leaving.len(), MOST));

        drop(clients);
        finish();
        with_list(|list| assert!(list.leaving.is_empty()));
    }
}
