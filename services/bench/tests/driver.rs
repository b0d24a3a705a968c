//! The meter is measured: against servers whose answers and faults are known.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bench::{Crowd, Life, Options, Pace, Slot};
use support::{PATIENT, brief, every, pausing, right, slots_until, stalled, tcp, udp};
use zen::Endpoint;

const MS: Duration = Duration::from_millis(1);

fn load(endpoint: &Endpoint, connections: usize, options: Options, time: Duration, pace: Pace) -> Slot {
    load_until(endpoint, connections, options, time, pace, |_| true)
}

fn load_until(
    endpoint: &Endpoint,
    connections: usize,
    options: Options,
    time: Duration,
    pace: Pace,
    is_enough: impl Fn(&Slot) -> bool,
) -> Slot {
    slots_until(&mut Crowd::connect(endpoint, connections, options).unwrap(), time, pace, is_enough)
}

fn faultless(slot: &Slot) {
    assert_eq!((slot.failed(), slot.surplus, slot.duplicates), (0, 0, 0), "{slot:?}");
    assert!(slot.ok > 0);
}

#[test]
fn a_closed_loop_has_all_its_answers() {
    let server = tcp(Arc::new(right));
    for (connections, depth) in [(1, 1), (7, 1), (3, 16)] {
        let slot = load(&server, connections, Options { depth, ..PATIENT }, 100 * MS, Pace::Closed);
        faultless(&slot);
        assert_eq!((slot.ok, slot.unsent), (slot.planned, 0));
        assert_eq!(slot.service.len(), slot.ok);
        assert_eq!(slot.response.len(), slot.ok);
        assert!(slot.in_time <= slot.ok && slot.client_cpu > Duration::ZERO);
    }
}

#[test]
fn an_open_loop_asks_what_was_planned() {
    let server = tcp(Arc::new(right));
    for pace in [Pace::even(500.0), Pace::poisson(500.0, 7)] {
        let slot = load(&server, 4, PATIENT, 1000 * MS, pace);
        faultless(&slot);
        assert_eq!((slot.lag.len(), slot.response.len()), (slot.sent, slot.ok));
        // 500 are planned; of a Poisson count that is five standard deviations.
        assert!((388..=612).contains(&slot.planned), "{slot:?}");
    }
}

#[test]
fn a_crowd_can_be_used_again_and_follows_its_server() {
    let server = tcp(Arc::new(right));
    let mut crowd = Crowd::connect(&server, 3, PATIENT).unwrap();
    let first = crowd.slot(20 * MS, Pace::Closed).unwrap();
    assert_eq!(first.connects, 0, "connections are made before the slot");
    crowd.hang_up(1);
    let second = crowd.slot(500 * MS, Pace::even(100.0)).unwrap();
    faultless(&first);
    faultless(&second);
}

#[test]
fn a_fixed_delay_is_found() {
    let delay = 20 * MS;
    let server = tcp(Arc::new(move |answer| {
        std::thread::sleep(delay);
        right(answer)
    }));
    let slot = load(&server, 2, PATIENT, 200 * MS, Pace::Closed);
    faultless(&slot);
    // The histogram's classes are 0.1 % wide; a sleep is never shorter than asked for.
    assert!(slot.service.min() as f64 >= 0.999 * delay.as_nanos() as f64, "{}", slot.service.min());
}

#[test]
fn a_pause_is_in_the_open_loop_and_hidden_by_the_closed_one() {
    let reply = || pausing(100 * MS, 1000 * MS);
    let time = Duration::from_secs(3);
    let open = load(&tcp(reply()), 4, PATIENT, time, Pace::even(1000.0));
    faultless(&open);
    // A third of the users came while the server stood still; the last of them waited hardly at all, the first a second.
    assert!(open.response.value_at_quantile(0.97) >= 800_000_000, "{}", open.response.value_at_quantile(0.97));
    let closed = load(&tcp(reply()), 4, PATIENT, time, Pace::Closed);
    faultless(&closed);
    let slow = closed.service.count_between(800_000_000, u64::MAX);
    assert!((1..=4).contains(&slow), "at most one for each connection: {slow}");
    assert!(closed.service.value_at_quantile(0.97) < 800_000_000);
}

#[test]
fn lost_datagrams_are_counted() {
    let count = AtomicU64::new(0);
    let dropping = move |answer: &'static str| {
        let is_lost = count.fetch_add(1, Ordering::Relaxed) % 50 == 49;
        if is_lost { vec![] } else { vec![right(answer)] }
    };
    let server = udp(dropping);
    // Whoever has lost a question waits for its answer beyond the slot.
    let options = Options { patience: 3000 * MS, ..PATIENT };
    let slot = load_until(&server, 4, options, 200 * MS, Pace::Closed, |slot| slot.lost > 0);
    assert!(slot.lost * 49 <= slot.ok + 49, "{slot:?}");
    assert_eq!((slot.wrong, slot.error, slot.timeout, slot.duplicates), (0, 0, 0, 0), "{slot:?}");
}

#[test]
fn late_datagrams_are_nobodys() {
    let count = AtomicU64::new(0);
    let late_at_first = move |answer: &'static str| {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            std::thread::sleep(300 * MS);
        }
        vec![right(answer)]
    };
    let options = Options { patience: 50 * MS, ..PATIENT };
    let is_enough = |slot: &Slot| slot.lost > 0 && slot.ok > 0;
    let slot = load_until(&udp(late_at_first), 2, options, 500 * MS, Pace::Closed, is_enough);
    assert_eq!((slot.wrong, slot.error, slot.surplus, slot.duplicates), (0, 0, 0, 0), "{slot:?}");
}

