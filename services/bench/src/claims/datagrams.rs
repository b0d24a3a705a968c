//! What it means to have no connection.

use std::io;
use std::thread::{self, Builder};
use std::time::Duration;

use report::sheet::{axis, chart, figure, names, row, series, table};
use report::{Form, Scale};
use serde_json::json;
use zen::Transport;

use super::experiment::{Experiment, connect, fault};
use super::{Claim, Finding, Verdict};
use crate::driver::Options;
use crate::lab::Server;
use crate::pace::Pace;
use crate::slot::Slot;

pub(super) const CLAIM: Claim = Claim {
    name: "datagrams",
    sentence: "UDP is connectionless: a server knows no clients, and a lost question is nobody's concern",
    experiment: "Five hundred clients of epoll over TCP and over UDP; then the serving process aborts while fifty ask; then two \
                 thousand ask at the same moment while each answer takes 1 ms.",
    question: "How many descriptors does each take? Who notices the abort? How many of two thousand are answered?",
    does_not_show: "On loopback nothing is lost on the way. What is lost here found a buffer full or a process gone.",
    run,
};

const CLIENTS: usize = 500;
const FIFTY: usize = 50;
const CROWD: usize = 2000;
const TRANSPORTS: [Transport; 2] = [Transport::Tcp, Transport::Udp];

/// How two thousand are received: a name, a transport, and the buffer for datagrams that is asked for.
const BURSTS: [(&str, Transport, &str); 3] = [
    ("TCP", Transport::Tcp, "receive_buffer=106496"),
    ("UDP, 208 KiB of buffer", Transport::Udp, "receive_buffer=106496"),
    ("UDP, 2 MiB of buffer", Transport::Udp, "receive_buffer=1048576"),
];

fn run(experiment: &mut Experiment<'_>) -> io::Result<Finding> {
    experiment.tell(&format!("{CLIENTS} clients are there"));
    let descriptors = descriptors(experiment)?;
    experiment.tell("the serving process aborts");
    let aborts = TRANSPORTS.map(|transport| abort(experiment, transport));
    let [by_tcp, by_udp] = aborts;
    experiment.tell(&format!("{CROWD} ask at the same moment"));
    let bursts = BURSTS
        .into_iter()
        .map(|(_, transport, buffer)| burst(experiment, transport, buffer))
        .collect::<io::Result<_>>()?;
    Ok(judge(descriptors, &[by_tcp?, by_udp?], &Vec::from_iter::<Vec<Slot>>(bursts)))
}

/// Descriptors that so many clients take in the server, over each transport.
fn descriptors(experiment: &Experiment<'_>) -> io::Result<[u64; 2]> {
    let count = |transport: Transport| {
        let server = experiment.start("epoll", &[transport], &["idle_timeout=60s"])?;
        let open = |server: &Server| server.facts(transport).map_or(0, |facts| facts.descriptors);
        let before = open(&server);
        let mut crowd = connect(&server, transport, CLIENTS, Options::default())?;
        crowd.slot(Duration::from_millis(100), Pace::Closed)?;
        Ok::<_, io::Error>(open(&server).saturating_sub(before))
    };
    Ok([count(Transport::Tcp)?, count(Transport::Udp)?])
}

/// What fifty clients see who ask while the serving process aborts.
fn abort(experiment: &Experiment<'_>, transport: Transport) -> io::Result<Slot> {
    let server = experiment.start("epoll", &[transport], &["idle_timeout=60s"])?;
    let patience = Duration::from_millis(500);
    let mut crowd = connect(&server, transport, FIFTY, Options { patience, ..Options::default() })?;
    thread::scope(|scope| {
        let accident = Builder::new().name("accident".into()).spawn_scoped(scope, || {
            thread::sleep(Duration::from_millis(300));
            fault(&server, "abort", "data")
        })?;
        let slot = crowd.slot(Duration::from_secs(1), Pace::even(2000.0))?;
        accident.join().map_err(|_| io::Error::other("the thread that orders the abort has panicked"))??;
        Ok(slot)
    })
}

