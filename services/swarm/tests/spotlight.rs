//! What a spotlight's window writes down.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test that fails says where; counts are exact as f64")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use support::{answer_by, answer_right, ask, metric, plan, settings, spawn, tcp, wait_until};
use swarm::{Mode, Plan, Service};

fn lit() -> Plan {
    let mut plan = plan();
    plan.steady_rate = 0.0;
    (plan.spotlight.mode, plan.spotlight.turn_seconds, plan.spotlight.rate) = (Mode::Fixed, 2.0, 90.0);
    plan
}

fn window(service: &Service, name: &str) -> Option<f64> {
    metric(service, &format!("zen_swarm_last_window_{name}{{architecture=\"known\"}}"))
}

/// The admin API of a server that has used a second and answered 500 questions more each time that it is asked.
fn busy_server() -> String {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.read(&mut [0; 4096]);
            let times = ASKED.fetch_add(1, Ordering::Relaxed) as f64;
            let body = format!(
                "# TYPE zen_cpu_seconds_total counter\n\
                 zen_cpu_seconds_total{{architecture=\"known\",mode=\"user\",role=\"data\"}} {}\n\
                 zen_cpu_seconds_total{{architecture=\"known\",mode=\"system\",role=\"data\"}} {}\n\
                 zen_cpu_seconds_total{{architecture=\"known\",mode=\"system\",role=\"control\"}} {}\n\
                 zen_requests_total{{architecture=\"known\",outcome=\"answered\",question=\"simple\",transport=\"tcp\"}} {}\n",
                times * 0.75,
                times * 0.25,
                times * 9.0,
                times * 500.0
            );
            let _ =
                write!(client, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    url
}

#[test]
fn a_window_tells_rate_latency_failures_and_cost() {
    // Every tenth answer is a wrong one.
    static ANSWERS: AtomicU64 = AtomicU64::new(0);
    let flawed = |client: TcpStream| {
        answer_by(client, |_, right| {
            let is_wrong = ANSWERS.fetch_add(1, Ordering::Relaxed).is_multiple_of(10);
            Some(if is_wrong { "Maybe.".into() } else { right.into() })
        });
    };
    let mut settings = settings(vec![tcp(flawed)], lit());
    settings.targets[0].admin = Some(busy_server());
    let service = Service::start(settings).unwrap();
    let cost = wait_until("a window", || window(&service, "cpu_seconds_per_request"));
    assert!((cost - 0.002).abs() < 1e-9, "a second for 500 questions, of the data plane alone: {cost}");
    let read = |name: &str| window(&service, name).unwrap_or_else(|| panic!("{name} is missing"));
    assert!(read("rate") > 0.0 && read("age_seconds") >= 0.0);
    assert!(0.0 < read("p50_seconds") && read("p50_seconds") <= read("p99_seconds"));
    assert!(read("p99_seconds") <= read("p999_seconds"));
    assert!(0.0 < read("failures_ratio") && read("failures_ratio") < 0.5, "{}", read("failures_ratio"));
    service.stop();
}

#[test]
fn what_is_not_known_is_left_out() {
    let service = Service::start(settings(vec![tcp(answer_right)], lit())).unwrap();
    wait_until("a window", || window(&service, "rate"));
    assert_eq!(window(&service, "cpu_seconds_per_request"), None, "nobody says what was used");
    assert_eq!(window(&service, "failures_ratio"), Some(0.0));
    service.stop();
}

#[test]
fn a_pause_spoils_the_window() {
    let mut plan = lit();
    plan.spotlight.turn_seconds = 3.0;
    let service = Service::start(settings(vec![tcp(answer_right)], plan)).unwrap();
    wait_until("questions", || service.snapshots().first().filter(|seen| seen.ledger.ok() > 0).map(|_| ()));
    ask(&service, "POST", "/api/v1/pause", &[], "");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(window(&service, "rate"), None, "a window in which nobody was asked says nothing");
    ask(&service, "POST", "/api/v1/resume", &[], "");
    wait_until("the next window", || window(&service, "rate"));
    service.stop();
}

#[test]
fn what_comes_of_a_run_is_in_no_window() {
    // Its clients are answered one after the other, long after the run has ended and the spotlight has come back.
    static CLIENTS: AtomicU64 = AtomicU64::new(0);
    let late = |client: TcpStream| {
        let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
        answer_by(client, |_, right| {
            std::thread::sleep(Duration::from_millis(600 + 150 * number));
            Some(right.into())
        });
    };
    let mut plan = lit();
    plan.spotlight.rate = 0.0;
    let mut settings = settings(vec![tcp(late)], plan);
    settings.scenarios = swarm::Scenario::built_in().unwrap();
    let service = Service::start(settings).unwrap();
    let mut load = ask(&service, "GET", "/api/v1/scenarios", &[], "").json()[0].clone();
    load.as_object_mut().unwrap().remove("seconds");
    for (member, value) in [
        ("connections", json!(16)),
        ("idle", json!(0)),
        ("targets", json!([])),
        ("rate", json!(100)),
        ("duration_seconds", json!(0.5)),
    ] {
        load[member] = value;
    }
    for kind in load["population"].as_object_mut().unwrap().values_mut() {
        *kind = json!(0);
    }
    load["population"]["steady"] = json!(1);
    let begun = ask(
        &service,
        "POST",
        "/api/v1/runs",
        &[("content-type", "application/json")],
        &json!({"load": load}).to_string(),
    );
    assert_eq!(begun.status, 202, "{begun:?}");

    let mut ended = None;
    let run = wait_until("a window that began after the run's last answer", || {
        let rate = window(&service, "rate");
        assert!(
            rate.is_none_or(|rate| rate == 0.0),
            "nobody is asked for the spotlight, and {rate:?} a second are right"
        );
        let run = ask(&service, "GET", "/api/v1/runs/1", &[], "").json();
        if run["state"] == "ended" {
            let ended: &Instant = ended.get_or_insert_with(Instant::now);
            let age = window(&service, "age_seconds")?;
            return (age + 2.0 < ended.elapsed().as_secs_f64()).then_some(run);
        }
        None
    });
    assert!(run["ledger"]["outcomes"]["ok"].as_u64().unwrap() >= 16, "{run}");
    service.stop();
}
