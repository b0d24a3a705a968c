//! The meter, tried on servers whose behaviour is known.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use support::{answer_after, answer_by, count, deaf, light, right, start, tcp, udp, wait_for, wait_for_snapshot};
use swarm::{Kind, Outcome, Population};
use zen::{Endpoint, Transport};

/// Waits for `outcome` to be seen often; nothing but that and right answers may be.
fn sees(endpoint: Endpoint, outcome: Outcome) {
    let service = start(endpoint, |plan| {
        if outcome == Outcome::Timeout {
            plan.timeout_seconds = 0.4;
        }
    });
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
    let (_deaf, address) = deaf();
    sees(Endpoint::host(Transport::Tcp, "127.0.0.1", address.port()), Outcome::Refused);
}

#[test]
fn busy_is_a_refusal() {
    sees(tcp(|client| answer_by(client, |_, _| Some(zen::error::BUSY.into()))), Outcome::Refused);
}

#[test]
fn datagrams_that_are_lost_are_timeouts() {
    sees(udp(|number, right| if number.is_multiple_of(8) { vec![] } else { vec![right.into()] }), Outcome::Timeout);
}

#[test]
fn a_datagram_that_comes_twice_is_a_duplicate_and_spoils_nothing() {
    let service = start(udp(|_, right| vec![right.into(), right.into()]), |plan| {
        plan.steady.population = Population::only(Kind::Steady);
    });
    let snapshot = wait_for_snapshot(&service, "duplicates", |snapshot| snapshot.duplicates >= 50);
    assert!(snapshot.ledger.ok() >= 50 && snapshot.unasked == 0, "{snapshot:?}");
    let ledger = service.stop();
    assert_eq!(ledger.failed(), 0, "{ledger:?}");
}

#[test]
fn a_duplicate_that_comes_before_the_next_answer_is_not_taken_for_it() {
    static LAST: std::sync::Mutex<Option<&'static str>> = std::sync::Mutex::new(None);
    let service = start(
        udp(|_, right| {
            let last = LAST.lock().unwrap().replace(right);
            last.into_iter().chain([right]).map(str::to_owned).collect()
        }),
        |plan| {
            plan.steady.population = Population::only(Kind::Steady);
            plan.steady.connections = 1;
        },
    );
    let snapshot = wait_for_snapshot(&service, "duplicates", |snapshot| snapshot.duplicates >= 20);
    assert!(snapshot.ledger.ok() >= 20, "{snapshot:?}");
    assert_eq!(service.stop().failed(), 0);
}

#[test]
fn a_datagram_that_comes_late_is_lost_and_late_and_no_answer_to_another_question() {
    // Every question is answered after it has been given up.
    let late = |_, right: &'static str| {
        thread::sleep(Duration::from_millis(100));
        vec![right.into()]
    };
    let service = start(udp(late), |plan| {
        plan.steady.population = Population::only(Kind::Steady);
        (plan.steady.connections, plan.steady_rate, plan.timeout_seconds) = (1, 5.0, 0.05);
    });
    let snapshot = wait_for_snapshot(&service, "late answers", |snapshot| snapshot.late_answers >= 3);
    assert_eq!((snapshot.ledger.wrong(), snapshot.unasked), (0, 0), "{snapshot:?}");
    assert!(count(&snapshot.ledger, Outcome::Timeout) >= 3, "{snapshot:?}");
    assert!(service.stop().is_balanced());
}

#[test]
fn two_datagrams_do_not_make_one_answer() {
    sees(udp(|_, right| vec![right[..2].into(), right[2..].into()]), Outcome::WrongAnswer);
}

#[test]
fn a_datagram_without_bytes_is_a_wrong_answer() {
    sees(udp(|_, _| vec![String::new()]), Outcome::WrongAnswer);
}

#[test]
fn a_datagram_to_nobody_is_refused() {
    // A socket with a peer takes nothing from others.
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.connect(UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()).unwrap();
    sees(Endpoint::host(Transport::Udp, "127.0.0.1", other.local_addr().unwrap().port()), Outcome::Refused);
}

#[test]
fn an_answer_in_pieces_is_right() {
    let pieces = |mut client: TcpStream| {
        client.set_nodelay(true).unwrap();
        let mut buffer = [0; 64];
        while let Ok(bytes) = client.read(&mut buffer)
            && bytes > 0
        {
            for byte in right(&buffer[..bytes]).bytes() {
                client.write_all(&[byte]).unwrap();
            }
        }
    };
    let service = start(tcp(pieces), |_| {});
    wait_for(&service, "right answers", |ledger| ledger.ok() >= 30);
    assert_eq!(service.stop().failed(), 0);
}

#[test]
fn an_answer_that_nobody_has_asked_for_is_counted() {
    let chatty = |mut client: TcpStream| {
        let mut buffer = [0; 64];
        while let Ok(bytes) = client.read(&mut buffer)
            && bytes > 0
        {
            let sent = client.write_all(right(&buffer[..bytes]).as_bytes());
            thread::sleep(Duration::from_millis(20));
            if sent.and_then(|()| client.write_all(b"Ugly.")).is_err() {
                return;
            }
        }
    };
    let service = start(tcp(chatty), |plan| {
        light(plan, Kind::Steady, 5.0, 1);
    });
    wait_for_snapshot(&service, "an unasked answer", |snapshot| snapshot.unasked >= 3);
    assert!(service.stop().is_balanced());
}

