//! Unfriendly clients: who else is served meanwhile?

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use zen::{Address, Endpoint};

use super::{Entrant, Plan, conversations, endpoint, options};
use crate::{Crowd, Options, Pace};

/// How long each scenario takes.
const TIME: Duration = Duration::from_millis(200);

/// Silent clients beside the friendly ones, where there are no workers to be taken.
const IDLERS: usize = 300;

/// Friendly clients beside the unfriendly ones.
const FRIENDS: usize = 4;

/// The scenarios, by the ids of their columns.
pub(super) const SCENARIOS: [(&str, &str); 5] = [
    ("trickler", "begun question, never ended"),
    ("idlers", "silent connections"),
    ("churn", "three questions a connection"),
    ("pipelined", "16 questions on the way"),
    ("aborts", "reset after three questions"),
];

/// What became of the friendly clients in one scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fate {
    /// Whether all were served.
    pub served: bool,
    /// Their throughput, as a ratio: to the same clients alone, or (churn, pipelined) to connections that are held with one
    /// question on the way.
    pub ratio: f64,
}

/// Lets every scenario happen; the fates are in the order of [`SCENARIOS`]. Streams only.
pub(super) fn run(plan: &Plan, entrant: &Entrant, held: f64) -> io::Result<Vec<Fate>> {
    let place = endpoint(&entrant.server, plan)?;
    let converse = |reset| Crowd::connect(place, FRIENDS, conversations(plan, reset))?.slot(TIME, Pace::Closed);
    let churn = converse(false)?;
    let fate = |slot: crate::Slot, to: f64| Fate {
        served: slot.ok > 0 && slot.failed() == 0,
        ratio: slot.throughput() / to.max(1.0),
    };
    let alone = churn.throughput();
    let beside = |silent: Vec<Client>| {
        let slot = converse(false)?;
        drop(silent);
        recover(plan, place)?;
        io::Result::Ok(fate(slot, alone))
    };
    let mut slow = Client::connect(place)?;
    slow.write(b"Beau")?;
    let trickled = beside(vec![slow])?;
    let idlers = (0..idlers(entrant.contestant.at_once)).map(|_| Client::connect(place));
    let idled = beside(idlers.collect::<io::Result<_>>()?)?;
    let deep = Options { depth: 16, ..options(plan) };
    let pipelined = Crowd::connect(place, entrant.held, deep)?.slot(TIME, Pace::Closed)?;
    let aborted = converse(true)?;
    Ok(vec![trickled, idled, fate(churn, held), fate(pipelined, held), fate(aborted, alone)])
}

/// So many silent clients that a server with few workers has none left; one without is below its limit.
fn idlers(at_once: Option<usize>) -> usize {
    at_once.filter(|&workers| workers < IDLERS).map_or(IDLERS, |workers| workers + 2)
}

/// Waits until everybody is served again, at most for some seconds: a server may have hundreds of connections to close.
fn recover(plan: &Plan, place: &Endpoint) -> io::Result<()> {
    for _ in 0..20 {
        let slot = Crowd::connect(place, FRIENDS, conversations(plan, false))?.slot(TIME / 4, Pace::Closed)?;
        if slot.ok > 0 && slot.failed() == 0 {
            break;
        }
    }
    Ok(())
}

/// A client that says little.
enum Client {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Client {
    fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        match &endpoint.address {
            Address::Host(host, port) => TcpStream::connect((host.as_str(), *port)).map(Self::Tcp),
            Address::Path(path) => UnixStream::connect(path).map(Self::Unix),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}