#[test]
fn duplicated_datagrams_answer_nothing() {
    let server = udp(|answer| vec![right(answer), right(answer)]);
    let slot = load_until(&server, 2, PATIENT, 100 * MS, Pace::Closed, |slot| slot.duplicates > 0);
    assert_eq!((slot.failed(), slot.wrong), (0, 0), "{slot:?}");
    assert!(slot.duplicates <= slot.ok, "{slot:?}");
}

#[test]
fn wrong_texts_are_counted() {
    let wrong = tcp(every(10, |_| b"Prettier.".to_vec()));
    for depth in [1, 4] {
        let is_enough = |slot: &Slot| slot.wrong > 0 && slot.ok > 0;
        load_until(&wrong, 2, Options { depth, ..PATIENT }, 100 * MS, Pace::Closed, is_enough);
    }
    let server = udp(|_| vec![b"Prettier.".to_vec()]);
    let slot = load_until(&server, 2, PATIENT, 50 * MS, Pace::even(200.0), |slot| slot.sent > 0);
    assert_eq!((slot.wrong, slot.ok), (slot.sent, 0), "{slot:?}");
}

#[test]
fn answers_nobody_asked_for_are_surplus() {
    let server = tcp(every(5, |answer| format!("{answer}{answer}").into_bytes()));
    let is_enough = |slot: &Slot| slot.surplus > 0 && slot.ok > slot.surplus;
    let slot = load_until(&server, 2, PATIENT, 100 * MS, Pace::Closed, is_enough);
    assert_eq!(slot.wrong, 0);
}

#[test]
fn closed_connections_are_errors_and_are_made_anew() {
    let server = tcp(every(5, |_| Vec::new()));
    let is_enough = |slot: &Slot| slot.error > 1 && slot.connects > 1;
    let slot = load_until(&server, 2, PATIENT, 200 * MS, Pace::Closed, is_enough);
    assert!(slot.ok >= slot.error, "{slot:?}");
}

#[test]
fn an_end_that_comes_with_an_answer_is_seen_before_the_next_question() {
    let slot = load(&brief(), 1, PATIENT, 1000 * MS, Pace::even(20.0));
    faultless(&slot);
    assert!(slot.connects >= slot.ok - 1, "{slot:?}");
}

#[test]
fn who_is_never_accepted_is_missed() {
    let (server, _listener) = stalled();
    let impatient = Options { patience: 50 * MS, ..PATIENT };
    let slot = load_until(&server, 3, impatient, 200 * MS, Pace::even(100.0), |slot| slot.sent >= 3);
    assert_eq!((slot.ok, slot.timeout), (0, slot.sent), "{slot:?}");
    let brief = Options { drain: 20 * MS, ..PATIENT };
    let slot = load(&server, 3, brief, 1000 * MS, Pace::even(100.0));
    assert_eq!((slot.sent, slot.in_flight, slot.unsent), (3, 3, slot.planned - 3), "{slot:?}");
}

#[test]
fn conversations_come_and_go() {
    let server = tcp(Arc::new(right));
    for reset in [false, true] {
        let life = Life::Conversations { questions: 3, reset };
        for pace in [Pace::Closed, Pace::even(300.0)] {
            let slot = load(&server, 2, Options { life, ..PATIENT }, 500 * MS, pace);
            faultless(&slot);
            assert!(slot.connects >= slot.ok / 3 && slot.connects <= slot.ok / 3 + 2, "{slot:?}");
        }
    }
}

#[test]
fn nobody_there_is_an_error_and_no_hang() {
    let (server, listener) = stalled();
    drop(listener);
    assert!(Crowd::connect(&server, 1, Options::default()).is_err());
    let life = Life::Conversations { questions: 3, reset: false };
    let slot = load(&server, 2, Options { life, ..Options::default() }, 50 * MS, Pace::Closed);
    assert_eq!((slot.ok, slot.error), (0, slot.sent), "{slot:?}");
    assert!(slot.connect_errors > 0);
}

#[test]
fn options_out_of_range_are_refused() {
    let server = udp(|answer| vec![right(answer)]);
    let refused = |connections, depth| {
        let crowd = Crowd::connect(&server, connections, Options { depth, ..Options::default() });
        crowd.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(refused(1, 0).contains("0 questions deep"));
    assert!(refused(1, 2).contains("only connections that are held"));
    assert!(refused(0, 1).contains("0 connections"));
    let mut crowd = Crowd::connect(&server, 1, Options::default()).unwrap();
    assert!(crowd.slot(MS, Pace::even(0.0)).is_err());
}

#[test]
fn quantiles_equal_a_sort() {
    let mut random = bench::Random::new(3);
    let mut histogram = bench::histogram();
    let mut values: Vec<u64> = (0..10_000).map(|_| (random.exponential() * 1e6) as u64 + 1).collect();
    for &value in &values {
        histogram.saturating_record(value);
    }
    values.sort_unstable();
    for q in [0.5, 0.9, 0.99, 0.999] {
        let exact = values[(q * values.len() as f64).ceil() as usize - 1] as f64;
        let found = histogram.value_at_quantile(q) as f64;
        assert!((found / exact - 1.0).abs() < 0.002, "{q}: {found} and not {exact}");
    }
}
