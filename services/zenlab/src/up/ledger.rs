//! The end of `up`: clients first, then servers, and the books of both.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Map, Value, json};

use super::fleet::{Fleet, Server};
use crate::api::Api;
use crate::live::{Line, Watch};
use crate::operate::drain;
use crate::output;
use crate::signals::{Event, Signals};
use crate::target;

/// How long the swarm may wait for its last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Drain (10 s by default) and lingering, with a moment to flush.
const DRAIN: Duration = Duration::from_secs(12);

/// How long the swarm may take to end once it has nothing to wait for.
const SWARM_END: Duration = Duration::from_secs(1);

/// How long a fast end may take before it is made faster. A supervisor kills what does not end within 2.5 s.
const FAST: Duration = Duration::from_secs(4);

/// Ends everything in order and prints the books; a further Ctrl-C makes it fast.
pub fn stop(fleet: &mut Fleet, watch: &mut Watch, signals: &Signals) {
    if !fleet.is_over() {
        end_in_order(fleet, watch, signals);
    }
    for server in &fleet.servers {
        output::say(&server_ledger(server));
    }
}

fn end_in_order(fleet: &mut Fleet, watch: &mut Watch, signals: &Signals) {
    fleet.expect_ends();
    output::complain("stopping: clients first, then servers; again for a fast end");
    let is_hurried = fleet.has_swarm() && !wait_for_last_answers(watch, signals);
    // The last moment at which everyone can still be asked.
    output::say_all(&watch.look(&fleet.sights()).iter().map(Line::plain).collect::<Vec<_>>());
    let is_hurried = is_hurried || (fleet.has_swarm() && !stop_swarm(fleet, watch, signals));
    if is_hurried || !drain_servers(fleet, signals) {
        end_fast(fleet, signals);
    }
}

/// Lets the swarm ask no more, and waits for what it has asked. False when told to hurry.
fn wait_for_last_answers(watch: &mut Watch, signals: &Signals) -> bool {
    // Without an answer there is nothing to wait for.
    let is_paused = Api::with_patience(&target::swarm().url, LAST_ANSWERS).post("/api/v1/pause", None).is_ok();
    let end = Instant::now() + if is_paused { LAST_ANSWERS } else { Duration::ZERO };
    watch.ask_swarm();
    while watch.owed() > 0.0 && Instant::now() < end {
        if matches!(signals.wait(Duration::from_millis(50)), Some(Event::Stop | Event::Quit)) {
            return false;
        }
        watch.ask_swarm();
    }
    true
}

/// False when told to hurry.
fn stop_swarm(fleet: &mut Fleet, watch: &Watch, signals: &Signals) -> bool {
    output::say(&swarm_ledger(watch));
    fleet.signal_swarm(Signal::TERM);
    wait(fleet, signals, SWARM_END, |fleet| !fleet.has_swarm()) != Wait::Hurried
}

fn swarm_ledger(watch: &Watch) -> String {
    let right = watch.swarm_outcomes(|outcome| outcome == "ok");
    let wrong = watch.swarm_outcomes(|outcome| outcome == "wrong_answer");
    let failed = watch.swarm_outcomes(|outcome| outcome != "aborted") - right - wrong;
    format!(
        "swarm planned={} sent={} unsent={} dropped={} waiting={} in_flight={} right={right} wrong={wrong} \
         failed={failed}",
        watch.swarm_sum("zen_swarm_planned_total"),
        watch.swarm_sum("zen_swarm_sent_total"),
        watch.swarm_sum("zen_swarm_unsent_total"),
        watch.swarm_sum("zen_swarm_dropped_total"),
        watch.swarm_sum("zen_swarm_waiting"),
        watch.swarm_sum("zen_swarm_inflight"),
    )
}

/// False when told to hurry, or when it took too long.
fn drain_servers(fleet: &mut Fleet, signals: &Signals) -> bool {
    fleet.signal_servers(Signal::TERM);
    wait(fleet, signals, DRAIN, Fleet::is_over) == Wait::Over
}

fn end_fast(fleet: &mut Fleet, signals: &Signals) {
    fleet.signal_swarm(Signal::TERM);
    fleet.signal_servers(Signal::QUIT);
    if wait(fleet, signals, FAST, Fleet::is_over) != Wait::Over {
        fleet.signal_swarm(Signal::KILL);
        fleet.signal_servers(Signal::KILL);
        wait(fleet, signals, FAST, Fleet::is_over);
    }
}

/// Why a wait has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// What was waited for is so.
    Over,
    /// We were told to end fast.
    Hurried,
    /// It took too long.
    TooLong,
}

fn wait(fleet: &mut Fleet, signals: &Signals, patience: Duration, is_over: impl Fn(&Fleet) -> bool) -> Wait {
    let end = Instant::now() + patience;
    loop {
        output::complain_all(&fleet.bury());
        if is_over(fleet) {
            return Wait::Over;
        }
        if matches!(signals.wait(Duration::from_millis(50)), Some(Event::Stop | Event::Quit)) {
            return Wait::Hurried;
        }
        if Instant::now() >= end {
            return Wait::TooLong;
        }
    }
}

fn server_ledger(server: &Server) -> String {
    let name = server.member.name;
    books(name, &server.log()).unwrap_or_else(|| format!("{name}: ended without a drain"))
}

/// The books of a server's last drain, which it logged for each endpoint.
fn books(name: &str, log: &str) -> Option<String> {
    let mut by_endpoint = Map::new();
    for entry in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if let (Some("drained"), Some(url)) = (entry["event"].as_str(), entry["url"].as_str()) {
            by_endpoint.insert(url.to_owned(), entry);
        }
    }
    let sum = |key: &str| by_endpoint.values().filter_map(|entry| entry[key].as_u64()).sum::<u64>();
    let (answered, retryable, lost, forced) = (sum("answered"), sum("retryable"), sum("lost"), sum("forced"));
    let owed = answered + lost;
    let record = json!({"owed": owed, "answered": answered, "retryable": retryable, "lost": lost, "forced": forced});
    (!by_endpoint.is_empty()).then(|| drain::ledger(name, "drained", &record))
}

#[cfg(test)]
mod tests {
    use super::books;

    #[test]
    fn the_books_are_those_of_each_endpoints_last_drain() {
        let log = concat!(
            r#"{"event":"drained","url":"tcp://a:1","answered":9,"forced":9,"lost":9,"retryable":9}"#,
            "\nno JSON\n",
            r#"{"event":"drained","url":"tcp://a:1","answered":2,"forced":0,"lost":1,"retryable":3}"#,
            "\n",
            r#"{"event":"drained","url":"udp://a:1","answered":5,"forced":0,"lost":0,"retryable":0}"#,
        );
        let line = "epoll: drained: owed=8 answered=7 retryable=3 lost=1 forced=0";
        assert_eq!(books("epoll", log).as_deref(), Some(line));
        assert_eq!(books("epoll", "{}"), None);
    }
}
