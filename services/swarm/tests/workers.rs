//! A swarm whose engine has more than one worker: together they do what one alone would do.
//!
//! Where there is one processor there can be one worker only; then it is the one that does it all.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test that fails says where; these rates are exact as f64")]

mod support;

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Instant;

use report::Report;
use serde_json::{Value, json};
use support::{
    answer_right, ask, change, deaf, honest, intervals_add_up, metric, metrics, plan, read, settings, tcp, wait_until,
};
use swarm::{Kind, Ledger, Plan, Population, Scenario, Service};
use zen::{Endpoint, Transport};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Two, or as many as there can be.
fn workers() -> usize {
    available_parallelism().map_or(1, usize::from).min(2)
}

fn start(endpoints: Vec<Endpoint>, plan: Plan) -> Service {
    let mut settings = settings(endpoints, plan);
    settings.workers = workers();
    settings.scenarios = Scenario::built_in().unwrap();
    Service::start(settings).unwrap()
}

/// The books of each target now; they must balance at every moment.
fn ledgers(service: &Service) -> Vec<Ledger> {
    let snapshots = service.snapshots();
    assert!(snapshots.iter().all(|snapshot| snapshot.balanced), "the books do not balance: {snapshots:?}");
    snapshots.into_iter().map(|snapshot| snapshot.ledger).collect()
}

/// Waits until each target has given so many more right answers.
fn wait_for_answers(service: &Service, more: u64) {
    let before = ledgers(service);
    wait_until("answers of every target", || {
        let now = ledgers(service);
        now.iter().zip(&before).all(|(now, before)| now.ok() >= before.ok() + more).then_some(())
    });
}

/// Waits until the workers should ask this much together, and gives the part of each.
fn wait_for_rate(service: &Service, wanted: f64) -> Vec<f64> {
    let name = |worker| format!("zen_swarm_worker_target_rate{{worker=\"{worker}\"}}");
    wait_until("the rate that is wanted", || {
        let text = metrics(service);
        let rates: Vec<f64> = (0..workers()).map(|worker| read(&text, &name(worker)).unwrap()).collect();
        (rates.iter().sum::<f64>() == wanted).then_some(rates)
    })
}

#[test]
fn workers_share_the_load_and_a_changed_plan_moves_no_connection() {
    static ACCEPTED: AtomicUsize = AtomicUsize::new(0);
    let counted = |client: TcpStream| {
        ACCEPTED.fetch_add(1, Ordering::Relaxed);
        answer_right(client);
    };
    let mut plan = Plan { steady_rate: 64.0, ..plan() };
    plan.steady.population = Population::only(Kind::Steady);
    let began = Instant::now();
    let service = start((0..4).map(|_| tcp(counted)).collect(), plan);
    let rates = wait_for_rate(&service, 256.0);
    assert!(rates.iter().all(|rate| *rate == 256.0 / workers() as f64), "{rates:?}");
    wait_for_answers(&service, 20);
    let planned: u64 = ledgers(&service).iter().map(|ledger| ledger.planned).sum();
    let most = 256.0 * began.elapsed().as_secs_f64() + 4.0;
    assert!(planned as f64 <= most, "{planned} were planned, {most} could have been due: a rate was multiplied");

    change(&service, &json!({"steady_rate": 16, "steady_rates": {"known": 128}}));
    wait_for_rate(&service, 176.0);
    wait_for_answers(&service, 5);
    change(&service, &json!({"spotlight": {"mode": "fixed", "targets": ["known2"], "rate": 90}}));
    wait_for_rate(&service, 266.0);
    wait_for_answers(&service, 5);
    change(&service, &json!({"spotlight": {"mode": "off"}}));
    wait_for_rate(&service, 176.0);
    assert_eq!(ask(&service, "POST", "/api/v1/pause", &[], "").status, 200);
    wait_until("rest", || ledgers(&service).iter().all(|ledger| ledger.in_flight + ledger.waiting == 0).then_some(()));
    assert_eq!(ask(&service, "POST", "/api/v1/resume", &[], "").status, 200);
    wait_for_answers(&service, 5);

    // Visitors of the spotlight come and go; those who keep their connection have still the first one.
    let visits = metric(&service, "zen_swarm_kind_requests_total{kind=\"churner\",outcome=\"ok\"}").unwrap() / 3.0;
    assert_eq!(ACCEPTED.load(Ordering::Relaxed), 4 * 3 + visits as usize);
    let open = |at: usize| {
        let name = if at == 0 { "known".to_owned() } else { format!("known{at}") };
        metric(&service, &format!("zen_swarm_connections{{architecture=\"{name}\",transport=\"tcp\"}}"))
    };
    assert!((0..4).all(|at| open(at) == Some(3.0)));
    let ledger = service.stop();
    assert!(ledger.is_balanced() && ledger.failed() + ledger.in_flight + ledger.waiting == 0, "{ledger:?}");
}

