//! Every kind of client does what it is for, and the books balance whatever it does.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test that fails says where; counts are exact as f64")]

mod support;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::{
    answer_by, answer_right, ask, converse, count, honest, light, metric, metrics, read, right, start, tcp, udp,
    wait_for, wait_for_snapshot, wait_until,
};
use swarm::{Kind, Ledger, Outcome, Plan, Population, Service};

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
fn a_pipeliner_asks_before_it_is_answered_and_stamps_each_reply() {
    // Four questions must have come before there is any answer; then an answer every 20 ms.
    let waits_for_four = |mut client: TcpStream| {
        let mut said = Vec::new();
        let mut buffer = [0; 256];
        while let Ok(bytes) = client.read(&mut buffer)
            && bytes > 0
        {
            said.extend_from_slice(&buffer[..bytes]);
            if said.split(|byte| *byte == b'?').count() <= 4 {
                continue;
            }
            for question in std::mem::take(&mut said).split_inclusive(|byte| *byte == b'?') {
                thread::sleep(Duration::from_millis(20));
                if client.write_all(right(question).as_bytes()).is_err() {
                    return;
                }
            }
        }
    };
    let service = start(tcp(waits_for_four), |plan| {
        plan.timeout_seconds = 20.0;
        light(plan, Kind::Pipeliner, 2000.0, 1);
        plan.spotlight.clients.pipeline = 4;
    });
    wait_for(&service, "answers", |ledger| ledger.ok() >= 40);
    let text = metrics(&service);
    let of = |series: &str| read(&text, &format!("zen_swarm_service_duration_seconds_{series}")).unwrap();
    let labels = "architecture=\"known\",transport=\"tcp\"";
    let all = of(&format!("count{{{labels}}}"));
    let slow = all - of(&format!("bucket{{{labels},le=\"0.05\"}}"));
    assert!(slow >= all / 2.0 - 4.0, "two of each four waited for two others: {slow} of {all}");
    let snapshot = wait_for_snapshot(&service, "four on their way", |snapshot| snapshot.ledger.in_flight == 4);
    assert_eq!((snapshot.connections, snapshot.ledger.failed()), (1, 0), "{snapshot:?}");
    let ledger = service.stop();
    assert!(ledger.is_balanced(), "{ledger:?}");
}

#[test]
fn what_stands_behind_a_wrong_answer_is_accounted_for() {
    // The second answer on each connection is a wrong one.
    let second_is_wrong = |mut client: TcpStream| {
        let mut buffer = [0; 1024];
        let mut asked = 0;
        while let Ok(bytes) = client.read(&mut buffer)
            && bytes > 0
        {
            for question in buffer[..bytes].split_inclusive(|byte| *byte == b'?') {
                asked += 1;
                let answer = if asked == 2 { "Maybe." } else { right(question) };
                if client.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    };
    let service = start(tcp(second_is_wrong), |plan| {
        light(plan, Kind::Pipeliner, 400.0, 1);
        (plan.spotlight.clients.arrivals, plan.spotlight.clients.burst) = (swarm::Arrivals::Burst, 6);
    });
    wait_for(&service, "what stands behind", |ledger| count(ledger, Outcome::Error) >= 10 && ledger.wrong() >= 10);
    let ledger = service.stop();
    assert!(ledger.is_balanced() && ledger.ok() >= 10, "{ledger:?}");
}

#[test]
fn all_kinds_together_keep_the_books_balanced_while_their_weights_change() {
    let service = start(tcp(honest), |plan| {
        light(plan, Kind::Churner, 600.0, 24);
        plan.spotlight.clients.interval_seconds = 0.005;
        plan.spotlight.clients.population =
            Kind::ALL.into_iter().fold(Population::default(), |all, kind| all.with(kind, 1));
    });
    let patch = |body: String| {
        let headers = [("content-type", "application/json"), ("if-match", "*")];
        let reply = ask(&service, "PATCH", "/api/v1/plan", &headers, &body);
        assert_eq!(reply.status, 200, "{reply:?}");
    };
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
        patch(format!("{{\"spotlight\": {{\"population\": {{\"{}\": {weight}}}}}}}", kind.label()));
        wait_for(&service, "more questions", |ledger| ledger.sent >= sent + 50);
    }
    patch("{\"spotlight\": {\"mode\": \"off\"}}".into());
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

/// A server whose first answer takes its time.
fn slow_at_first(client: TcpStream) {
    answer_by(client, |asked, right| {
        if asked == 0 {
            thread::sleep(Duration::from_millis(400));
        }
        Some(right.into())
    });
}

#[test]
fn what_cannot_be_asked_in_time_waits_or_is_dropped_as_the_plan_says() {
    let begin = |over_run: swarm::OverRun| -> Service {
        start(tcp(slow_at_first), |plan| {
            plan.timeout_seconds = 20.0;
            light(plan, Kind::Steady, 200.0, 1);
            plan.spotlight.clients.over_run = over_run;
        })
    };
    let service = begin(swarm::OverRun::Queue);
    wait_for(&service, "a queue", |ledger| ledger.waiting >= 20);
    assert_eq!(service.stop().dropped, 0);
    let service = begin(swarm::OverRun::Drop);
    let snapshot = wait_for(&service, "answers", |ledger| ledger.ok() >= 20);
    assert!(snapshot.ledger.dropped >= 20 && snapshot.ledger.waiting <= 1, "{snapshot:?}");
    assert!(service.stop().is_balanced());
}

#[test]
fn catching_up_is_no_faster_than_twice_the_rate_where_that_is_capped() {
    static ASKED: Mutex<Vec<Instant>> = Mutex::new(Vec::new());
    let stamps = |client: TcpStream| {
        answer_by(client, |asked, right| {
            if asked == 0 {
                thread::sleep(Duration::from_millis(400));
            } else {
                ASKED.lock().unwrap().push(Instant::now());
            }
            Some(right.into())
        });
    };
    let service = start(tcp(stamps), |plan| {
        plan.timeout_seconds = 20.0;
        light(plan, Kind::Steady, 200.0, 1);
        plan.spotlight.clients.over_run = swarm::OverRun::Cap;
    });
    wait_for(&service, "answers", |ledger| ledger.ok() >= 150);
    assert!(service.stop().is_balanced());
    let asked = ASKED.lock().unwrap();
    // One connection asks one thing at a time, so the server sees the pace; what is delayed may come together.
    let took = asked[100].duration_since(asked[0]).as_secs_f64();
    assert!(took >= 100.0 / 400.0 - 0.06, "a hundred came in {took} s");
}
