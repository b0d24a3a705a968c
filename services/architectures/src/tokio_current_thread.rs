//! An async framework, tokio, on a single thread: a task for each client, written as if it had a thread of its own.
//!
//! **Costs**: about what `epoll` costs, and a task's memory for each client. Code that blocks or computes long stops every
//! client here too, only it is harder to see that it does.
//! **Choose it** for many clients when one core is enough: the code reads like a blocking server's.
//! **Watch** on the dashboard: context switches per question, memory per connection, both beside `epoll`.
//! **Chapter**: "Asyncio framework", coroutine style (`tacr.py`). `tokio_multi_thread` is the same on all cores.

mod figures;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::time::{Duration, Instant};

use chassis::{Architecture, Capacity, DatagramSocket, Endpoint, Family, Site, StreamListener, Visit, Waiting};
use chassis::{NEWCOMERS, Wants, Workers};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::runtime::Builder;
use tokio::select;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, sleep_until, timeout};

use figures::figures;

pub const ARCHITECTURE: Architecture = Architecture {
    name: "tokio_current_thread",
    summary: "tokio on one thread: a task for each client",
    offset: 16,
    family: Family::Async,
    stream: Some(|site| run(serve_clients(site))),
    datagram: Some(|site| run(answer_datagrams(site))),
    workers: Workers::Ignored("one thread runs all tasks"),
    capacity: Capacity::Connections(10_000),
};

/// How often a task looks for orders while its client is silent.
const TICK: Duration = Duration::from_secs(1);

fn run(server: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(server)
}

pub(crate) async fn serve_clients(mut site: Site<StreamListener>) -> io::Result<()> {
    site.set_blocking(false)?;
    let mut clients = JoinSet::new();
    let door = watch(&site)?;
    while site.turn() {
        site.tell_of_runtime(figures);
        somebody_comes(&site, &door, None).await?;
        for _ in 0..NEWCOMERS {
            let Some(visit) = site.accept_now()? else { break };
            // SAFETY: a visit keeps its descriptor until it is dropped, and the `AsyncFd` owns the visit.
            let Ok(mut client) = (unsafe { AsyncFd::register(visit) }) else { continue };
            // Lent and not given: an argument would be kept twice in the task's memory.
            clients.spawn(async move { converse(&mut client).await });
        }
        while clients.try_join_next().is_some() {}
    }
    drop(door);
    while !clients.is_empty() {
        site.turn();
        // A tick at the most: orders may still change while the last clients leave.
        let _ = timeout(site.tick(), clients.join_next()).await;
    }
    Ok(())
}

/// The life of one client's task.
async fn converse(client: &mut AsyncFd<Visit>) -> io::Result<()> {
    let mut alarm = pin!(sleep(TICK));
    while client.get_ref().wants() != Wants::ToLeave {
        select! {
            happened = go_on(client) => happened?,
            () = &mut alarm => {
                let now = Instant::now();
                client.get_mut().tend(now);
                alarm.as_mut().reset(client.get_ref().deadline().min(now + TICK).into());
            }
        }
    }
    Ok(())
}

/// Waits for what the conversation wants, and does it.
async fn go_on(client: &mut AsyncFd<Visit>) -> io::Result<()> {
    let interest = match client.get_ref().wants() {
        Wants::ToHear => Interest::READABLE,
        Wants::ToSpeak => Interest::WRITABLE,
        Wants::ToWait(until) => {
            sleep_until(until.into()).await;
            client.get_mut().advance();
            return Ok(());
        }
        Wants::ToLeave => return Ok(()),
    };
    let mut ready = client.ready_mut(interest).await?;
    let visit = ready.get_inner_mut();
    let blocked = match visit.advance() {
        Wants::ToSpeak => Ready::WRITABLE,
        // Only a read tells that nothing is left, and what came while the reply was stuck is not told of again.
        _ if interest.is_writable() || visit.may_have_more() => Ready::EMPTY,
        _ => Ready::READABLE,
    };
    ready.clear_ready_matching(blocked);
    Ok(())
}

pub(crate) async fn answer_datagrams(mut site: Site<DatagramSocket>) -> io::Result<()> {
    site.set_blocking(false)?;
    let mut waiting = Waiting::default();
    let door = watch(&site)?;
    while site.turn() || !waiting.is_empty() {
        site.tell_of_runtime(figures);
        somebody_comes(&site, &door, waiting.next_timer()).await?;
        waiting.receive(&mut site)?;
        waiting.tend(&site);
    }
    Ok(())
}

/// A descriptor of the endpoint for tokio to watch. It keeps the endpoint open, so it must go when the site's own goes.
fn watch<S: Endpoint>(site: &Site<S>) -> io::Result<AsyncFd<OwnedFd>> {
    let door = site.as_fd().try_clone_to_owned()?;
    // SAFETY: the `AsyncFd` owns the descriptor, and nobody can replace it.
    Ok(unsafe { AsyncFd::register_with_interest(door, Interest::READABLE)? })
}

/// Waits until somebody comes, a tick at the most. Tokio reports news only once, so it is not asked while somebody may
/// still wait.
async fn somebody_comes<S: Endpoint>(
    site: &Site<S>,
    door: &AsyncFd<OwnedFd>,
    timer: Option<Instant>,
) -> io::Result<()> {
    let tick = site.tick_until(timer);
    if !site.is_open() {
        sleep(tick).await;
    } else if site.may_have_more() {
        yield_now().await;
    } else if let Ok(ready) = timeout(tick, door.readable()).await {
        ready?.clear_ready();
    }
    Ok(())
}
