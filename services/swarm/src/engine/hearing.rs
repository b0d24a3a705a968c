//! From what comes back to an outcome in the books.

use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::event::epoll::EventFlags;

use super::Engine;
use crate::client::{Came, Client, Heard, Next, Phase, Question, outcome_of};
use crate::population::{Reading, SLOW_BYTES, Way};
use crate::spans::SpanRecord;
use crate::tally::Outcome;

impl Engine {
    /// Something has happened at a client's socket.
    pub(super) fn advance(&mut self, id: usize) -> io::Result<()> {
        let traced = self.trace_one_in > 0;
        let Some(client) = self.clients.get_mut(id).and_then(Option::as_mut) else { return Ok(()) };
        match client.phase {
            Phase::Open => self.hear(id, usize::MAX, Instant::now()),
            Phase::Late => {
                self.hear_late(id);
                Ok(())
            }
            Phase::Connecting => {
                let transport = self.lanes[client.lane].load.endpoint.transport;
                match client.finish_connecting(transport, traced) {
                    Ok(()) => {
                        self.listen(id, EventFlags::IN)?;
                        self.is_there(id)
                    }
                    Err(error) => self.lose(id, outcome_of(&error)),
                }
            }
        }
    }

    /// Reads once and judges what has come.
    fn hear(&mut self, id: usize, most: usize, now: Instant) -> io::Result<()> {
        let Some(client) = &mut self.clients[id] else { return Ok(()) };
        match client.read(most) {
            Came::Nothing => Ok(()),
            Came::End(Outcome::Ok) => self.answered(id, now),
            Came::End(outcome) => self.lose(id, outcome),
            Came::Bytes => self.judge(id, now),
        }
    }

