//! Runs: a scenario on some targets for a time, one at a time.
//!
//! A run does not change the plan: while it is on, it loads its targets instead of the plan, and nobody is in the spotlight.
//! Afterwards the plan holds as it does then.

mod command;
mod document;
mod record;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use report::Report;

use crate::expectation::Finding;
use crate::plan::{Load, Source, Target};
use crate::scenario::Scenario;
use crate::tally::{Ledger, Snapshot, Tally};
use document::{Durations, Known};
pub(crate) use record::Condition;
use record::Record;

/// Runs that are remembered.
const REMEMBERED: usize = 32;

/// How long after its end a run waits for what is still on its way, beyond the time that an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The most that a run waits for clients that take their time by themselves.
const MOST_OWN_TIME: Duration = Duration::from_mins(1);

/// The engine has seen the end by then: it looks at least every 50 ms.
const SETTLING: Duration = Duration::from_millis(200);

/// Why a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its time was over.
    Finished,
    /// Somebody has cancelled it.
    Cancelled,
}

impl Why {
    pub const ALL: [Self; 2] = [Self::Finished, Self::Cancelled];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// Nobody is asked any more; answers still come. Since when, and why.
    Settling(Instant, Why),
    /// The books are closed. When it was no longer running, and why.
    Ended(Instant, Why),
}

impl State {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Settling(..) => "settling",
            Self::Ended(..) => "ended",
        }
    }

    pub const fn why(self) -> Option<Why> {
        match self {
            Self::Running => None,
            Self::Settling(_, why) | Self::Ended(_, why) => Some(why),
        }
    }
}

/// What is to be run.
pub(crate) struct Wanted {
    scenario: Scenario,
    /// Places of its targets.
    places: Vec<usize>,
    /// The command line that does the same.
    command: String,
}

impl Wanted {
    /// A scenario on the targets at these places, for a swarm that knows these scenarios.
    pub fn new(scenario: Scenario, places: Vec<usize>, targets: &[Target], known: &[Scenario]) -> Self {
        let names: Vec<&str> = places.iter().map(|&at| targets[at].name.as_str()).collect();
        let command = command::again(&scenario, &names, known);
        Self { scenario, places, command }
    }
}

/// A scenario on some targets.
#[derive(Debug)]
pub(crate) struct Run {
    pub id: u64,
    pub scenario: Scenario,
    /// Places of its targets.
    places: Vec<usize>,
    /// Its books, one for each of these.
    tallies: Vec<Tally>,
    began: Instant,
    /// In seconds since the Unix epoch.
    pub started: f64,
    /// The command line that does it again.
    command: String,
    state: Mutex<State>,
    record: Record,
    /// What was seen, once the books are closed.
    results: Mutex<Option<Arc<Results>>>,
}

/// What is kept of a run that has ended.
#[derive(Debug)]
pub(crate) struct Results {
    /// The books of each target.
    pub snapshots: Vec<Snapshot>,
    /// What became of each expectation that can be checked.
    pub expectations: Vec<Finding>,
    /// All of it, to be shown.
    pub report: Report,
}

impl Results {
    /// Whether everything was as expected; none if nothing was expected that can be checked.
    pub fn is_as_expected(&self) -> Option<bool> {
        (!self.expectations.is_empty()).then(|| self.expectations.iter().all(|finding| finding.holds))
    }
}

