//! Workers: each one thread, one epoll loop, and the clients of its lanes.
//!
//! Workers share nothing that a question would wait for: each has its lanes whole, with their clients and their schedules, and
//! books of its own. [`Dealer`](crate::dealing::Dealer) says whose a lane is. There is one worker unless the swarm is told
//! otherwise: on few processors more would only take time from the servers.
//!
//! Lane by lane, the schedule says when something should happen; the engine does it then, or as soon after as it can, and
//! says how late it was. A timer descriptor in the epoll set ends its waits to the nanosecond: a generator that waits for whole
//! milliseconds, as epoll_wait(2) does, measures itself.
//!
//! - `business`: how a worker itself does.
//! - `lane`: one kind of clients of one endpoint, and what is due there.
//! - `asking`: from an instant of the schedule to a question on its way.
//! - `hearing`: from what comes back to an outcome.

mod asking;
mod business;
mod hearing;
mod lane;
mod stale;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use zen::Transport;

use crate::client::{Client, Next};
use crate::dealing::InHand;
use crate::plan::Source;
use crate::service::Shared;
use crate::tally::Seen;
use business::Business;
pub(crate) use business::Health;
use lane::Lane;
pub(crate) use stale::remove_stale_sockets;

/// The longest that the engine waits before it looks at the plan and at deadlines.
const TICK: Duration = Duration::from_millis(50);

/// What stands for the timer in the epoll set, where clients have their numbers.
const TIMER: u64 = u64::MAX;

/// Starts a thread for each worker.
pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<Vec<JoinHandle<()>>> {
    let start = |worker| {
        let engine = Engine::new(shared.clone(), worker)?;
        let shared = shared.clone();
        Builder::new().name(format!("engine-{worker}")).spawn(move || {
            if let Err(error) = engine.run() {
                shared.fail(format!("the engine has ended, by its worker {worker}: {error}"));
            }
        })
    };
    (0..shared.workers().count()).map(start).collect()
}

/// One worker.
struct Engine {
    shared: Arc<Shared>,
    worker: usize,
    set: OwnedFd,
    /// Ends a wait; set anew for each, so it is never read.
    timer: OwnedFd,
    clients: Vec<Option<Client>>,
    vacant: Vec<usize>,
    lanes: Vec<Lane>,
    /// When which client does something by itself. An alarm whose number the client no longer has is void.
    alarms: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    alarms_set: u64,
    plan_seen: u64,
    timeout: Duration,
    trace_one_in: u64,
    next_round: Instant,
    was_paused: bool,
    /// Since when what is handled now could have been known.
    known_since: Instant,
    business: Business,
}

