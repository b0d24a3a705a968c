//! Thousands of clients that are connected and silent, and what each of them costs the server.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that fails says where")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use support::client::QUESTIONS;
use support::process::{memory, raise_descriptor_limit};
use support::{Architecture, PATIENCE, Server, for_each_alone, registry, wait_for};

/// Descriptors that a client's process needs beside its connections.
const SPARE: u64 = 200;

#[test]
fn each_of_2_000_silent_clients_is_answered() {
    hold_all(2_000);
}

#[test]
#[ignore = "10,000 connections with every event-driven architecture; prints what each connection costs"]
fn each_of_10_000_silent_clients_is_answered() {
    hold_all(10_000);
}

/// Every architecture that has no worker for each client, and no limit of descriptors of its own.
fn hold_all(clients: usize) {
    let limit = raise_descriptor_limit();
    assert!(limit >= clients as u64 + SPARE, "{limit} descriptors are too few for {clients} clients");
    let holds_many =
        |known: &Architecture| !["blocking", "framework"].contains(&&*known.family) && known.name != "select";
    let many = registry().into_iter().filter(holds_many).collect();
    for_each_alone(many, |architecture| {
        hold(architecture, clients);
        Vec::new()
    });
}

fn hold(architecture: &Architecture, clients: usize) {
    let most = format!("max_connections={}", clients + 10);
    let server = Server::start_on(&architecture.name, &["tcp"], &[&most, "idle_timeout=5m"]);
    let leader = server.leader("tcp");
    // What the first client needs is not the price of a further one.
    ask(&mut [connect(&server)]);
    let before = memory(leader);
    let mut crowd: Vec<TcpStream> = (0..clients).map(|_| connect(&server)).collect();
    wait_for("all to be taken", || (server.open("tcp") >= clients as u64).then_some(()));
    let idle = memory(leader);
    ask(&mut crowd);
    let asked = memory(leader);
    let each = |now: u64, then: u64| (now as f64 - then as f64) / clients as f64;
    println!(
        "{}: {clients} right answers; bytes a connection: PSS {:.0}, RSS {:.0} before its question; PSS {:.0}, RSS {:.0} after",
        architecture.name,
        each(idle.pss, before.pss),
        each(idle.rss, before.rss),
        each(asked.pss, before.pss),
        each(asked.rss, before.rss),
    );
    drop(crowd);
    wait_for("all to be gone", || (server.open("tcp") == 0).then_some(()));
    server.stop();
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address("tcp")).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Every client asks before the first one listens; each has a question and an answer of its own.
fn ask(crowd: &mut [TcpStream]) {
    for (client, (question, _)) in crowd.iter_mut().zip(QUESTIONS.into_iter().cycle()) {
        client.write_all(question).expect("the server takes what is said");
    }
    for (number, (client, (_, answer))) in crowd.iter_mut().zip(QUESTIONS.into_iter().cycle()).enumerate() {
        let mut heard = vec![0; answer.len()];
        client.read_exact(&mut heard).unwrap_or_else(|error| panic!("client {number} has no answer: {error}"));
        assert_eq!(heard, answer, "client {number}");
    }
}
