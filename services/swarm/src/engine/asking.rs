//! From an instant of the schedule to a question on its way.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use zen::{Address, Dialogue};

use super::lane::Waiting;
use super::{Engine, TICK};
use crate::client::{Client, Connect, Next, Phase, Place, outcome_of};
use crate::plan::{MOST_AT_ONCE, OverRun};
use crate::population::{Asks, Depth, Ending, Reading, Text, Wanted, Way, Writing, bad_question};
use crate::tally::Outcome;

/// Instants for which a lane keeps room while nothing waits; what a burst needs beyond is given back after it.
const ROOM: usize = 64;

/// Parts in which a fragmenter sends its question, and the time between them: long enough to be packets of their own.
const PARTS: usize = 3;
const BETWEEN_PARTS: Duration = Duration::from_millis(1);

/// The swarm is late that asks later than this after it could.
const LATE: Duration = Duration::from_millis(1);

impl Engine {
    /// Does what is due in one lane.
    pub(super) fn work(&mut self, lane: usize, now: Instant) -> io::Result<()> {
        if self.lanes[lane].over {
            return Ok(());
        }
        while let Some(due) = self.lanes[lane].schedule.take(now) {
            self.plan(lane, Waiting { due, seen: now });
        }
        self.keep_connections(lane, now)?;
        match self.lanes[lane].manner().way {
            Way::Visit | Way::Held => self.follow_instants(lane)?,
            Way::Closed => self.ask_free(lane)?,
            Way::Silent => {}
        }
        if self.lanes[lane].load.over_run == OverRun::Drop && !self.lanes[lane].waiting.is_empty() {
            self.drop_waiting(lane);
        }
        Ok(())
    }

    /// Every entry in the books is one that leaves them balanced.
    fn plan(&mut self, lane: usize, one: Waiting) {
        let questions = self.lanes[lane].questions() as u64;
        let is_full = self.lanes[lane].waiting.len() >= MOST_AT_ONCE;
        self.book(lane, |seen| {
            seen.ledger.planned += questions;
            *if is_full { &mut seen.ledger.dropped } else { &mut seen.ledger.waiting } += questions;
        });
        if is_full {
            self.fail_in_window(lane, questions);
        } else {
            self.lanes[lane].waiting.push_back(one);
        }
    }

    /// What nobody could ask at its instant.
    fn drop_waiting(&mut self, lane: usize) {
        let waiting = std::mem::take(&mut self.lanes[lane].waiting).len() * self.lanes[lane].questions();
        self.book(lane, |seen| {
            seen.ledger.waiting -= waiting as u64;
            seen.ledger.dropped += waiting as u64;
        });
        self.fail_in_window(lane, waiting as u64);
    }

    fn keep_connections(&mut self, lane: usize, now: Instant) -> io::Result<()> {
        if self.lanes[lane].manner().way == Way::Visit {
            return Ok(());
        }
        let wanted = self.lanes[lane].load.connections;
        while self.lanes[lane].clients < wanted && self.lanes[lane].retry_at <= now {
            if self.open(lane, None, now).is_err() {
                self.lanes[lane].back_off(now);
            }
        }
        self.remove_surplus(lane, wanted);
        Ok(())
    }

    /// Closes connections beyond those that are wanted, as far as nothing is on its way there; others follow once that is so.
    pub(super) fn remove_surplus(&mut self, lane: usize, wanted: usize) {
        let surplus = self.lanes[lane].clients.saturating_sub(wanted);
        if surplus == 0 {
            return;
        }
        let is_at_rest = |id: &usize| self.clients[*id].as_ref().is_some_and(|client| client.on_the_way.is_empty());
        let ids: Vec<_> = match self.lanes[lane].manner().way {
            Way::Silent => {
                let is_of_lane = |client: &Client| client.lane == lane && client.phase != Phase::Late;
                let all = 0..self.clients.len();
                all.filter(|id| self.clients[*id].as_ref().is_some_and(is_of_lane)).take(surplus).collect()
            }
            _ => self.lanes[lane].free.iter().copied().filter(is_at_rest).take(surplus).collect(),
        };
        for id in ids {
            self.forget(id);
        }
    }