impl Engine {
    fn new(shared: Arc<Shared>, worker: usize) -> io::Result<Self> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&set, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        Ok(Self {
            shared,
            worker,
            set,
            timer,
            clients: Vec::new(),
            vacant: Vec::new(),
            lanes: Vec::new(),
            alarms: BinaryHeap::new(),
            alarms_set: 0,
            plan_seen: 0,
            timeout: Duration::from_secs(5),
            trace_one_in: 0,
            next_round: Instant::now(),
            was_paused: false,
            known_since: Instant::now(),
            business: Business::new(Instant::now()),
        })
    }

    /// Goes on until it is told to stop, or another worker has ended; then lets what is on its way arrive.
    fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(256);
        while !self.shared.is_stopping() && self.shared.fault().is_none() {
            self.turn(&mut events)?;
        }
        self.stop_planning();
        let patience = Instant::now() + Duration::from_secs(2);
        while self.clients.iter().flatten().any(|client| !client.on_the_way.is_empty()) && Instant::now() < patience {
            self.wait(&mut events)?;
            self.look_at_deadlines();
        }
        self.give_up_the_rest();
        Ok(())
    }

    fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let now = Instant::now();
        let is_paused = self.shared.is_paused();
        match (self.was_paused, is_paused) {
            // Who waits would be asked after the pause, as late as if a server were to blame for it.
            (false, true) => (0..self.lanes.len()).for_each(|lane| self.give_up_waiting(lane)),
            // What would have been asked during the pause is not asked now.
            (true, false) => self.lanes.iter_mut().for_each(|lane| lane.schedule.skip_to(now)),
            _ => {}
        }
        self.was_paused = is_paused;
        self.follow_plan(now, is_paused)?;
        if !is_paused {
            self.work_everywhere(now)?;
        }
        self.wait(events)?;
        self.look_at_deadlines();
        Ok(())
    }

    fn work_everywhere(&mut self, now: Instant) -> io::Result<()> {
        (0..self.lanes.len()).try_for_each(|lane| self.work(lane, now))
    }

    /// Brings the lanes to what the plan says now. Lanes that stay keep their connections and their place in time.
    fn follow_plan(&mut self, now: Instant, is_paused: bool) -> io::Result<()> {
        let Some(wanted) = self.shared.loads_since(self.worker, &mut self.plan_seen) else { return Ok(()) };
        if !is_paused {
            // What has come until now has come at the old rates.
            self.work_everywhere(now)?;
        }
        self.timeout = wanted.timeout;
        self.trace_one_in = wanted.trace_one_in;
        let was_over: Vec<bool> = self.lanes.iter_mut().map(|lane| std::mem::replace(&mut lane.over, true)).collect();
        for InHand { load, offset } in wanted.loads {
            match self.lanes.iter().position(|lane| lane.load.is_the_same(&load)) {
                Some(lane) => {
                    let comes_back = was_over.get(lane).copied().unwrap_or(false);
                    self.lanes[lane].follow(load, comes_back, now);
                }
                None => self.add_lane(Lane::new(load, now, offset)),
            }
        }
        self.close_lanes_that_are_over();
        self.tell_rates(now);
        Ok(())
    }

    /// Writes down what is asked for now: by this worker's lanes of each endpoint, and by all that it has.
    fn tell_rates(&self, now: Instant) {
        let mut rates = vec![[0.0; Transport::ALL.len()]; self.shared.targets.len()];
        for lane in self.lanes.iter().filter(|lane| !lane.over) {
            rates[lane.load.target][lane.load.endpoint.transport as usize] += lane.rate(now);
        }
        for (at, (target, rates)) in self.shared.targets.iter().zip(&rates).enumerate() {
            for endpoint in &target.endpoints {
                self.shared.tally(at, endpoint.transport).of(self.worker).rate = rates[endpoint.transport as usize];
            }
        }
        self.shared.health_of(self.worker).target_rate = rates.iter().flatten().sum();
    }

    /// Takes the place of a lane that nobody misses, so that there are never more than the plan has had at once.
    fn add_lane(&mut self, lane: Lane) {
        match self.lanes.iter_mut().find(|lane| lane.is_vacant()) {
            Some(vacant) => *vacant = lane,
            None => self.lanes.push(lane),
        }
    }

    fn close_lanes_that_are_over(&mut self) {
        for at in 0..self.lanes.len() {
            if self.lanes[at].over {
                self.give_up_waiting(at);
                self.remove_surplus(at, 0);
            }
        }
    }

    /// What waits in a lane that is over, or that pauses, will not be asked.
    fn give_up_waiting(&mut self, lane: usize) {
        let waiting = std::mem::take(&mut self.lanes[lane].waiting).len() * self.lanes[lane].questions();
        self.give_up(lane, waiting as u64);
    }

    /// Writes into this worker's books of a lane: those of its endpoint, and those of its run if it is a run's.
    fn book(&self, lane: usize, note: impl Fn(&mut Seen)) {
        self.book_in_window(lane, |seen, _| note(seen));
    }

    /// The same, and tells whether the window of these books is that of the lane: an endpoint's is the spotlight's, and what
    /// comes of a run that is over does not belong into it.
    fn book_in_window(&self, lane: usize, note: impl Fn(&mut Seen, bool)) {
        let load = &self.lanes[lane].load;
        let is_lit = matches!(load.source, Source::Spotlight);
        note(&mut self.shared.tally(load.target, load.endpoint.transport).of(self.worker), is_lit);
        if let Source::Run(run) = &load.source {
            note(&mut run.tally(load.target).of(self.worker), true);
        }
    }

    /// Waits until something happens or something is due.
    fn wait(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let now = Instant::now();
        let may_plan = !self.shared.is_paused() && !self.shared.is_stopping();
        let lanes = self.lanes.iter().filter(|lane| may_plan && !lane.over).filter_map(Lane::due);
        let due = lanes.chain(self.alarms.peek().map(|Reverse((at, ..))| *at)).min();
        let wait = due
            .map_or(TICK, |due| due.saturating_duration_since(now))
            .min(self.next_round.saturating_duration_since(now));
        match epoll::wait(&self.set, spare_capacity(events), self.set_timer(wait)?.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let woke = Instant::now();
        // Who is woken late could have heard it when the wait should have ended.
        self.known_since = woke.min(now + wait);
        self.judge_own_business(now, woke);
        for event in events.drain(..).filter(|event| event.data.u64() != TIMER) {
            self.advance(event.data.u64() as usize)?;
        }
        self.ring_alarms()
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

    /// Tells how this worker does; `wait_began` is when the wait that is over began.
    fn judge_own_business(&mut self, wait_began: Instant, now: Instant) {
        self.business.has_waited(now.saturating_duration_since(wait_began));
        if self.business.is_watched(now) {
            self.business.judge(now, &mut self.shared.health_of(self.worker));
        }
    }

    /// Lets a client do something by itself, later. It has one such thing at a time.
    fn set_alarm(&mut self, id: usize, at: Instant, next: Next) {
        let Some(client) = &mut self.clients[id] else { return };
        self.alarms_set += 1;
        client.alarm = Some((self.alarms_set, next));
        self.alarms.push(Reverse((at, self.alarms_set, id)));
    }

    fn ring_alarms(&mut self) -> io::Result<()> {
        let until = Instant::now();
        while let Some(&Reverse((at, number, id))) = self.alarms.peek()
            && at <= until
        {
            let now = Instant::now();
            self.alarms.pop();
            let Some(client) = self.clients[id].as_mut() else { continue };
            let Some((_, next)) = client.alarm.take_if(|(set, _)| *set == number) else { continue };
            match next {
                Next::Say => self.say_more(id, now)?,
                Next::Hear => self.hear_slowly(id, now)?,
                Next::Ask => self.go_on(id, now)?,
            }
        }
        Ok(())
    }

    /// Whatever has not been asked will not be.
    fn stop_planning(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.over = true);
        self.close_lanes_that_are_over();
    }
}
