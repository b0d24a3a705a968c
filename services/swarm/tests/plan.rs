//! The admin API: who may change what, and what is said to those who may not.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test that fails says where; counts are exact as f64")]

mod support;

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use support::{Reply, answer_right, ask, metric, plan, settings, start, tcp, wait_for, wait_until};
use swarm::{Kind, Mode, Plan, Service};

const PLAN: &str = "/api/v1/plan";
const JSON: (&str, &str) = ("content-type", "application/json");
const ANY: (&str, &str) = ("if-match", "*");

fn service() -> Service {
    start(tcp(answer_right), |_| {})
}

/// An error must say all that RFC 9457 asks for.
#[track_caller]
fn problem(reply: &Reply, status: u16) -> Value {
    assert_eq!((reply.status, reply.kind.as_str()), (status, "application/problem+json"), "{reply:?}");
    let body = reply.json();
    assert_eq!(body["status"], status);
    for member in ["type", "title", "detail", "instance", "request_id"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} is missing: {body}");
    }
    body
}

#[test]
fn a_plan_is_refused_as_a_whole_with_the_place_of_its_fault() {
    let service = service();
    let before = ask(&service, "GET", PLAN, &[], "");
    for (body, pointer) in [
        ("{\"steady_rate\": -1}", "/steady_rate"),
        ("{\"steady_rate\": 1e9}", "/steady_rate"),
        ("{\"steady_rate\": \"many\"}", "/steady_rate"),
        ("{\"steady_rates\": {\"known\": 1e9}}", "/steady_rates/known"),
        ("{\"steady_rates\": {\"known\": \"many\"}}", "/steady_rates/known"),
        ("{\"steady_rates\": {\"else/where\": 1}}", "/steady_rates/else~1where"),
        ("{\"timeout_seconds\": 0}", "/timeout_seconds"),
        ("{\"trace_one_in\": -1}", "/trace_one_in"),
        ("{\"trace_one_in\": 1.5}", "/trace_one_in"),
        ("{\"spotlight\": {\"rate\": 1e9}}", "/spotlight/rate"),
        ("{\"spotlight\": {\"rate\": 200001}}", "/spotlight/rate"),
        ("{\"spotlight\": {\"connections\": 20001}}", "/spotlight/connections"),
        ("{\"spotlight\": {\"connections\": 0}}", "/spotlight/connections"),
        ("{\"spotlight\": {\"idle\": 20001}}", "/spotlight/idle"),
        ("{\"spotlight\": {\"idle\": -1}}", "/spotlight/idle"),
        ("{\"spotlight\": {\"targets\": [\"known\", \"elsewhere\"]}}", "/spotlight/targets/1"),
        ("{\"spotlight\": {\"targets\": [\"known\", 1]}}", "/spotlight/targets/1"),
        ("{\"spotlight\": {\"targets\": \"known\"}}", "/spotlight/targets"),
        ("{\"steady_rate\": 5, \"spotlight\": {\"turn_seconds\": 0}}", "/spotlight/turn_seconds"),
        ("{\"nothing\": 1}", "/nothing"),
        ("{\"spotlight\": {\"nothing\": 1}}", "/spotlight/nothing"),
        ("{\"spotlight\": 1}", "/spotlight"),
        ("{\"spotlight\": {\"mode\": \"dance\"}}", "/spotlight/mode"),
        ("{\"spotlight\": {\"mode\": 1}}", "/spotlight/mode"),
        ("{\"spotlight\": {\"shape\": \"turn\"}}", "/spotlight/shape"),
        ("{\"spotlight\": {\"arrivals\": \"sine\"}}", "/spotlight/arrivals"),
        ("{\"spotlight\": {\"over_run\": \"wait\"}}", "/spotlight/over_run"),
        ("{\"spotlight\": {\"stages\": \"10s@many\"}}", "/spotlight/stages"),
        ("{\"spotlight\": {\"stages\": \"10s@201k\"}}", "/spotlight/stages"),
        ("{\"spotlight\": {\"population\": {\"dancer\": 1}}}", "/spotlight/population/dancer"),
        ("{\"spotlight\": {\"population\": {\"idler\": 1001}}}", "/spotlight/population/idler"),
        ("{\"spotlight\": {\"population\": {\"idler\": -1}}}", "/spotlight/population/idler"),
        ("{\"spotlight\": {\"population\": {\"churner\": 0}}}", "/spotlight/population"),
        ("{\"steady\": {\"population\": {\"churner\": 0}}}", "/steady/population"),
        ("{\"steady\": {\"pipeline\": 65}}", "/steady/pipeline"),
        ("{\"steady\": {\"swing\": 1.5}}", "/steady/swing"),
        ("{\"steady\": {\"source_addresses\": 0}}", "/steady/source_addresses"),
        ("{\"steady\": {\"interval_seconds\": 0}}", "/steady/interval_seconds"),
        ("{\"steady\": {\"connections\": 20001}}", "/steady/connections"),
        (
            "{\"spotlight\": {\"mode\": \"fixed\", \"idle\": 19990, \"population\": {\"steady\": 1}}}",
            "/spotlight/connections",
        ),
        ("{\"steady_rate\": 110000, \"steady\": {\"shape\": \"sine\", \"swing\": 1}}", "/steady_rate"),
        (
            "{\"spotlight\": {\"mode\": \"turn\", \"rate\": 150000, \"shape\": \"step\", \"swing\": 0.5}}",
            "/spotlight/rate",
        ),
        ("{\"steady_rate\": 100001, \"spotlight\": {\"mode\": \"turn\", \"rate\": 100000}}", "/spotlight/rate"),
        (
            "{\"steady\": {\"idle\": 10001}, \"spotlight\": {\"mode\": \"fixed\", \"idle\": 10000}}",
            "/spotlight/connections",
        ),
    ] {
        let body_of = problem(&ask(&service, "PATCH", PLAN, &[JSON, ANY], body), 422);
        assert_eq!(body_of["errors"][0]["pointer"], pointer, "{body}: {body_of}");
        let sentence = body_of["errors"][0]["detail"].as_str().unwrap();
        assert!(sentence.contains('`') && !sentence.contains('\n'), "the sentence names the member: {sentence}");
    }
    let after = ask(&service, "GET", PLAN, &[], "");
    assert_eq!((after.tag, after.text), (before.tag, before.text), "nothing of what was refused was applied");
    for body in [
        "{\"steady_rate\": 100000, \"spotlight\": {\"mode\": \"turn\", \"rate\": 100000}}",
        "{\"steady_rate\": 200000, \"spotlight\": {\"mode\": \"off\", \"rate\": 200000}}",
        "{\"steady_rate\": 100000, \"steady\": {\"shape\": \"sine\", \"swing\": 1}}",
        "{\"steady\": {\"idle\": 10000}, \"spotlight\": {\"mode\": \"fixed\", \"idle\": 10000}}",
    ] {
        let fits = ask(&service, "PATCH", &format!("{PLAN}?dry_run=true"), &[JSON, ANY], body);
        assert_eq!(fits.status, 200, "{body} is just within the ceilings: {fits:?}");
    }
    service.stop();
}

