//! Who is late: the server that lets its clients wait, or the swarm itself.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use report::{Report, Validity, Verdict};
use serde_json::{Value, json};
use support::{
    answer_by, answer_right, ask, change, deaf, light, metric, metrics, plan, read, settings, start, tcp, wait_for,
    wait_until,
};
use swarm::{Arrivals, Kind, Population, Service};
use zen::{Endpoint, Transport};

const RUNS: &str = "/api/v1/runs";
const JSON: (&str, &str) = ("content-type", "application/json");
const KNOWN: &str = "architecture=\"known\",transport=\"tcp\"";

/// A swarm that asks only in runs.
fn at_rest(endpoint: Endpoint) -> Service {
    let mut plan = plan();
    plan.steady_rate = 0.0;
    let mut settings = settings(vec![endpoint], plan);
    settings.scenarios = swarm::Scenario::built_in().unwrap();
    Service::start(settings).unwrap()
}

/// Begins a run of a load that differs from the usual one in `changes`; gives its path.
fn begin(service: &Service, changes: &Value) -> String {
    let scenarios = ask(service, "GET", "/api/v1/scenarios", &[], "").json();
    let mut load = scenarios.as_array().unwrap().iter().find(|one| one["name"] == "churn").unwrap().clone();
    load.as_object_mut().unwrap().remove("seconds");
    (load["targets"], load["expect"]) = (json!([]), json!([]));
    for (member, value) in changes.as_object().unwrap() {
        load[member] = value.clone();
    }
    let begun = ask(service, "POST", RUNS, &[JSON], &json!({"load": load}).to_string());
    assert_eq!(begun.status, 202, "{begun:?}");
    begun.location
}

fn run(service: &Service, path: &str) -> Value {
    ask(service, "GET", path, &[], "").json()
}

fn wait_for_report(service: &Service, path: &str) -> (Value, Report) {
    let ended = wait_until("the run's end", || Some(run(service, path)).filter(|run| run["state"] == "ended"));
    assert_eq!(ended["balanced"], true, "{ended}");
    let report = ask(service, "GET", &format!("{path}/report.json"), &[], "").text;
    (ended, Report::from_json(&report).unwrap())
}

static IS_FROZEN: AtomicBool = AtomicBool::new(false);

/// Answers nobody while it is frozen.
fn may_freeze(client: TcpStream) {
    answer_by(client, |_, right| {
        while IS_FROZEN.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(1));
        }
        Some(right.into())
    });
}

/// How many of a histogram's durations are longer than one of its bounds.
fn longer(text: &str, name: &str, bound: &str) -> f64 {
    let of = |series: String| read(text, &format!("zen_swarm_{name}_seconds_{series}")).unwrap();
    of(format!("count{{{KNOWN}}}")) - of(format!("bucket{{{KNOWN},le=\"{bound}\"}}"))
}

#[test]
fn a_server_that_freezes_is_told_by_the_responses_and_is_not_taken_for_a_late_swarm() {
    let service = at_rest(tcp(may_freeze));
    let load = json!({
        "population": Population::only(Kind::Steady), "connections": 16, "requests_per_connection": 0, "rate": 300, "duration_seconds": 4
    });
    let freeze = || {
        let path = begin(&service, &load);
        let ledger = || run(&service, &path)["ledger"].clone();
        wait_until("answers", || (ledger()["outcomes"]["ok"].as_u64() >= Some(50)).then_some(()));
        IS_FROZEN.store(true, Ordering::Release);
        wait_until("questions of half a second", || (ledger()["waiting"].as_u64() >= Some(150)).then_some(()));
        IS_FROZEN.store(false, Ordering::Release);
        let (ended, report) = wait_for_report(&service, &path);
        assert_eq!(ended["ledger"]["planned"], ended["ledger"]["outcomes"]["ok"], "{ended}");
        // A hundredth of all are twelve, and the thirteenth of those that waited has waited for this long.
        assert!(ended["targets"][0]["p99_us"].as_f64() >= Some(400_000.0), "{ended}");
        report.validity
    };
    // On a busy machine the swarm is really late at times, but not as late as the server was.
    let is_blamed = |validity: &Validity| validity.reasons.iter().filter_map(|why| late_by(why)).any(|ms| ms > 200.0);
    let mut found = vec![freeze()];
    while is_blamed(&found[found.len() - 1]) {
        assert!(found.len() < 4, "{found:?}");
        found.push(freeze());
    }
    let waited = longer(&metrics(&service), "send_lag", "0.1");
    assert!(waited >= 100.0, "the lag is from the planned instant: {waited}");
    assert!(service.stop().is_balanced());
}

