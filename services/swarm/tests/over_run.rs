//! What becomes of questions that cannot be asked at their instant.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{answer_after, answer_by, answer_right, ask, change, light, start, tcp, wait_for};
use swarm::{Kind, Service};

/// A server whose first answer takes its time.
fn slow_at_first(client: TcpStream) {
    answer_by(client, |asked, right| {
        if asked == 0 {
            thread::sleep(Duration::from_millis(400));
        }
        Some(right.into())
    });
}

#[test]
fn what_cannot_be_asked_in_time_waits_or_is_dropped_as_the_plan_says() {
    let begin = |over_run: swarm::OverRun| -> Service {
        start(tcp(slow_at_first), |plan| {
            plan.timeout_seconds = 20.0;
            light(plan, Kind::Steady, 200.0, 1);
            plan.spotlight.clients.over_run = over_run;
        })
    };
    let service = begin(swarm::OverRun::Queue);
    wait_for(&service, "a queue", |ledger| ledger.waiting >= 20);
    assert_eq!(service.stop().dropped, 0);
    let service = begin(swarm::OverRun::Drop);
    let snapshot = wait_for(&service, "answers", |ledger| ledger.ok() >= 20);
    assert!(snapshot.ledger.dropped >= 20 && snapshot.ledger.waiting <= 1, "{snapshot:?}");
    assert!(service.stop().is_balanced());
}

#[test]
fn catching_up_is_no_faster_than_twice_the_rate_where_that_is_capped() {
    static ASKED: Mutex<Vec<Instant>> = Mutex::new(Vec::new());
    let stamps = |client: TcpStream| {
        answer_by(client, |asked, right| {
            if asked == 0 {
                thread::sleep(Duration::from_millis(400));
            } else {
                ASKED.lock().unwrap().push(Instant::now());
            }
            Some(right.into())
        });
    };
    let service = start(tcp(stamps), |plan| {
        plan.timeout_seconds = 20.0;
        light(plan, Kind::Steady, 200.0, 1);
        plan.spotlight.clients.over_run = swarm::OverRun::Cap;
    });
    wait_for(&service, "answers", |ledger| ledger.ok() >= 150);
    assert!(service.stop().is_balanced());
    let asked = ASKED.lock().unwrap();
    // One connection asks one thing at a time, so the server sees the pace; what is delayed may come together.
    let took = asked[100].duration_since(asked[0]).as_secs_f64();
    assert!(took >= 100.0 / 400.0 - 0.06, "a hundred came in {took} s");
}

/// Three who come at once, of whom one is asked; catching up with the others at twice this rate would take minutes.
fn held_back(change: impl FnOnce(&mut swarm::Plan)) -> Service {
    start(tcp(answer_right), |plan| {
        light(plan, Kind::Steady, 0.001, 4);
        let clients = &mut plan.spotlight.clients;
        (clients.arrivals, clients.burst, clients.over_run) = (swarm::Arrivals::Burst, 3, swarm::OverRun::Cap);
        change(plan);
    })
}

#[test]
fn catching_up_follows_the_rate_that_there_is() {
    let service = held_back(|_| ());
    let held = wait_for(&service, "an answer", |ledger| ledger.ok() == 1);
    assert_eq!(held.ledger.waiting, 2, "{held:?}");
    change(&service, &json!({"spotlight": {"rate": 200}}));
    wait_for(&service, "answers at the rate that was changed", |ledger| ledger.ok() >= 20);
    assert!(service.stop().is_balanced());

    let service = held_back(|plan| plan.spotlight.clients.stages = "1s@0.001,1h@200".into());
    wait_for(&service, "answers at the rate that changes by itself", |ledger| ledger.ok() >= 20);
    assert!(service.stop().is_balanced());
}

#[test]
fn who_waits_is_asked_slowly_where_the_rate_has_come_to_nothing() {
    let service = held_back(|_| ());
    wait_for(&service, "an answer", |ledger| ledger.ok() == 1);
    change(&service, &json!({"spotlight": {"rate": 0}}));
    let asked = wait_for(&service, "the others' answers", |ledger| ledger.ok() == 3);
    assert_eq!((asked.ledger.planned, asked.ledger.waiting), (3, 0), "{asked:?}");
    assert!(service.stop().is_balanced());
}

#[test]
fn who_waits_when_a_pause_begins_is_not_asked_after_it() {
    // It answers far less than it is asked.
    let service = start(tcp(answer_after::<50>), |plan| light(plan, Kind::Steady, 200.0, 1));
    wait_for(&service, "a queue", |ledger| ledger.waiting >= 20);
    assert_eq!(ask(&service, "POST", "/api/v1/pause", &[], "").status, 200);
    let at_rest = wait_for(&service, "rest", |ledger| ledger.waiting + ledger.in_flight == 0);
    assert!(at_rest.ledger.unsent >= 20, "a pause is nothing that a server could be blamed for: {at_rest:?}");
    assert!(service.stop().is_balanced());
}

#[test]
fn a_long_conversation_does_not_outlive_its_load() {
    let begin = || {
        let service = start(tcp(answer_right), |plan| {
            light(plan, Kind::Churner, 100_000.0, 1);
            plan.spotlight.clients.requests_per_connection = 1_000_000_000;
            plan.timeout_seconds = 1.0;
        });
        wait_for(&service, "answers", |ledger| ledger.ok() >= 20);
        service
    };
    let service = begin();
    assert_eq!(ask(&service, "POST", "/api/v1/pause", &[], "").status, 200);
    wait_for(&service, "rest in a pause", |ledger| ledger.waiting + ledger.in_flight == 0);
    assert!(service.stop().is_balanced());
    let service = begin();
    change(&service, &json!({"spotlight": {"mode": "off"}}));
    wait_for(&service, "rest when nobody is in the spotlight", |ledger| ledger.waiting + ledger.in_flight == 0);
    assert!(service.stop().is_balanced());
}

#[test]
fn the_largest_burst_is_asked_to_its_last_question() {
    // The next one would come only after a hundred seconds.
    let service = start(tcp(answer_right), |plan| {
        plan.timeout_seconds = 20.0;
        light(plan, Kind::Steady, 100.0, 16);
        (plan.spotlight.clients.arrivals, plan.spotlight.clients.burst) = (swarm::Arrivals::Burst, 10_000);
    });
    let answered = wait_for(&service, "every answer", |ledger| ledger.ok() + ledger.dropped >= 10_000);
    assert_eq!((answered.ledger.planned, answered.ledger.dropped), (10_000, 0), "{answered:?}");
    let ledger = service.stop();
    assert_eq!((ledger.sent, ledger.unsent, ledger.waiting, ledger.in_flight), (10_000, 0, 0, 0), "{ledger:?}");
    assert!(ledger.is_balanced());
}
