//! One loop that epoll(7) tells which of its clients is ready.
//!
//! **Costs**: one thread for thousands of clients, no switch between them, and a price that does not grow with the clients
//! that are silent. But every client waits while one is served: whatever blocks or computes long stops them all.
//! **Choose it** for many clients that are mostly silent, when what you do for each is short. It is Linux's own; BSD has
//! kqueue(2) for the same purpose, with changes and events in one call.
//! **Watch** on the dashboard: context switches per question, memory per connection, events per turn.
//! **Chapter**: "Async Network Servers" (`tae.py`, `uae.py`).

use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::Instant;

use chassis::{Architecture, Capacity, Change, Crowd, DatagramSocket, Endpoint, Family, Site, StreamListener};
use chassis::{NEWCOMERS, Waiting, Wants, Workers};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

pub const ARCHITECTURE: Architecture = Architecture {
    name: "epoll",
    summary: "one loop, told by epoll which client is ready",
    offset: 11,
    family: Family::Readiness,
    stream: Some(serve_clients),
    datagram: Some(answer_datagrams),
    workers: Workers::Ignored("one thread serves all clients"),
    capacity: Capacity::Connections(10_000),
};

/// What the endpoint's own events carry; a client's carry its descriptor.
const ENDPOINT: u64 = u64::MAX;

/// Events taken in one turn.
const EVENTS: usize = 256;

pub(crate) fn serve_clients(mut site: Site<StreamListener>) -> io::Result<()> {
    site.set_blocking(false)?;
    let mut epoll = Epoll::new()?;
    let mut crowd = Crowd::default();
    let mut events = Vec::with_capacity(EVENTS);
    while site.turn() || !crowd.is_empty() {
        epoll.watch_endpoint(&site)?;
        epoll.wait(&site, crowd.next_timer(), &mut events)?;
        for event in events.drain(..) {
            match event.data.u64() {
                ENDPOINT => welcome(&mut site, &mut crowd, &epoll)?,
                client => epoll.follow(crowd.advance(client as RawFd), &crowd)?,
            }
        }
        let changes = crowd.tend();
        epoll.follow(changes, &crowd)?;
    }
    Ok(())
}

fn welcome(site: &mut Site<StreamListener>, crowd: &mut Crowd, epoll: &Epoll) -> io::Result<()> {
    for _ in 0..NEWCOMERS {
        let Some(visit) = site.accept_now()? else { break };
        let client = crowd.welcome(visit);
        if let Some(visit) = crowd.get(client) {
            epoll::add(&epoll.set, visit, EventData::new_u64(client as u64), EventFlags::IN)?;
        }
    }
    Ok(())
}

pub(crate) fn answer_datagrams(mut site: Site<DatagramSocket>) -> io::Result<()> {
    site.set_blocking(false)?;
    let mut epoll = Epoll::new()?;
    let mut waiting = Waiting::default();
    let mut events = Vec::with_capacity(1);
    while site.turn() || !waiting.is_empty() {
        epoll.watch_endpoint(&site)?;
        epoll.wait(&site, waiting.next_timer(), &mut events)?;
        if events.drain(..).next().is_some() {
            waiting.receive(&mut site)?;
        }
        waiting.tend(&site);
    }
    Ok(())
}

/// The set of descriptors that the kernel watches for us. What we want of each is told once and kept there.
///
/// The kernel forgets a descriptor by itself only when the last copy of what it stands for is closed. A client may linger, and
/// the endpoint may have been passed to us by somebody who has it still, so both are taken out before they are closed.
pub(crate) struct Epoll {
    set: OwnedFd,
    /// A copy of the endpoint. It keeps the endpoint open, so it must go when the site's own goes, and not before: there may
    /// be no descriptor for another one.
    endpoint: Option<OwnedFd>,
    watches: bool,
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        Ok(Self { set: epoll::create(CreateFlags::CLOEXEC)?, endpoint: None, watches: false })
    }

    /// Watches the endpoint while it is open. Level-triggered, so clients that wait are reported again and again.
    pub fn watch_endpoint<S: Endpoint>(&mut self, site: &Site<S>) -> io::Result<()> {
        if self.endpoint.is_none() && site.has_socket() {
            self.endpoint = Some(site.as_fd().try_clone_to_owned()?);
        }
        if let Some(endpoint) = self.endpoint.as_ref().filter(|_| self.watches != site.is_open()) {
            self.watches = !self.watches;
            if self.watches {
                epoll::add(&self.set, endpoint, EventData::new_u64(ENDPOINT), EventFlags::IN)?;
            } else {
                epoll::delete(&self.set, endpoint)?;
            }
        }
        if !site.has_socket() {
            self.endpoint = None;
        }
        Ok(())
    }

    /// Who is ready? Waits for a tick at the most.
    pub fn wait<S: Endpoint>(&self, site: &Site<S>, timer: Option<Instant>, events: &mut Vec<Event>) -> io::Result<()> {
        let tick = site.tick_until(timer);
        let timeout = Timespec { tv_sec: tick.as_secs() as i64, tv_nsec: i64::from(tick.subsec_nanos()) };
        let began = Instant::now();
        match epoll::wait(&self.set, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        site.count_turn(events.len(), began.elapsed());
        Ok(())
    }

    /// Tells the kernel what is wanted of these clients now.
    fn follow(&self, changes: impl IntoIterator<Item = Change>, crowd: &Crowd) -> io::Result<()> {
        for change in changes {
            let flags = match change.wants {
                Wants::ToHear => EventFlags::IN,
                Wants::ToSpeak => EventFlags::OUT,
                // Even so the kernel reports a reset: once is enough.
                Wants::ToWait(_) | Wants::ToLeave => EventFlags::ONESHOT,
            };
            if let Some(leaving) = change.left {
                epoll::delete(&self.set, &leaving)?;
            } else if let Some(visit) = crowd.get(change.client) {
                epoll::modify(&self.set, visit, EventData::new_u64(change.client as u64), flags)?;
            }
        }
        Ok(())
    }
}
