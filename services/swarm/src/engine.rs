//! One thread, one epoll loop, every client.
//!
//! Lane by lane, the schedule says when something should happen; the engine does it then, or as soon after as it can, and
//! says how late it was. A timer descriptor in the epoll set ends its waits to the nanosecond: a generator that waits for whole
//! milliseconds, as epoll_wait(2) does, measures itself.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use zen::{Address, QUESTIONS, Transport};

use crate::client::{Client, Heard, Phase, Place, Question, Role, outcome_of};
use crate::plan::{Kind, Load};
use crate::schedule::Schedule;
use crate::service::Shared;
use crate::spans::SpanRecord;
use crate::tally::{Outcome, Seen, Tally};

/// The longest that the engine waits before it looks at the plan and at deadlines.
const TICK: Duration = Duration::from_millis(50);

/// Conversations that one lane has at once; what should begin beyond is given up and counted.
const MOST_VISITORS: usize = 512;

/// Questions of one lane that wait for a free connection; what should be asked beyond is given up and counted.
const MOST_WAITING: usize = 4096;

/// Between two attempts to open a connection that is held, after a failure: doubling up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// What stands for the timer in the epoll set, where clients have their numbers.
const TIMER: u64 = u64::MAX;

/// How long the engine's own business is watched before it is judged, and the part of that time from which on the engine is
/// what limits the load.
const BUSINESS: Duration = Duration::from_secs(1);
const SATURATED: f64 = 0.9;

/// One endpoint's load.
struct Lane {
    load: Load,
    schedule: Schedule,
    /// Instants of questions that wait for a free connection.
    waiting: VecDeque<Instant>,
    /// Held connections that are free.
    free: Vec<usize>,
    visitors: usize,
    regulars: usize,
    silent: usize,
    retry_at: Instant,
    retry_after: Duration,
    /// Which of the three questions a held connection asks next.
    turn: usize,
    /// No longer in the plan: it ends when its clients have.
    over: bool,
}

pub(crate) struct Engine {
    shared: Arc<Shared>,
    set: OwnedFd,
    /// Ends a wait; set anew for each, so it is never read.
    timer: OwnedFd,
    clients: Vec<Option<Client>>,
    vacant: Vec<usize>,
    lanes: Vec<Lane>,
    plan_seen: u64,
    timeout: Duration,
    trace_one_in: u64,
    next_round: Instant,
    was_paused: bool,
    business: Business,
}

/// How much of its time the engine has waited.
struct Business {
    since: Instant,
    waited: Duration,
}