    /// Asks what has waited, as far as there is somebody to ask it. Each question has a stamp of its own: many take their time.
    fn follow_instants(&mut self, lane: usize) -> io::Result<()> {
        let is_visit = self.lanes[lane].manner().way == Way::Visit;
        self.lanes[lane].held_back = false;
        while let Some(&Waiting { due, seen }) = self.lanes[lane].waiting.front() {
            let now = Instant::now();
            if !self.lanes[lane].may_ask(now) {
                self.lanes[lane].held_back = true;
                break;
            }
            let free = if is_visit { None } else { self.next_free(lane, now) };
            if if is_visit { !self.lanes[lane].has_room() } else { free.is_none() } {
                break;
            }
            self.lanes[lane].waiting.pop_front();
            let lag = now.saturating_duration_since(due);
            let since = self.could_ask_since(lane, due, free);
            // Who was away when an instant came has a queue by its own doing, and no connection is free for that long.
            let lateness = now.saturating_duration_since(since).max(seen.saturating_duration_since(due));
            self.business.has_asked(lateness);
            self.lanes[lane].has_asked(now);
            let questions = self.at_once(lane) as u64;
            self.book(lane, |seen| {
                seen.ledger.waiting -= questions;
                seen.ledger.sent += questions;
                seen.ledger.in_flight += questions;
                seen.lag.record(lag);
                seen.lateness.record(lateness);
                seen.late += u64::from(lateness > LATE);
            });
            match free {
                Some(id) => self.ask(id, due, now)?,
                None => self.visit(lane, due, now),
            }
        }
        if self.lanes[lane].waiting.is_empty() {
            self.lanes[lane].waiting.shrink_to(ROOM);
        }
        Ok(())
    }

    /// Since when a question that is due could be asked: what comes after that is the swarm's own lateness, and what comes before
    /// is for the server to answer for.
    fn could_ask_since(&self, lane: usize, due: Instant, free: Option<usize>) -> Instant {
        let lane = &self.lanes[lane];
        let client = free.and_then(|id| self.clients[id].as_ref());
        let has_room_since = client.map_or(lane.visitors_since, |client| client.free_since);
        due.max(has_room_since).max(lane.held_back_until().unwrap_or(due))
    }

    /// Questions that a client of this lane says at once.
    fn at_once(&self, lane: usize) -> usize {
        if self.lanes[lane].manner().depth == Depth::All { self.lanes[lane].questions() } else { 1 }
    }

    /// The attempt to connect is the first questions' way.
    fn visit(&mut self, lane: usize, due: Instant, now: Instant) {
        if let Err(error) = self.open(lane, Some(due), now) {
            let at_once = self.at_once(lane);
            (0..at_once).for_each(|_| self.fail(lane, outcome_of(&error)));
            self.give_up(lane, (self.lanes[lane].questions() - at_once) as u64);
        }
    }

    /// A client that may be asked for more. Those that have had their time go.
    fn next_free(&mut self, lane: usize, now: Instant) -> Option<usize> {
        while let Some(id) = self.lanes[lane].free.pop_front() {
            let is_spent = self.is_spent(id, now);
            let client = self.clients[id].as_mut()?;
            client.is_free = false;
            if !is_spent {
                return Some(id);
            }
            if client.on_the_way.is_empty() {
                self.forget(id);
            }
        }
        None
    }

    /// Whether a connection has been asked as often, or has become as old, as it may.
    pub(super) fn is_spent(&self, id: usize, now: Instant) -> bool {
        let Some(client) = &self.clients[id] else { return true };
        let habits = &self.lanes[client.lane].load.habits;
        let is_asked_enough =
            habits.requests_per_connection > 0 && client.asked >= habits.requests_per_connection as u64;
        is_asked_enough || habits.lifetime.is_some_and(|lifetime| client.began + lifetime <= now)
    }

    /// Asks everybody who is free, who have no schedule.
    fn ask_free(&mut self, lane: usize) -> io::Result<()> {
        loop {
            let now = Instant::now();
            let Some(id) = self.next_free(lane, now) else { return Ok(()) };
            let questions = self.at_once(lane) as u64;
            self.book(lane, |seen| {
                seen.ledger.planned += questions;
                seen.ledger.sent += questions;
                seen.ledger.in_flight += questions;
            });
            self.ask(id, now, now)?;
        }
    }