#[test]
fn the_plan_is_changed_by_those_who_know_it() {
    let service = service();
    let tag = ask(&service, "GET", PLAN, &[], "").tag;
    assert_eq!(tag, "\"1\"");
    problem(&ask(&service, "PATCH", PLAN, &[JSON], "{\"steady_rate\": 60}"), 428);
    problem(&ask(&service, "PATCH", PLAN, &[JSON, ("if-match", "\"7\"")], "{\"steady_rate\": 60}"), 412);
    problem(&ask(&service, "PATCH", PLAN, &[JSON, ("if-match", "nonsense")], "{\"steady_rate\": 60}"), 412);

    let dry = ask(&service, "PATCH", "/api/v1/plan?dry_run=true", &[JSON, ("if-match", &tag)], "{\"steady_rate\": 60}");
    assert_eq!((dry.status, dry.json()["steady_rate"].as_f64(), dry.tag), (200, Some(60.0), tag.clone()));
    problem(&ask(&service, "PATCH", "/api/v1/plan?dry_run=true", &[JSON, ANY], "{\"steady_rate\": -1}"), 422);
    assert_eq!(ask(&service, "GET", PLAN, &[], "").json()["steady_rate"], 90.0, "a dry run changes nothing");

    let wet = ask(&service, "PATCH", PLAN, &[JSON, ("if-match", &tag)], "{\"steady_rate\": 60}");
    assert_eq!((wet.status, wet.json()["steady_rate"].as_f64(), wet.tag.as_str()), (200, Some(60.0), "\"2\""));
    problem(&ask(&service, "PATCH", PLAN, &[JSON, ("if-match", &tag)], "{\"steady_rate\": 70}"), 412);
    assert_eq!(metric(&service, "zen_swarm_plan_generation"), Some(2.0));

    let mut whole = ask(&service, "GET", PLAN, &[], "").json();
    whole["steady_rate"] = json!(12);
    let put = ask(&service, "PUT", PLAN, &[JSON, ("if-match", "\"2\"")], &whole.to_string());
    assert_eq!((put.status, put.json()["steady_rate"].as_f64(), put.tag.as_str()), (200, Some(12.0), "\"3\""));
    whole.as_object_mut().unwrap().remove("spotlight");
    let missing = problem(&ask(&service, "PUT", PLAN, &[JSON, ANY], &whole.to_string()), 422);
    assert_eq!(missing["errors"][0]["pointer"], "/spotlight");

    let default =
        ask(&service, "PATCH", PLAN, &[JSON, ANY], "{\"steady_rate\": null, \"spotlight\": {\"rate\": null}}");
    let (rate, light) = (default.json()["steady_rate"].clone(), default.json()["spotlight"]["rate"].clone());
    assert_eq!(
        (rate.as_f64(), light.as_f64()),
        (Some(Plan::default().steady_rate), Some(Plan::default().spotlight.rate))
    );
    service.stop();
}

