//! The meter, tried on servers whose behaviour is known.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use swarm::{Kind, Ledger, Mode, Outcome, Plan, Service, Settings, Snapshot, Target};
use zen::{Endpoint, QUESTIONS, Transport};

const PATIENCE: Duration = Duration::from_secs(30);

fn spawn(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().spawn(work).unwrap();
}

/// Serves each TCP client in a thread of its own by `serve`.
fn tcp(serve: fn(TcpStream)) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::host(Transport::Tcp, "127.0.0.1", listener.local_addr().unwrap().port());
    spawn(move || {
        for client in listener.incoming().flatten() {
            spawn(move || serve(client));
        }
    });
    endpoint
}

/// Answers every question by `answer`; `None` closes.
fn answer_by(mut client: TcpStream, mut answer: impl FnMut(usize, &'static str) -> Option<String>) {
    let mut buffer = [0; 64];
    let mut asked = 0;
    while let Ok(bytes) = client.read(&mut buffer)
        && bytes > 0
    {
        let known = QUESTIONS.iter().find(|aphorism| aphorism.question.as_bytes() == &buffer[..bytes]).unwrap();
        let Some(text) = answer(asked, known.answer) else { return };
        asked += 1;
        if client.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn start(endpoint: Endpoint, change: impl FnOnce(&mut Plan)) -> Service {
    let mut plan = Plan { steady_rate: 90.0, timeout_seconds: 0.4, trace_one_in: 0, ..Plan::default() };
    plan.spotlight.mode = Mode::Off;
    change(&mut plan);
    Service::start(Settings {
        admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        targets: vec![Target { name: "known".into(), endpoints: vec![endpoint], admin: None }],
        plan,
        token_file: None,
        hosts: Vec::new(),
        otlp_endpoint: String::new(),
    })
    .unwrap()
}

fn seen(service: &Service) -> Snapshot {
    let snapshot = service.snapshots().remove(0);
    assert!(snapshot.balanced, "the books do not balance: {:?}", snapshot.ledger);
    snapshot
}

fn wait_for(service: &Service, what: &str, holds: impl Fn(&Ledger) -> bool) -> Snapshot {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let snapshot = seen(service);
        if holds(&snapshot.ledger) {
            return snapshot;
        }
        assert!(Instant::now() < deadline, "{what}: {:?}", snapshot.ledger);
        thread::sleep(Duration::from_millis(5));
    }
}

const fn count(ledger: &Ledger, outcome: Outcome) -> u64 {
    ledger.outcomes[outcome as usize]
}

/// Waits for `outcome` to be seen often; nothing but that and right answers may be.
fn sees(endpoint: Endpoint, outcome: Outcome) {
    let service = start(endpoint, |_| {});
    wait_for(&service, outcome.label(), |ledger| count(ledger, outcome) >= 20);
    let ledger = service.stop();
    assert!(ledger.is_balanced() && ledger.in_flight == 0 && ledger.waiting == 0, "{ledger:?}");
    let others = Outcome::ALL.into_iter().filter(|other| *other != outcome && *other != Outcome::Ok);
    assert_eq!(others.map(|other| count(&ledger, other)).sum::<u64>(), 0, "{ledger:?}");
}

#[test]
fn right_answers_are_right() {
    let service = start(tcp(|client| answer_by(client, |_, right| Some(right.into()))), |_| {});
    wait_for(&service, "right answers", |ledger| ledger.ok() >= 100);
    let ledger = service.stop();
    assert_eq!((ledger.failed(), ledger.unsent, ledger.dropped, ledger.in_flight), (0, 0, 0, 0), "{ledger:?}");
    assert_eq!(ledger.planned, ledger.ok());
}

#[test]
fn a_wrong_text_is_a_wrong_answer() {
    sees(tcp(|client| answer_by(client, |_, _| Some("Maybe.".into()))), Outcome::WrongAnswer);
}

#[test]
fn more_than_the_answer_is_a_wrong_answer() {
    sees(tcp(|client| answer_by(client, |_, right| Some(format!("{right}{right}")))), Outcome::WrongAnswer);
}

#[test]
fn the_third_answer_can_be_wrong_as_well() {
    sees(
        tcp(|client| answer_by(client, |asked, right| Some(if asked < 2 { right.into() } else { "Simple.".into() }))),
        Outcome::WrongAnswer,
    );
}

#[test]
fn silence_is_a_timeout() {
    sees(tcp(|mut client| drop(client.read_to_end(&mut Vec::new()))), Outcome::Timeout);
}

#[test]
fn half_an_answer_is_a_timeout() {
    sees(tcp(|client| answer_by(client, |_, right| Some(right[..2].into()))), Outcome::Timeout);
}

#[test]
fn a_closed_connection_is_an_end() {
    let close = |mut client: TcpStream| {
        let mut buffer = [0; 64];
        let _ = client.read(&mut buffer);
        let _ = client.shutdown(Shutdown::Write);
        let _ = client.read_to_end(&mut Vec::new());
    };
    sees(tcp(close), Outcome::Eof);
}

#[test]
fn a_reset_is_a_reset() {
    // Closed with unread bytes: the kernel answers with RST.
    let reset = |client: TcpStream| drop(client.peek(&mut [0; 64]));
    sees(tcp(reset), Outcome::Reset);
}

#[test]
fn nobody_there_is_a_refusal() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    sees(Endpoint::host(Transport::Tcp, "127.0.0.1", port), Outcome::Refused);
}

#[test]
fn busy_is_a_refusal() {
    sees(tcp(|client| answer_by(client, |_, _| Some(zen::error::BUSY.into()))), Outcome::Refused);
}

#[test]
fn datagrams_that_are_lost_are_timeouts() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::host(Transport::Udp, "127.0.0.1", socket.local_addr().unwrap().port());
    spawn(move || {
        let mut buffer = [0; 64];
        for number in 0_u32.. {
            let (bytes, from) = socket.recv_from(&mut buffer).unwrap();
            let known = QUESTIONS.iter().find(|aphorism| aphorism.question.as_bytes() == &buffer[..bytes]).unwrap();
            // One in eight is lost.
            if !number.is_multiple_of(8) {
                socket.send_to(known.answer.as_bytes(), from).unwrap();
            }
        }
    });
    sees(endpoint, Outcome::Timeout);
}

