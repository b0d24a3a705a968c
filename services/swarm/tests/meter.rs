//! The meter, tried on servers whose behaviour is known.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use support::{answer_by, count, deaf, right, start, tcp, udp, wait_for, wait_for_snapshot};
use swarm::{Kind, Mode, Outcome, Spotlight};
use zen::{Endpoint, Transport};

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
fn a_datagram_that_comes_twice_is_a_wrong_answer_to_the_next_question() {
    sees(udp(|_, right| vec![right.into(), right.into()]), Outcome::WrongAnswer);
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
        plan.steady_rate = 0.0;
        plan.spotlight =
            Spotlight { mode: Mode::Fixed, kind: Kind::Held, connections: 1, rate: 5.0, ..plan.spotlight.clone() };
    });
    wait_for_snapshot(&service, "an unasked answer", |snapshot| snapshot.unasked >= 3);
    assert!(service.stop().is_balanced());
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
        plan.spotlight =
            Spotlight { mode: Mode::Fixed, kind: Kind::Held, connections: 1, rate: 100.0, ..plan.spotlight.clone() };
    });
    let snapshot = wait_for(&service, "answers", |ledger| ledger.ok() >= 60);
    assert!(snapshot.p99_us.unwrap() >= 100_000.0, "{snapshot:?}");
    assert!(snapshot.ledger.waiting > 0, "{snapshot:?}");
    assert!(service.stop().is_balanced());
}
