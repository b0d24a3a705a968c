//! A limit of replies for each prefix of sources: whose address is forged may be flooded through nobody.

use std::net::UdpSocket;
use std::time::Instant;

use serde_json::json;

use super::support::client::{A, Datagram, Q};
use super::support::{Architecture, PATIENCE, Server, for_each, registry, wait_for};

/// More than the bucket of one a second gives while the test has patience: some must be refused.
const MANY: usize = 100;

#[test]
fn every_architecture_limits_the_replies_to_one_prefix() {
    let serving: Vec<_> = registry().into_iter().filter(|known| known.serves("udp")).collect();
    assert!(serving.len() > 10);
    for_each(serving, |architecture| {
        limit(architecture);
        Vec::new()
    });
}

fn limit(architecture: &Architecture) {
    let server = Server::start(architecture, &["udp_replies_per_prefix=1"]);
    let began = Instant::now();
    let flood = Datagram::connect(&server, "udp");
    (0..MANY).for_each(|_| flood.say(Q));
    let refused = || server.metric("zen_datagrams_dropped_total", &["transport=\"udp\"", "reason=\"rate\""]) as usize;
    let answered = || server.metric("zen_requests_total", &["transport=\"udp\"", "outcome=\"answered\""]) as usize;
    wait_for("all to be heard", || (refused() + answered() == MANY).then_some(()));
    // Two at once, and one for each second, however many workers there are.
    let most = 2 + began.elapsed().as_secs() as usize + 1;
    assert!((2..=most).contains(&answered()), "{}: {} answered, at most {most}", architecture.name, answered());

    // Somebody from elsewhere is no part of that, and nobody can forge the address of a Unix socket.
    let other = UdpSocket::bind("127.0.9.1:0").unwrap();
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    other.send_to(Q, server.address("udp")).unwrap();
    let mut answer = [0; 64];
    let length = other.recv(&mut answer).expect("an answer");
    assert_eq!(&answer[..length], A, "{}", architecture.name);
    let unix = Datagram::connect(&server, "unixgram");
    (0..5).for_each(|_| unix.ask(Q, A));

    server.set("udp_replies_per_prefix", json!(0));
    let client = Datagram::connect(&server, "udp");
    (0..5).for_each(|_| client.ask(Q, A));
    server.stop();
}
