//! Every kind of client does what it is for, and the books balance whatever it does.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test that fails says where; counts are exact as f64")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};

use support::{
    change, converse, count, honest, light, metric, metrics, read, right, start, tcp, udp, wait_for, wait_for_snapshot,
    wait_until,
};
use swarm::{Kind, Ledger, Outcome, Plan, Population};

/// A client of this kind at a server; waits for as many ends of questions, and gives the books.
fn watch(serve: fn(TcpStream), kind: Kind, ends: u64, change: impl FnOnce(&mut Plan)) -> Ledger {
    let service = start(tcp(serve), |plan| {
        plan.timeout_seconds = 10.0;
        light(plan, kind, 120.0, 3);
        plan.spotlight.clients.interval_seconds = 0.002;
        change(plan);
    });
    wait_for(&service, kind.label(), |ledger| ledger.outcomes.iter().sum::<u64>() >= ends);
    let text = metrics(&service);
    let of_kind = |outcome: Outcome| {
        let labels = format!("kind=\"{}\",outcome=\"{}\"", kind.label(), outcome.label());
        read(&text, &format!("zen_swarm_kind_requests_total{{{labels}}}")).unwrap()
    };
    assert!(Outcome::ALL.map(of_kind).iter().sum::<f64>() >= ends as f64, "its kind has books of its own");
    let ledger = service.stop();
    assert!(ledger.is_balanced() && ledger.in_flight == 0 && ledger.waiting == 0, "{ledger:?}");
    ledger
}

/// The same, where nothing may fail.
fn all_right(serve: fn(TcpStream), kind: Kind) -> Ledger {
    let ledger = watch(serve, kind, 60, |_| {});
    assert_eq!((ledger.failed(), ledger.dropped), (0, 0), "{ledger:?}");
    ledger
}

#[test]
fn an_honest_server_has_nothing_to_fear() {
    for kind in [Kind::Steady, Kind::Bursty, Kind::Poisson, Kind::Pipeliner, Kind::Churner, Kind::SlowReader] {
        all_right(honest, kind);
    }
}

#[test]
fn a_trickler_sends_a_byte_at_a_time() {
    static READS: AtomicU64 = AtomicU64::new(0);
    let serve = |client| {
        converse(client, |_| {
            READS.fetch_add(1, Ordering::Relaxed);
        });
    };
    let ledger = all_right(serve, Kind::Trickler);
    // A busy machine may read several bytes at once.
    let reads = READS.load(Ordering::Relaxed);
    assert!(reads > 3 * ledger.ok(), "{reads} reads for {} questions", ledger.ok());
}

#[test]
fn a_trickler_is_told_when_it_takes_too_long() {
    let impatient = |mut client: TcpStream| {
        let _ = client.read(&mut [0; 1]);
        let _ = client.write_all(zen::error::TIMEOUT.as_bytes());
        let _ = client.shutdown(std::net::Shutdown::Write);
        let _ = client.read_to_end(&mut Vec::new());
    };
    let ledger = watch(impatient, Kind::Trickler, 20, |_| {});
    assert_eq!(count(&ledger, Outcome::Timeout) + count(&ledger, Outcome::Aborted), ledger.sent, "{ledger:?}");
}

#[test]
fn a_fragmenter_is_wrongly_served_by_who_takes_a_read_for_a_question() {
    static PARTS: AtomicU64 = AtomicU64::new(0);
    let serve = |client| {
        converse(client, |_| {
            PARTS.fetch_add(1, Ordering::Relaxed);
        });
    };
    let ledger = all_right(serve, Kind::Fragmenter);
    assert!(PARTS.load(Ordering::Relaxed) > ledger.ok(), "questions come in parts");
    let hasty = |mut client: TcpStream| {
        while let Ok(bytes) = client.read(&mut [0; 64])
            && bytes > 0
            && client.write_all(zen::error::UNKNOWN.as_bytes()).is_ok()
        {}
    };
    assert!(count(&watch(hasty, Kind::Fragmenter, 20, |_| {}), Outcome::WrongAnswer) >= 1);
}

#[test]
fn a_half_closer_gets_its_answers_after_its_end() {
    let at_the_end = |mut client: TcpStream| {
        let mut said = Vec::new();
        let _ = client.read_to_end(&mut said);
        let questions = String::from_utf8(said).unwrap();
        for question in questions.split_inclusive('?') {
            let _ = client.write_all(right(question.as_bytes()).as_bytes());
        }
    };
    let ledger = all_right(at_the_end, Kind::HalfCloser);
    assert_eq!(ledger.planned % 3, 0, "three questions belong together");
    // Who leaves at the end of what it hears loses the answers.
    let leaves = |mut client: TcpStream| drop(client.read_to_end(&mut Vec::new()));
    let ledger = watch(leaves, Kind::HalfCloser, 30, |_| {});
    assert_eq!(count(&ledger, Outcome::Eof), ledger.sent, "{ledger:?}");
}

#[test]
fn an_aborter_resets_in_the_middle_of_a_question() {
    static RESETS: AtomicU64 = AtomicU64::new(0);
    static QUESTIONS: AtomicU64 = AtomicU64::new(0);
    let serve = |mut client: TcpStream| {
        let mut said = Vec::new();
        let end = client.read_to_end(&mut said);
        RESETS.fetch_add(u64::from(end.is_err()), Ordering::Relaxed);
        QUESTIONS.fetch_add(u64::from(said.contains(&b'?')), Ordering::Relaxed);
    };
    let ledger = watch(serve, Kind::Aborter, 20, |_| {});
    assert_eq!((count(&ledger, Outcome::Aborted), ledger.failed()), (ledger.sent, 0), "{ledger:?}");
    wait_until("resets", || (RESETS.load(Ordering::Relaxed) > 0).then_some(()));
    assert_eq!(QUESTIONS.load(Ordering::Relaxed), 0, "none was asked to its end");
}

