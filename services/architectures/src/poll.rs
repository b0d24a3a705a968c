//! One loop that asks poll(2) which of its clients is ready.
//!
//! **Costs**: one thread for many clients. But every turn the whole list goes to the kernel and back, so each client that is
//! silent makes the others dearer: with 900 silent ones a question costs 7.8 times as much, on `epoll` 0.8 times
//! (`zenlab claim readiness`).
//! **Choose it** for some hundred clients on any Unix: it is portable, and unlike `select` it has no limit of descriptors.
//! **Watch** on the dashboard: CPU per question while idle connections are added, beside `epoll` and `select`.
//! **Chapter**: "Async Network Servers" (`tap.py`, `uap.py`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Instant;

use chassis::{Architecture, Capacity, Crowd, DatagramSocket, Endpoint, Family, Site, StreamListener};
use chassis::{NEWCOMERS, Waiting, Wants, Workers};
use rustix::event::{PollFd, PollFlags, Timespec};

pub const ARCHITECTURE: Architecture = Architecture {
    name: "poll",
    summary: "one loop, asking poll which client is ready",
    offset: 10,
    family: Family::Readiness,
    stream: Some(serve_clients),
    datagram: Some(answer_datagrams),
    workers: Workers::Ignored("one thread serves all clients"),
    capacity: Capacity::Connections(4096),
};

fn serve_clients(mut site: Site<StreamListener>) -> io::Result<()> {
    site.set_blocking(false)?;
    let mut crowd = Crowd::default();
    while site.turn() || !crowd.is_empty() {
        let ready = who_is_ready(&site, &crowd)?;
        for client in ready.clients {
            crowd.advance(client);
        }
        // After the clients: a newcomer may get the number of one who has just left, and must not get its events.
        if ready.endpoint {
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

/// What one call found.
struct Ready {
    endpoint: bool,
    clients: Vec<RawFd>,
}

/// Asks the kernel about everybody at once. The list is made anew each turn: who is in it, and what for, is what we want now.
fn who_is_ready(site: &Site<StreamListener>, crowd: &Crowd) -> io::Result<Ready> {
    let mut list = Vec::with_capacity(crowd.len() + 1);
    list.extend(site.is_open().then(|| PollFd::new(site, PollFlags::IN)));
    let clients_from = list.len();
    list.extend(crowd.iter().filter_map(|(visit, wants)| Some(PollFd::new(visit, interest(wants)?))));
    poll(site, crowd.next_timer(), &mut list)?;
    let is_ready = |entry: &PollFd<'_>| !entry.revents().is_empty();
    Ok(Ready {
        endpoint: list[..clients_from].iter().any(is_ready),
        clients: list[clients_from..]
            .iter()
            .filter(|entry| is_ready(entry))
            .map(|entry| entry.as_fd().as_raw_fd())
            .collect(),
    })
}

/// What poll should tell us of a client that wants this.
const fn interest(wants: Wants) -> Option<PollFlags> {
    match wants {
        Wants::ToHear => Some(PollFlags::IN),
        Wants::ToSpeak => Some(PollFlags::OUT),
        Wants::ToWait(_) | Wants::ToLeave => None,
    }
}

/// Waits for a tick at the most.
fn poll<S: Endpoint>(site: &Site<S>, timer: Option<Instant>, list: &mut [PollFd<'_>]) -> io::Result<()> {
    let tick = site.tick_until(timer);
    let timeout = Timespec { tv_sec: tick.as_secs() as i64, tv_nsec: i64::from(tick.subsec_nanos()) };
    let began = Instant::now();
    let events = match rustix::event::poll(list, Some(&timeout)) {
        Ok(events) => events,
        Err(rustix::io::Errno::INTR) => 0,
        Err(error) => return Err(error.into()),
    };
    site.count_turn(events, began.elapsed());
    Ok(())
}

fn answer_datagrams(mut site: Site<DatagramSocket>) -> io::Result<()> {
    site.set_blocking(false)?;
    let mut waiting = Waiting::default();
    while site.turn() || !waiting.is_empty() {
        let mut list = Vec::from_iter(site.is_open().then(|| PollFd::new(&site, PollFlags::IN)));
        poll(&site, waiting.next_timer(), &mut list)?;
        if list.iter().any(|entry| !entry.revents().is_empty()) {
            waiting.receive(&mut site)?;
        }
        waiting.tend(&site);
    }
    Ok(())
}
