//! How the books look in documents.

use serde_json::{Map, Value, json};

use crate::engine::Health;
use crate::tally::{Ledger, Outcome, Snapshot};

pub(super) fn snapshot(seen: &Snapshot) -> Value {
    let mut value = ledger(&seen.ledger);
    value["target"] = seen.target.clone().into();
    value["transport"] = seen.transport.into();
    value["target_rate"] = seen.target_rate.into();
    value["rate"] = json!(seen.rate);
    value["unasked"] = seen.unasked.into();
    value["duplicates"] = seen.duplicates.into();
    value["late_answers"] = seen.late_answers.into();
    value["connections"] = seen.connections.into();
    value["p50_us"] = json!(seen.p50_us);
    value["p99_us"] = json!(seen.p99_us);
    value["service_p50_us"] = json!(seen.service_p50_us);
    value["service_p99_us"] = json!(seen.service_p99_us);
    value["laws"] = laws(&seen.ledger);
    value["balanced"] = seen.balanced.into();
    value
}

/// How a worker of the engine does.
pub(super) fn worker(health: &Health) -> Value {
    json!({
        "target_rate": health.target_rate,
        "busy_ratio": health.busy,
        "saturated": health.is_saturated(),
        "cpu_seconds": health.cpu.as_secs_f64(),
        "lateness_p99_us": health.lateness_p99.map(|late| late.as_secs_f64() * 1e6),
    })
}

/// Whether each of the two laws holds: every planned question is accounted for, and every one that was asked.
pub(super) fn laws(ledger: &Ledger) -> Value {
    json!({"planned": ledger.plans_balance(), "sent": ledger.answers_balance()})
}

pub(super) fn ledger(ledger: &Ledger) -> Value {
    let outcomes =
        Outcome::ALL.iter().map(|outcome| (outcome.label().to_owned(), ledger.outcomes[*outcome as usize].into()));
    json!({
        "planned": ledger.planned,
        "sent": ledger.sent,
        "unsent": ledger.unsent,
        "dropped": ledger.dropped,
        "waiting": ledger.waiting,
        "in_flight": ledger.in_flight,
        "outcomes": outcomes.collect::<Map<_, _>>(),
    })
}
