//! The control page: who gets it, what it may do, and that nobody else's page may do the same.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use support::{Reply, answer_right, ask, plan, settings, tcp};
use swarm::Service;

const PLAN: &str = "/api/v1/plan";
const JSON: (&str, &str) = ("content-type", "application/json");
const ANY: (&str, &str) = ("if-match", "*");

fn service() -> Service {
    Service::start(settings(vec![tcp(answer_right)], plan())).unwrap()
}

fn get(service: &Service, path: &str) -> Reply {
    ask(service, "GET", path, &[], "")
}

#[test]
fn browsers_get_the_page_and_programs_the_index() {
    let service = service();
    let page = ask(&service, "GET", "/", &[("accept", "text/html,application/xhtml+xml")], "");
    assert!(page.status == 200 && page.kind.starts_with("text/html"), "{page:?}");
    assert!(page.text.starts_with("<!doctype html>") && page.text == get(&service, "/control").text);
    assert_eq!(get(&service, "/").kind, "application/json");
    service.stop();
}

#[test]
fn the_page_needs_nothing_but_the_swarm() {
    let service = service();
    let (page, script) = (get(&service, "/control"), get(&service, "/control.js"));
    assert!(script.kind.starts_with("text/javascript"), "{script:?}");
    assert!(page.text.contains("<script type=\"module\" src=\"/control.js\"></script>"));
    assert!(page.text.contains("grid-template-columns"), "the style is in it");
    for text in [&page.text, &script.text] {
        for bad in ["http://", "https://", "innerHTML", "insertAdjacentHTML", "document.write", "eval(", "onclick=\""] {
            assert!(!text.contains(bad), "{bad}");
        }
    }
    let policy = ureq::get(format!("http://{}/control", service.address())).call().unwrap();
    let policy = policy.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains('*'), "{policy}");
    // What the script looks for is in the page.
    for id in script.text.split("$(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(page.text.contains(&format!("id=\"{id}\"")), "{id}");
    }
    service.stop();
}

#[test]
fn no_number_of_the_plan_may_be_left_out() {
    let service = service();
    let page = get(&service, "/control").text;
    let form = page.split("<form id=\"plan\">").nth(1).unwrap().split("</form>").next().unwrap();
    let numbers: Vec<&str> = form.split('<').filter(|tag| tag.contains("type=\"number\"")).collect();
    // An empty field would be sent as 0.
    assert!(numbers.len() >= 3 && numbers.iter().all(|tag| tag.contains(" required>")), "{numbers:?}");
    service.stop();
}

#[test]
fn its_own_page_may_change_the_plan_and_another_ones_may_not() {
    let service = service();
    let change = |origin: &str| {
        let headers = [JSON, ANY, ("origin", origin), ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")];
        ask(&service, "PATCH", PLAN, &headers, "{\"steady_rate\": 60}").status
    };
    let own = format!("http://{}", service.address());
    assert_eq!(change(&own), 200);
    let port = service.address().port();
    for other in [
        "null",
        "http://evil.example",
        "http://127.0.0.1",
        &format!("https://127.0.0.1:{port}"),
        &format!("{own}.evil.example"),
    ] {
        assert_eq!(change(other), 403, "{other}");
    }
    // Whoever gives us a name of his own is refused before.
    let host = [JSON, ANY, ("host", "evil.example"), ("origin", "http://evil.example")];
    assert_eq!(ask(&service, "PATCH", PLAN, &host, "{}").status, 403);
    service.stop();
}
