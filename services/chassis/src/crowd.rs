//! The clients of a readiness loop: who they are, what each wants, and when somebody's time is up.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use crate::letter::Letter;
use crate::site::Site;
use crate::socket::{DatagramSocket, TICK};
use crate::talk::Wants;
use crate::visit::Visit;

/// Clients or datagrams that a loop takes in one turn, so that those already here are not kept waiting.
pub const NEWCOMERS: usize = 64;

/// The clients of one loop, by descriptor.
///
/// The loop asks the kernel which of them are ready and lets those [`advance`](Self::advance); it calls
/// [`tend`](Self::tend) once a turn for those whose time is up. Nothing here waits.
#[derive(Default)]
pub struct Crowd {
    /// The kernel gives the lowest free number, so they lie close together: a list is a map without hashing.
    visits: Vec<Option<Visit>>,
    count: usize,
    timers: BinaryHeap<Reverse<(Instant, RawFd)>>,
    next_round: Option<Instant>,
}

/// A client that wants something else than before.
pub struct Change {
    /// The client's descriptor.
    pub client: RawFd,
    /// What the loop should watch it for from now on.
    pub wants: Wants,
    /// The client itself if it leaves. Its socket is closed with this, or later if it lingers: a loop whose kernel keeps a list
    /// must take it off before.
    pub left: Option<Visit>,
}

impl Crowd {
    /// Whether nobody is there.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many are there.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Takes a client in, who wants to be heard.
    pub fn welcome(&mut self, visit: Visit) -> RawFd {
        let client = visit.as_raw_fd();
        let place = client as usize;
        if self.visits.len() <= place {
            self.visits.resize_with(place + 1, || None);
        }
        self.visits[place] = Some(visit);
        self.count += 1;
        client
    }

    /// The client with this descriptor.
    pub fn get(&self, client: RawFd) -> Option<&Visit> {
        self.visits.get(client as usize)?.as_ref()
    }

    /// Everybody with what they want.
    pub fn iter(&self) -> impl Iterator<Item = (&Visit, Wants)> {
        self.visits.iter().flatten().map(|visit| (visit, visit.wants()))
    }

    /// Does for a client what it wants, as far as that is possible without waiting. A client that wants to leave is gone.
    pub fn advance(&mut self, client: RawFd) -> Option<Change> {
        self.go_on(client, Visit::advance)
    }

    /// When somebody's waiting ends: the loop must not sleep beyond it.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((until, _))| *until)
    }

    /// Goes on with those who have waited long enough, and, once a tick, ends the conversations whose time is up.
    pub fn tend(&mut self) -> Vec<Change> {
        let now = Instant::now();
        let mut changes = Vec::new();
        while let Some(client) = self.pop_timer(now) {
            changes.extend(self.advance(client));
        }
        if self.next_round.is_none_or(|next| now >= next) {
            self.next_round = Some(now + TICK);
            for client in self.overdue(now) {
                changes.extend(self.go_on(client, |visit| visit.tend(now)));
            }
        }
        changes
    }

    fn pop_timer(&mut self, now: Instant) -> Option<RawFd> {
        self.next_timer().filter(|&until| until <= now)?;
        self.timers.pop().map(|Reverse((_, client))| client)
    }

    fn overdue(&self, now: Instant) -> Vec<RawFd> {
        self.visits.iter().flatten().filter(|visit| visit.deadline() <= now).map(AsRawFd::as_raw_fd).collect()
    }

    fn go_on(&mut self, client: RawFd, step: impl FnOnce(&mut Visit) -> Wants) -> Option<Change> {
        let place = self.visits.get_mut(client as usize)?;
        let visit = place.as_mut()?;
        let wanted = visit.wants();
        let wants = step(visit);
        let mut left = None;
        match wants {
            Wants::ToLeave => {
                left = place.take();
                self.count -= 1;
            }
            Wants::ToWait(until) if wants != wanted => self.timers.push(Reverse((until, client))),
            _ => {}
        }
        (wants != wanted).then_some(Change { client, wants, left })
    }
}

/// Letters that a loop has received, and whose answers cost a wait.
#[derive(Default)]
pub struct Waiting {
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    letters: HashMap<u64, Letter>,
    number: u64,
    /// A copy to answer from while somebody waits: in a drain the site's own may be closed before.
    socket: Option<DatagramSocket>,
}

impl Waiting {
    /// Receives what has come, [`NEWCOMERS`] at the most, and [takes it in](Self::take_in): for sockets that do not block.
    ///
    /// # Errors
    /// If the socket cannot be read.
    pub fn receive(&mut self, site: &mut Site<DatagramSocket>) -> io::Result<()> {
        for _ in 0..NEWCOMERS {
            let Some(letter) = site.receive()? else { break };
            self.take_in(site, letter);
        }
        Ok(())
    }

    /// Takes in a letter: answers it at once, or keeps it for as long as its answer costs.
    pub fn take_in(&mut self, site: &Site<DatagramSocket>, letter: Letter) {
        match letter.wants() {
            Wants::ToWait(until) => {
                if self.socket.is_none() {
                    self.socket = site.copy();
                }
                self.number += 1;
                self.timers.push(Reverse((until, self.number)));
                self.letters.insert(self.number, letter);
            }
            _ => site.answer_now(&letter),
        }
    }

    /// When the next one's time comes: the loop must not sleep beyond it.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((until, _))| *until)
    }

    /// Answers those whose time has come.
    pub fn tend(&mut self, site: &Site<DatagramSocket>) {
        while self.next_timer().is_some_and(|until| until <= Instant::now()) {
            let next = self.timers.pop().and_then(|Reverse((_, number))| self.letters.remove(&number));
            match (next, &self.socket) {
                (Some(letter), Some(socket)) => site.answer_from(socket, &letter),
                (Some(letter), None) => site.answer_now(&letter),
                (None, _) => {}
            }
        }
        if self.timers.is_empty() {
            self.socket = None;
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }
}