#[test]
fn a_dry_run_is_asked_for_by_yes_or_no() {
    let service = service();
    let patch = |query: &str| ask(&service, "PATCH", &format!("{PLAN}{query}"), &[JSON, ANY], "{\"steady_rate\": 60}");
    for query in ["?dry_run", "?dry_run=1", "?dry_run=true", "?ttl=1m&dry_run", "?dry_run&dry_run=true"] {
        let dry = patch(query);
        assert_eq!((dry.status, dry.tag.as_str()), (200, "\"1\""), "{query}: {}", dry.text);
    }
    for (query, said) in [
        ("?dry_run=yes", "`dry_run` = \"yes\" must be true or false"),
        ("?dry_run=", "`dry_run` = \"\""),
        ("?dry_run=1&dry_run=0", "`dry_run` is given as \"1\" and as \"0\""),
    ] {
        let refused = problem(&patch(query), 400);
        assert!(refused["detail"].as_str().unwrap().contains(said), "{refused}");
    }
    assert_eq!(ask(&service, "GET", PLAN, &[], "").json()["steady_rate"], 90.0, "nothing has changed");
    assert_eq!((patch("?dry_run=false").tag.as_str(), patch("?dry_run=0").tag.as_str()), ("\"2\"", "\"3\""));
    service.stop();
}