impl Run {
    fn new(id: u64, wanted: Wanted, workers: usize) -> Self {
        let Wanted { scenario, places, command } = wanted;
        let tallies: Vec<Tally> = places.iter().map(|_| Tally::new(workers)).collect();
        let began = Instant::now();
        Self {
            id,
            record: Record::new(scenario.seconds(), &tallies, began),
            scenario,
            tallies,
            places,
            began,
            command,
            started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            state: Mutex::new(State::Running),
            results: Mutex::new(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn state(&self) -> State {
        *self.lock()
    }

    /// Places of the targets that it loads.
    pub fn places(&self) -> &[usize] {
        &self.places
    }

    /// Whether it loads this target.
    pub fn is_at(&self, place: usize) -> bool {
        self.places.contains(&place)
    }

    /// Its books of one of its targets.
    pub fn tally(&self, place: usize) -> &Tally {
        &self.tallies[self.places.iter().position(|at| *at == place).unwrap_or(0)]
    }

    /// What it loads its targets with.
    pub fn loads(self: &Arc<Self>, targets: &[Target]) -> Vec<Load> {
        self.scenario.loads(targets, &self.places, &Source::Run(self.clone()))
    }

    /// How long it has been running.
    pub fn elapsed(&self) -> Duration {
        let end = match self.state() {
            State::Running => Instant::now(),
            State::Settling(end, _) | State::Ended(end, _) => end,
        };
        end.saturating_duration_since(self.began)
    }

    /// What was seen at each of its targets.
    pub fn snapshots(&self, targets: &[Target]) -> Vec<Snapshot> {
        if let Some(results) = self.results() {
            return results.snapshots.clone();
        }
        let transport = self.scenario.over().label();
        self.places.iter().map(|&at| self.tally(at).snapshot(&targets[at].name, transport)).collect()
    }

    /// What is known of it, once its books are closed.
    pub fn results(&self) -> Option<Arc<Results>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what was seen, and forgets each single duration: those take room.
    fn close(&self, targets: &[Target], why: Why) {
        let snapshots = self.snapshots(targets);
        let expectations = self.findings(&snapshots, why);
        let known = Known {
            run: self,
            why,
            seen: &snapshots,
            durations: self.tallies.iter().map(Durations::of).collect(),
            intervals: self.record.close(&self.tallies, self.began),
            expectations: &expectations,
        };
        let report = known.report();
        let results = Results { snapshots, expectations, report };
        *self.results.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(results));
        self.tallies.iter().for_each(Tally::forget_durations);
    }

    /// What became of what it expects. What somebody has cancelled has not shown what it would have.
    fn findings(&self, snapshots: &[Snapshot], why: Why) -> Vec<Finding> {
        if why == Why::Cancelled {
            return Vec::new();
        }
        let expectations = self.scenario.expectations();
        expectations.flat_map(|expectation| expectation.look(snapshots).collect::<Vec<_>>()).collect()
    }

    fn books(&self) -> Ledger {
        self.tallies.iter().fold(Ledger::default(), |mut sum, tally| {
            sum.add(&tally.ledger());
            sum
        })
    }

    /// Ends it, if it is still running.
    fn end(&self, why: Why) -> bool {
        let mut state = self.lock();
        let is_running = *state == State::Running;
        if is_running {
            *state = State::Settling(Instant::now(), why);
        }
        is_running
    }

    /// How long a question takes at most by the doing of who asks it.
    fn own_time(self: &Arc<Self>, targets: &[Target]) -> Duration {
        let time = |load: Load| load.own_time(targets[load.target].dialogue) + load.habits.think;
        let times = self.loads(targets).into_iter().map(time);
        times.max().unwrap_or_default().min(MOST_OWN_TIME)
    }

    /// Closes the books once nothing is on its way any more.
    fn settle(self: &Arc<Self>, targets: &[Target], answers_take: Duration) {
        let State::Settling(since, why) = self.state() else { return };
        let books = self.books();
        let is_at_rest = books.in_flight == 0 && books.waiting == 0 && since.elapsed() > SETTLING;
        if is_at_rest || since.elapsed() > answers_take + self.own_time(targets) + PATIENCE {
            self.close(targets, why);
            *self.lock() = State::Ended(since, why);
        }
    }
}

/// Every run that is remembered, and the number of each end so far.
#[derive(Debug, Default)]
pub(crate) struct Runs(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    runs: VecDeque<Arc<Run>>,
    made: u64,
    ended: [u64; Why::ALL.len()],
}

impl Runs {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that are remembered, the latest first.
    pub fn all(&self) -> Vec<Arc<Run>> {
        self.kept().runs.iter().rev().cloned().collect()
    }

    pub fn find(&self, id: u64) -> Option<Arc<Run>> {
        self.kept().runs.iter().find(|run| run.id == id).cloned()
    }

    /// The one that loads its targets now.
    pub fn active(&self) -> Option<Arc<Run>> {
        self.kept().runs.back().filter(|run| run.state() == State::Running).cloned()
    }

    /// How many runs have ended, and why.
    pub fn ended(&self) -> [u64; Why::ALL.len()] {
        self.kept().ended
    }

    /// Begins a run that so many workers share, or gives the one whose end must come before.
    pub fn begin(&self, wanted: Wanted, workers: usize) -> Result<Arc<Run>, Arc<Run>> {
        let mut kept = self.kept();
        if let Some(last) = kept.runs.back().filter(|run| !matches!(run.state(), State::Ended(..))) {
            return Err(last.clone());
        }
        kept.made += 1;
        let run = Arc::new(Run::new(kept.made, wanted, workers));
        if kept.runs.len() == REMEMBERED {
            kept.runs.pop_front();
        }
        kept.runs.push_back(run.clone());
        Ok(run)
    }

    /// Ends a run, if it is still running.
    pub fn end(&self, run: &Run, why: Why) -> bool {
        let has_ended = run.end(why);
        self.kept().ended[why as usize] += u64::from(has_ended);
        has_ended
    }

    /// Ends the run whose time is over, and closes the books of the one that has ended; whether loads have changed.
    pub fn look(&self, targets: &[Target], answers_take: Duration, condition: Condition) -> bool {
        let Some(run) = self.kept().runs.back().cloned() else { return false };
        match run.state() {
            State::Running => run.record.look(&run.tallies, run.began, Some(condition)),
            State::Settling(..) => run.record.look(&run.tallies, run.began, None),
            State::Ended(..) => {}
        }
        run.settle(targets, answers_take);
        let is_over = run.state() == State::Running && run.elapsed().as_secs_f64() >= run.scenario.seconds();
        is_over && self.end(&run, Why::Finished)
    }
}
