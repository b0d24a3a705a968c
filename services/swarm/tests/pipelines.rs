//! Many questions on their way over one connection.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use support::{count, light, metrics, read, right, start, tcp, wait_for, wait_for_snapshot};
use swarm::{Kind, Outcome};

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
