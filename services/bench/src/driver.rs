//! The lean client: one thread, one epoll set, no lock and no allocation for a question.
//!
//! What makes a generator dear is avoided: each batch of answers costs one wake-up, each question one write and one read, a
//! stream's event comes once (edge-triggered epoll), and clocks are read once for a wake-up and once for a write. A stream may
//! have several questions on the way (answers come in order); a datagram carries no number, so the socket is the number: one
//! question each, and a socket whose answer did not come is replaced, so that a late answer cannot be taken for the next one.

mod member;
mod script;
mod socket;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use zen::{Endpoint, Transport};

use crate::clock;
use crate::pace::{Pace, Schedule};
use crate::slot::Slot;
use member::{Member, Phase};
use script::Script;
use socket::Place;

/// Events that one wake-up brings at most: what came later than its stamp is not far behind it.
const EVENTS: usize = 64;

/// Questions of an open loop that are sent before the answers are looked at.
const BURST: usize = 64;

/// How often it is checked who has waited too long.
const SWEEP_NS: u64 = 10_000_000;

/// Connections that are made at the same time.
const CONNECTING: usize = 128;

/// The event that is the timer's.
const TIMER: u64 = u64::MAX;

/// How a crowd behaves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Questions that a stream may have on the way, 1 to 1024; 1 for datagrams.
    pub depth: usize,
    /// How long a connection lives.
    pub life: Life,
    /// How long an answer may take before the client gives up and its socket is replaced.
    pub patience: Duration,
    /// How long the end of a slot waits for answers that are still on the way.
    pub drain: Duration,
    /// Ends a slot early once it is true.
    pub stop: Option<&'static AtomicBool>,
}

/// How long a connection lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// From slot to slot.
    Held,
    /// For so many questions; each question of an open loop finds its connection already there or pays for making it.
    Conversations {
        /// Questions of a conversation, at least 1.
        questions: u32,
        /// Whether the client ends with a reset and not in order.
        reset: bool,
    },
}

impl Default for Options {
    fn default() -> Self {
        Self { depth: 1, life: Life::Held, patience: Duration::from_secs(1), drain: Duration::from_secs(1), stop: None }
    }
}

/// Clients of one endpoint. Between slots they are silent and keep their connections.
pub struct Crowd {
    place: Place,
    options: Options,
    script: Script,
    epoll: OwnedFd,
    timer: OwnedFd,
    /// What an idle socket is watched for. A stream's events come once for each arrival (edge-triggered), which spares the
    /// kernel a second look at each; of datagrams there may be one more than was read.
    hearing: epoll::EventFlags,
    /// When the timer fires.
    armed: u64,
    members: Vec<Member>,
    /// Who may be asked next, once for each question, longest idle first (open loops only).
    free: VecDeque<u32>,
    /// Who may ask how much again after a batch of answers (closed loops only).
    again: Vec<(u32, usize)>,
    /// Who failed and rests until the next sweep.
    resting: Vec<u32>,
    buffer: Vec<u8>,
    outstanding: usize,
}

/// A slot under way.
#[derive(Debug)]
struct Run {
    slot: Slot,
    schedule: Option<Schedule>,
    end: u64,
    is_sending: bool,
    /// When the last wake-up was.
    stamp: u64,
    swept: u64,
}

impl Crowd {
    /// Makes `connections` clients and connects them; clients that only hold conversations connect when they are asked to
    /// speak.
    ///
    /// # Errors
    /// If an option is out of range, or if not all can connect within 5 s; [`ErrorKind::Interrupted`] if it was stopped before
    /// they could.
    pub fn connect(endpoint: &Endpoint, connections: usize, options: Options) -> io::Result<Self> {
        check(endpoint, connections, &options)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        let mut crowd = Self {
            place: Place::of(endpoint)?,
            options,
            script: Script::new(options.depth),
            epoll,
            timer,
            hearing: hearing(endpoint.transport),
            armed: 0,
            members: (0..connections).map(|_| Member::default()).collect(),
            free: VecDeque::new(),
            again: Vec::new(),
            resting: Vec::new(),
            buffer: vec![0; 4096.max(options.depth * 16)],
            outstanding: 0,
        };
        let missing = crowd.settle(Duration::from_secs(5))?;
        if missing > 0 && crowd.is_stopped() {
            return Err(io::Error::new(ErrorKind::Interrupted, "the run was ended before all clients were connected"));
        }
        if missing > 0 {
            let cause = crowd.place.trouble().map_or(String::new(), |error| format!(": {error}"));
            let come = connections - missing;
            let why = format!("{endpoint}: only {come} of {connections} clients can connect{cause}");
            return Err(io::Error::new(ErrorKind::ConnectionRefused, why));
        }
        Ok(crowd)
    }

