//! What it means to have no connection.

use std::io;
use std::thread::{self, Builder};
use std::time::Duration;

use report::sheet::{axis, chart, figure, names, row, series, table};
use report::{Chart, Form, Scale, Table};
use serde_json::json;
use zen::Transport;

use super::experiment::{Experiment, fault, metric};
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
    margin: 0.5,
    run,
};

const CLIENTS: usize = 500;
const FIFTY: usize = 50;
const CROWD: usize = 2000;

/// How two thousand are received: a transport, and the buffer for datagrams that is asked for (the kernel doubles it, and has a
/// greatest).
const BURSTS: [(Transport, &str); 3] = [
    (Transport::Tcp, "receive_buffer=106496"),
    (Transport::Udp, "receive_buffer=106496"),
    (Transport::Udp, "receive_buffer=1048576"),
];

/// What became of two thousand questions.
struct Burst {
    slot: Slot,
    /// Of datagrams: the buffer's bytes, and how many found it full, as the kernel says.
    kernel: Option<(f64, f64)>,
}

fn run(experiment: &mut Experiment<'_>) -> io::Result<Finding> {
    experiment.tell(&format!("{CLIENTS} clients are there"));
    let descriptors = [descriptors(experiment, Transport::Tcp)?, descriptors(experiment, Transport::Udp)?];
    experiment.tell("the serving process aborts");
    let aborts = [abort(experiment, Transport::Tcp)?, abort(experiment, Transport::Udp)?];
    let mut bursts = Vec::new();
    for (transport, buffer) in BURSTS {
        experiment.tell(&format!("{CROWD} ask at the same moment over {transport}, {buffer}"));
        bursts.push(burst(experiment, transport, buffer)?);
    }
    Ok(judge(descriptors, &aborts, &bursts))
}

/// Descriptors that so many clients take in the server.
fn descriptors(experiment: &mut Experiment<'_>, transport: Transport) -> io::Result<u64> {
    let server = experiment.start("epoll", &[transport], &["idle_timeout=60s"])?;
    let open = |server: &Server| server.facts(transport).map_or(0, |facts| facts.descriptors);
    let before = open(&server);
    let mut crowd = experiment.connect(&server, transport, CLIENTS, Options::default())?;
    experiment.load(&server, transport, &mut crowd, Duration::from_millis(100), Pace::Closed)?;
    Ok(open(&server).saturating_sub(before))
}

/// What fifty clients see who ask while the serving process aborts.
fn abort(experiment: &mut Experiment<'_>, transport: Transport) -> io::Result<Slot> {
    let server = experiment.start("epoll", &[transport], &["idle_timeout=60s"])?;
    let patience = Duration::from_millis(500);
    let mut crowd = experiment.connect(&server, transport, FIFTY, Options { patience, ..Options::default() })?;
    thread::scope(|scope| {
        let accident = Builder::new().name("accident".into()).spawn_scoped(scope, || {
            thread::sleep(Duration::from_millis(300));
            fault(&server, "abort", "data")
        })?;
        let measured = experiment.load(&server, transport, &mut crowd, Duration::from_secs(1), Pace::even(2000.0))?;
        accident.join().map_err(|_| io::Error::other("the thread that orders the abort has panicked"))??;
        Ok(measured.slot)
    })
}

/// Two thousand questions at once, at a server that answers a thousand a second.
fn burst(experiment: &mut Experiment<'_>, transport: Transport, buffer: &str) -> io::Result<Burst> {
    let server = experiment.start("epoll", &[transport], &["idle_timeout=60s", buffer])?;
    let patience = Duration::from_secs(4);
    let options = Options { patience, drain: patience, ..Options::default() };
    let mut crowd = experiment.connect(&server, transport, CROWD, options)?;
    server.set("answer_work", &json!("spin"))?;
    server.set("answer_delay", &json!("1ms"))?;
    // So short that nobody asks twice.
    let slot = experiment.load(&server, transport, &mut crowd, Duration::from_micros(100), Pace::Closed)?.slot;
    if transport.is_stream() {
        return Ok(Burst { slot, kernel: None });
    }
    let bytes = metric(&server, "zen_udp_receive_buffer_bytes", |bytes| bytes > 0.0)?;
    let missing = slot.failed() as f64;
    let drops = metric(&server, "zen_udp_receive_drops_total", |drops| drops >= missing)?;
    Ok(Burst { slot, kernel: Some((bytes, drops)) })
}

