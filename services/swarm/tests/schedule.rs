//! When the swarm asks, and from when on it counts.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test that fails says where; counts are exact as f64")]

mod support;

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use support::{
    answer_after, answer_by, answer_right, ask, change, deaf, metric, metrics, plan, read, seen, settings, start, tcp,
    tcp_on, wait_for, wait_until,
};
use swarm::{Kind, Mode, Plan, Service, Spotlight};

/// Held connections in the spotlight, and nothing else.
fn hold(plan: &mut Plan, rate: f64, connections: usize) {
    plan.timeout_seconds = 30.0;
    support::light(plan, Kind::Steady, rate, connections);
}

/// Questions that a histogram says took longer than `bound`, which must be one of its own.
fn longer(metrics: &str, histogram: &str, bound: &str) -> f64 {
    let labels = "architecture=\"known\",transport=\"tcp\"";
    let read = |series: String| read(metrics, &series).unwrap_or_else(|| panic!("there is no {series}"));
    read(format!("zen_swarm_{histogram}_count{{{labels}}}"))
        - read(format!("zen_swarm_{histogram}_bucket{{{labels},le=\"{bound}\"}}"))
}

#[test]
fn a_pause_of_the_server_is_seen_by_all_that_should_have_been_asked_meanwhile() {
    // The 20th answer of each connection takes 300 ms. With one connection and 100 questions a second, some thirty more
    // should have been asked in that time: each of them is late, although the server is quick with all but one.
    let pause = |client: TcpStream| {
        answer_by(client, |asked, right| {
            if asked == 20 {
                thread::sleep(Duration::from_millis(300));
            }
            Some(right.into())
        });
    };
    let service = start(tcp(pause), |plan| hold(plan, 100.0, 1));
    wait_for(&service, "answers", |ledger| ledger.ok() >= 80);
    let metrics = metrics(&service);
    let response = longer(&metrics, "request_duration_seconds", "0.1");
    let by_itself = longer(&metrics, "service_duration_seconds", "0.1");
    assert!(by_itself >= 1.0, "the one that was paused at");
    assert!(response >= by_itself + 10.0, "{response} responses and {by_itself} services took more than 100 ms");
    assert!(service.stop().is_balanced());
}

#[test]
fn a_delay_is_seen_as_what_it_is() {
    let service = start(tcp(answer_after::<30>), |_| {});
    let snapshot = wait_for(&service, "answers", |ledger| ledger.ok() >= 30);
    assert!(snapshot.p50_us.unwrap() >= 29_900.0, "{snapshot:?}");
    assert!(snapshot.service_p50_us.unwrap() >= 29_900.0, "{snapshot:?}");
    let metrics = metrics(&service);
    let ok =
        read(&metrics, "zen_swarm_requests_total{architecture=\"known\",transport=\"tcp\",outcome=\"ok\"}").unwrap();
    assert_eq!(longer(&metrics, "service_duration_seconds", "0.02"), ok, "every one took its 30 ms");
    service.stop();
}

#[test]
fn what_was_not_asked_in_a_pause_is_not_asked_after_it() {
    let service = start(tcp(answer_right), |_| {});
    wait_for(&service, "answers", |ledger| ledger.ok() >= 10);
    assert_eq!(ask(&service, "POST", "/api/v1/pause", &[], "").status, 200);
    let quiet = wait_for(&service, "quiet", |ledger| ledger.in_flight == 0 && ledger.waiting == 0);
    // A turn of the engine may have been under way.
    thread::sleep(Duration::from_secs(2));
    let before = seen(&service).ledger;
    assert!(before.planned <= quiet.ledger.planned + 3, "a paused swarm plans nothing");
    let resumed = Instant::now();
    assert_eq!(ask(&service, "POST", "/api/v1/resume", &[], "").status, 200);
    let after = wait_for(&service, "answers", |ledger| ledger.ok() >= before.ok() + 10).ledger;
    let most = 90.0 * resumed.elapsed().as_secs_f64() + 3.0;
    assert!(
        ((after.planned - before.planned) as f64) <= most,
        "{} were planned, {most} due",
        after.planned - before.planned
    );
    assert_eq!(service.stop().dropped, 0);
}

#[test]
fn a_turn_begins_without_what_was_due_since_the_last_one() {
    let mut plan = plan();
    plan.steady_rate = 0.0;
    plan.spotlight = Spotlight { mode: Mode::Turn, turn_seconds: 2.0, rate: 150.0, ..plan.spotlight.clone() };
    let began = Instant::now();
    let service = Service::start(settings(vec![tcp(answer_right), tcp(answer_right)], plan)).unwrap();
    let planned = || service.snapshots().iter().map(|snapshot| snapshot.ledger.planned).collect::<Vec<_>>();
    let second = wait_until("the second one's turn", || Some(planned()[1]).filter(|planned| *planned > 0));
    let first = planned()[0];
    wait_until("the first one's second turn", || Some(planned()[0]).filter(|planned| *planned > first + 60));
    let whole: u64 = planned().iter().sum();
    // One is loaded at a time, so all of them together are asked at one rate.
    let most = 150.0 * began.elapsed().as_secs_f64() + 12.0;
    assert!(whole as f64 <= most, "{whole} were planned, {most} due ({second} at first)");
    assert_eq!(service.stop().dropped, 0);
}