impl Engine {
    pub fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&set, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        Ok(Self {
            shared,
            set,
            timer,
            clients: Vec::new(),
            vacant: Vec::new(),
            lanes: Vec::new(),
            plan_seen: 0,
            timeout: Duration::from_secs(5),
            trace_one_in: 0,
            next_round: Instant::now(),
            was_paused: false,
            business: Business { since: Instant::now(), waited: Duration::ZERO },
        })
    }

    /// Goes on until it is told to stop, then lets what is on its way arrive.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(256);
        while !self.shared.is_stopping() {
            self.turn(&mut events)?;
        }
        self.stop_planning();
        let patience = Instant::now() + Duration::from_secs(2);
        while self.clients.iter().flatten().any(|client| client.question.is_some()) && Instant::now() < patience {
            self.wait(&mut events)?;
            self.look_at_deadlines();
        }
        self.give_up_the_rest();
        Ok(())
    }

    fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        self.follow_plan();
        let now = Instant::now();
        let is_paused = self.shared.is_paused();
        if self.was_paused && !is_paused {
            // What would have been asked during the pause is not asked now.
            self.lanes.iter_mut().for_each(|lane| lane.schedule.skip_to(now));
        }
        self.was_paused = is_paused;
        if !is_paused {
            for lane in 0..self.lanes.len() {
                self.work(lane, now)?;
            }
        }
        self.wait(events)?;
        self.look_at_deadlines();
        Ok(())
    }

    /// Brings the lanes to what the plan says now. Lanes that stay keep their connections and their place in time.
    fn follow_plan(&mut self) {
        let Some(wanted) = self.shared.loads_since(&mut self.plan_seen) else { return };
        self.timeout = wanted.timeout;
        self.trace_one_in = wanted.trace_one_in;
        let now = Instant::now();
        let was_over: Vec<bool> = self.lanes.iter_mut().map(|lane| std::mem::replace(&mut lane.over, true)).collect();
        let count = wanted.loads.len().max(1) as f64;
        self.shared.tell_rates(&wanted.loads);
        for (at, load) in wanted.loads.into_iter().enumerate() {
            match self.lanes.iter().position(|lane| lane.is_the_same(&load)) {
                Some(lane) => {
                    let comes_back = was_over.get(lane).copied().unwrap_or(false);
                    self.lanes[lane].follow(load, comes_back, now);
                }
                // Many lanes of the same rate must not all come at once.
                None => self.lanes.push(Lane::new(load, now, at as f64 / count)),
            }
        }
        self.forget_waiting_of_lanes_that_are_over();
    }

    fn forget_waiting_of_lanes_that_are_over(&mut self) {
        for at in 0..self.lanes.len() {
            if self.lanes[at].over {
                self.drop_waiting(at);
                self.remove_free(at, 0);
                self.remove_silent(at, 0);
            }
        }
    }

    fn drop_waiting(&mut self, lane: usize) {
        let waiting = std::mem::take(&mut self.lanes[lane].waiting).len() as u64;
        let mut seen = self.tally(lane).lock();
        seen.ledger.waiting -= waiting;
        seen.ledger.unsent += waiting;
    }

    fn tally(&self, lane: usize) -> &Tally {
        let load = &self.lanes[lane].load;
        self.shared.tally(load.target, load.endpoint.transport)
    }

    /// Does what is due in one lane.
    fn work(&mut self, lane: usize, now: Instant) -> io::Result<()> {
        if self.lanes[lane].over {
            return Ok(());
        }
        while let Some(due) = self.lanes[lane].schedule.take(now) {
            match self.lanes[lane].load.kind {
                Kind::Visits => self.begin_visit(lane, due, now)?,
                Kind::Held => self.plan_question(lane, due),
            }
        }
        if self.lanes[lane].load.kind == Kind::Held {
            self.keep_connections(lane, now)?;
            self.ask_waiting(lane, now)?;
        }
        self.keep_silent(lane, now)
    }

    fn begin_visit(&mut self, lane: usize, due: Instant, now: Instant) -> io::Result<()> {
        let questions = QUESTIONS.len() as u64;
        {
            let full = self.lanes[lane].visitors >= MOST_VISITORS;
            let mut seen = self.tally(lane).lock();
            seen.ledger.planned += questions;
            if full {
                seen.ledger.dropped += questions;
                self.fail_in_window(&mut seen, lane, questions);
                return Ok(());
            }
            // The attempt to connect is the first question's.
            seen.ledger.waiting += questions - 1;
            seen.ledger.sent += 1;
            seen.ledger.in_flight += 1;
            seen.lag.record(now.saturating_duration_since(due));
            seen.late += u64::from(now.saturating_duration_since(due) > Duration::from_millis(1));
        }
        self.lanes[lane].visitors += 1;
        let question = Question { which: 0, planned: due, sent: None, deadline: now + self.timeout };
        match self.open(lane, Role::Visitor, Some(question)) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.lanes[lane].visitors = self.lanes[lane].visitors.saturating_sub(1);
                self.settle(lane, question, outcome_of(&error), now);
                self.give_up(lane, questions - 1);
                Ok(())
            }
        }
    }

    fn plan_question(&mut self, lane: usize, due: Instant) {
        let full = self.lanes[lane].waiting.len() >= MOST_WAITING;
        let mut seen = self.tally(lane).lock();
        seen.ledger.planned += 1;
        if full {
            seen.ledger.dropped += 1;
            self.fail_in_window(&mut seen, lane, 1);
            return;
        }
        seen.ledger.waiting += 1;
        drop(seen);
        self.lanes[lane].waiting.push_back(due);
    }

    fn keep_connections(&mut self, lane: usize, now: Instant) -> io::Result<()> {
        while self.lanes[lane].regulars < self.lanes[lane].load.connections && self.lanes[lane].retry_at <= now {
            match self.open(lane, Role::Regular, None) {
                Ok(()) => self.lanes[lane].regulars += 1,
                Err(_) => self.lanes[lane].back_off(now),
            }
        }
        self.remove_free(lane, self.lanes[lane].load.connections);
        Ok(())
    }

    /// Closes held connections beyond those that are wanted, as far as they are free; others follow once they are.
    fn remove_free(&mut self, lane: usize, wanted: usize) {
        while self.lanes[lane].regulars > wanted {
            let Some(id) = self.lanes[lane].free.pop() else { return };
            self.forget(id);
        }
    }

    fn ask_waiting(&mut self, lane: usize, now: Instant) -> io::Result<()> {
        while !self.lanes[lane].waiting.is_empty() {
            let Some(id) = self.lanes[lane].free.pop() else { return Ok(()) };
            let Some(due) = self.lanes[lane].waiting.pop_front() else { return Ok(()) };
            let which = self.lanes[lane].next_question();
            {
                let mut seen = self.tally(lane).lock();
                seen.ledger.waiting -= 1;
                seen.ledger.sent += 1;
                seen.ledger.in_flight += 1;
                seen.lag.record(now.saturating_duration_since(due));
                seen.late += u64::from(now.saturating_duration_since(due) > Duration::from_millis(1));
            }
            let question = Question { which, planned: due, sent: None, deadline: now + self.timeout };
            if let Some(client) = &mut self.clients[id] {
                client.question = Some(question);
            }
            self.ask(id)?;
        }
        Ok(())
    }

    fn keep_silent(&mut self, lane: usize, now: Instant) -> io::Result<()> {
        let wanted = self.lanes[lane].load.idle;
        while self.lanes[lane].silent < wanted && self.lanes[lane].retry_at <= now {
            match self.open(lane, Role::Silent, None) {
                Ok(()) => self.lanes[lane].silent += 1,
                Err(_) => self.lanes[lane].back_off(now),
            }
        }
        self.remove_silent(lane, wanted);
        Ok(())
    }

    fn remove_silent(&mut self, lane: usize, wanted: usize) {
        let surplus = self.lanes[lane].silent.saturating_sub(wanted);
        if surplus > 0 {
            let is_silent = |client: &Option<Client>| {
                client.as_ref().is_some_and(|client| client.lane == lane && client.role == Role::Silent)
            };
            let ids: Vec<_> =
                (0..self.clients.len()).filter(|&id| is_silent(&self.clients[id])).take(surplus).collect();
            for id in ids {
                self.forget(id);
            }
        }
    }

    /// Opens a connection, with a question for when it is there.
    fn open(&mut self, lane: usize, role: Role, question: Option<Question>) -> io::Result<()> {
        let transport = self.lanes[lane].load.endpoint.transport;
        let place = self.place(lane)?;
        let mut client = Client::connect(transport, &place, lane, role, self.trace_one_in > 0)?;
        client.question = question;
        let is_open = client.phase == Phase::Open;
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.clients.push(None);
            self.clients.len() - 1
        });
        let interest = if is_open { EventFlags::IN } else { EventFlags::OUT };
        let registered = epoll::add(&self.set, &client, EventData::new_u64(id as u64), interest);
        self.clients[id] = Some(client);
        self.tally(lane).lock().connections += 1;
        if let Err(error) = registered {
            self.forget(id);
            return Err(error.into());
        }
        if is_open {
            self.is_there(id)?;
        }
        Ok(())
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
    fn is_there(&mut self, id: usize) -> io::Result<()> {
        let Some(client) = &mut self.clients[id] else { return Ok(()) };
        let (lane, transport) = (client.lane, self.lanes[client.lane].load.endpoint.transport);
        client.find_origin(transport, self.trace_one_in > 0);
        let took = client.began.elapsed();
        let has_question = client.question.is_some();
        let is_regular = client.role == Role::Regular;
        if transport.is_stream() {
            self.tally(lane).lock().connect.record(took);
        }
        self.lanes[lane].retry_after = RETRY.0;
        if has_question {
            self.ask(id)
        } else if self.lanes[lane].over {
            // It was still connecting when its lane ended.
            self.forget(id);
            Ok(())
        } else if is_regular {
            self.lanes[lane].free.push(id);
            Ok(())
        } else {
            Ok(())
        }
    }

    fn ask(&mut self, id: usize) -> io::Result<()> {
        let now = Instant::now();
        let Some(client) = &mut self.clients[id] else { return Ok(()) };
        match client.ask(now) {
            Ok(()) => Ok(()),
            Err(error) => self.end_question(id, outcome_of(&error), now),
        }
    }

    /// Waits until something happens or something is due.
    fn wait(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let now = Instant::now();
        let due = self.lanes.iter().filter(|lane| !lane.over).filter_map(|lane| lane.schedule.next()).min();
        let due = if self.shared.is_paused() || self.shared.is_stopping() { None } else { due };
        let wait = due
            .map_or(TICK, |due| due.saturating_duration_since(now))
            .min(self.next_round.saturating_duration_since(now));
        match epoll::wait(&self.set, spare_capacity(events), self.set_timer(wait)?.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.judge_own_business(now);
        for event in events.drain(..).filter(|event| event.data.u64() != TIMER) {
            self.advance(event.data.u64() as usize)?;
        }
        Ok(())
    }

    /// Sets the timer; gives the timeout for the wait, which is none, or zero where there is nothing to wait for.
    fn set_timer(&self, wait: Duration) -> io::Result<Option<Timespec>> {
        const ZERO: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        if wait.is_zero() {
            return Ok(Some(ZERO));
        }
        let it_value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: ZERO, it_value })?;
        Ok(None)
    }

    /// Tells how much of its time the engine is busy; `wait_began` is when the wait that is over began.
    fn judge_own_business(&mut self, wait_began: Instant) {
        let now = Instant::now();
        self.business.waited += now.saturating_duration_since(wait_began);
        let watched = now.saturating_duration_since(self.business.since);
        if watched >= BUSINESS {
            let waited = self.business.waited.as_secs_f64() / watched.as_secs_f64();
            self.shared.set_saturated(waited < 1.0 - SATURATED);
            self.business = Business { since: now, waited: Duration::ZERO };
        }
    }

    fn advance(&mut self, id: usize) -> io::Result<()> {
        let traced = self.trace_one_in > 0;
        let Some(client) = self.clients.get_mut(id).and_then(Option::as_mut) else { return Ok(()) };
        if client.phase == Phase::Connecting {
            let transport = self.lanes[client.lane].load.endpoint.transport;
            return match client.finish_connecting(transport, traced) {
                Ok(()) => match epoll::modify(&self.set, &*client, EventData::new_u64(id as u64), EventFlags::IN) {
                    Ok(()) => self.is_there(id),
                    Err(error) => self.lose(id, outcome_of(&error.into())),
                },
                Err(error) => self.lose(id, outcome_of(&error)),
            };
        }
        let lane = client.lane;
        match client.hear() {
            Heard::Part => Ok(()),
            Heard::End(outcome) if client.question.is_some() => self.end_question(id, outcome, Instant::now()),
            Heard::End(outcome) => {
                // Nobody has asked, so it is no question's outcome.
                self.tally(lane).lock().unasked += 1;
                self.lose(id, outcome)
            }
            Heard::Closed => self.lose(id, Outcome::Eof),
        }
    }

    /// A question has found its end; its client goes on if it can.
    fn end_question(&mut self, id: usize, outcome: Outcome, now: Instant) -> io::Result<()> {
        let Some(client) = &mut self.clients[id] else { return Ok(()) };
        let Some(question) = client.question.take() else { return Ok(()) };
        let (lane, role) = (client.lane, client.role);
        self.trace(id, question, outcome, now);
        self.settle(lane, question, outcome, now);
        if outcome != Outcome::Ok {
            // A late answer must not be taken for the next one: the socket goes.
            self.lose_rest(lane, role, question.which);
            self.forget(id);
            return Ok(());
        }
        match role {
            Role::Visitor if question.which + 1 < QUESTIONS.len() => self.next_of_visit(id, question.which + 1, now),
            Role::Regular if !self.lanes[lane].over => {
                self.lanes[lane].free.push(id);
                self.ask_waiting(lane, now)
            }
            _ => {
                self.forget(id);
                Ok(())
            }
        }
    }

    /// The next question of a conversation is due when the last one was answered.
    fn next_of_visit(&mut self, id: usize, which: usize, now: Instant) -> io::Result<()> {
        let timeout = self.timeout;
        let Some(client) = &mut self.clients[id] else { return Ok(()) };
        client.question = Some(Question { which, planned: now, sent: None, deadline: now + timeout });
        let lane = client.lane;
        {
            let mut seen = self.tally(lane).lock();
            seen.ledger.waiting -= 1;
            seen.ledger.sent += 1;
            seen.ledger.in_flight += 1;
        }
        self.ask(id)
    }

    fn settle(&self, lane: usize, question: Question, outcome: Outcome, now: Instant) {
        let mut seen = self.tally(lane).lock();
        seen.ledger.in_flight -= 1;
        seen.ledger.outcomes[outcome as usize] += 1;
        if outcome == Outcome::Ok {
            let response = now.saturating_duration_since(question.planned);
            seen.response.record(response);
            seen.service.record(now.saturating_duration_since(question.sent.unwrap_or(question.planned)));
            if let Some(window) = seen.window.as_mut().filter(|_| self.lanes[lane].load.is_spotlight) {
                window.response.record(response);
            }
        } else {
            self.fail_in_window(&mut seen, lane, 1);
        }
    }

    /// Questions of the spotlight that got no right answer, for whatever reason.
    fn fail_in_window(&self, seen: &mut Seen, lane: usize, questions: u64) {
        if let Some(window) = seen.window.as_mut().filter(|_| self.lanes[lane].load.is_spotlight) {
            window.failed += questions;
        }
    }

    /// What a conversation that has ended early had still to ask.
    fn lose_rest(&self, lane: usize, role: Role, which: usize) {
        if role == Role::Visitor {
            self.give_up(lane, (QUESTIONS.len() - 1 - which) as u64);
        }
    }

    fn give_up(&self, lane: usize, questions: u64) {
        let mut seen = self.tally(lane).lock();
        seen.ledger.waiting -= questions;
        seen.ledger.unsent += questions;
        self.fail_in_window(&mut seen, lane, questions);
    }

    fn trace(&self, id: usize, question: Question, outcome: Outcome, now: Instant) {
        let Some((client, origin)) = self.clients[id].as_ref().and_then(|client| Some((client, client.origin?))) else {
            return;
        };
        let exchange = origin.exchange(client.asked.saturating_sub(1));
        if outcome == Outcome::Ok && exchange.is_sampled(self.trace_one_in) {
            let took = now.saturating_duration_since(question.sent.unwrap_or(question.planned));
            let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(took);
            let load = &self.lanes[client.lane].load;
            self.shared.trace(SpanRecord {
                exchange,
                started,
                took,
                target: load.target,
                transport: load.endpoint.transport,
                question: question.which,
            });
        }
    }

    /// A connection is lost, with its question if it had one.
    fn lose(&mut self, id: usize, outcome: Outcome) -> io::Result<()> {
        let now = Instant::now();
        let Some(client) = &self.clients[id] else { return Ok(()) };
        if client.question.is_some() {
            return self.end_question(id, outcome, now);
        }
        let lane = client.lane;
        self.lanes[lane].back_off(now);
        self.forget(id);
        Ok(())
    }

    /// Closes a client and strikes it out everywhere.
    fn forget(&mut self, id: usize) {
        let Some(client) = self.clients.get_mut(id).and_then(Option::take) else { return };
        let lane = &mut self.lanes[client.lane];
        match client.role {
            Role::Visitor => lane.visitors = lane.visitors.saturating_sub(1),
            Role::Regular => {
                lane.regulars = lane.regulars.saturating_sub(1);
                lane.free.retain(|&free| free != id);
            }
            Role::Silent => lane.silent = lane.silent.saturating_sub(1),
        }
        self.tally(client.lane).lock().connections -= 1;
        drop(client);
        self.vacant.push(id);
    }

    fn look_at_deadlines(&mut self) {
        let now = Instant::now();
        if now < self.next_round {
            return;
        }
        self.next_round = now + TICK;
        let timeout = self.timeout;
        let is_overdue = |client: &Client| match client.question {
            Some(question) => question.deadline <= now,
            None => client.phase == Phase::Connecting && client.began + timeout <= now,
        };
        let overdue: Vec<_> =
            (0..self.clients.len()).filter(|&id| self.clients[id].as_ref().is_some_and(is_overdue)).collect();
        for id in overdue {
            // Only closing can fail here, and that is what is wanted.
            let _ = self.lose(id, Outcome::Timeout);
        }
    }

    /// Whatever has not been asked will not be.
    fn stop_planning(&mut self) {
        for lane in 0..self.lanes.len() {
            self.drop_waiting(lane);
            self.lanes[lane].over = true;
        }
    }

    /// What has not arrived in its time counts as timed out.
    fn give_up_the_rest(&mut self) {
        let now = Instant::now();
        for id in 0..self.clients.len() {
            let _ = self.end_question(id, Outcome::Timeout, now);
            self.forget(id);
        }
    }
}