#[test]
fn a_turn_of_the_spotlight_is_no_change_of_the_plan() {
    let mut plan = plan();
    (plan.spotlight.mode, plan.spotlight.turn_seconds) = (Mode::Turn, 2.0);
    let service = Service::start(settings(vec![tcp(answer_right), tcp(answer_right)], plan)).unwrap();
    let tag = ask(&service, "GET", PLAN, &[], "").tag;
    let lit = || ask(&service, "GET", "/api/v1/status", &[], "").json()["spotlight"].clone();
    wait_until("the second one's turn", || (lit() == json!(["known1"])).then_some(()));
    assert_eq!(ask(&service, "PATCH", PLAN, &[JSON, ("if-match", &tag)], "{\"steady_rate\": 60}").status, 200);
    service.stop();
}

#[test]
fn what_is_no_change_at_all_is_told_so() {
    let service = service();
    problem(&ask(&service, "PATCH", PLAN, &[ANY, ("content-type", "text/plain")], "{}"), 415);
    problem(&ask(&service, "PATCH", PLAN, &[ANY, JSON], "{"), 400);
    problem(&ask(&service, "PATCH", PLAN, &[ANY, JSON], "[]"), 422);
    problem(&ask(&service, "PATCH", PLAN, &[ANY, JSON], &format!("{{\"a\": \"{}\"}}", "a".repeat(20_000))), 413);
    problem(&ask(&service, "GET", "/nowhere", &[], ""), 404);
    problem(&ask(&service, "GET", PLAN, &[("host", "evil.example")], ""), 403);
    problem(&ask(&service, "GET", PLAN, &[("origin", "http://127.0.0.1")], ""), 403);
    let wrong = ask(&service, "DELETE", PLAN, &[], "");
    problem(&wrong, 405);
    assert_eq!(wrong.allow, "GET, PUT, PATCH");
    let index = ask(&service, "GET", "/", &[], "").json();
    assert!(index.as_array().unwrap().iter().any(|route| route["path"] == PLAN));
    assert!(ask(&service, "GET", "/openapi.json", &[], "").json()["paths"][PLAN]["patch"].is_object());
    service.stop();
}

#[test]
fn changes_need_the_token_where_there_is_one() {
    let file = std::env::temp_dir().join(format!("swarm-token-{}", std::process::id()));
    fs::write(&file, "right-token\n").unwrap();
    let mut settings = settings(vec![tcp(answer_right)], plan());
    settings.token_file = Some(file.clone());
    let service = Service::start(settings).unwrap();
    assert_eq!(ask(&service, "GET", PLAN, &[], "").status, 200, "who only reads needs none");
    let body = "{\"steady_rate\": 60}";
    let patch = |token: Option<&str>| {
        let mut headers = vec![JSON, ANY];
        headers.extend(token.map(|token| ("authorization", token)));
        ask(&service, "PATCH", PLAN, &headers, body)
    };
    for token in [None, Some("Bearer wrong"), Some("Bearer "), Some("right-token")] {
        let refused = problem(&patch(token), 401);
        assert!(refused["detail"].as_str().unwrap().contains("curl -X PATCH"), "{refused}");
    }
    for path in ["/api/v1/pause", "/api/v1/resume"] {
        problem(&ask(&service, "POST", path, &[], ""), 401);
    }
    assert_eq!(patch(Some("Bearer right-token")).status, 200);
    service.stop();
    fs::remove_file(file).unwrap();
}

#[test]
fn off_loopback_there_is_no_swarm_without_a_token() {
    let mut settings = settings(vec![tcp(answer_right)], plan());
    settings.admin = SocketAddr::from(([0, 0, 0, 0], 0));
    let error = Service::start(settings).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("token"), "{error}");
}

#[test]
fn a_paused_swarm_is_not_ready() {
    let service = service();
    wait_for(&service, "answers", |ledger| ledger.ok() >= 10);
    assert_eq!(ask(&service, "GET", "/readyz", &[], "").status, 200);
    assert_eq!(ask(&service, "POST", "/api/v1/pause", &[], "").status, 200);
    assert_eq!(problem(&ask(&service, "GET", "/readyz", &[], ""), 503)["detail"], "paused");
    assert_eq!(ask(&service, "GET", "/livez", &[], "").status, 200);
    assert_eq!(metric(&service, "zen_swarm_paused"), Some(1.0));
    assert_eq!(ask(&service, "POST", "/api/v1/resume", &[], "").status, 200);
    assert_eq!(ask(&service, "GET", "/readyz", &[], "").status, 200);
    service.stop();
}