/// By how many milliseconds the swarm was late, where that is what a reason says.
fn late_by(why: &str) -> Option<f64> {
    let (figure, unit) = why.strip_prefix("The swarm asked up to ")?.split_once(" late")?.0.split_once(' ')?;
    Some(figure.parse::<f64>().unwrap() * if unit == "s" { 1e3 } else { 1.0 })
}

#[test]
fn a_swarm_that_is_late_by_itself_says_so() {
    // Each visit is a connection that is refused at once: so many a second are more than a thread can try.
    let (_deaf, address) = deaf();
    let service = at_rest(Endpoint::host(Transport::Tcp, "127.0.0.1", address.port()));
    let path = begin(&service, &json!({"rate": 199_000, "duration_seconds": 1.5}));
    let (_, report) = wait_for_report(&service, &path);
    assert_eq!(report.validity.verdict, Verdict::Unreliable);
    assert!(report.validity.reasons.iter().any(|why| late_by(why).is_some()), "{:?}", report.validity);
    let text = metrics(&service);
    assert!(read(&text, &format!("zen_swarm_late_sends_total{{{KNOWN}}}")) > Some(0.0), "{text}");
    assert!(service.stop().is_balanced());
}

/// Waits until the lags of bursts lie in more buckets than bursts have come: what is asked at one instant of the schedule is
/// asked one after the other, so no burst has one lag alone.
fn wait_for_lags_that_differ(service: &Service, burst: f64) {
    wait_until("lags that differ within a burst", || {
        let text = metrics(service);
        let buckets = text.lines().filter_map(|line| {
            line.strip_prefix(&format!("zen_swarm_send_lag_seconds_bucket{{{KNOWN},le="))?
                .rsplit(' ')
                .next()?
                .parse()
                .ok()
        });
        let buckets: Vec<f64> = buckets.collect();
        let filled =
            buckets.iter().zip(std::iter::once(&0.0).chain(&buckets)).filter(|(one, before)| one > before).count();
        let bursts = (buckets.last().unwrap() / burst).ceil() as usize;
        (filled > bursts).then_some(())
    });
}

#[test]
fn visits_of_a_burst_are_stamped_one_by_one() {
    let service = start(tcp(answer_right), |plan| {
        light(plan, Kind::Churner, 750.0, 1);
        (plan.spotlight.clients.arrivals, plan.spotlight.clients.burst) = (Arrivals::Burst, 250);
    });
    wait_for_lags_that_differ(&service, 250.0);
    assert!(service.stop().is_balanced());
}

#[test]
fn questions_of_a_burst_are_stamped_one_by_one_and_lag_and_service_are_the_response() {
    let service = start(tcp(answer_right), |plan| {
        light(plan, Kind::Steady, 0.0, 200);
        (plan.spotlight.clients.arrivals, plan.spotlight.clients.burst) = (Arrivals::Burst, 200);
    });
    wait_until("connections", || {
        (metric(&service, &format!("zen_swarm_connections{{{KNOWN}}}")) == Some(200.0)).then_some(())
    });
    change(&service, &json!({"spotlight": {"rate": 200}}));
    wait_for_lags_that_differ(&service, 200.0);
    change(&service, &json!({"spotlight": {"rate": 0}}));
    wait_for(&service, "every answer", |ledger| {
        ledger.in_flight + ledger.waiting == 0 && ledger.ok() == ledger.planned
    });
    let text = metrics(&service);
    let sum = |name: &str| read(&text, &format!("zen_swarm_{name}_seconds_sum{{{KNOWN}}}")).unwrap();
    let (lag, service_time, response) = (sum("send_lag"), sum("service_duration"), sum("request_duration"));
    assert!((lag + service_time - response).abs() < 1e-6, "{lag} and {service_time} are not {response}");
    assert!(service.stop().is_balanced());
}
