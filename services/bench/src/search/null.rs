//! A server that does nothing but answer: how late is the machine itself?

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::sched_setaffinity;
use zen::{Conversation, Dialogue, Endpoint, Limits, Next, Transport};

use super::Plan;
use crate::lab::Lab;
use crate::{Crowd, Options, Pace};

/// A load that asks nothing of any server.
const RATE: f64 = 1000.0;

/// How long it is asked.
const TIME: Duration = Duration::from_secs(1);

const CLIENTS: usize = 4;

/// The quantile of the limit, measured over TCP on a server that does nothing, where the lab's servers are.
///
/// # Errors
/// If there is no port or no thread left for it.
pub(super) fn floor(plan: &Plan, lab: &Lab) -> io::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = Endpoint::host(Transport::Tcp, "127.0.0.1", listener.local_addr()?.port());
    let place = lab.server_place();
    // It ends with its last client. Its own threads are where it is.
    thread::Builder::new().name("null-server".into()).spawn(move || {
        if place.is_some_and(|cores| sched_setaffinity(None, &cores).is_err()) {
            return;
        }
        for _ in 0..CLIENTS {
            let Ok((client, _)) = listener.accept() else { return };
            let _ = thread::Builder::new().name("null-client".into()).spawn(move || converse(client));
        }
    })?;
    let mut crowd = Crowd::connect(&endpoint, CLIENTS, Options { stop: Some(plan.stop), ..Options::default() })?;
    crowd.slot(TIME / 10, Pace::Closed)?;
    let slot = crowd.slot(TIME, Pace::poisson(RATE, plan.seed))?;
    Ok(Duration::from_nanos(slot.response.value_at_quantile(plan.quantile)))
}

fn converse(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let now = Instant::now();
    let hour = Duration::from_hours(1);
    let limits = Limits { max_question: 64, idle_timeout: hour, question_deadline: hour };
    let mut conversation = Conversation::new(now);
    let mut heard = [0; 4096];
    let mut answers = Vec::new();
    loop {
        let count = client.read(&mut heard)?;
        if count == 0 {
            return Ok(());
        }
        answers.clear();
        let next = conversation.hear(&heard[..count], now, Dialogue::Zen, &limits, &mut answers, |_| ());
        client.write_all(&answers)?;
        if matches!(next, Next::Leave) {
            return Ok(());
        }
    }
}
