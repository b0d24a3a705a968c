//! Scenarios and their runs: what is loaded, what is told, and that the plan is what it was afterwards.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test that fails says where; counts are exact as f64")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Reply, answer_right, ask, honest, metric, plan, settings, tcp, udp, wait_until};
use swarm::{Mode, Scenario, Service};

const RUNS: &str = "/api/v1/runs";
const PLAN: &str = "/api/v1/plan";
const JSON: (&str, &str) = ("content-type", "application/json");
const ANY: (&str, &str) = ("if-match", "*");

/// A swarm with the scenarios of these texts and two targets: `known` over TCP, `known1` over UDP.
fn service(texts: &[(&str, &str)]) -> Service {
    let mut settings = settings(vec![tcp(honest), udp(|_, right| vec![right.into()])], plan());
    settings.scenarios = scenarios(texts).unwrap();
    Service::start(settings).unwrap()
}

/// Scenarios from a directory with these files.
fn scenarios(texts: &[(&str, &str)]) -> Result<Vec<Scenario>, String> {
    let number = std::sync::atomic::AtomicU64::fetch_add(&NUMBER, 1, std::sync::atomic::Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("swarm-scenarios-{}-{number}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    for (name, text) in texts {
        fs::write(directory.join(name), text).unwrap();
    }
    let scenarios = Scenario::of_directory(&directory);
    fs::remove_dir_all(directory).unwrap();
    scenarios
}

static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

const SENTENCES: &str = "summary = \"Some come.\"\nexpectation = \"They are answered.\"\n";

/// A scenario of visits that lasts so long.
fn visits(seconds: f64) -> String {
    format!("name = \"visits\"\n{SENTENCES}duration_seconds = {seconds}\nrate = 150\n[population]\nchurner = 1\n")
}

fn begin(service: &Service, body: &Value) -> Reply {
    ask(service, "POST", RUNS, &[JSON], &body.to_string())
}

fn run(service: &Service, id: u64) -> Value {
    let run = ask(service, "GET", &format!("{RUNS}/{id}"), &[], "").json();
    assert_eq!(run["balanced"], true, "the books balance at every moment: {run}");
    run
}

fn wait_for_end(service: &Service, id: u64) -> Value {
    wait_until("the run's end", || Some(run(service, id)).filter(|run| run["state"] == "ended"))
}

#[track_caller]
fn problem(reply: &Reply, status: u16) -> Value {
    assert_eq!((reply.status, reply.kind.as_str()), (status, "application/problem+json"), "{reply:?}");
    reply.json()
}

#[test]
fn a_run_loads_its_targets_and_nothing_else_and_leaves_the_plan_as_it_was() {
    let service = service(&[("visits.toml", &visits(1.5))]);
    let before = ask(&service, "GET", PLAN, &[], "");
    let accepted = begin(&service, &json!({"scenario": "visits"}));
    assert_eq!((accepted.status, accepted.location.as_str()), (202, "/api/v1/runs/1"), "{accepted:?}");
    let began = accepted.json();
    assert_eq!((began["id"].as_u64(), began["state"].as_str()), (Some(1), Some("running")));
    assert_eq!(began["expectation"], "They are answered.");
    assert_eq!(metric(&service, "zen_swarm_run_active{scenario=\"visits\"}"), Some(1.0));
    assert_eq!(ask(&service, "GET", "/api/v1/status", &[], "").json()["run"], 1);

    let ended = wait_for_end(&service, 1);
    assert_eq!((ended["ended"].as_str(), ended["progress"].as_f64()), (Some("finished"), Some(1.0)));
    assert!(ended["elapsed_seconds"].as_f64().unwrap() >= 1.5, "{ended}");
    let targets = ended["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 1, "UDP has no part in it: {ended}");
    let seen = &targets[0];
    assert_eq!((seen["target"].as_str(), seen["transport"].as_str()), (Some("known"), Some("tcp")));
    let (planned, ok) = (seen["planned"].as_u64().unwrap(), seen["outcomes"]["ok"].as_u64().unwrap());
    assert!((1..=400).contains(&planned) && ok == planned, "{seen}");
    assert!(seen["p50_us"].as_f64().unwrap() > 0.0 && seen["p99_us"].as_f64().unwrap() > 0.0, "{seen}");
    assert_eq!(ended["ledger"]["planned"].as_u64(), Some(planned));

    let after = ask(&service, "GET", PLAN, &[], "");
    assert_eq!((after.tag, after.text), (before.tag, before.text));
    let rate = "zen_swarm_target_rate{architecture=\"known\",transport=\"tcp\"}";
    wait_until("the steady load", || metric(&service, rate).filter(|rate| *rate == 90.0));
    assert_eq!(metric(&service, "zen_swarm_run_active{scenario=\"visits\"}"), Some(0.0));
    assert_eq!(metric(&service, "zen_swarm_runs_total{ended=\"finished\"}"), Some(1.0));
    let later = run(&service, 1);
    assert_eq!((&later["ledger"], &later["targets"][0]["p99_us"]), (&ended["ledger"], &seen["p99_us"]), "it is closed");
    assert_eq!(ask(&service, "GET", RUNS, &[], "").json().as_array().unwrap().len(), 1);
    assert!(service.stop().is_balanced());
}

#[test]
fn one_run_at_a_time_and_it_can_be_cancelled() {
    let service = service(&[("visits.toml", &visits(600.0))]);
    assert_eq!(begin(&service, &json!({"scenario": "visits"})).status, 202);
    let refused = problem(&begin(&service, &json!({"scenario": "visits"})), 409);
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains("run 1") && detail.contains("visits") && detail.contains("/api/v1/runs/1/cancel"),
        "{detail}"
    );
    wait_until("answers", || run(&service, 1)["ledger"]["outcomes"]["ok"].as_u64().filter(|ok| *ok > 10));
    let cancelled = ask(&service, "POST", "/api/v1/runs/1/cancel", &[], "");
    assert_eq!((cancelled.status, cancelled.json()["ended"].as_str()), (200, Some("cancelled")));
    let ended = wait_for_end(&service, 1);
    assert!(ended["progress"].as_f64().unwrap() < 0.5, "{ended}");
    assert_eq!((&ended["ledger"]["in_flight"], &ended["ledger"]["waiting"]), (&json!(0), &json!(0)));
    assert_eq!(ask(&service, "POST", "/api/v1/runs/1/cancel", &[], "").json()["ended"], "cancelled", "once is enough");
    assert_eq!(metric(&service, "zen_swarm_runs_total{ended=\"cancelled\"}"), Some(1.0));
    assert_eq!(begin(&service, &json!({"scenario": "visits", "duration_seconds": 0.5})).status, 202);
    wait_for_end(&service, 2);
    service.stop();
}

#[test]
fn a_run_may_have_it_otherwise_within_the_limits() {
    let service = service(&[("visits.toml", &visits(600.0))]);
    let changed = json!({
        "scenario": "visits", "targets": ["known"], "rate": 30, "duration_seconds": 0.5, "connections": 2, "idle": 3, "seed": 7
    });
    let accepted = begin(&service, &changed).json();
    assert_eq!(accepted["load"]["idle"], 3, "{accepted}");
    assert_eq!((accepted["load"]["rate"].as_f64(), accepted["duration_seconds"].as_f64()), (Some(30.0), Some(0.5)));
    wait_for_end(&service, 1);
    for (body, pointer) in [
        (json!({}), "/scenario"),
        (json!({"scenario": "nothing"}), "/scenario"),
        (json!({"scenario": 1}), "/scenario"),
        (json!({"scenario": "visits", "targets": ["elsewhere"]}), "/targets/0"),
        (json!({"scenario": "visits", "targets": ["known1"]}), "/targets/0"),
        (json!({"scenario": "visits", "targets": "known"}), "/targets"),
        (json!({"scenario": "visits", "rate": -1}), "/rate"),
        (json!({"scenario": "visits", "rate": 1e9}), "/rate"),
        (json!({"scenario": "visits", "duration_seconds": 1e9}), "/duration_seconds"),
        (json!({"scenario": "visits", "idle": 20001}), "/idle"),
        (json!({"scenario": "visits", "connections": "many"}), "/connections"),
        (json!({"scenario": "visits", "transport": "udp"}), "/transport"),
        (json!({"scenario": "visits", "population": {"idler": 1}}), "/population"),
    ] {
        let refused = problem(&begin(&service, &body), 422);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{body}: {refused}");
    }
    for (method, path) in
        [("GET", "/api/v1/runs/77"), ("GET", "/api/v1/runs/x/events"), ("POST", "/api/v1/runs/77/cancel")]
    {
        problem(&ask(&service, method, path, &[], ""), 404);
    }
    let wrong = ask(&service, "DELETE", "/api/v1/runs/1", &[], "");
    problem(&wrong, 405);
    assert_eq!(wrong.allow, "GET");
    ask(&service, "POST", "/api/v1/pause", &[], "");
    problem(&begin(&service, &json!({"scenario": "visits"})), 409);
    let paths = ask(&service, "GET", "/openapi.json", &[], "").json()["paths"].clone();
    assert!(paths[RUNS]["post"].is_object() && paths["/api/v1/runs/{id}/events"]["get"].is_object(), "{paths}");
    service.stop();
}

#[test]
fn a_run_and_the_load_beside_it_are_within_the_ceilings_together() {
    // Nobody comes in the first hour.
    let later = format!("name = \"later\"\n{SENTENCES}stages = \"1h@0,1h@110k\"\n[population]\nchurner = 1\n");
    let service = service(&[("later.toml", &later)]);
    let change = |query: &str, stages: &str| {
        let body = json!({"steady": {"stages": stages}}).to_string();
        ask(&service, "PATCH", &format!("{PLAN}{query}"), &[JSON, ANY], &body)
    };
    let much = "1h@0,1h@100k";
    for query in ["", "?ttl=24h"] {
        assert_eq!(change("", "1h@0").status, 200);
        assert_eq!(change("", much).status, 200);
        if !query.is_empty() {
            assert_eq!(change(query, "1h@0").status, 200, "what comes back counts as well");
        }
        let refused = problem(&begin(&service, &json!({"scenario": "later", "targets": ["known"]})), 422);
        assert_eq!(refused["errors"][0]["pointer"], "/rate", "{refused}");
    }
    assert_eq!(change("", "1h@0").status, 200);
    assert_eq!(begin(&service, &json!({"scenario": "later", "targets": ["known"]})).status, 202);
    for query in ["", "?dry_run=true", "?ttl=60s"] {
        let refused = problem(&change(query, much), 422);
        assert_eq!(refused["errors"][0]["pointer"], "/steady_rate", "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains("run 1"), "{refused}");
    }
    ask(&service, "POST", "/api/v1/runs/1/cancel", &[], "");
    assert_eq!(change("", much).status, 200);
    service.stop();
}

#[test]
fn a_run_that_brings_its_load_is_told_by_one_name_whatever_it_is_called() {
    let service = service(&[("visits.toml", &visits(600.0))]);
    let active = |scenario: &str| metric(&service, &format!("zen_swarm_run_active{{scenario=\"{scenario}\"}}"));
    assert_eq!((active("visits"), active("own load")), (Some(0.0), Some(0.0)));
    let mut load = ask(&service, "GET", "/api/v1/scenarios", &[], "").json()[0].clone();
    load.as_object_mut().unwrap().remove("seconds");
    load["name"] = json!("mine");
    assert_eq!(begin(&service, &json!({"load": load})).status, 202);
    assert_eq!((active("visits"), active("own load"), active("mine")), (Some(0.0), Some(1.0), None));
    ask(&service, "POST", "/api/v1/runs/1/cancel", &[], "");
    wait_for_end(&service, 1);
    assert_eq!((active("visits"), active("own load")), (Some(0.0), Some(0.0)));
    service.stop();
}

#[test]
fn the_description_has_the_statuses_that_there_are() {
    let service = service(&[("visits.toml", &visits(600.0))]);
    let paths = ask(&service, "GET", "/openapi.json", &[], "").json()["paths"].clone();
    let is_told = |method: &str, path: &str, reply: &Reply| {
        let told = &paths[path][method.to_lowercase()]["responses"];
        assert!(told[reply.status.to_string()].is_object(), "{method} {path} gave {}: {told}", reply.status);
    };
    let body = json!({"scenario": "visits"}).to_string();
    let id = "/api/v1/runs/{id}";
    for (method, path, asked, headers, body) in [
        ("GET", "/readyz", "/readyz", &[][..], ""),
        ("GET", "/", "/", &[("accept", "text/html")], ""),
        ("PATCH", PLAN, PLAN, &[JSON], "{}"),
        ("PATCH", PLAN, PLAN, &[JSON, ("if-match", "7")], "{}"),
        ("PATCH", PLAN, PLAN, &[JSON, ANY], "{"),
        ("PUT", PLAN, PLAN, &[JSON, ANY], "{}"),
        ("PATCH", PLAN, PLAN, &[ANY], "{}"),
        ("POST", RUNS, RUNS, &[JSON], "{}"),
        ("POST", RUNS, RUNS, &[JSON], &body),
        ("POST", RUNS, RUNS, &[JSON], &body),
        ("GET", "/api/v1/runs/{id}/report.json", "/api/v1/runs/1/report.json", &[], ""),
        ("GET", id, "/api/v1/runs/7", &[], ""),
        ("POST", "/api/v1/runs/{id}/cancel", "/api/v1/runs/7/cancel", &[], ""),
        ("POST", "/api/v1/runs/{id}/cancel", "/api/v1/runs/1/cancel", &[], ""),
        ("POST", "/api/v1/pause", "/api/v1/pause", &[], ""),
        ("GET", "/readyz", "/readyz", &[], ""),
        ("GET", id, "/api/v1/runs/1", &[("host", "evil.example")], ""),
    ] {
        is_told(method, path, &ask(&service, method, asked, headers, body));
    }
    assert!(paths[RUNS]["post"]["responses"]["200"].is_null(), "a run that has begun is not over");
    service.stop();
}

#[test]
fn runs_need_the_token_where_there_is_one() {
    let file = std::env::temp_dir().join(format!("swarm-runs-token-{}", std::process::id()));
    fs::write(&file, "right-token\n").unwrap();
    let mut settings = settings(vec![tcp(answer_right)], plan());
    settings.token_file = Some(file.clone());
    settings.scenarios = scenarios(&[("visits.toml", &visits(0.5))]).unwrap();
    let service = Service::start(settings).unwrap();
    problem(&begin(&service, &json!({"scenario": "visits"})), 401);
    let headers = [JSON, ("authorization", "Bearer right-token")];
    assert_eq!(ask(&service, "POST", RUNS, &headers, "{\"scenario\": \"visits\"}").status, 202);
    problem(&ask(&service, "POST", "/api/v1/runs/1/cancel", &[], ""), 401);
    assert_eq!(ask(&service, "GET", "/api/v1/runs/1", &[], "").status, 200, "who only reads needs none");
    service.stop();
    fs::remove_file(file).unwrap();
}

#[test]
fn events_tell_the_progress_to_the_end() {
    let service = service(&[("visits.toml", &visits(1.2))]);
    begin(&service, &json!({"scenario": "visits"}));
    let mut stream = TcpStream::connect(service.address()).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    write!(stream, "GET /api/v1/runs/1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.to_lowercase() == "content-type: text/event-stream"));
    let mut kinds = Vec::new();
    let mut progress = Vec::new();
    for line in lines {
        if let Some(kind) = line.strip_prefix("event: ") {
            kinds.push(kind.to_owned());
        }
        if let Some(data) = line.strip_prefix("data: ") {
            let run: Value = serde_json::from_str(data).unwrap();
            progress.push(run["progress"].as_f64().unwrap());
            if run["state"] == "ended" {
                break;
            }
        }
    }
    assert!(kinds.len() >= 2 && kinds.last().unwrap() == "ended" && kinds[0] == "progress", "{kinds:?}");
    assert!(progress.is_sorted() && progress.last() == Some(&1.0), "{progress:?}");
    service.stop();
}

#[test]
fn nobody_is_in_the_spotlight_while_a_run_is_on() {
    let mut plan = plan();
    (plan.spotlight.mode, plan.spotlight.rate) = (Mode::Fixed, 40.0);
    let mut settings = settings(vec![tcp(honest), tcp(honest)], plan);
    settings.scenarios = scenarios(&[("visits.toml", &visits(600.0))]).unwrap();
    let service = Service::start(settings).unwrap();
    let rate =
        |name: &str| metric(&service, &format!("zen_swarm_target_rate{{architecture=\"{name}\",transport=\"tcp\"}}"));
    wait_until("the spotlight", || rate("known1").filter(|rate| *rate == 130.0));
    begin(&service, &json!({"scenario": "visits", "targets": ["known"]}));
    wait_until("the run alone", || rate("known").filter(|rate| *rate == 150.0));
    assert_eq!(rate("known1"), Some(90.0), "the others keep their steady load");
    assert_eq!(ask(&service, "GET", "/api/v1/status", &[], "").json()["spotlight"], json!([]));
    ask(&service, "POST", "/api/v1/runs/1/cancel", &[], "");
    wait_until("the spotlight again", || rate("known").filter(|rate| *rate == 130.0));
    service.stop();
}

#[test]
fn a_change_for_a_time_is_taken_back_by_itself() {
    let service = service(&[]);
    let patch = |query: &str, body: &str| ask(&service, "PATCH", &format!("{PLAN}{query}"), &[JSON, ANY], body);
    let present = || ask(&service, "GET", PLAN, &[], "").json()["steady_rate"].as_f64().unwrap();
    let left = || ask(&service, "GET", "/api/v1/status", &[], "").json()["plan_reverts_in_seconds"].as_f64();
    assert_eq!(left(), None);
    assert_eq!(patch("?ttl=1s", "{\"steady_rate\": 60}").status, 200);
    assert_eq!(patch("?ttl=1s", "{\"steady_rate\": 30}").status, 200);
    assert!(left().is_some_and(|left| left <= 1.0));
    wait_until("the plan of before both", || (present() == 90.0).then_some(()));
    assert_eq!((left(), ask(&service, "GET", PLAN, &[], "").tag.as_str()), (None, "\"4\""), "that is a change as well");

    // Somebody decides otherwise meanwhile.
    assert_eq!(patch("?ttl=1s", "{\"steady_rate\": 60}").status, 200);
    assert_eq!(patch("", "{\"steady_rate\": 45}").status, 200);
    assert_eq!(left(), None);
    std::thread::sleep(Duration::from_millis(1300));
    assert_eq!(present(), 45.0);
    for query in ["?ttl=0s", "?ttl=25h", "?ttl=soon", "?ttl="] {
        problem(&patch(query, "{\"steady_rate\": 60}"), 422);
    }
    assert_eq!(patch("?dry_run=true&ttl=1s", "{\"steady_rate\": 60}").status, 200);
    assert_eq!((present(), left()), (45.0, None), "a dry run changes nothing");
    service.stop();
}

#[test]
fn those_that_come_with_the_laboratory_can_be_run() {
    let mut settings = settings(vec![tcp(honest)], plan());
    settings.scenarios = Scenario::built_in().unwrap();
    settings.targets[0].name = "epoll".into();
    let service = Service::start(settings).unwrap();
    let listed = ask(&service, "GET", "/api/v1/scenarios", &[], "").json();
    let listed = listed.as_array().unwrap();
    assert!(listed.len() >= 12);
    for scenario in listed {
        let name = scenario["name"].as_str().unwrap();
        assert!(scenario["expectation"].as_str().unwrap().len() > 40, "{name}");
        let (expect, targets) = (scenario["expect"].as_array().unwrap(), scenario["targets"].as_array().unwrap());
        let target = |one: &Value| one.as_str().unwrap().split(' ').next().unwrap().to_owned();
        let is_checked = |one: &Value| target(one) == "each" || targets.contains(&json!(target(one)));
        assert!(
            !expect.is_empty() && expect.iter().all(is_checked),
            "{name} expects something of those it loads: {expect:?}"
        );
        assert!((5.0..=120.0).contains(&scenario["seconds"].as_f64().unwrap()), "{name}");
        let file = format!("{}/../../deploy/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        assert!(fs::exists(&file).unwrap(), "{file}");
        if scenario["transport"] != "tcp" {
            continue;
        }
        let body = json!({"scenario": name, "targets": ["epoll"], "duration_seconds": 0.5});
        let accepted = begin(&service, &body);
        assert_eq!(accepted.status, 202, "{accepted:?}");
        let ended = wait_for_end(&service, accepted.json()["id"].as_u64().unwrap());
        assert!(ended["ledger"]["planned"].as_u64().unwrap() > 0, "{ended}");
    }
    let files = fs::read_dir(format!("{}/../../deploy/scenarios", env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert_eq!(files.count(), listed.len(), "every file is built in");
    assert!(service.stop().is_balanced());
}

#[test]
fn a_directory_with_something_that_is_no_scenario_is_refused_by_its_name() {
    let bad = |text: &str| scenarios(&[("good.toml", &visits(1.0)), ("worse.toml", text)]).unwrap_err();
    let kept = visits(1.0).replace("\"visits\"", "\"other\"");
    for (from, to, said) in [
        ("name = \"other\"", "name = \"Other One\"", "`name`"),
        ("name = \"other\"", "", "`name`"),
        ("rate = 150", "rate = -5", "`rate`"),
        ("rate = 150", "rate = 150\ntransport = \"tls\"", "`transport`"),
        ("rate = 150", "speed = 150", "`speed`"),
        ("churner = 1", "dancer = 1", "population.dancer"),
        ("churner = 1", "churner = 0", "population"),
        ("expectation = \"They are answered.\"", "", "`expectation`"),
        ("duration_seconds = 1", "duration_seconds = 0", "`duration_seconds`"),
        ("rate = 150", "rate = ", "worse.toml"),
    ] {
        let text = kept.replace(from, to);
        assert_ne!(text, kept, "{from}");
        let sentence = bad(&text);
        let is_one = sentence.lines().count() == 1;
        assert!(is_one && sentence.contains("worse.toml") && sentence.contains(said), "{from} → {to}: {sentence}");
    }
    let twice = bad(&visits(1.0));
    assert!(twice.contains("\"visits\""), "{twice}");
    assert!(Scenario::of_directory("/nowhere/at/all".as_ref()).unwrap_err().contains("/nowhere/at/all"));
}
