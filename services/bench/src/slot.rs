//! What one slot of load found.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest duration that is told apart from longer ones.
const LONGEST_NS: u64 = 60_000_000_000;

/// A histogram of durations from 1 ns to 60 s with three significant digits. What is longer counts as 60 s.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).unwrap_or_else(|_| unreachable!("the bounds are constant and valid"))
}

/// The books and the durations of one slot.
///
/// Two laws hold for every slot: `planned = sent + unsent` and
/// `sent = ok + wrong + error + timeout + lost + in_flight` ([`Self::balances`]).
#[derive(Clone)]
pub struct Slot {
    /// Questions that were due.
    pub planned: u64,
    /// Of these, handed to the kernel (or failed at once, for want of a connection).
    pub sent: u64,
    /// Of these, not asked by the end of the slot: no connection was free.
    pub unsent: u64,
    /// Right answers, byte for byte.
    pub ok: u64,
    /// Of these, the ones that came before the end of the slot and not only while it was drained.
    pub in_time: u64,
    /// Answers with another text.
    pub wrong: u64,
    /// Questions whose connection failed or was closed.
    pub error: u64,
    /// Questions on a stream without an answer within the client's patience.
    pub timeout: u64,
    /// The same for datagrams.
    pub lost: u64,
    /// Questions without an answer when the slot was given up.
    pub in_flight: u64,
    /// Datagrams that came once more. They answer nothing.
    pub duplicates: u64,
    /// Streams that said more than they were asked for. They answer nothing.
    pub surplus: u64,
    /// Connections made.
    pub connects: u64,
    /// Connections that could not be made.
    pub connect_errors: u64,
    /// From the planned instant to the answer. In a closed loop the same as [`Self::service`].
    pub response: Histogram<u64>,
    /// From the write to the answer.
    pub service: Histogram<u64>,
    /// From the planned instant to the write: what the client itself, or a want of free connections, adds. Empty in a closed
    /// loop.
    pub lag: Histogram<u64>,
    /// CPU time of the client.
    pub client_cpu: Duration,
    /// Of that, outside the kernel.
    pub client_user: Duration,
    /// How long questions were asked.
    pub wall: Duration,
}

impl Slot {
    pub(crate) fn new() -> Self {
        Self {
            planned: 0,
            sent: 0,
            unsent: 0,
            ok: 0,
            in_time: 0,
            wrong: 0,
            error: 0,
            timeout: 0,
            lost: 0,
            in_flight: 0,
            duplicates: 0,
            surplus: 0,
            connects: 0,
            connect_errors: 0,
            response: histogram(),
            service: histogram(),
            lag: histogram(),
            client_cpu: Duration::ZERO,
            client_user: Duration::ZERO,
            wall: Duration::ZERO,
        }
    }

    /// Whether every question is accounted for.
    pub const fn balances(&self) -> bool {
        self.planned == self.sent + self.unsent
            && self.sent == self.ok + self.wrong + self.error + self.timeout + self.lost + self.in_flight
    }

    /// Questions that were asked and not answered rightly.
    pub const fn failed(&self) -> u64 {
        self.sent - self.ok
    }

    /// The response time that a part `q` (0 to 1) of all planned questions kept, in nanoseconds; none if fewer had a right answer.
    /// What was never asked or never answered is later than everything, and not left out.
    pub fn response_at(&self, q: f64) -> Option<u64> {
        let wanted = q * self.planned as f64;
        let answered = self.response.len() as f64;
        (answered > 0.0 && wanted <= answered).then(|| self.response.value_at_quantile(wanted / answered))
    }

    /// Right answers a second within the slot.
    pub fn throughput(&self) -> f64 {
        self.in_time as f64 / self.wall.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// CPU time of the client for each right answer, in microseconds; none without answers.
    pub fn client_us(&self) -> Option<f64> {
        (self.ok > 0).then(|| self.client_cpu.as_secs_f64() * 1e6 / self.ok as f64)
    }

    /// Adds another slot's books and durations to these.
    pub fn add(&mut self, other: &Self) {
        let numbers = [
            (&mut self.planned, other.planned),
            (&mut self.sent, other.sent),
            (&mut self.unsent, other.unsent),
            (&mut self.ok, other.ok),
            (&mut self.in_time, other.in_time),
            (&mut self.wrong, other.wrong),
            (&mut self.error, other.error),
            (&mut self.timeout, other.timeout),
            (&mut self.lost, other.lost),
            (&mut self.in_flight, other.in_flight),
            (&mut self.duplicates, other.duplicates),
            (&mut self.surplus, other.surplus),
            (&mut self.connects, other.connects),
            (&mut self.connect_errors, other.connect_errors),
        ];
        for (sum, part) in numbers {
            *sum += part;
        }
        for (sum, part) in
            [(&mut self.response, &other.response), (&mut self.service, &other.service), (&mut self.lag, &other.lag)]
        {
            // All have the same bounds, so nothing can be out of range.
            let _ = sum.add(part);
        }
        self.client_cpu += other.client_cpu;
        self.client_user += other.client_user;
        self.wall += other.wall;
    }
}

impl fmt::Debug for Slot {
    /// The books, without the histograms' thousands of classes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("planned", &self.planned)
            .field("sent", &self.sent)
            .field("unsent", &self.unsent)
            .field("ok", &self.ok)
            .field("in_time", &self.in_time)
            .field("wrong", &self.wrong)
            .field("error", &self.error)
            .field("timeout", &self.timeout)
            .field("lost", &self.lost)
            .field("in_flight", &self.in_flight)
            .field("duplicates", &self.duplicates)
            .field("surplus", &self.surplus)
            .field("connects", &self.connects)
            .field("connect_errors", &self.connect_errors)
            .field("client_cpu", &self.client_cpu)
            .field("wall", &self.wall)
            .finish_non_exhaustive()
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}
