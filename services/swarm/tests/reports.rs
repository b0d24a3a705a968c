//! What a run leaves behind: a report in every form, whose figures are those of its books.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test that fails says where; counts are exact as f64")]

mod support;

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use report::{Report, Verdict};
use serde_json::{Value, json};
use support::{Reply, answer_by, ask, change, honest, intervals_add_up, plan, settings, spawn, tcp, wait_until};
use swarm::Service;
use zen::{Endpoint, Transport};

const RUNS: &str = "/api/v1/runs";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A swarm with two targets: `known` is right, `known1` is wrong.
fn service() -> Service {
    let wrong = |client| answer_by(client, |_, _| Some("Maybe.".into()));
    Service::start(settings(vec![tcp(honest), tcp(wrong)], plan())).unwrap()
}

/// A whole scenario, as it can be sent.
fn load(expect: &[&str], seconds: f64) -> Value {
    let mut settings = settings(vec![tcp(honest)], plan());
    settings.scenarios = swarm::Scenario::built_in().unwrap();
    let service = Service::start(settings).unwrap();
    let scenarios = ask(&service, "GET", "/api/v1/scenarios", &[], "").json();
    let mut load = scenarios.as_array().unwrap().iter().find(|one| one["name"] == "churn").unwrap().clone();
    service.stop();
    load.as_object_mut().unwrap().remove("seconds");
    for (member, value) in [
        ("name", json!("visits")),
        ("expectation", json!("Only <b>known</b> is right.")),
        ("expect", json!(expect)),
        ("targets", json!([])),
        ("duration_seconds", json!(seconds)),
        ("rate", json!(150.0)),
    ] {
        load[member] = value;
    }
    load
}

fn begin(service: &Service, body: &Value) -> Reply {
    ask(service, "POST", RUNS, &[JSON], &body.to_string())
}

fn get(service: &Service, path: &str) -> Reply {
    ask(service, "GET", &format!("{RUNS}/1{path}"), &[], "")
}

fn wait_for_end(service: &Service) -> Value {
    wait_until("the run's end", || Some(get(service, "").json()).filter(|run| run["state"] == "ended"))
}

fn figure(report: &Report, table: &str, subject: &str, column: &str) -> f64 {
    let table = report.tables.iter().find(|known| known.id == table).unwrap();
    let at = table.columns.iter().position(|known| known.id == column).unwrap();
    table.rows.iter().find(|row| row.subject == subject).unwrap().cells[at].value.unwrap()
}

#[test]
fn a_report_has_the_figures_of_the_books_in_every_form() {
    let service = service();
    let expect = [
        "known right_percent > 99",
        "known1 failed_percent < 1",
        "known1 wrong_percent > 99",
        "each wrong_percent < 0.01",
        "nobody p99_ms < 1",
    ];
    assert_eq!(begin(&service, &json!({"load": load(&expect, 2.5)})).status, 202);
    let early = get(&service, "/report.json");
    assert_eq!((early.status, early.kind.as_str()), (409, "application/problem+json"), "{early:?}");
    let run = wait_for_end(&service);
    assert_eq!((&run["report"], &run["as_expected"]), (&json!("/api/v1/runs/1/report.html"), &json!(false)), "{run}");
    let expectations: Vec<(&str, bool)> = run["expectations"].as_array().unwrap().iter().map(judged).collect();
    let judged = [
        ("known right_percent > 99", true),
        ("known1 failed_percent < 1", false),
        ("known1 wrong_percent > 99", true),
        ("known wrong_percent < 0.01", true),
        ("known1 wrong_percent < 0.01", false),
    ];
    assert_eq!(expectations, judged);

    let document = get(&service, "/report.json");
    assert_eq!((document.status, document.kind.as_str()), (200, "application/json"));
    let report = Report::from_json(&document.text).unwrap();
    assert_ne!(report.validity.verdict, Verdict::Inconclusive);
    for seen in run["targets"].as_array().unwrap() {
        let target = seen["target"].as_str().unwrap();
        assert_eq!(figure(&report, "targets", target, "planned"), seen["planned"].as_f64().unwrap());
        for (outcome, count) in seen["outcomes"].as_object().unwrap() {
            assert_eq!(figure(&report, "outcomes", target, outcome), count.as_f64().unwrap(), "{target} {outcome}");
        }
    }
    assert_eq!(figure(&report, "targets", "known", "p99"), run["targets"][0]["p99_us"].as_f64().unwrap());
    assert!(report.findings.iter().any(|line| line.starts_with("Not as expected: known1 failed_percent < 1")));
    every_form(&service, &report);
    intervals_add_up(&report, run["targets"][0]["outcomes"]["ok"].as_f64().unwrap());
    assert_eq!(get(&service, "/report.json").text, document.text, "it stays as it is");
    service.stop();
}

