//! How long a connection lives, what is asked over it, and where it comes from.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::collections::HashSet;
use std::io::Write;
use std::net::{IpAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::{answer_by, answer_right, light, start, tcp, wait_for, wait_until};
use swarm::Kind;

#[test]
fn a_connection_is_asked_as_often_as_it_should_be_and_no_more() {
    static MOST: AtomicU64 = AtomicU64::new(0);
    let watch = |client: TcpStream| {
        answer_by(client, |asked, right| {
            MOST.fetch_max(asked as u64 + 1, Ordering::Relaxed);
            Some(right.into())
        });
    };
    for kind in [Kind::Churner, Kind::Steady] {
        let service = start(tcp(watch), |plan| {
            light(plan, kind, 200.0, 2);
            plan.spotlight.clients.requests_per_connection = 2;
        });
        wait_for(&service, "answers", |ledger| ledger.ok() >= 40);
        let ledger = service.stop();
        assert_eq!((MOST.swap(0, Ordering::Relaxed), ledger.failed()), (2, 0), "{}: {ledger:?}", kind.label());
    }
}

#[test]
fn a_connection_is_closed_when_it_is_old_and_never_in_a_question() {
    static CLOSED: AtomicU64 = AtomicU64::new(0);
    let watch = |client: TcpStream| {
        answer_right(client);
        CLOSED.fetch_add(1, Ordering::Relaxed);
    };
    let service = start(tcp(watch), |plan| {
        light(plan, Kind::Steady, 100.0, 2);
        plan.spotlight.clients.connection_lifetime_seconds = 0.2;
    });
    wait_until("old connections", || (CLOSED.load(Ordering::Relaxed) >= 6).then_some(()));
    let ledger = service.stop();
    assert!(ledger.failed() == 0 && ledger.ok() > 0, "{ledger:?}");
}

#[test]
fn who_is_sent_away_does_not_come_back_at_once() {
    let full = |mut client: TcpStream| {
        // Whoever has gone already is not told.
        let _ = client.write_all(zen::error::BUSY.as_bytes());
    };
    for (kind, questions) in [(Kind::Trickler, 1), (Kind::SlowReader, 16)] {
        let began = Instant::now();
        let service = start(tcp(full), |plan| light(plan, kind, 0.0, 1));
        let tried = wait_for(&service, "refusals", |ledger| ledger.failed() >= 20 * questions);
        // Between two attempts there is a tenth of a second.
        let most = (began.elapsed().as_secs_f64() * 10.0 + 2.0) * questions as f64;
        assert!(tried.ledger.planned as f64 <= most, "{}: more than {most}: {tried:?}", kind.label());
        service.stop();
    }
}

#[test]
fn a_client_that_thinks_does_not_ask_meanwhile() {
    static SHORTEST: Mutex<Option<Duration>> = Mutex::new(None);
    let watch = |client: TcpStream| {
        let mut answered: Option<Instant> = None;
        answer_by(client, |_, right| {
            let mut shortest = SHORTEST.lock().unwrap();
            let thought = answered.map(|at| at.elapsed());
            *shortest = shortest.into_iter().chain(thought).min();
            answered = Some(Instant::now());
            Some(right.into())
        });
    };
    for kind in [Kind::Churner, Kind::Steady] {
        let service = start(tcp(watch), |plan| {
            light(plan, kind, 60.0, 4);
            plan.spotlight.clients.think_time_seconds = 0.1;
        });
        wait_for(&service, "answers", |ledger| ledger.ok() >= 20);
        let ledger = service.stop();
        assert_eq!(ledger.failed(), 0, "{ledger:?}");
        let shortest = SHORTEST.lock().unwrap().take().unwrap();
        assert!(shortest >= Duration::from_millis(99), "{}: {shortest:?}", kind.label());
    }
}

#[test]
fn many_clients_come_from_several_addresses() {
    static ADDRESSES: Mutex<Option<HashSet<IpAddr>>> = Mutex::new(None);
    let watch = |client: TcpStream| {
        ADDRESSES.lock().unwrap().get_or_insert_default().insert(client.peer_addr().unwrap().ip());
        answer_right(client);
    };
    let service = start(tcp(watch), |plan| plan.steady.source_addresses = 5);
    wait_until("five addresses", || {
        ADDRESSES.lock().unwrap().as_ref().filter(|addresses| addresses.len() == 5).map(|_| ())
    });
    assert_eq!(service.stop().failed(), 0);
}
