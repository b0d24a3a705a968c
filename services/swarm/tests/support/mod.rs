//! Servers whose behaviour is known, and a swarm to try on them.
#![allow(clippy::unwrap_used, dead_code, reason = "a test that fails says where; not every test needs everything")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use report::Report;
use swarm::{Clients, Kind, Ledger, Mode, Outcome, Plan, Population, Service, Settings, Snapshot, Spotlight, Target};
use zen::{Conversation, Dialogue, Endpoint, Limits, Next, QUESTIONS, Transport};

pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn spawn(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().spawn(work).unwrap();
}

/// The right answer.
pub fn right(question: &[u8]) -> &'static str {
    QUESTIONS.iter().find(|aphorism| aphorism.question.as_bytes() == question).unwrap().answer
}

/// Serves each TCP client in a thread of its own by `serve`.
pub fn tcp(serve: fn(TcpStream)) -> Endpoint {
    tcp_on(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
}

pub fn tcp_on(listener: TcpListener, serve: fn(TcpStream)) -> Endpoint {
    let endpoint = Endpoint::host(Transport::Tcp, "127.0.0.1", listener.local_addr().unwrap().port());
    spawn(move || {
        for client in listener.incoming().flatten() {
            spawn(move || serve(client));
        }
    });
    endpoint
}

/// An address that is taken and at which nobody listens: no other test can come to be there meanwhile.
pub fn deaf() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Answers each datagram by those of `answers`; the number of the question comes first.
pub fn udp(answers: fn(usize, &'static str) -> Vec<String>) -> Endpoint {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::host(Transport::Udp, "127.0.0.1", socket.local_addr().unwrap().port());
    spawn(move || {
        let mut buffer = [0; 64];
        for number in 0.. {
            let (bytes, from) = socket.recv_from(&mut buffer).unwrap();
            for answer in answers(number, right(&buffer[..bytes])) {
                // A client may have gone.
                let _ = socket.send_to(answer.as_bytes(), from);
            }
        }
    });
    endpoint
}

/// Answers every question by `answer`; `None` closes.
pub fn answer_by<S: Read + Write>(mut client: S, mut answer: impl FnMut(usize, &'static str) -> Option<String>) {
    let mut buffer = [0; 64];
    let mut asked = 0;
    while let Ok(bytes) = client.read(&mut buffer)
        && bytes > 0
    {
        let Some(text) = answer(asked, right(&buffer[..bytes])) else { return };
        asked += 1;
        if client.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// Answers as it should.
pub fn answer_right<S: Read + Write>(client: S) {
    answer_by(client, |_, right| Some(right.into()));
}

/// Serves a client as the protocol says, whatever it says; tells `heard` of each read.
pub fn converse(mut client: TcpStream, mut heard: impl FnMut(&[u8])) {
    let limits = Limits { max_question: 64, idle_timeout: PATIENCE, question_deadline: PATIENCE };
    let mut conversation = Conversation::new(Instant::now());
    let (mut buffer, mut replies) = ([0; 4096], Vec::new());
    while let Ok(bytes) = client.read(&mut buffer)
        && bytes > 0
    {
        heard(&buffer[..bytes]);
        let next = conversation.hear(&buffer[..bytes], Instant::now(), Dialogue::Zen, &limits, &mut replies, |_| {});
        if client.write_all(&replies).is_err() {
            return;
        }
        replies.clear();
        if !matches!(next, Next::GoOn) {
            // A close with unread bytes would be a reset that destroys the answer.
            let _ = client.shutdown(std::net::Shutdown::Write);
            let _ = client.read_to_end(&mut Vec::new());
            return;
        }
    }
}

/// Answers every question so many milliseconds after it has come.
pub fn answer_after<const MILLIS: u64>(client: TcpStream) {
    answer_by(client, |_, right| {
        thread::sleep(Duration::from_millis(MILLIS));
        Some(right.into())
    });
}

/// Serves a client as the protocol says.
pub fn honest(client: TcpStream) {
    converse(client, |_| {});
}

/// A plan of the chapter's client alone, patient enough for a machine that is busy with other things.
pub fn plan() -> Plan {
    let mut plan = Plan { steady_rate: 90.0, timeout_seconds: 20.0, trace_one_in: 0, ..Plan::default() };
    plan.spotlight.mode = Mode::Off;
    plan
}

/// Clients of one kind in the spotlight, and nothing else.
pub fn light(plan: &mut Plan, kind: Kind, rate: f64, connections: usize) {
    plan.steady_rate = 0.0;
    let clients = Clients { population: Population::only(kind), connections, ..plan.spotlight.clients.clone() };
    plan.spotlight = Spotlight { mode: Mode::Fixed, rate, clients, ..plan.spotlight.clone() };
}

/// What a swarm is started with that asks `endpoints`, each a target of its own: `known`, `known1`, `known2` …
pub fn settings(endpoints: Vec<Endpoint>, plan: Plan) -> Settings {
    let name = |at| if at == 0 { "known".to_owned() } else { format!("known{at}") };
    let target =
        |(at, endpoint)| Target { name: name(at), dialogue: Dialogue::Zen, endpoints: vec![endpoint], admin: None };
    Settings {
        admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        targets: endpoints.into_iter().enumerate().map(target).collect(),
        plan,
        workers: 1,
        scenarios: Vec::new(),
        token_file: None,
        hosts: Vec::new(),
        otlp_endpoint: String::new(),
    }
}

pub fn start(endpoint: Endpoint, change: impl FnOnce(&mut Plan)) -> Service {
    let mut plan = plan();
    change(&mut plan);
    Service::start(settings(vec![endpoint], plan)).unwrap()
}

/// What is seen of the first target now; its books must balance at every moment.
pub fn seen(service: &Service) -> Snapshot {
    let snapshot = service.snapshots().remove(0);
    assert!(snapshot.balanced, "the books do not balance: {:?}", snapshot.ledger);
    snapshot
}

pub fn wait_for(service: &Service, what: &str, holds: impl Fn(&Ledger) -> bool) -> Snapshot {
    wait_for_snapshot(service, what, |snapshot| holds(&snapshot.ledger))
}

pub fn wait_for_snapshot(service: &Service, what: &str, holds: impl Fn(&Snapshot) -> bool) -> Snapshot {
    wait_until(what, || Some(seen(service)).filter(&holds))
}

/// Waits until there is something.
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::sleep(Duration::from_millis(5));
    }
}

pub const fn count(ledger: &Ledger, outcome: Outcome) -> u64 {
    ledger.outcomes[outcome as usize]
}

/// Asks the admin API: status, content type, ETag or Allow, body.
pub fn ask(service: &Service, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", service.address()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(body.to_owned()).unwrap()).unwrap();
    let header = |name| response.headers().get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned());
    let (kind, tag, allow) = (header("content-type"), header("etag"), header("allow"));
    let (status, location) = (response.status().as_u16(), header("location"));
    Reply { status, kind, tag, allow, location, text: response.body_mut().read_to_string().unwrap() }
}

/// Changes the plan of a swarm that goes on, whatever it is now.
pub fn change(service: &Service, changes: &(impl ToString + ?Sized)) {
    let headers = [("content-type", "application/json"), ("if-match", "*")];
    let reply = ask(service, "PATCH", "/api/v1/plan", &headers, &changes.to_string());
    assert_eq!(reply.status, 200, "{}: {}", changes.to_string(), reply.text);
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub kind: String,
    pub tag: String,
    pub allow: String,
    pub location: String,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

/// The value of a series now, by its whole name with labels in order.
pub fn metric(service: &Service, series: &str) -> Option<f64> {
    read(&metrics(service), series)
}

/// All metrics at one moment.
pub fn metrics(service: &Service) -> String {
    ask(service, "GET", "/metrics", &[], "").text
}

/// The value of a series in such a text.
pub fn read(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// Every right answer of the target `known` is in one interval of its run.
pub fn intervals_add_up(report: &Report, right: f64) {
    let rate = report.charts.iter().find(|chart| chart.id == "rate").unwrap();
    let line = rate.series.iter().find(|series| series.name == "known").unwrap();
    let log = report.logs.iter().find(|log| log.tag == "known/tcp/response").unwrap();
    assert!(line.points.len() >= 3 && line.points.len() == log.intervals.len(), "an interval a second: {line:?}");
    let sum: f64 = line.points.iter().zip(&log.intervals).map(|(point, one)| point.y.unwrap() * one.1).sum();
    assert!((sum - right).abs() < 0.5, "{sum} of {right}");
    let ends: Vec<f64> = log.intervals.iter().map(|one| one.0 + one.1).collect();
    assert!(log.intervals.iter().skip(1).zip(&ends).all(|(next, end)| (next.0 - end).abs() < 1e-6), "without a gap");
}