fn judged(finding: &Value) -> (&str, bool) {
    (finding["expected"].as_str().unwrap(), finding["holds"].as_bool().unwrap())
}

/// What is served is what the document is rendered to.
fn every_form(service: &Service, report: &Report) {
    let page = get(service, "/report.html");
    assert!(page.kind.starts_with("text/html") && page.text.contains("known1"), "{page:?}");
    assert!(
        page.text.contains("&lt;b&gt;known&lt;/b&gt;") && !page.text.contains("<b>known</b>"),
        "words are no markup"
    );
    assert!(get(service, "/report.md").text.starts_with("# Scenario visits: "));
    for chart in &report.charts {
        let svg = get(service, &format!("/charts/{}.svg", chart.id));
        assert!(svg.kind == "image/svg+xml" && svg.text.starts_with("<svg "), "{svg:?}");
        let mut png =
            ureq::get(format!("http://{}{RUNS}/1/charts/{}.png", service.address(), chart.id)).call().unwrap();
        assert!(png.body_mut().read_to_vec().unwrap().starts_with(b"\x89PNG"), "{}", chart.id);
    }
    let log = get(service, "/intervals.hlog").text;
    assert!(log.contains("Tag=known/tcp/response,0.000,1.0"), "{log}");
    for missing in ["/charts/rate", "/charts/rate.gif", "/charts/none.svg", "/report.pdf"] {
        assert_eq!(get(service, missing).status, 404, "{missing}");
    }
}

#[test]
fn a_run_that_was_cancelled_has_a_report_that_says_so() {
    let service = service();
    begin(&service, &json!({"load": load(&["each right_percent > 99"], 600.0)}));
    assert_eq!(ask(&service, "POST", "/api/v1/runs/1/cancel", &[], "").status, 200);
    let run = wait_for_end(&service);
    assert_eq!(
        (&run["as_expected"], &run["expectations"]),
        (&Value::Null, &json!([])),
        "it has not shown what it would"
    );
    let report = Report::from_json(&get(&service, "/report.json").text).unwrap();
    assert!(report.validity.reasons.iter().any(|why| why.starts_with("It was cancelled after ")), "{report:?}");
    service.stop();
}

#[test]
fn a_run_in_which_nobody_was_asked_for_a_while_cannot_be_relied_on() {
    let service = service();
    begin(&service, &json!({"load": load(&["each right_percent > 99"], 2.0)}));
    assert_eq!(ask(&service, "POST", "/api/v1/pause", &[], "").status, 200);
    wait_for_end(&service);
    let report = Report::from_json(&get(&service, "/report.json").text).unwrap();
    assert_eq!(report.validity.verdict, Verdict::Unreliable);
    assert!(report.validity.reasons.iter().any(|why| why.ends_with("asked nobody: it was paused, or had failed.")));
    service.stop();
}