    /// How many clients there are.
    pub const fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no client.
    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Asks questions for `duration`, then waits for the answers that are on the way. Connections that were lost before are
    /// made anew first.
    ///
    /// # Errors
    /// If the rate is not greater than 0, or if the kernel refuses what no server has to do with.
    pub fn slot(&mut self, duration: Duration, pace: Pace) -> io::Result<Slot> {
        if let Pace::Open { rate, .. } = pace
            && !(rate > 0.0 && rate.is_finite())
        {
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("the rate is {rate} and must be above 0")));
        }
        self.settle(self.options.patience)?;
        // Timers of the kernel are 50 µs late by default. Where this is refused they stay so, and the lag shows it.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let (cpu, user) = (clock::thread_cpu(), user_time());
        let begin = clock::now();
        let mut run = Run::new(begin, begin + clock::of(duration), pace);
        self.ask(&mut run)?;
        run.slot.wall = Duration::from_nanos(clock::now().min(run.end) - begin);
        self.finish(&mut run)?;
        run.slot.client_cpu = Duration::from_nanos(clock::thread_cpu() - cpu);
        run.slot.client_user = user_time().saturating_sub(user);
        if run.schedule.is_none() {
            run.slot.response = run.slot.service.clone();
        }
        Ok(run.slot)
    }

    /// Closes one connection as a client does that has no more questions. For tests and scenarios.
    pub fn hang_up(&mut self, client: usize) {
        if let Some(member) = self.members.get_mut(client) {
            member.close(false);
        }
    }

    /// Closes all connections. They are made anew for the next slot.
    pub fn disband(&mut self) {
        self.members.iter_mut().for_each(|member| member.close(false));
    }

    fn ask(&mut self, run: &mut Run) -> io::Result<()> {
        self.free.clear();
        self.again.clear();
        self.resting.clear();
        // What failed when nobody was let ask any more is owed to nobody: all begin with their full depth.
        self.members.iter_mut().for_each(|member| member.owed = 0);
        let everybody = 0..self.members.len() as u32;
        if run.schedule.is_some() {
            self.free.extend((0..self.options.depth).flat_map(|_| everybody.clone()));
        } else {
            everybody.for_each(|index| self.give(index, self.options.depth, run.stamp, run));
        }
        loop {
            let now = clock::now();
            if now >= run.end || self.is_stopped() {
                run.end = run.end.min(now);
                return Ok(());
            }
            self.dispatch(now, run);
            if now >= run.swept + SWEEP_NS {
                self.sweep(now, run);
            }
            self.wait(self.next_alarm(run), run)?;
        }
    }

    /// Sends what is due, as far as anybody is free to ask it.
    fn dispatch(&mut self, now: u64, run: &mut Run) {
        for _ in 0..BURST {
            let Some(schedule) = run.schedule.as_mut() else { return };
            let Some(due) = schedule.due().filter(|&due| due <= now) else { return };
            let Some(index) = self.free.pop_front() else { return };
            schedule.take();
            self.give(index, 1, due, run);
        }
    }

    fn next_alarm(&self, run: &Run) -> u64 {
        let next = run.end.min(run.swept + SWEEP_NS);
        let due = run.schedule.as_ref().filter(|_| !self.free.is_empty()).and_then(Schedule::due);
        due.map_or(next, |due| due.min(next))
    }

    /// Ends the slot: nothing is sent any more, what is on the way may come in.
    fn finish(&mut self, run: &mut Run) -> io::Result<()> {
        run.is_sending = false;
        let never = run.schedule.as_mut().map_or(0, |schedule| schedule.cut(run.end));
        let waiting: usize = self.members.iter_mut().map(Member::forget_waiting).sum();
        if let Life::Conversations { reset, .. } = self.options.life {
            self.members.iter_mut().for_each(|member| member.leave(reset));
        }
        run.slot.planned += never;
        run.slot.unsent = never + waiting as u64;
        let limit = run.end.max(clock::now()) + clock::of(self.options.drain);
        while self.outstanding > 0 && !self.is_stopped() {
            let now = clock::now();
            if now >= limit {
                break;
            }
            if now >= run.swept + SWEEP_NS {
                self.sweep(now, run);
            }
            self.wait(limit.min(run.swept + SWEEP_NS), run)?;
        }
        for member in &mut self.members {
            run.slot.in_flight += member.abandon() as u64;
        }
        self.outstanding = 0;
        Ok(())
    }

    /// Waits for events, at most until `alarm`, and deals with them; gives how many there were.
    fn wait(&mut self, alarm: u64, run: &mut Run) -> io::Result<usize> {
        self.arm(alarm)?;
        let mut room = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        let events = match epoll::wait(&self.epoll, &mut room, None) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        run.stamp = clock::now();
        for event in &*events {
            // Copied: the kernel packs its events, and a field of theirs may not be borrowed.
            let epoll::Event { data, flags } = *event;
            self.happened(data.u64(), flags, run);
        }
        self.ask_again(run);
        Ok(events.len())
    }

    /// Lets those ask again who were answered: after all of the batch was read, so that the server finds more at once.
    fn ask_again(&mut self, run: &mut Run) {
        let mut again = std::mem::take(&mut self.again);
        for (index, count) in again.drain(..) {
            // A closed loop plans nothing: what counts is when the question is written.
            self.give(index, count, run.stamp, run);
        }
        // With its memory, for the next batch.
        self.again = again;
    }

    fn arm(&mut self, alarm: u64) -> io::Result<()> {
        // A timer that has fired stays readable until it is set anew.
        if self.armed == alarm {
            return Ok(());
        }
        self.armed = alarm;
        let once = Itimerspec { it_interval: clock::timespec(0), it_value: clock::timespec(alarm.max(1)) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }

    /// Gives up what took too long, and lets those speak again who rested.
    fn sweep(&mut self, now: u64, run: &mut Run) {
        run.swept = now;
        let patience = clock::of(self.options.patience);
        for index in 0..self.members.len() as u32 {
            if self.members[index as usize].waits_since().is_some_and(|since| now > since + patience) {
                self.fail(index, member::Failure::Silence, run);
            }
        }
        for index in std::mem::take(&mut self.resting) {
            self.wake(index, run);
        }
        self.ask_again(run);
    }

    /// Connects whoever holds a connection and has none. Gives how many have none after `patience`.
    fn settle(&mut self, patience: Duration) -> io::Result<usize> {
        let limit = clock::now() + clock::of(patience);
        let mut aside = Run::new(clock::now(), limit, Pace::Closed);
        aside.is_sending = false;
        self.look_around(&mut aside)?;
        if self.options.life != Life::Held {
            return Ok(0);
        }
        loop {
            let connecting = self.members.iter().filter(|member| member.phase == Phase::Connecting).count();
            let missing: Vec<u32> = (0..self.members.len() as u32)
                .filter(|&index| self.members[index as usize].phase == Phase::Closed)
                .take(CONNECTING.saturating_sub(connecting))
                .collect();
            let now = clock::now();
            if (connecting == 0 && missing.is_empty()) || now >= limit || self.is_stopped() {
                break;
            }
            for index in missing {
                self.open(index, &mut aside);
            }
            self.wait(limit.min(now + 1_000_000), &mut aside)?;
        }
        Ok(self.members.iter().filter(|member| member.phase != Phase::Connected).count())
    }

    /// Deals with what has happened since the last slot: a server may have closed connections.
    fn look_around(&mut self, aside: &mut Run) -> io::Result<()> {
        loop {
            if self.wait(1, aside)? < EVENTS {
                return Ok(());
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.options.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }
}

impl Run {
    fn new(begin: u64, end: u64, pace: Pace) -> Self {
        let schedule = Schedule::new(pace, begin, end);
        Self { slot: Slot::new(), schedule, end, is_sending: true, stamp: begin, swept: begin }
    }
}

fn hearing(transport: Transport) -> epoll::EventFlags {
    if transport.is_stream() {
        epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET
    } else {
        epoll::EventFlags::IN
    }
}

fn check(endpoint: &Endpoint, connections: usize, options: &Options) -> io::Result<()> {
    let wrong = |why: String| Err(io::Error::new(ErrorKind::InvalidInput, why));
    if !(1..=1024).contains(&options.depth) {
        return wrong(format!("the pipeline is {} questions deep and must be 1 to 1024", options.depth));
    }
    if options.depth > 1 && !(endpoint.transport.is_stream() && options.life == Life::Held) {
        return wrong(format!("{endpoint}: only connections that are held can have more than one question on the way"));
    }
    if !(1..=100_000).contains(&connections) {
        return wrong(format!("{connections} connections: it must be 1 to 100000"));
    }
    if matches!(options.life, Life::Conversations { questions: 0, .. }) {
        return wrong("a conversation has at least one question".into());
    }
    Ok(())
}

/// Time of the calling thread outside the kernel.
fn user_time() -> Duration {
    // SAFETY: rusage is plain integers, for which zero is valid, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage
    };
    Duration::new(usage.ru_utime.tv_sec as u64, usage.ru_utime.tv_usec as u32 * 1000)
}
