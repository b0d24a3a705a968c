//! A thread for each client.
//!
//! **Costs**: a thread's making for each conversation, a stack for each open one, and a context switch for nearly every
//! question. Nobody waits for anybody else, until there are thousands and the machine has more to switch than to answer.
//! **Choose it** for some hundred clients when what you do for each blocks: the code is as plain as a single-threaded server's.
//! **Watch** on the dashboard: threads, context switches per question, memory per connection.
//! **Chapter**: "Threaded and Multiprocess Servers". `fork_per_connection` is the same with processes.

use std::io;
use std::sync::mpsc;
use std::thread::Builder;

use chassis::{Architecture, Capacity, Family, Site, StreamListener, Visit, Workers};

pub const ARCHITECTURE: Architecture = Architecture {
    name: "thread_per_connection",
    summary: "a thread for each client",
    offset: 3,
    family: Family::Blocking,
    stream: Some(serve_clients),
    datagram: None,
    workers: Workers::Ignored("each client has a thread of its own"),
    capacity: Capacity::Threads(2000),
};

/// A conversation needs little of it, and there are thousands. Only what is touched takes memory.
const STACK: usize = 256 * 1024;

fn serve_clients(mut site: Site<StreamListener>) -> io::Result<()> {
    while site.proceed() {
        if let Some(visit) = site.accept_for_thread()? {
            start(&site, visit);
        }
        site.report_running(site.seated());
    }
    // Each thread leaves its seat as its last act.
    while site.seated() > 0 {
        site.rest();
    }
    Ok(())
}

/// The client goes through a channel, so that it can still be told if there is no thread for it.
fn start(site: &Site<StreamListener>, visit: Visit) {
    let (client, here) = mpsc::sync_channel::<Visit>(1);
    let serve = move || {
        if let Ok(visit) = here.recv() {
            visit.converse();
        }
    };
    match site.hire(|| Builder::new().name("client".into()).stack_size(STACK).spawn(serve)) {
        Some(_) => drop(client.send(visit)),
        None => site.send_away(visit),
    }
}