#[test]
fn a_changed_rate_is_followed_and_told() {
    let service = start(tcp(answer_right), |plan| {
        plan.spotlight = Spotlight { mode: Mode::Fixed, rate: 30.0, ..plan.spotlight.clone() };
    });
    let rate = "zen_swarm_target_rate{architecture=\"known\",transport=\"tcp\"}";
    wait_until("steady load and spotlight together", || metric(&service, rate).filter(|rate| *rate == 120.0));
    let body = "{\"steady_rates\": {\"known\": 10}, \"spotlight\": {\"rate\": 20}}";
    change(&service, body);
    wait_until("the new rates", || metric(&service, rate).filter(|rate| *rate == 30.0));
    let body = "{\"steady_rates\": {\"known\": null}, \"spotlight\": {\"mode\": \"off\"}}";
    change(&service, body);
    wait_until("steady load alone", || metric(&service, rate).filter(|rate| *rate == 90.0));
    service.stop();
}

#[test]
fn stages_are_followed_and_told() {
    let service = start(tcp(answer_right), |plan| plan.steady.stages = "3s@300,3s@300..30,1h@60".into());
    let rate = "zen_swarm_target_rate{architecture=\"known\",transport=\"tcp\"}";
    wait_until("the first stage", || metric(&service, rate).filter(|rate| (*rate - 300.0).abs() < 0.1));
    wait_until("the ramp", || metric(&service, rate).filter(|rate| (31.0..299.0).contains(rate)));
    wait_until("the last stage", || metric(&service, rate).filter(|rate| (*rate - 60.0).abs() < 0.1));
    let planned = seen(&service).ledger.planned;
    assert!(planned >= 1350, "900 and 495 were due in the first two stages: {planned}");
    assert!(service.stop().is_balanced());
}

#[test]
fn held_connections_are_opened_again_and_fewer_when_fewer_are_wanted() {
    // Each connection is closed after five answers.
    let five = |client| answer_by(client, |asked, right| Some(right.into()).filter(|_| asked < 5));
    let service = start(tcp(five), |plan| hold(plan, 200.0, 8));
    wait_for(&service, "many answers", |ledger| ledger.ok() >= 200);
    let body = "{\"spotlight\": {\"connections\": 2, \"idle\": 3, \"rate\": 0}}";
    change(&service, body);
    let connections = "zen_swarm_connections{architecture=\"known\",transport=\"tcp\"}";
    wait_until("two that ask and three that are silent", || metric(&service, connections).filter(|open| *open == 5.0));
    change(&service, "{\"spotlight\": {\"mode\": \"off\"}}");
    wait_until("none", || metric(&service, connections).filter(|open| *open == 0.0));
    assert!(service.stop().is_balanced());
}

#[test]
fn a_server_that_was_not_there_is_found_when_it_comes() {
    let (socket, address) = deaf();
    let endpoint = zen::Endpoint::host(zen::Transport::Tcp, "127.0.0.1", address.port());
    let service = start(endpoint, |plan| hold(plan, 50.0, 4));
    let absent = wait_for(&service, "questions that wait", |ledger| ledger.waiting >= 20);
    assert_eq!(absent.ledger.sent, 0, "nobody is there to be asked");
    socket.listen(128).unwrap();
    tcp_on(socket.into(), answer_right);
    wait_for(&service, "answers", |ledger| ledger.ok() >= 40);
    let ledger = service.stop();
    assert!(ledger.is_balanced() && ledger.in_flight == 0 && ledger.waiting == 0, "{ledger:?}");
}

#[test]
fn what_waits_beyond_the_bound_is_dropped_and_counted() {
    let silent = |mut client: TcpStream| drop(std::io::Read::read_to_end(&mut client, &mut Vec::new()));
    let service = start(tcp(silent), |plan| hold(plan, 20_000.0, 1));
    let snapshot = wait_for(&service, "dropped questions", |ledger| ledger.dropped >= 1000);
    assert!(snapshot.ledger.waiting <= 10_000, "{snapshot:?}");
    let ledger = service.stop();
    assert!(ledger.is_balanced() && ledger.in_flight == 0 && ledger.waiting == 0 && ledger.unsent > 0, "{ledger:?}");
}