/// A swarm whose only server answers once `gate` is open.
fn behind(gate: &'static AtomicBool) -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::host(Transport::Tcp, "127.0.0.1", listener.local_addr().unwrap().port());
    spawn(move || {
        for client in listener.incoming().flatten() {
            spawn(move || {
                answer_by(client, |_, right| {
                    while !gate.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(5));
                    }
                    Some(right.into())
                });
            });
        }
    });
    Service::start(settings(vec![endpoint], plan())).unwrap()
}

#[track_caller]
fn reasons(service: &Service) -> (Verdict, String) {
    let validity = Report::from_json(&get(service, "/report.json").text).unwrap().validity;
    (validity.verdict, validity.reasons.join(" "))
}

#[test]
fn how_the_swarm_is_after_a_run_says_nothing_of_the_run() {
    static GATE: AtomicBool = AtomicBool::new(false);
    let service = behind(&GATE);
    begin(&service, &json!({"load": load(&[], 0.5)}));
    wait_until("the end of its time", || (get(&service, "").json()["state"] == "settling").then_some(()));
    assert_eq!(ask(&service, "POST", "/api/v1/pause", &[], "").status, 200);
    GATE.store(true, Ordering::Relaxed);
    wait_for_end(&service);
    let (_, reasons) = reasons(&service);
    assert!(!reasons.contains("asked nobody"), "it was paused when all had been asked: {reasons}");
    service.stop();
}

#[test]
fn a_run_whose_books_were_closed_too_soon_says_so() {
    static GATE: AtomicBool = AtomicBool::new(false);
    let service = behind(&GATE);
    begin(&service, &json!({"load": load(&[], 0.5)}));
    wait_until("the end of its time", || (get(&service, "").json()["state"] == "settling").then_some(()));
    // What has been asked may take as long as it might then; what is asked from now on may not.
    change(&service, &json!({"timeout_seconds": 0.05}));
    let run = wait_for_end(&service);
    let on_the_way = run["ledger"]["in_flight"].as_u64().unwrap();
    assert!(on_the_way > 0, "{run}");
    let (verdict, reasons) = reasons(&service);
    assert_eq!(verdict, Verdict::Unreliable);
    let said = format!("{on_the_way} questions to known were still on their way when its books were closed");
    assert!(reasons.contains(&said), "{reasons}");
    GATE.store(true, Ordering::Relaxed);
    service.stop();
}

#[test]
fn a_run_waits_for_clients_that_take_their_time() {
    let mut plan = plan();
    plan.timeout_seconds = 1.0;
    let service = Service::start(settings(vec![tcp(honest)], plan)).unwrap();
    let mut tricklers = load(&[], 2.0);
    tricklers["population"]["churner"] = json!(0);
    tricklers["population"]["trickler"] = json!(1);
    (tricklers["connections"], tricklers["interval_seconds"]) = (json!(1), json!(0.4));
    begin(&service, &json!({"load": tricklers}));
    let run = wait_for_end(&service);
    let right = run["ledger"]["outcomes"]["ok"].as_u64().unwrap();
    assert!(run["ledger"]["in_flight"] == 0 && right > 0, "{run}");
    service.stop();
}

#[test]
fn what_is_no_scenario_is_not_run() {
    let service = service();
    let refused = |body: Value, pointer: &str, said: &str| {
        let reply = begin(&service, &body);
        assert_eq!(reply.status, 422, "{reply:?}");
        let problem = reply.json();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    };
    let mut odd = load(&[], 1.0);
    odd["speed"] = json!(1);
    refused(json!({"load": odd}), "/load/speed", "there is no `speed`");
    refused(json!({"load": load(&["known p99_ms ~ 3"], 1.0)}), "/load/expect/0", "TARGET FIGURE < NUMBER");
    refused(json!({"load": load(&["known speed < 3"], 1.0)}), "/load/expect/0", "right_percent");
    refused(json!({"load": load(&[], 1.0), "scenario": "visits"}), "/load", "no `scenario`");
    refused(json!({}), "/scenario", "missing");
    service.stop();
}