#[test]
fn a_server_that_pauses_is_seen_from_the_instants_at_which_it_should_have_been_asked() {
    // One connection, one answer every 20 ms at best, but a hundred questions a second: the queue grows, and so must what
    // the clients see, although each question by itself takes no longer than 20 ms.
    let slow = |client: TcpStream| {
        answer_by(client, |_, right| {
            thread::sleep(Duration::from_millis(20));
            Some(right.into())
        });
    };
    let service = start(tcp(slow), |plan| {
        plan.steady_rate = 0.0;
        plan.timeout_seconds = 30.0;
        plan.spotlight = swarm::Spotlight {
            mode: Mode::Fixed,
            kind: Kind::Held,
            connections: 1,
            rate: 100.0,
            ..plan.spotlight.clone()
        };
    });
    let snapshot = wait_for(&service, "answers", |ledger| ledger.ok() >= 60);
    assert!(snapshot.p99_us.unwrap() >= 100_000.0, "{snapshot:?}");
    assert!(snapshot.ledger.waiting > 0, "{snapshot:?}");
    assert!(service.stop().is_balanced());
}

#[test]
fn a_plan_is_refused_as_a_whole_with_the_place_of_its_fault() {
    let service = start(tcp(|client| answer_by(client, |_, right| Some(right.into()))), |_| {});
    let url = format!("http://{}/api/v1/plan", service.address());
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let patch = |tag: Option<&str>, body: &str| {
        let mut request = agent.patch(&url).header("Content-Type", "application/json");
        if let Some(tag) = tag {
            request = request.header("If-Match", tag);
        }
        let mut response = request.send(body).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str::<serde_json::Value>(&text).unwrap())
    };
    assert_eq!(patch(None, "{}").0, 428);
    assert_eq!(patch(Some("\"0\""), "{}").0, 412);
    for (body, pointer) in [
        ("{\"steady_rate\": -1}", "/steady_rate"),
        ("{\"steady_rate\": 1e9}", "/steady_rate"),
        ("{\"spotlight\": {\"rate\": 1e9}}", "/spotlight/rate"),
        ("{\"spotlight\": {\"targets\": [\"known\", \"elsewhere\"]}}", "/spotlight/targets/1"),
        ("{\"steady_rate\": 5, \"spotlight\": {\"turn_seconds\": 0}}", "/spotlight/turn_seconds"),
        ("{\"nothing\": 1}", ""),
        ("{\"spotlight\": {\"mode\": \"dance\"}}", ""),
    ] {
        let (status, problem) = patch(Some("*"), body);
        assert_eq!((status, problem["errors"][0]["pointer"].as_str()), (422, Some(pointer)), "{body}: {problem}");
    }
    let (status, plan) = patch(Some("*"), "{\"steady_rate\": 60, \"spotlight\": {\"targets\": [\"known\"]}}");
    assert_eq!(
        (status, plan["steady_rate"].as_f64(), plan["spotlight"]["targets"][0].as_str()),
        (200, Some(60.0), Some("known"))
    );
    assert_eq!(
        patch(Some("*"), "{\"steady_rate\": null}").1["steady_rate"].as_f64(),
        Some(Plan::default().steady_rate)
    );
    assert!(service.stop().is_balanced());
}