    /// Asks a client that is connected.
    pub(super) fn ask(&mut self, id: usize, due: Instant, now: Instant) -> io::Result<()> {
        let Some(client) = &self.clients[id] else { return Ok(()) };
        let (lane, free_since) = (client.lane, client.free_since);
        for _ in 0..self.at_once(lane) {
            self.push(id, due, now);
        }
        self.make_free(id, free_since, now);
        self.say(id, now)
    }

    fn push(&mut self, id: usize, due: Instant, now: Instant) {
        let Some(client) = &mut self.clients[id] else { return };
        let lane = &mut self.lanes[client.lane];
        let dialogue = self.shared.targets[lane.load.target].dialogue;
        let text = match lane.manner().asks {
            // In turn on each connection, so that an answer that comes twice is not taken for the next one.
            Asks::Known => Text::known((client.asked % zen::QUESTIONS.len() as u64) as usize),
            Asks::Bad => {
                lane.turn += 1;
                bad_question(lane.turn, lane.load.endpoint.transport, dialogue)
            }
        };
        let text = if dialogue == Dialogue::Echo { text.echoed() } else { text };
        client.push(text, due, now + self.timeout + lane.load.own_time(dialogue));
    }

    /// Puts a client among the free ones if it may be asked for more, as it could have been since then.
    pub(super) fn make_free(&mut self, id: usize, since: Instant, now: Instant) {
        let is_spent = self.is_spent(id, now);
        let Some(client) = &mut self.clients[id] else { return };
        let lane = &mut self.lanes[client.lane];
        let depth = if lane.manner().depth == Depth::Pipeline { lane.load.habits.pipeline } else { 1 };
        let keeps = matches!(lane.manner().way, Way::Held | Way::Closed);
        if keeps && !client.is_free && !is_spent && client.on_the_way.len() < depth {
            (client.is_free, client.free_since) = (true, since);
            lane.free.push_back(id);
        }
    }

