//! The command line that does a run again.

use std::time::Duration;

use report::command_line;

use crate::plan::Clients;
use crate::scenario::Scenario;

/// The lowest rate that `zenlab runs start` takes, in questions a second.
const LEAST_RATE: f64 = 0.001;

/// The command line that does a run of `scenario` at these targets again: by its name, if it is one of those that are `known`
/// to the swarm but for what the command can say otherwise; else with the whole of it.
pub(super) fn again(scenario: &Scenario, targets: &[&str], known: &[Scenario]) -> String {
    let known = known.iter().find(|known| known.name == scenario.name);
    known.and_then(|known| by_name(scenario, targets, known)).unwrap_or_else(|| whole(scenario, targets))
}

fn by_name(scenario: &Scenario, targets: &[&str], known: &Scenario) -> Option<String> {
    if !is_sayable(scenario, known) {
        return None;
    }
    let targets = targets.join(",");
    let mut words = ["zenlab", "runs", "start", &scenario.name, "--targets", &targets].map(str::to_owned).to_vec();
    let mut say = |option: &str, is_said: bool, value: String| {
        if is_said {
            words.extend([option.to_owned(), value]);
        }
    };
    let (new, old) = (&scenario.clients, &known.clients);
    say("--rate", scenario.rate.to_bits() != known.rate.to_bits(), scenario.rate.to_string());
    say("--duration", scenario.duration_seconds.to_bits() != known.duration_seconds.to_bits(), duration(scenario));
    say("--connections", new.connections != old.connections, new.connections.to_string());
    say("--idle", new.idle != old.idle, new.idle.to_string());
    say("--seed", new.seed != old.seed, new.seed.to_string());
    words.push("--follow".to_owned());
    Some(command_line(words))
}

/// Whether options of the command make the one of the other. No option says a rate or a duration of 0.
fn is_sayable(scenario: &Scenario, known: &Scenario) -> bool {
    let Scenario { targets, rate, duration_seconds, .. } = scenario.clone();
    let Clients { connections, idle, seed, .. } = scenario.clients;
    let clients = Clients { seed, connections, idle, ..known.clients.clone() };
    let made = Scenario { targets, duration_seconds, rate, clients, ..known.clone() };
    made == *scenario
        && (rate >= LEAST_RATE || made.rate.to_bits() == known.rate.to_bits())
        && (duration_seconds > 0.0 || made.duration_seconds.to_bits() == known.duration_seconds.to_bits())
}

/// In a unit in which it is a whole number.
fn duration(scenario: &Scenario) -> String {
    let time = Duration::from_secs_f64(scenario.duration_seconds);
    match time.subsec_nanos() {
        0 => format!("{}s", time.as_secs()),
        ns if ns % 1_000_000 == 0 => format!("{}ms", time.as_millis()),
        _ => format!("{}ns", time.as_nanos()),
    }
}

fn whole(scenario: &Scenario, targets: &[&str]) -> String {
    let targets = targets.iter().map(|&name| name.to_owned()).collect();
    let document = Scenario { targets, ..scenario.clone() }.in_short().to_string();
    let said = command_line(["printf", "%s", &document]);
    format!("{said} | {}", command_line(["zenlab", "runs", "start", "/dev/stdin", "--follow"]))
}
