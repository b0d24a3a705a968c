//! Every architecture says what the reference model says, byte for byte, whatever its clients do.
//!
//! The conversations are random and follow from their seed: valid and hostile bytes, split anywhere, pipelined,
//! half-closed, reset in the middle, over all four transports. What is expected is not written here; the pure state
//! machine of the crate `zen` says it.

#![allow(clippy::unwrap_used, clippy::float_cmp, clippy::print_stdout, reason = "a test that fails says where")]

#[path = "differential/script.rs"]
mod script;
mod support;
#[path = "differential/talker.rs"]
mod talker;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use script::{Kind, Script, Step};
use support::{Architecture, PATIENCE, Server, for_each, registry};
use talker::{Place, Progress, Talker};
use zen::datagram::Dropped;

/// Conversation `n` has the seed `FIRST_SEED + n`.
const FIRST_SEED: u64 = 0x5A45_4E00_0000;

/// Conversations that go on at the same time.
const AT_ONCE: usize = 24;

/// Attempts at making a conversation shorter that shows a difference.
const ATTEMPTS: usize = 100;

const SETTINGS: [&str; 4] = ["max_connections=500", "idle_timeout=60s", "question_deadline=60s", "write_stall=60s"];

#[test]
fn all_say_what_the_model_says() {
    compare_all(5_000);
}

#[test]
#[ignore = "takes many minutes: 200,000 conversations with every architecture"]
fn all_say_what_the_model_says_for_long() {
    compare_all(200_000);
}

fn compare_all(conversations: u64) {
    for_each(registry(), |architecture| {
        let server = Server::start(architecture, &SETTINGS);
        let began = Instant::now();
        let mut run = Run::new(architecture, &server);
        run.play(conversations);
        println!("{}: {} in {:.1} s", architecture.name, run.ledger, began.elapsed().as_secs_f64());
        let mut failed = run.failed;
        if failed.is_empty() {
            failed.extend(books_differ(&server, &run.ledger));
            server.stop();
        }
        failed
    });
}

/// What was done, and how much of it.
#[derive(Default)]
struct Ledger {
    conversations: BTreeMap<Kind, u64>,
    transports: BTreeMap<&'static str, u64>,
    streams: u64,
    said: usize,
    owed: usize,
    dropped: [u64; Dropped::ALL.len()],
}

impl Ledger {
    fn enter(&mut self, talker: &Talker, place: &Place) {
        *self.conversations.entry(talker.script.kind).or_default() += 1;
        *self.transports.entry(place.label()).or_default() += 1;
        self.streams += u64::from(talker.script.is_stream());
        self.said += talker.script.bytes();
        self.owed += talker.expected().replies.len();
        for (sum, more) in self.dropped.iter_mut().zip(talker.expected().dropped) {
            *sum += more;
        }
    }
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all: u64 = self.conversations.values().sum();
        write!(f, "{all} conversations, {} bytes said, {} owed, ", self.said, self.owed)?;
        write!(f, "{:?}, {:?}", self.transports, self.conversations)
    }
}

/// The conversations with one server.
struct Run {
    name: String,
    streams: Vec<Place>,
    datagrams: Vec<Place>,
    failed: Vec<String>,
    ledger: Ledger,
}

impl Run {
    fn new(architecture: &Architecture, server: &Server) -> Self {
        let address = |transport| server.address(transport).parse().unwrap();
        let mut datagrams = Vec::new();
        if architecture.serves("udp") {
            datagrams.push(Place::Udp(address("udp")));
            datagrams.push(Place::Unixgram(server.path("unixgram").to_owned()));
        }
        Self {
            name: architecture.name.clone(),
            streams: vec![Place::Tcp(address("tcp")), Place::Unix(server.path("unix").to_owned())],
            datagrams,
            failed: Vec::new(),
            ledger: Ledger::default(),
        }
    }

    /// Ends early when a conversation differs.
    fn play(&mut self, conversations: u64) {
        let mut waiting = (FIRST_SEED..FIRST_SEED + conversations).peekable();
        let mut talkers: Vec<Talker> = Vec::new();
        while self.failed.is_empty() && (waiting.peek().is_some() || !talkers.is_empty()) {
            let room = AT_ONCE - talkers.len();
            for seed in waiting.by_ref().take(room) {
                let (script, place) = self.script(seed);
                let talker = Talker::start(seed, script, &place).expect("a connection");
                self.ledger.enter(&talker, &place);
                talkers.push(talker);
            }
            self.turn(&mut talkers);
        }
    }