impl Lane {
    fn new(load: Load, now: Instant, offset: f64) -> Self {
        Self {
            schedule: Schedule::new(lane_rate(&load), now, offset),
            load,
            waiting: VecDeque::new(),
            free: Vec::new(),
            visitors: 0,
            regulars: 0,
            silent: 0,
            retry_at: now,
            retry_after: RETRY.0,
            turn: 0,
            over: false,
        }
    }

    fn is_the_same(&self, load: &Load) -> bool {
        (self.load.target, self.load.kind, self.load.is_spotlight) == (load.target, load.kind, load.is_spotlight)
            && self.load.endpoint == load.endpoint
    }

    /// Goes on with this load. One that comes back forgets what was due while it was not there.
    fn follow(&mut self, load: Load, comes_back: bool, now: Instant) {
        if comes_back {
            self.schedule.skip_to(now);
        }
        self.schedule.set_rate(lane_rate(&load), now);
        self.over = false;
        self.load = load;
    }

    fn back_off(&mut self, now: Instant) {
        self.retry_at = now + self.retry_after;
        self.retry_after = (self.retry_after * 2).min(RETRY.1);
    }

    fn next_question(&mut self) -> usize {
        self.turn = (self.turn + 1) % QUESTIONS.len();
        self.turn
    }
}

/// Instants a second: a visit is three questions.
fn lane_rate(load: &Load) -> f64 {
    match load.kind {
        Kind::Visits => load.rate / QUESTIONS.len() as f64,
        Kind::Held => load.rate,
    }
}

/// Datagram clients of an earlier life leave files behind; those that nobody has bound are removed.
pub(crate) fn remove_stale_sockets(loads: &[Load]) {
    let paths = loads.iter().filter(|load| load.endpoint.transport == Transport::Unixgram);
    let mut directories: Vec<_> = paths
        .filter_map(|load| match &load.endpoint.address {
            Address::Path(path) => path.parent().map(ToOwned::to_owned),
            Address::Host(..) => None,
        })
        .collect();
    directories.dedup();
    for entry in directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(crate::client::NAME);
        if is_ours && is_dead(&entry.path()) {
            // Another swarm may have been quicker.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn is_dead(path: &std::path::Path) -> bool {
    let probe = std::os::unix::net::UnixDatagram::unbound().and_then(|probe| probe.connect(path));
    probe.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