    fn judge(&mut self, id: usize, now: Instant) -> io::Result<()> {
        while let Some(client) = &mut self.clients[id] {
            let lane = client.lane;
            match client.judge() {
                Heard::Part => return Ok(()),
                Heard::Duplicate => {
                    self.book(lane, |seen| seen.duplicates += 1);
                    return Ok(());
                }
                Heard::Unasked => {
                    // Nobody has asked, so it is no question's outcome.
                    self.book(lane, |seen| seen.unasked += 1);
                    return self.lose(id, Outcome::WrongAnswer);
                }
                Heard::Busy => return self.lose(id, Outcome::Refused),
                Heard::Outcome(Outcome::Ok) => self.answered(id, now)?,
                Heard::Outcome(outcome) => return self.lose(id, outcome),
            }
            if !self.clients[id].as_ref().is_some_and(Client::has_more) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A slow reader reads a little, and the next time later.
    pub(super) fn hear_slowly(&mut self, id: usize, now: Instant) -> io::Result<()> {
        self.hear(id, SLOW_BYTES, now)?;
        let Some(client) = &self.clients[id] else { return Ok(()) };
        if client.on_the_way.is_empty() {
            // From here on an end of the connection should be seen.
            return self.listen(id, EventFlags::IN);
        }
        let interval = self.lanes[client.lane].load.habits.interval;
        self.set_alarm(id, now + interval, Next::Hear);
        Ok(())
    }

    /// Answers to what has been given up.
    fn hear_late(&mut self, id: usize) {
        let Some(client) = &mut self.clients[id] else { return };
        let lane = client.lane;
        match client.read(usize::MAX) {
            Came::Bytes => self.book(lane, |seen| seen.late_answers += 1),
            Came::Nothing => {}
            Came::End(_) => self.forget(id),
        }
    }

    /// The first question on its way was answered as it should be; its client goes on.
    fn answered(&mut self, id: usize, now: Instant) -> io::Result<()> {
        let Some(client) = &mut self.clients[id] else { return Ok(()) };
        let Some(question) = client.on_the_way.pop_front() else { return Ok(()) };
        let (lane, is_at_rest, has_more) = (client.lane, client.on_the_way.is_empty(), client.to_ask > 0);
        self.trace(id, question, now);
        self.settle(lane, question, now);
        let think = self.lanes[lane].load.habits.think;
        let may_ask_more = has_more || (self.lanes[lane].manner().way != Way::Visit && !self.lanes[lane].over);
        if is_at_rest && may_ask_more && !think.is_zero() {
            self.set_alarm(id, now + think, Next::Ask);
            return Ok(());
        }
        self.go_on(id, now)
    }

    /// What a client does after an answer.
    pub(super) fn go_on(&mut self, id: usize, now: Instant) -> io::Result<()> {
        let is_finished = self.is_finished(id, now);
        let Some(client) = &mut self.clients[id] else { return Ok(()) };
        let (lane, is_at_rest) = (client.lane, client.on_the_way.is_empty());
        if self.lanes[lane].manner().way != Way::Visit {
            let is_surplus = self.lanes[lane].over || self.lanes[lane].clients > self.lanes[lane].load.connections;
            if is_at_rest && (is_surplus || self.is_spent(id, now)) {
                self.forget(id);
            } else if !self.lanes[lane].over {
                self.make_free(id, self.known_since, now);
            }
            return Ok(());
        }
        if client.to_ask > 0 && is_finished {
            // Nothing is on its way, so nothing has this outcome.
            self.end_all(id, Outcome::Aborted, now);
            return Ok(());
        }
        if client.to_ask > 0 {
            // The next question of a conversation is due when the last one was answered.
            client.to_ask -= 1;
            self.book(lane, |seen| {
                seen.ledger.waiting -= 1;
                seen.ledger.sent += 1;
                seen.ledger.in_flight += 1;
            });
            return self.ask(id, now, now);
        }
        if is_at_rest {
            self.forget(id);
        }
        Ok(())
    }

    /// Whether a conversation has had time enough to come to its end since nobody is to be asked any more: one of the usual
    /// length does, another would go on for as long as it is told to.
    fn is_finished(&self, id: usize, now: Instant) -> bool {
        let Some(client) = &self.clients[id] else { return true };
        (self.was_paused || self.lanes[client.lane].over) && client.began + self.timeout <= now
    }

    /// Writes down a right answer. Durations of who reads slowly would tell of the reader; a client without a schedule has
    /// no instant at which it should have asked.
    fn settle(&self, lane: usize, question: Question, now: Instant) {
        let load = &self.lanes[lane].load;
        let manner = load.kind.manner();
        let has_schedule = load.kind.has_rate();
        let response = now.saturating_duration_since(question.planned);
        let service = now.saturating_duration_since(question.sent.unwrap_or(question.planned));
        self.shared.kinds.ended(load.kind, Outcome::Ok);
        self.book_in_window(lane, |seen, is_own| {
            seen.ledger.in_flight -= 1;
            seen.ledger.outcomes[Outcome::Ok as usize] += 1;
            if manner.reading == Reading::AtOnce {
                seen.service.record(service);
            }
            let mut window = seen.window.as_mut().filter(|_| is_own);
            if let Some(window) = &mut window {
                window.right += 1;
            }
            if has_schedule {
                seen.response.record(response);
                if let Some(window) = window {
                    window.response.record(response);
                }
            }
        });
    }

    /// Writes down a question that was on its way and got no right answer.
    pub(super) fn fail(&self, lane: usize, outcome: Outcome) {
        self.shared.kinds.ended(self.lanes[lane].load.kind, outcome);
        self.book(lane, |seen| {
            seen.ledger.in_flight -= 1;
            seen.ledger.outcomes[outcome as usize] += 1;
        });
        if outcome != Outcome::Aborted {
            self.fail_in_window(lane, 1);
        }
    }

    /// Questions of the spotlight or of a run that got no right answer, for whatever reason.
    pub(super) fn fail_in_window(&self, lane: usize, questions: u64) {
        self.book_in_window(lane, |seen, is_own| {
            if let Some(window) = seen.window.as_mut().filter(|_| is_own) {
                window.failed += questions;
            }
        });
    }

    /// What can no longer be asked.
    pub(super) fn give_up(&self, lane: usize, questions: u64) {
        self.book(lane, |seen| {
            seen.ledger.waiting -= questions;
            seen.ledger.unsent += questions;
        });
        self.fail_in_window(lane, questions);
    }

    fn trace(&self, id: usize, question: Question, now: Instant) {
        let Some((client, origin)) = self.clients[id].as_ref().and_then(|client| Some((client, client.origin?))) else {
            return;
        };
        let Some(which) = question.text.which else { return };
        let exchange = origin.exchange(question.number);
        if exchange.is_sampled(self.trace_one_in) {
            let took = now.saturating_duration_since(question.sent.unwrap_or(question.planned));
            let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(took);
            let load = &self.lanes[client.lane].load;
            self.shared.trace(SpanRecord {
                exchange,
                started,
                took,
                target: load.target,
                transport: load.endpoint.transport,
                question: which,
            });
        }
    }

    /// A connection is lost, with what was on its way there.
    pub(super) fn lose(&mut self, id: usize, outcome: Outcome) -> io::Result<()> {
        let now = Instant::now();
        let Some(client) = &self.clients[id] else { return Ok(()) };
        let lane = client.lane;
        // Who has no schedule asks again as soon as it is connected: sent away each time, it would do nothing else.
        let has_no_pace = client.on_the_way.is_empty() || self.lanes[lane].manner().way == Way::Closed;
        if has_no_pace && client.phase != Phase::Late {
            self.lanes[lane].back_off(now);
        }
        self.end_all(id, outcome, now);
        Ok(())
    }

    /// Ends all that a client had to ask, and the client: a late answer must not be taken for the next one. The first question
    /// on its way has this outcome; those behind a wrong answer cannot be judged.
    pub(super) fn end_all(&mut self, id: usize, outcome: Outcome, now: Instant) {
        let Some(client) = &mut self.clients[id] else { return };
        let lane = client.lane;
        let (on_the_way, to_ask) = (std::mem::take(&mut client.on_the_way), std::mem::take(&mut client.to_ask));
        let rest = if outcome == Outcome::WrongAnswer { Outcome::Error } else { outcome };
        for at in 0..on_the_way.len() {
            self.fail(lane, if at == 0 { outcome } else { rest });
        }
        self.give_up(lane, to_ask as u64);
        let is_datagram = !self.lanes[lane].load.endpoint.transport.is_stream();
        if is_datagram && outcome == Outcome::Timeout && !on_the_way.is_empty() {
            self.wait_for_late_answers(id, now);
        } else {
            self.forget(id);
        }
    }

    /// A datagram may be lost, or only late: its socket stays open for a while and is used no more.
    fn wait_for_late_answers(&mut self, id: usize, now: Instant) {
        let Some(client) = &mut self.clients[id] else { return };
        (client.phase, client.began, client.alarm) = (Phase::Late, now, None);
        let lane = &mut self.lanes[client.lane];
        lane.lose_one(self.known_since);
        lane.late += 1;
        if std::mem::take(&mut client.is_free) {
            lane.free.retain(|&free| free != id);
        }
    }

    /// Closes a client and strikes it out everywhere.
    pub(super) fn forget(&mut self, id: usize) {
        let Some(client) = self.clients.get_mut(id).and_then(Option::take) else { return };
        let lane = &mut self.lanes[client.lane];
        if client.phase == Phase::Late {
            lane.late -= 1;
        } else {
            lane.lose_one(self.known_since);
        }
        if client.is_free {
            lane.free.retain(|&free| free != id);
        }
        self.shared.kinds.gone(lane.load.kind);
        self.book(client.lane, |seen| seen.connections -= 1);
        drop(client);
        self.vacant.push(id);
    }

    /// What has not arrived in its time counts as timed out; what a client has not said to its end, as broken off.
    pub(super) fn give_up_the_rest(&mut self) {
        let now = Instant::now();
        for id in 0..self.clients.len() {
            let Some(client) = &self.clients[id] else { continue };
            let is_unsaid = client.on_the_way.back().is_some_and(|question| question.sent.is_none());
            let is_broken_off = is_unsaid && client.phase == Phase::Open;
            self.end_all(id, if is_broken_off { Outcome::Aborted } else { Outcome::Timeout }, now);
            self.forget(id);
        }
    }
}