impl Burst {
    /// The transport, and the buffer that the kernel gave.
    fn name(&self) -> String {
        self.kernel.map_or_else(|| "TCP".to_owned(), |(bytes, _)| format!("UDP, {} of buffer", size(bytes)))
    }
}

fn size(bytes: f64) -> String {
    if bytes >= 1_048_576.0 { format!("{:.1} MiB", bytes / 1_048_576.0) } else { format!("{:.0} KiB", bytes / 1024.0) }
}

fn judge(descriptors: [u64; 2], aborts: &[Slot; 2], bursts: &[Burst]) -> Finding {
    Finding {
        verdict: verdict(descriptors, aborts, bursts),
        because: sentences(descriptors, aborts, bursts),
        tables: vec![connections_table(descriptors, aborts), burst_table(bursts)],
        charts: vec![picture(bursts)],
    }
}

fn verdict(descriptors: [u64; 2], aborts: &[Slot; 2], bursts: &[Burst]) -> Verdict {
    let knows_nobody = descriptors[1] == 0 && descriptors[0] >= CLIENTS as u64;
    let nobody_is_reset = aborts[0].connects >= FIFTY as u64 / 2 && aborts[1].error == 0;
    let is_dropped = bursts[1].kernel.is_some_and(|(_, drops)| drops > 0.0);
    let is_lost = is_dropped && bursts[1].slot.error == 0 && bursts[0].slot.failed() == 0;
    match [knows_nobody, nobody_is_reset, is_lost] {
        [true, true, true] => Verdict::Holds,
        [false, false, false] => Verdict::Fails,
        _ => Verdict::Depends,
    }
}

fn sentences(descriptors: [u64; 2], aborts: &[Slot; 2], bursts: &[Burst]) -> Vec<String> {
    let mut all = vec![
        format!("{CLIENTS} clients take {} descriptors over TCP and {} over UDP.", descriptors[0], descriptors[1]),
        format!(
            "When the serving process aborts, {} connections of {FIFTY} clients over TCP have to be made again and {} questions \
             end in an error; over UDP {} do, and {} are never answered.",
            aborts[0].connects, aborts[0].error, aborts[1].error, aborts[1].lost,
        ),
    ];
    all.extend(bursts.iter().map(|burst| {
        let Slot { sent, ok, error, .. } = burst.slot;
        let dropped = burst.kernel.map_or_else(String::new, |(_, drops)| {
            format!("; {drops:.0} found the buffer full, as the kernel counts them, and {error} clients were told")
        });
        format!("{}: of {sent} questions asked at the same moment {ok} are answered{dropped}.", burst.name())
    }));
    all
}

fn connections_table(descriptors: [u64; 2], aborts: &[Slot; 2]) -> Table {
    let rows = ["TCP", "UDP"].iter().zip(aborts).zip(descriptors).map(|((name, slot), open)| {
        let counts = [open, slot.sent, slot.ok, slot.connects, slot.error, slot.lost];
        row(name, counts.map(|number| figure(Some(number as f64))).to_vec())
    });
    let columns = [
        ("descriptors", "descriptors for 500 clients", ""),
        ("sent", "asked around an abort", ""),
        ("ok", "answered", ""),
        ("connects", "connected again", ""),
        ("error", "ended in an error", ""),
        ("lost", "never answered", ""),
    ];
    table("connections", "Clients and an abort", &columns, rows.collect())
}

fn burst_table(bursts: &[Burst]) -> Table {
    let rows = bursts.iter().map(|burst| {
        let [sent, ok, missing] = [burst.slot.sent, burst.slot.ok, burst.slot.failed()].map(|number| number as f64);
        let dropped = burst.kernel.map(|(_, drops)| drops);
        row(&burst.name(), vec![figure(Some(sent)), figure(Some(ok)), figure(Some(missing)), figure(dropped)])
    });
    let columns = [
        ("sent", "asked", ""),
        ("ok", "answered", ""),
        ("lost", "not answered", ""),
        ("dropped", "dropped by the kernel", ""),
    ];
    table("burst", "Two thousand at the same moment", &columns, rows.collect())
}

fn picture(bursts: &[Burst]) -> Chart {
    let bars = bursts.iter().enumerate().map(|(at, burst)| (at as f64, Some(burst.slot.ok as f64)));
    chart(
        "datagrams",
        "Two thousand ask at the same moment: those who are answered, by what their questions wait in",
        Form::Bars,
        (names("", bursts.iter().map(Burst::name)), axis("answered", "", Scale::Linear)),
        vec![series("answered", bars)],
    )
}