    /// Two of three conversations are streams, where there is a choice.
    fn script(&self, seed: u64) -> (Script, Place) {
        let (transport, is_datagram) = ((seed / 3) as usize % 2, seed.is_multiple_of(3));
        match self.datagrams.get(transport) {
            Some(place) if is_datagram => (Script::datagrams(seed), place.clone()),
            _ => (Script::stream(seed), self.streams[transport].clone()),
        }
    }

    /// One step of each; if nobody can do one, waits until somebody can.
    fn turn(&mut self, talkers: &mut Vec<Talker>) {
        let mut waits = Vec::new();
        let mut moved = false;
        talkers.retain_mut(|talker| match talker.go_on() {
            Progress::More => {
                moved = true;
                waits.push(PollFlags::IN);
                true
            }
            Progress::Waits(flags) => {
                waits.push(flags);
                true
            }
            Progress::Over(verdict) => {
                moved = true;
                if let Err(difference) = verdict {
                    self.failed.push(self.report(talker, &difference));
                }
                false
            }
        });
        if !moved && !talkers.is_empty() && !is_any_ready(talkers, &waits) {
            let stuck = &talkers[0];
            self.failed.push(self.report(stuck, &format!("nothing for {PATIENCE:?}; {}", stuck.difference())));
        }
    }

    fn report(&self, talker: &Talker, difference: &str) -> String {
        let (_, place) = self.script(talker.seed);
        let shortest = shortest(talker, &place);
        format!(
            "{} over {}, seed {:#x} ({:?}):\n{:?}\n{difference}\nshortest that differs: {:?}",
            self.name,
            place.label(),
            talker.seed,
            talker.script.kind,
            talker.script.steps,
            shortest.steps,
        )
    }
}

fn is_any_ready(talkers: &[Talker], waits: &[PollFlags]) -> bool {
    let mut list: Vec<_> = talkers.iter().zip(waits).map(|(talker, &flags)| PollFd::new(talker, flags)).collect();
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    !matches!(poll(&mut list, Some(&patience)), Ok(0))
}

/// Leaves out steps as long as there is a difference.
fn shortest(talker: &Talker, place: &Place) -> Script {
    let mut script = talker.script.clone();
    let mut attempts = ATTEMPTS;
    let mut at = 0;
    while at < script.steps.len() && attempts > 0 {
        attempts -= 1;
        let mut shorter = script.clone();
        // A stream needs its end, or the server waits for more.
        let is_needed = matches!(shorter.steps.remove(at), Step::Finish | Step::Reset);
        if !is_needed && differs(talker.seed, &shorter, place) {
            script = shorter;
        } else {
            at += 1;
        }
    }
    script
}

fn differs(seed: u64, script: &Script, place: &Place) -> bool {
    let Ok(mut talker) = Talker::start(seed, script.clone(), place) else { return false };
    let patience = Instant::now() + Duration::from_secs(1);
    loop {
        match talker.go_on() {
            Progress::Over(verdict) => return verdict.is_err(),
            _ if Instant::now() > patience => return true,
            Progress::More | Progress::Waits(_) => std::thread::yield_now(),
        }
    }
}

/// The server has counted every conversation, and every datagram that gets no answer, for the reason that the model gives.
fn books_differ(server: &Server, ledger: &Ledger) -> Vec<String> {
    let name = &server.architecture;
    let mut wanted = vec![("zen_connections_accepted_total", String::new(), ledger.streams)];
    wanted.push(("zen_connections_closed_total", String::new(), ledger.streams));
    for reason in Dropped::ALL {
        let label = format!("reason=\"{}\"", reason.label());
        wanted.push(("zen_datagrams_dropped_total", label, ledger.dropped[reason as usize]));
    }
    let differs = |(metric, label, count): &(&str, String, u64)| {
        let counted = server.metric(metric, &[label]);
        (counted != *count as f64).then(|| format!("{name}: {metric} {label}: counted {counted}, said {count}"))
    };
    // The last client may be gone before the server has noticed it.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let differences: Vec<_> = wanted.iter().filter_map(differs).collect();
        if differences.is_empty() || Instant::now() > deadline {
            return differences;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