#[test]
fn a_bad_asker_knows_what_it_should_be_answered() {
    all_right(honest, Kind::BadAsker);
    // One error for everything is not what the protocol says.
    let lazy = |mut client: TcpStream| {
        let _ = client.read(&mut [0; 8192]);
        let _ = client.write_all(zen::error::UNKNOWN.as_bytes());
        let _ = client.shutdown(std::net::Shutdown::Write);
        let _ = client.read_to_end(&mut Vec::new());
    };
    let ledger = watch(lazy, Kind::BadAsker, 40, |_| {});
    assert!(ledger.ok() > 0 && ledger.wrong() > 0 && ledger.ok() + ledger.wrong() == ledger.sent, "{ledger:?}");
}

#[test]
fn a_slow_reader_lets_the_answers_lie() {
    // Sixteen answers are written before the first of them has been read to its end.
    let ledger = watch(honest, Kind::SlowReader, 32, |plan| plan.spotlight.clients.interval_seconds = 0.02);
    assert_eq!((ledger.failed(), ledger.planned % 16), (0, 0), "{ledger:?}");
    let service = start(tcp(honest), |plan| light(plan, Kind::SlowReader, 0.0, 1));
    wait_for(&service, "a batch on its way", |ledger| ledger.in_flight >= 16);
    let labels = "{architecture=\"known\",transport=\"tcp\"}";
    let count = metric(&service, &format!("zen_swarm_service_duration_seconds_count{labels}"));
    assert_eq!(count, Some(0.0), "its own slowness is no server's");
    service.stop();
}

#[test]
fn an_idler_says_nothing_and_comes_again() {
    static CAME: AtomicU64 = AtomicU64::new(0);
    static HEARD: AtomicU64 = AtomicU64::new(0);
    let hangs_up_on_the_first = |mut client: TcpStream| {
        if CAME.fetch_add(1, Ordering::Relaxed) > 0 {
            HEARD.fetch_add(client.read(&mut [0; 1]).unwrap_or(0) as u64, Ordering::Relaxed);
        }
    };
    let service = start(tcp(hangs_up_on_the_first), |plan| light(plan, Kind::Idler, 0.0, 5));
    let open = "zen_swarm_kind_connections{kind=\"idler\"}";
    wait_until("five and the first one's successor", || {
        (metric(&service, open) == Some(5.0) && CAME.load(Ordering::Relaxed) >= 6).then_some(())
    });
    assert_eq!((service.stop(), HEARD.load(Ordering::Relaxed)), (Ledger::default(), 0));
}

#[test]
fn all_kinds_together_keep_the_books_balanced_while_their_weights_change() {
    let service = start(tcp(honest), |plan| {
        light(plan, Kind::Churner, 600.0, 24);
        plan.spotlight.clients.interval_seconds = 0.005;
        plan.spotlight.clients.population =
            Kind::ALL.into_iter().fold(Population::default(), |all, kind| all.with(kind, 1));
    });
    let has_ended = |kind: Kind| {
        let outcome = if kind == Kind::Aborter { "aborted" } else { "ok" };
        let labels = format!("kind=\"{}\",outcome=\"{outcome}\"", kind.label());
        metric(&service, &format!("zen_swarm_kind_requests_total{{{labels}}}")).filter(|ended| *ended > 0.0)
    };
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Idler) {
        wait_until(kind.label(), || has_ended(kind));
    }
    for (round, kind) in Kind::ALL.into_iter().enumerate() {
        let sent = wait_for(&service, "questions", |ledger| ledger.sent > 0).ledger.sent;
        let weight = [0, 5, 1000][round % 3];
        change(&service, &format!("{{\"spotlight\": {{\"population\": {{\"{}\": {weight}}}}}}}", kind.label()));
        wait_for(&service, "more questions", |ledger| ledger.sent >= sent + 50);
    }
    change(&service, "{\"spotlight\": {\"mode\": \"off\"}}");
    wait_for_snapshot(&service, "rest", |snapshot| snapshot.connections == 0 && snapshot.ledger.in_flight == 0);
    let ledger = service.stop();
    assert_eq!(ledger.failed(), 0, "{ledger:?}");
    assert!(ledger.is_balanced() && ledger.waiting == 0, "{ledger:?}");
}

#[test]
fn datagrams_are_asked_by_the_kinds_that_can() {
    let service = start(udp(|_, right| vec![right.into()]), |plan| {
        plan.steady.population = Population::only(Kind::Trickler).with(Kind::Steady, 1).with(Kind::HalfCloser, 9);
    });
    wait_for(&service, "answers", |ledger| ledger.ok() >= 30);
    let text = metrics(&service);
    let ok = |kind: Kind| {
        read(&text, &format!("zen_swarm_kind_requests_total{{kind=\"{}\",outcome=\"ok\"}}", kind.label())).unwrap()
    };
    assert_eq!((ok(Kind::Trickler), ok(Kind::HalfCloser)), (0.0, 0.0));
    assert!(ok(Kind::Steady) >= 30.0);
    assert_eq!(service.stop().failed(), 0);
}
