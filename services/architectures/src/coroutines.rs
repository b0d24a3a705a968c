//! Coroutines on a loop of our own: what `async` and `await` are made of, small enough to read.
//!
//! **Costs**: about what `epoll` costs, and for each client a task: one allocation with all that its coroutine remembers.
//! **Choose it** to learn; for work, `tokio_current_thread` is the same with more of everything. Choose coroutines over
//! callbacks where one step waits for another: it reads like a blocking server, and at each `await` others may go on.
//! **Watch** on the dashboard: memory per connection and context switches per question, both beside `epoll` and `callbacks`.
//! **Chapter**: "Asyncio framework", coroutine style (`tacr.py`); "Summary": `yield` and `yield from`. `future` leads from these
//! to `await` and to a state machine by hand; then `executor` tells who drives it on, and `reactor` who knows when.

mod executor;
mod future;
mod reactor;
mod sleep;
mod watched;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use chassis::{Architecture, Capacity, DatagramSocket, Endpoint, Family, Site, StreamListener, Visit, Waiting};
use chassis::{NEWCOMERS, Wants, Workers};
use executor::{Executor, run};
use future::{First, first};
use reactor::Reactor;
use rustix::event::epoll::EventFlags;
use watched::Watched;

pub const ARCHITECTURE: Architecture = Architecture {
    name: "coroutines",
    summary: "async and await on a hand-made executor over epoll",
    offset: 15,
    family: Family::Async,
    stream: Some(|site| run(site.turn_counter(), |executor| serve_clients(executor, site))),
    datagram: Some(|site| run(site.turn_counter(), |executor| answer_datagrams(executor, site))),
    workers: Workers::Ignored("one thread runs all tasks"),
    capacity: Capacity::Connections(10_000),
};

/// How often a task looks for orders while its client is silent.
const TICK: Duration = Duration::from_secs(1);

async fn serve_clients(executor: Executor, mut site: Site<StreamListener>) -> io::Result<()> {
    site.set_blocking(false)?;
    let reactor = executor.reactor();
    let door = watch(reactor, &site)?;
    while site.turn() {
        if somebody_comes(reactor, &site, &door, None).await? {
            accept(&executor, &mut site)?;
        }
    }
    drop(door);
    // A tick at the most: orders may still change while the last clients leave.
    while let First::B(()) = first(executor.alone(), reactor.sleep(site.tick())).await {
        site.turn();
    }
    Ok(())
}

fn accept(executor: &Executor, site: &mut Site<StreamListener>) -> io::Result<()> {
    for _ in 0..NEWCOMERS {
        let Some(visit) = site.accept_now()? else { break };
        let reactor = executor.reactor().clone();
        let mut client = reactor.watch(visit);
        executor.spawn(async move { converse(&reactor, &mut client).await });
    }
    Ok(())
}

/// The life of one client's task. The client is lent to it: a coroutine keeps an argument twice.
async fn converse(reactor: &Reactor, client: &mut Watched<Visit>) -> io::Result<()> {
    let mut alarm = reactor.sleep(TICK);
    while client.wants() != Wants::ToLeave {
        match first(what_it_wants(reactor, client), &mut alarm).await {
            First::A(happened) => {
                happened?;
                client.advance();
            }
            First::B(()) => {
                let now = Instant::now();
                client.tend(now);
                alarm.reset(client.deadline().min(now + TICK));
            }
        }
    }
    Ok(())
}

/// Waits for what the conversation waits for.
async fn what_it_wants(reactor: &Reactor, client: &Watched<Visit>) -> io::Result<()> {
    match client.wants() {
        Wants::ToHear => client.ready(EventFlags::IN).await,
        Wants::ToSpeak => client.ready(EventFlags::OUT).await,
        Wants::ToWait(until) => {
            client.rest()?;
            reactor.sleep_until(until).await;
            Ok(())
        }
        Wants::ToLeave => Ok(()),
    }
}

async fn answer_datagrams(executor: Executor, mut site: Site<DatagramSocket>) -> io::Result<()> {
    site.set_blocking(false)?;
    let reactor = executor.reactor();
    let mut waiting = Waiting::default();
    let door = watch(reactor, &site)?;
    while site.turn() || !waiting.is_empty() {
        if somebody_comes(reactor, &site, &door, waiting.next_timer()).await? {
            waiting.receive(&mut site)?;
        }
        waiting.tend(&site);
    }
    Ok(())
}

/// A copy of the endpoint for the reactor to watch. It keeps the endpoint open, so it must go when the site's own goes.
fn watch<S: Endpoint>(reactor: &Reactor, site: &Site<S>) -> io::Result<Watched<OwnedFd>> {
    Ok(reactor.watch(site.as_fd().try_clone_to_owned()?))
}

/// Waits until somebody comes, a tick at the most; whether somebody did.
async fn somebody_comes<S: Endpoint>(
    reactor: &Reactor,
    site: &Site<S>,
    door: &Watched<OwnedFd>,
    timer: Option<Instant>,
) -> io::Result<bool> {
    let tick = reactor.sleep(site.tick_until(timer));
    if site.is_open() {
        match first(door.ready(EventFlags::IN), tick).await {
            First::A(came) => came.map(|()| true),
            First::B(()) => Ok(false),
        }
    } else {
        door.rest()?;
        tick.await;
        Ok(false)
    }
}
