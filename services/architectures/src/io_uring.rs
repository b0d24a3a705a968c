//! One loop that does not ask who is ready: it gives the kernel the operations and hears what is done, through two queues in
//! shared memory (io_uring(7)). One system call a turn begins all that is to be begun and waits for what comes.
//!
//! **Costs**: about what `epoll` costs with a tenth of the system calls. Memory belongs to the kernel while an operation goes
//! on, so nothing may be freed or closed before its last completion. Clients that the kernel has accepted die with the
//! process that would have heard of them next.
//! **Choose it** for very many clients on a kernel that is yours to choose: many container engines forbid it, since its
//! operations are seen by no seccomp profile. Where there is no ring, epoll serves, and says so: setting `io_uring`.
//! **Watch** on the dashboard: system time per question beside `epoll`, events per turn, and which backend serves.
//! **Chapter**: what came after it; its answer to "Async Network Servers" is completion instead of readiness.

mod buffers;
mod client;
mod clients;
mod letters;
mod ring;

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use chassis::{Architecture, Capacity, Endpoint, Family, IoUring, Site, StreamListener, Workers};
use io_uring::{opcode, types};

use clients::Clients;
use ring::{Done, Op, Ring};

use crate::epoll;

pub const ARCHITECTURE: Architecture = Architecture {
    name: "io_uring",
    summary: "one loop, told by the kernel what it has done",
    offset: 13,
    family: Family::Completion,
    stream: Some(serve_clients),
    datagram: Some(letters::answer_datagrams),
    workers: Workers::Ignored("one thread serves all clients"),
    capacity: Capacity::Connections(10_000),
};

/// How much one receive brings. Longer than any usual question, so that many pipelined ones come at once.
const READ: usize = 2048;

/// How long an accept goes on. Of all who wait for a listener in rings the kernel tells one of a client, and that may be a
/// predecessor who has died and is not cleared away yet.
const TRUSTED: Duration = Duration::from_millis(500);

fn serve_clients(mut site: Site<StreamListener>) -> io::Result<()> {
    let Some(mut ring) = set_up(&site, READ)? else { return epoll::serve_clients(site) };
    let mut clients = Clients::default();
    let (mut accepting, mut since) = (false, Instant::now());
    while site.turn() || accepting || !clients.is_empty() {
        let began = Instant::now();
        match (site.is_open(), accepting) {
            (true, false) => (accepting, since) = (accept(&mut ring, &site)?, began),
            // Whom the kernel has accepted by then is served: the last completion says when that is.
            (false, true) => ring.cancel(Op::Accept, 0)?,
            // Begun anew, it looks who is there.
            (true, true) if began > since + TRUSTED => ((), since) = (ring.cancel(Op::Accept, 0)?, began),
            _ => {}
        }
        let mut events = 0;
        ring.turn(site.tick_until(clients.next_timer()))?;
        let waited = began.elapsed();
        while let Some(done) = ring.next_done() {
            events += 1;
            match done.op {
                Op::Accept => accepting = welcome(&mut ring, &mut site, &mut clients, &done)?,
                Op::Receive => clients.heard(&mut ring, &done)?,
                Op::Send | Op::SendNow => clients.spoke(&mut ring, &done)?,
                Op::Cancel => {}
            }
        }
        site.count_turn(events, waited);
        clients.tend(&mut ring, site.is_draining())?;
    }
    Ok(())
}

/// Accepts one client after the other, until further notice (multishot).
fn accept(ring: &mut Ring, site: &Site<StreamListener>) -> io::Result<bool> {
    let listener = types::Fd(site.as_fd().as_raw_fd());
    // SAFETY: the operation names no memory.
    unsafe { ring.begin(Op::Accept, 0, opcode::AcceptMulti::new(listener).flags(libc::SOCK_CLOEXEC).build())? };
    Ok(true)
}

/// Takes in a client that the kernel has accepted. Gives whether more follow: without a descriptor to be had, none do.
fn welcome(ring: &mut Ring, site: &mut Site<StreamListener>, clients: &mut Clients, done: &Done) -> io::Result<bool> {
    match &done.result {
        Ok(fd) => {
            // SAFETY: the kernel has just made this descriptor, for us alone.
            let fd = unsafe { OwnedFd::from_raw_fd(*fd as RawFd) };
            if let Some((stream, talk)) = site.adopt(fd) {
                clients.welcome(ring, stream, talk)?;
            }
        }
        Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => {}
        Err(error) => site.accept_refused(error)?,
    }
    Ok(done.more)
}

/// The ring, with buffers of `room` bytes. `None` if epoll is to serve.
fn set_up<S: Endpoint>(site: &Site<S>, room: usize) -> io::Result<Option<Ring>> {
    let wish = site.io_uring();
    let made = match wish {
        IoUring::Off => Err(io::Error::from_raw_os_error(libc::ECANCELED)),
        IoUring::Auto | IoUring::Require => Ring::new(room),
    };
    match made {
        Ok(ring) => {
            site.falls_back(None);
            Ok(Some(ring))
        }
        Err(why) if wish == IoUring::Require => {
            let why = format!("io_uring is {:?}, but the kernel gives no ring: {why}", wish.label());
            Err(io::Error::new(io::ErrorKind::Unsupported, why))
        }
        Err(why) => {
            site.falls_back(Some(&why));
            Ok(None)
        }
    }
}
