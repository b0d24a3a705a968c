//! All who are served, and when somebody's time is up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use chassis::{Stream, Talk, Wants};

use super::client::Client;
use super::ring::{Done, Ring};

/// How often it is looked whose time is up.
const ROUND: Duration = Duration::from_millis(100);

/// The clients, by descriptor: the kernel gives the lowest free number, so they lie close together.
#[derive(Default)]
pub struct Clients {
    places: Vec<Option<Client>>,
    count: usize,
    timers: BinaryHeap<Reverse<(Instant, RawFd)>>,
    next_round: Option<Instant>,
}

impl Clients {
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// When somebody's waiting ends: nobody must wait beyond it.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((until, _))| *until)
    }

    pub fn welcome(&mut self, ring: &mut Ring, stream: Stream, talk: Talk) -> io::Result<()> {
        let who = stream.as_raw_fd();
        if self.places.len() <= who as usize {
            self.places.resize_with(who as usize + 1, || None);
        }
        self.count += 1;
        self.places[who as usize].insert(Client::new(stream, talk)).begin_receiving(ring)
    }

    /// Something came from a client.
    pub fn heard(&mut self, ring: &mut Ring, done: &Done) -> io::Result<()> {
        let bytes = done.buffer.map_or(&[][..], |buffer| ring.buffers.bytes(buffer, done.length()));
        if let Some(client) = self.get(done.whose as RawFd) {
            client.has_received(done, bytes);
        }
        if let Some(buffer) = done.buffer {
            ring.buffers.give_back(buffer);
        }
        self.go_on(ring, done.whose as RawFd)
    }

    /// A client's socket has taken a part of its reply.
    pub fn spoke(&mut self, ring: &mut Ring, done: &Done) -> io::Result<()> {
        if let Some(client) = self.get(done.whose as RawFd) {
            client.has_sent(done);
        }
        self.go_on(ring, done.whose as RawFd)
    }

    /// Goes on with those who have waited long enough, and ends the conversations whose time is up.
    pub fn tend(&mut self, ring: &mut Ring, draining: bool) -> io::Result<()> {
        let now = Instant::now();
        while self.next_timer().is_some_and(|until| until <= now) {
            let Some(Reverse((until, who))) = self.timers.pop() else { break };
            if let Some(client) = self.get(who).filter(|client| client.talk.wants() == Wants::ToWait(until)) {
                client.talk.waited();
                self.go_on(ring, who)?;
            }
        }
        if self.next_round.is_none_or(|next| now >= next) {
            self.next_round = Some(now + ROUND);
            let overdue = self.places.iter_mut().flatten().filter_map(|client| client.is_overdue().then_some(client));
            let overdue: Vec<_> = overdue.map(|client| (client.talk.time_is_up(), client.stream.as_raw_fd())).collect();
            overdue.into_iter().try_for_each(|(_, who)| self.go_on(ring, who))?;
            if draining {
                self.interrupt(ring)?;
            }
        }
        Ok(())
    }

    /// Who asks without a break is always owed an answer when we look, and may have been heard further already. What was
    /// asked until the receiving has ended is answered; then there is a moment to leave.
    fn interrupt(&self, ring: &mut Ring) -> io::Result<()> {
        let busy = self.places.iter().flatten().filter(|client| client.talk.wants() != Wants::ToHear);
        busy.into_iter().try_for_each(|client| client.stop_receiving(ring))
    }

    fn get(&mut self, who: RawFd) -> Option<&mut Client> {
        self.places.get_mut(who as usize)?.as_mut()
    }

    /// Begins what the client wants. One who wants to leave is gone as soon as the kernel has nothing of it any more.
    fn go_on(&mut self, ring: &mut Ring, who: RawFd) -> io::Result<()> {
        let Some(client) = self.get(who) else { return Ok(()) };
        let wants = client.catch_up();
        if wants == Wants::ToSpeak && client.goes_on() {
            ring.hurry();
        }
        match wants {
            Wants::ToHear if !client.receiving => client.begin_receiving(ring),
            Wants::ToSpeak if !client.sending => client.begin_sending(ring),
            Wants::ToWait(until) if client.timer != Some(until) => {
                client.timer = Some(until);
                self.timers.push(Reverse((until, who)));
                Ok(())
            }
            Wants::ToLeave if client.receiving || client.sending => ring.cancel_all(who),
            Wants::ToLeave => {
                self.count -= 1;
                if let Some(client) = self.places[who as usize].take() {
                    client.leave();
                }
                Ok(())
            }
            _ => client.hold_back(ring),
        }
    }
}
