//! A process for each client.
//!
//! **Costs**: a process' making and end for each conversation, its memory for each open one, and a context switch for nearly
//! every question. Nobody waits for anybody else, and nobody can harm anybody else: a crash ends one conversation.
//! **Choose it** for few, long conversations that must be kept apart, as sshd(8) does.
//! **Watch** on the dashboard: processes, CPU per question while clients come and go, memory per connection.
//! **Chapter**: "Threaded and Multiprocess Servers". `thread_per_connection` is the same with threads.

use std::io;
use std::os::fd::AsFd;

use chassis::fork::{self, Child};
use chassis::{Architecture, Capacity, Family, Site, StreamListener, Visit, Workers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub const ARCHITECTURE: Architecture = Architecture {
    name: "fork_per_connection",
    summary: "a process for each client",
    offset: 4,
    family: Family::Blocking,
    stream: Some(serve_clients),
    datagram: None,
    workers: Workers::Ignored("each client has a process of its own"),
    capacity: Capacity::Processes(512),
};

/// A child with the slot of its client.
struct Server {
    child: Child,
    seat: usize,
}

fn serve_clients(mut site: Site<StreamListener>) -> io::Result<()> {
    // Nobody waits in accept(2): meanwhile somebody may go, and must not count when it is asked whether there is room.
    site.set_blocking(false)?;
    let mut servers = Vec::new();
    while site.proceed() {
        wait_for_client(&site);
        bury_the_dead(&site, &mut servers);
        if let Some(visit) = site.accept_for_process()? {
            servers.extend(start(&site, visit));
        }
    }
    while !servers.is_empty() {
        site.rest();
        bury_the_dead(&site, &mut servers);
    }
    Ok(())
}

/// Waits until somebody comes, a tick at the most.
fn wait_for_client(site: &Site<StreamListener>) {
    // In a pause nobody is taken, and in a drain the last look is the site's own.
    if site.is_open() && !site.is_draining() {
        let tick = site.tick();
        let tick = Timespec { tv_sec: tick.as_secs() as i64, tv_nsec: i64::from(tick.subsec_nanos()) };
        // Whatever it says, accept(2) says better.
        let _ = poll(&mut [PollFd::new(site, PollFlags::IN)], Some(&tick));
    }
}

fn start(site: &Site<StreamListener>, visit: Visit) -> Option<Server> {
    let seat = visit.seat()?;
    let mut visit = Some(visit);
    let serve = || visit.take().map_or((), Visit::converse);
    let child = site.hire(|| fork::spawn_without(site.as_fd(), serve));
    match (child, visit) {
        (Some(child), Some(visit)) => {
            // The parent closes its copy, or the client would never see the child's closed.
            visit.abandon();
            Some(Server { child, seat })
        }
        (_, visit) => {
            if let Some(visit) = visit {
                site.send_away(visit);
            }
            None
        }
    }
}

fn bury_the_dead(site: &Site<StreamListener>, servers: &mut Vec<Server>) {
    servers.retain(|server| {
        let alive = !server.child.has_ended();
        if !alive {
            site.vacate(server.seat);
        }
        alive
    });
    site.report_running(servers.len());
}