/// Those who keep their connection and those who visit, half and half: a load each.
fn mixed(service: &Service) -> Value {
    let scenarios = ask(service, "GET", "/api/v1/scenarios", &[], "").json();
    let mut load = scenarios.as_array().unwrap().iter().find(|one| one["name"] == "churn").unwrap().clone();
    load.as_object_mut().unwrap().remove("seconds");
    load["population"]["steady"] = json!(1);
    for (member, value) in [("targets", json!([])), ("duration_seconds", json!(2.5)), ("rate", json!(128))] {
        load[member] = value;
    }
    load
}

#[test]
fn workers_share_a_run_on_one_target_to_its_end_and_its_report() {
    let service = start(vec![tcp(honest)], Plan { steady_rate: 0.0, ..plan() });
    let body = json!({"load": mixed(&service)}).to_string();
    let accepted = ask(&service, "POST", "/api/v1/runs", &[JSON], &body);
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let rates = wait_for_rate(&service, 128.0);
    assert!(rates.iter().all(|rate| *rate == 128.0 / workers() as f64), "{rates:?}");
    let run = || ask(&service, "GET", "/api/v1/runs/1", &[], "").json();
    let ended = wait_until("the run's end", || {
        let run = run();
        assert_eq!(run["balanced"], true, "the books balance at every moment: {run}");
        (run["state"] == "ended").then_some(run)
    });
    let (planned, ok) = (&ended["ledger"]["planned"], &ended["ledger"]["outcomes"]["ok"]);
    assert!(planned.as_u64() > Some(0) && planned == ok, "{ended}");
    for kind in ["churner", "steady"] {
        let right = metric(&service, &format!("zen_swarm_kind_requests_total{{kind=\"{kind}\",outcome=\"ok\"}}"));
        assert!(right > Some(0.0) && right < ok.as_f64(), "{kind}");
    }
    let report = ask(&service, "GET", "/api/v1/runs/1/report.json", &[], "").text;
    intervals_add_up(&Report::from_json(&report).unwrap(), ok.as_f64().unwrap());
    assert!(service.stop().is_balanced());
}

#[test]
fn a_worker_that_cannot_follow_is_not_hidden_by_one_that_can() {
    // Each visit is a connection that is refused at once: so many a second are more than a thread can try.
    let (_deaf, address) = deaf();
    let deaf = Endpoint::host(Transport::Tcp, "127.0.0.1", address.port());
    let mut plan = Plan { steady_rate: 9.0, ..plan() };
    (plan.steady_rates, plan.steady.over_run) = ([("known".to_owned(), 199_000.0)].into(), swarm::OverRun::Drop);
    let service = start(vec![deaf, tcp(answer_right)], plan);
    wait_until("one worker that cannot follow, beside those that can", || {
        let status = ask(&service, "GET", "/api/v1/status", &[], "").json();
        let each = status["workers"].as_array().unwrap();
        assert_eq!(each.len(), workers(), "{status}");
        let saturated = each.iter().filter(|worker| worker["saturated"] == true).count();
        let all_have_asked = each.iter().all(|worker| worker["lateness_p99_us"].is_number());
        (saturated == 1 && status["saturated"] == true && all_have_asked).then_some(())
    });
    let text = metrics(&service);
    assert_eq!(read(&text, "zen_swarm_saturated"), Some(1.0));
    for name in ["busy_ratio", "cpu_seconds_total", "lateness_p99_seconds"] {
        let value = |worker| read(&text, &format!("zen_swarm_worker_{name}{{worker=\"{worker}\"}}")).unwrap();
        assert!((0..workers()).map(value).all(|value| value > 0.0), "{name}: {text}");
    }
    assert!(service.stop().is_balanced());
}

#[test]
fn there_are_no_more_workers_than_processors() {
    let most = available_parallelism().unwrap().get();
    for workers in [0, most + 1] {
        let mut settings = settings(vec![tcp(answer_right)], plan());
        settings.workers = workers;
        let error = Service::start(settings).err().unwrap();
        assert!(error.to_string().contains(&format!("`workers` = {workers} must be in 1..={most}")), "{error}");
    }
}
