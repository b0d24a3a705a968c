//! One loop that asks select(2) which of its clients is ready.
//!
//! **Costs**: those of `poll`, and a limit that cannot be raised: the set has room for the descriptors 0 to 1023, and a bit
//! set beyond it is somebody else's memory. A client with a higher number must be refused the moment it is accepted.
//! **Choose it** for a handful of clients, where nothing else is at hand: it is the oldest and the most portable.
//! **Watch** on the dashboard: clients turned away by why, once a thousand are open (`select_limit`), failures by outcome, CPU
//! per question while idle connections are added.
//! **Chapter**: "Async Network Servers" (`tas.py`, `uas.py`).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr;
use std::time::Instant;

use chassis::{Architecture, Capacity, Crowd, DatagramSocket, Endpoint, Family, Site, StreamListener};
use chassis::{NEWCOMERS, Waiting, Wants, Workers};

pub const ARCHITECTURE: Architecture = Architecture {
    name: "select",
    summary: "one loop, asking select which client is ready; at most 1,024 descriptors",
    offset: 9,
    family: Family::Readiness,
    stream: Some(serve_clients),
    datagram: Some(answer_datagrams),
    workers: Workers::Ignored("one thread serves all clients"),
    capacity: Capacity::Connections(960),
};

fn serve_clients(mut site: Site<StreamListener>) -> io::Result<()> {
    site.set_blocking(false)?;
    site.refuse_descriptors_from(libc::FD_SETSIZE as RawFd);
    let mut crowd = Crowd::default();
    while site.turn() || !crowd.is_empty() {
        let mut sets = Sets::new(&site);
        crowd.iter().for_each(|(visit, wants)| sets.add(visit.as_raw_fd(), wants));
        sets.select(&site, crowd.next_timer())?;
        let ready: Vec<RawFd> = crowd.iter().map(|(visit, _)| visit.as_raw_fd()).filter(|&fd| sets.has(fd)).collect();
        for client in ready {
            crowd.advance(client);
        }
        // After the clients: a newcomer may get the number of one who has just left, and must not get its events.
        if sets.has_endpoint() {
            welcome(&mut site, &mut crowd)?;
        }
        crowd.tend();
    }
    Ok(())
}

fn welcome(site: &mut Site<StreamListener>, crowd: &mut Crowd) -> io::Result<()> {
    for _ in 0..NEWCOMERS {
        let Some(visit) = site.accept_now()? else { break };
        crowd.welcome(visit);
    }
    Ok(())
}

fn answer_datagrams(mut site: Site<DatagramSocket>) -> io::Result<()> {
    site.set_blocking(false)?;
    let mut waiting = Waiting::default();
    while site.turn() || !waiting.is_empty() {
        let mut sets = Sets::new(&site);
        sets.select(&site, waiting.next_timer())?;
        if sets.has_endpoint() {
            waiting.receive(&mut site)?;
        }
        waiting.tend(&site);
    }
    Ok(())
}

/// The sets of descriptors that select reads, and overwrites with those that are ready. So they are made anew each turn.
struct Sets {
    read: libc::fd_set,
    write: libc::fd_set,
    /// One more than the highest number in them: the kernel looks at every one below.
    end: RawFd,
    endpoint: Option<RawFd>,
}

impl Sets {
    fn new<S: Endpoint>(site: &Site<S>) -> Self {
        let endpoint = site.is_open().then(|| site.as_fd().as_raw_fd());
        let mut sets = Self { read: empty(), write: empty(), end: 0, endpoint };
        if let Some(endpoint) = endpoint {
            sets.add(endpoint, Wants::ToHear);
        }
        sets
    }

    fn add(&mut self, fd: RawFd, wants: Wants) {
        let set = match wants {
            Wants::ToHear => &mut self.read,
            Wants::ToSpeak => &mut self.write,
            Wants::ToWait(_) | Wants::ToLeave => return,
        };
        // SAFETY: the site refuses descriptors from FD_SETSIZE on, so the bit is inside the set.
        unsafe { libc::FD_SET(fd, set) };
        self.end = self.end.max(fd + 1);
    }

    /// Waits for a tick at the most.
    fn select<S: Endpoint>(&mut self, site: &Site<S>, timer: Option<Instant>) -> io::Result<()> {
        let tick = site.tick_until(timer);
        let mut tick = libc::timeval { tv_sec: tick.as_secs() as i64, tv_usec: i64::from(tick.subsec_micros()) };
        let began = Instant::now();
        // SAFETY: all four pointers are to values of this frame or null, and no bit is set from `end` on.
        let ready =
            unsafe { libc::select(self.end, &raw mut self.read, &raw mut self.write, ptr::null_mut(), &raw mut tick) };
        if ready < 0 {
            (self.read, self.write) = (empty(), empty());
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        site.count_turn(ready as usize, began.elapsed());
        Ok(())
    }

    fn has(&self, fd: RawFd) -> bool {
        // SAFETY: as in `add`.
        unsafe { libc::FD_ISSET(fd, &raw const self.read) || libc::FD_ISSET(fd, &raw const self.write) }
    }

    fn has_endpoint(&self) -> bool {
        self.endpoint.is_some_and(|endpoint| self.has(endpoint))
    }
}

fn empty() -> libc::fd_set {
    let mut set = MaybeUninit::uninit();
    // SAFETY: FD_ZERO initialises the whole set.
    unsafe {
        libc::FD_ZERO(set.as_mut_ptr());
        set.assume_init()
    }
}