    /// Opens a connection; `visit` is the instant of what it has to ask.
    fn open(&mut self, lane: usize, visit: Option<Instant>, now: Instant) -> io::Result<()> {
        let place = self.place(lane)?;
        let load = &self.lanes[lane].load;
        let how = Connect {
            transport: load.endpoint.transport,
            place: &place,
            traced: self.trace_one_in > 0,
            source_addresses: load.habits.source_addresses,
            little_room: self.lanes[lane].manner().reading == Reading::Slowly,
        };
        let client = Client::connect(&how, lane)?;
        let is_open = client.phase == Phase::Open;
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.clients.push(None);
            self.clients.len() - 1
        });
        let interest = if is_open { EventFlags::IN } else { EventFlags::OUT };
        let registered = epoll::add(&self.set, &client, EventData::new_u64(id as u64), interest);
        self.clients[id] = Some(client);
        self.lanes[lane].clients += 1;
        self.book(lane, |seen| seen.connections += 1);
        self.shared.kinds.connected(self.lanes[lane].load.kind);
        if let Err(error) = registered {
            self.forget(id);
            return Err(error.into());
        }
        if let Some(due) = visit {
            let at_once = self.at_once(lane);
            (0..at_once).for_each(|_| self.push(id, due, now));
            if let Some(client) = &mut self.clients[id] {
                client.to_ask = self.lanes[lane].questions() - at_once;
            }
        }
        if is_open { self.is_there(id) } else { Ok(()) }
    }

    fn place(&self, lane: usize) -> io::Result<Place> {
        match &self.lanes[lane].load.endpoint.address {
            Address::Path(path) => Ok(Place::Path(path.clone())),
            Address::Host(host, port) => match host.parse() {
                Ok(ip) => Ok(Place::Ip(SocketAddr::new(ip, *port))),
                Err(_) => self
                    .shared
                    .resolve(host, *port)
                    .map(Place::Ip)
                    .ok_or_else(|| io::ErrorKind::ConnectionRefused.into()),
            },
        }
    }

    /// A connection is there: it asks what it has to ask.
    pub(super) fn is_there(&mut self, id: usize) -> io::Result<()> {
        let Some(client) = &mut self.clients[id] else { return Ok(()) };
        let lane = client.lane;
        let transport = self.lanes[lane].load.endpoint.transport;
        client.find_origin(transport, self.trace_one_in > 0);
        let took = client.began.elapsed();
        let has_question = !client.on_the_way.is_empty();
        if transport.is_stream() {
            self.book(lane, |seen| seen.connect.record(took));
        }
        self.lanes[lane].take_heart();
        let now = Instant::now();
        if has_question {
            return self.say(id, now);
        }
        if self.lanes[lane].over {
            // It was still connecting when its lane ended.
            self.forget(id);
        } else {
            self.make_free(id, self.known_since, now);
        }
        Ok(())
    }

    /// Says what is on its way, as clients of its kind do.
    fn say(&mut self, id: usize, now: Instant) -> io::Result<()> {
        let Some(client) = &mut self.clients[id] else { return Ok(()) };
        let manner = self.lanes[client.lane].manner();
        if manner.writing != Writing::Whole {
            return self.say_more(id, now);
        }
        let said = if manner.depth == Depth::All { client.say_all(now) } else { client.say(now) };
        match said {
            Ok(()) => self.has_said(id, now),
            Err(error) => self.lose(id, outcome_of(&error)),
        }
    }

    /// Says a part, and the next one later.
    pub(super) fn say_more(&mut self, id: usize, now: Instant) -> io::Result<()> {
        let Some(client) = &mut self.clients[id] else { return Ok(()) };
        let lane = &self.lanes[client.lane];
        let length = client.on_the_way.back().map_or(0, |question| question.text.said.len());
        let (most, pause) = match lane.manner().writing {
            Writing::Whole => (length, None),
            Writing::Parts => (length.div_ceil(PARTS), Some(BETWEEN_PARTS)),
            Writing::Bytes => (1, Some(lane.load.habits.interval)),
            Writing::Half => (length / 2, None),
        };
        match (client.say_part(most, now), pause) {
            (Ok(false), Some(pause)) => self.set_alarm(id, now + pause, Next::Say),
            (Ok(_), _) => return self.has_said(id, now),
            (Err(error), _) => return self.lose(id, outcome_of(&error)),
        }
        Ok(())
    }

    /// Everything that the client wanted to say is said.
    fn has_said(&mut self, id: usize, now: Instant) -> io::Result<()> {
        let Some(client) = &self.clients[id] else { return Ok(()) };
        let (manner, interval) = (self.lanes[client.lane].manner(), self.lanes[client.lane].load.habits.interval);
        let wants_silence = client.on_the_way.front().is_some_and(|question| question.text.wanted == Wanted::Silence);
        let done = match manner.ending {
            Ending::Abort => {
                let prepared = client.prepare_reset();
                self.end_all(id, prepared.map_or_else(|error| outcome_of(&error), |()| Outcome::Aborted), now);
                return Ok(());
            }
            Ending::HalfClose => client.half_close(),
            Ending::Wait if wants_silence => client.half_close(),
            Ending::Wait => Ok(()),
        };
        if let Err(error) = done {
            return self.lose(id, outcome_of(&error));
        }
        if manner.reading == Reading::Slowly {
            self.listen(id, EventFlags::empty())?;
            self.set_alarm(id, now + interval, Next::Hear);
        }
        Ok(())
    }

    /// Says what the client wants to be woken for.
    pub(super) fn listen(&self, id: usize, interest: EventFlags) -> io::Result<()> {
        let Some(client) = &self.clients[id] else { return Ok(()) };
        Ok(epoll::modify(&self.set, client, EventData::new_u64(id as u64), interest)?)
    }

    /// Ends what has taken too long, and connections that have had their time.
    pub(super) fn look_at_deadlines(&mut self) {
        let now = Instant::now();
        if now < self.next_round {
            return;
        }
        self.next_round = now + TICK;
        if self.lanes.iter().any(|lane| !lane.over && lane.load.profile.rate.moves()) {
            self.tell_rates(now);
        }
        for id in 0..self.clients.len() {
            let Some(client) = &self.clients[id] else { continue };
            let is_overdue = match (client.on_the_way.front(), client.phase) {
                (Some(question), _) => question.deadline <= now,
                (None, Phase::Connecting | Phase::Late) => client.began + self.timeout <= now,
                (None, Phase::Open) => false,
            };
            if is_overdue {
                // Only closing can fail here, and that is what is wanted.
                let _ = self.lose(id, Outcome::Timeout);
            } else if client.is_free && client.on_the_way.is_empty() && self.is_spent(id, now) {
                self.forget(id);
            }
        }
    }
}