#[test]
fn status_tells_the_books_and_whether_the_laws_hold() {
    let service = service();
    wait_for(&service, "answers", |ledger| ledger.ok() >= 30);
    let status = ask(&service, "GET", "/api/v1/status", &[], "").json();
    let row = &status["targets"][0];
    assert_eq!((row["target"].as_str(), row["transport"].as_str()), (Some("known"), Some("tcp")));
    for book in [row, &status["ledger"]] {
        let of = |name: &str| book[name].as_u64().unwrap_or_else(|| panic!("{name} is missing: {book}"));
        let outcomes: u64 = book["outcomes"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(of("planned"), of("sent") + of("unsent") + of("dropped") + of("waiting"));
        assert_eq!(of("sent"), outcomes + of("in_flight"));
    }
    for laws in [&row["laws"], &status["laws"]] {
        assert_eq!(*laws, json!({"planned": true, "sent": true}));
    }
    assert!(row["p50_us"].as_f64().unwrap() > 0.0 && row["service_p99_us"].as_f64().unwrap() > 0.0, "{row}");
    let rate = || ask(&service, "GET", "/api/v1/status", &[], "").json()["targets"][0]["rate"].as_f64();
    assert!(wait_until("a rate", rate) > 0.0);
    service.stop();
}

#[test]
fn every_series_is_there_from_the_start() {
    // Nobody is asked anything.
    let mut plan = plan();
    plan.steady_rate = 0.0;
    let service = Service::start(settings(vec![tcp(answer_right)], plan)).unwrap();
    let text = ask(&service, "GET", "/metrics", &[], "").text;
    let of = |name: &str, labels: &str| {
        assert!(
            text.lines().any(|line| line.starts_with(&format!("{name}{{{labels}}}"))),
            "{name}{{{labels}}} is missing"
        );
    };
    let labels = "architecture=\"known\",transport=\"tcp\"";
    for outcome in ["ok", "wrong_answer", "timeout", "refused", "reset", "eof", "error", "aborted"] {
        of("zen_swarm_requests_total", &format!("{labels},outcome=\"{outcome}\""));
    }
    for name in ["planned_total", "sent_total", "unsent_total", "dropped_total", "target_rate", "inflight", "waiting"] {
        of(&format!("zen_swarm_{name}"), labels);
    }
    for name in ["connections", "late_sends_total", "unasked_total", "duplicates_total", "late_answers_total"] {
        of(&format!("zen_swarm_{name}"), labels);
    }
    for name in ["request_duration", "service_duration", "send_lag", "connect_duration"] {
        for bound in ["0.00001", "0.00015", "0.002", "0.03", "0.5", "7", "10", "+Inf"] {
            of(&format!("zen_swarm_{name}_seconds_bucket"), &format!("{labels},le=\"{bound}\""));
        }
        of(&format!("zen_swarm_{name}_seconds_sum"), labels);
        of(&format!("zen_swarm_{name}_seconds_count"), labels);
    }
    of("zen_swarm_spotlight", "architecture=\"known\"");
    for kind in Kind::ALL.map(Kind::label) {
        of("zen_swarm_kind_connections", &format!("kind=\"{kind}\""));
        of("zen_swarm_kind_requests_total", &format!("kind=\"{kind}\",outcome=\"aborted\""));
    }
    of("zen_swarm_runs_total", "ended=\"finished\"");
    for name in ["cpu_seconds_total", "saturated", "paused", "plan_generation", "spans_dropped_total"] {
        assert!(metric(&service, &format!("zen_swarm_{name}")).is_some(), "{name}");
    }
    assert!(!text.contains("NaN"), "{text}");
    service.stop();
}