/// Two thousand questions at once, at a server that answers a thousand a second.
fn burst(experiment: &Experiment<'_>, transport: Transport, buffer: &str) -> io::Result<Slot> {
    let server = experiment.start("epoll", &[transport], &["idle_timeout=60s", buffer])?;
    let patience = Duration::from_secs(4);
    let mut crowd = connect(&server, transport, CROWD, Options { patience, drain: patience, ..Options::default() })?;
    server.set("answer_work", &json!("spin"))?;
    server.set("answer_delay", &json!("1ms"))?;
    // So short that nobody asks twice.
    crowd.slot(Duration::from_micros(100), Pace::Closed)
}

fn judge(descriptors: [u64; 2], aborts: &[Slot], bursts: &[Slot]) -> Finding {
    let knows_nobody = descriptors[1] == 0 && descriptors[0] >= CLIENTS as u64;
    let nobody_is_reset = aborts[0].connects >= FIFTY as u64 / 2 && aborts[1].error == 0;
    let is_lost = bursts[1].ok < bursts[1].sent && bursts[0].ok == bursts[0].sent;
    let verdict = match [knows_nobody, nobody_is_reset, is_lost] {
        [true, true, true] => Verdict::Holds,
        [false, false, false] => Verdict::Fails,
        _ => Verdict::Depends,
    };
    let because = vec![
        format!("{CLIENTS} clients take {} descriptors over TCP and {} over UDP.", descriptors[0], descriptors[1]),
        format!(
            "When the serving process aborts, {} connections of {FIFTY} clients over TCP have to be made again and {} questions \
             end in an error; over UDP {} do, and {} are never answered. The next process answers both.",
            aborts[0].connects, aborts[0].error, aborts[1].error, aborts[1].lost,
        ),
        format!(
            "Of {} questions asked at the same moment over TCP {} are answered; of {} over UDP {} with the kernel's usual buffer \
             and {} with 2 MiB. Nobody is told of the others.",
            bursts[0].sent, bursts[0].ok, bursts[1].sent, bursts[1].ok, bursts[2].ok,
        ),
    ];
    let aborted = ["TCP", "UDP"].iter().zip(aborts).zip(descriptors).map(|((name, slot), open)| {
        let count = |number: u64| figure(Some(number as f64));
        row(
            name,
            vec![
                count(open),
                count(slot.sent),
                count(slot.ok),
                count(slot.connects),
                count(slot.error),
                count(slot.lost),
            ],
        )
    });
    let columns = [
        ("descriptors", "descriptors for 500 clients", ""),
        ("sent", "asked around an abort", ""),
        ("ok", "answered", ""),
        ("connects", "connected again", ""),
        ("error", "ended in an error", ""),
        ("lost", "never answered", ""),
    ];
    let at_once = BURSTS.iter().zip(bursts).map(|((name, ..), slot)| {
        let count = |number: u64| figure(Some(number as f64));
        row(name, vec![count(slot.sent), count(slot.ok), count(slot.sent - slot.ok)])
    });
    let burst_columns = [("sent", "asked", ""), ("ok", "answered", ""), ("lost", "not answered", "")];
    let titles: Vec<&str> = BURSTS.iter().map(|(name, ..)| *name).collect();
    let bars = bursts.iter().enumerate().map(|(at, slot)| (at as f64, Some(slot.ok as f64)));
    Finding {
        verdict,
        because,
        tables: vec![
            table("connections", "Clients and an abort", &columns, aborted.collect()),
            table("burst", "Two thousand at the same moment", &burst_columns, at_once.collect()),
        ],
        charts: vec![chart(
            "datagrams",
            "Two thousand ask at the same moment: TCP keeps them waiting, UDP forgets those for whom there is no room",
            Form::Bars,
            (names("", &titles), axis("answered", "", Scale::Linear)),
            vec![series("answered", bars)],
        )],
    }
}