#[test]
fn a_server_that_pauses_is_seen_from_the_instants_at_which_it_should_have_been_asked() {
    // One connection, one answer every 20 ms at best, but a hundred questions a second: the queue grows, and so must what
    // the clients see, although each question by itself takes no longer than 20 ms.
    let service = start(tcp(answer_after::<20>), |plan| {
        plan.timeout_seconds = 30.0;
        light(plan, Kind::Steady, 100.0, 1);
    });
    let snapshot = wait_for(&service, "answers", |ledger| ledger.ok() >= 60);
    assert!(snapshot.p99_us.unwrap() >= 100_000.0, "{snapshot:?}");
    assert!(snapshot.ledger.waiting > 0, "{snapshot:?}");
    assert!(service.stop().is_balanced());
}

#[test]
fn a_pause_of_200_ms_is_seen_by_those_who_have_an_instant_and_not_by_those_who_wait_for_each_other() {
    // Nobody is answered in the first 200 ms of each second.
    let pauses = |client: TcpStream| {
        let began = std::time::Instant::now();
        answer_by(client, |_, right| {
            let into = began.elapsed().subsec_millis();
            if into < 200 {
                thread::sleep(Duration::from_millis(u64::from(200 - into)));
            }
            Some(right.into())
        });
    };
    let service = start(tcp(pauses), |plan| {
        plan.timeout_seconds = 10.0;
        light(plan, Kind::Steady, 200.0, 1);
    });
    let began = std::time::Instant::now();
    wait_for(&service, "several pauses", |ledger| ledger.ok() >= 300 && began.elapsed() > Duration::from_secs(3));
    let text = support::metrics(&service);
    let longer = |name: &str, bound: &str| {
        let labels = "architecture=\"known\",transport=\"tcp\"";
        let of = |series: String| support::read(&text, &format!("zen_swarm_{name}_duration_seconds_{series}")).unwrap();
        of(format!("count{{{labels}}}")) - of(format!("bucket{{{labels},le=\"{bound}\"}}"))
    };
    let (responses, services) = (longer("request", "0.1"), longer("service", "0.1"));
    assert!(services >= 2.0, "one question for each pause has waited itself");
    assert!(responses >= 5.0 * services, "{responses} should have been asked in the pauses of {services}");
    assert!(service.stop().is_balanced());
}

#[test]
fn a_server_that_answers_so_many_a_second_is_seen_to() {
    // One answer every 20 ms, whoever asks: fifty a second.
    static NEXT: std::sync::Mutex<Option<std::time::Instant>> = std::sync::Mutex::new(None);
    let capped = |client: TcpStream| {
        answer_by(client, |_, right| {
            let mut next = NEXT.lock().unwrap();
            let now = std::time::Instant::now();
            let turn = next.unwrap_or(now).max(now);
            thread::sleep(turn - now);
            *next = Some(turn + Duration::from_millis(20));
            Some(right.into())
        });
    };
    let service = start(tcp(capped), |plan| {
        plan.timeout_seconds = 30.0;
        light(plan, Kind::Steady, 200.0, 4);
    });
    let began = std::time::Instant::now();
    let ledger = wait_for(&service, "answers", |ledger| ledger.ok() >= 60).ledger;
    let most = began.elapsed().as_secs_f64() * 50.0 + 5.0;
    assert!(ledger.ok() as f64 <= most, "{} were answered, {most} at most can have been", ledger.ok());
    assert!(ledger.waiting as f64 >= ledger.planned as f64 - ledger.ok() as f64 - 4.0, "the rest waits: {ledger:?}");
    assert!(service.stop().is_balanced());
}

#[test]
fn a_server_that_does_not_accept_is_slow_to_answer_and_quick_to_connect() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::host(Transport::Tcp, "127.0.0.1", listener.local_addr().unwrap().port());
    support::spawn(move || {
        for client in listener.incoming().flatten() {
            // The kernel completes connections by itself; they wait in the queue.
            thread::sleep(Duration::from_millis(100));
            support::spawn(move || support::answer_right(client));
        }
    });
    let service = start(endpoint, |plan| plan.timeout_seconds = 20.0);
    let snapshot = wait_for(&service, "answers", |ledger| ledger.ok() >= 30);
    assert!(snapshot.p99_us.unwrap() >= 300_000.0, "visits queue up: {snapshot:?}");
    let text = support::metrics(&service);
    let labels = "architecture=\"known\",transport=\"tcp\"";
    let of = |series: String| support::read(&text, &format!("zen_swarm_connect_duration_seconds_{series}")).unwrap();
    let slow = of(format!("count{{{labels}}}")) - of(format!("bucket{{{labels},le=\"0.1\"}}"));
    assert!(slow * 2.0 < of(format!("count{{{labels}}}")), "{slow} connections took as long as an accept");
    assert!(service.stop().is_balanced());
}
