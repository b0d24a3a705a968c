//! The chapter's claims, as behaviour.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use std::io::{ErrorKind, Read};
use std::time::Duration;

use serde_json::json;
use support::client::{A, Datagram, End, Q, Stream};
use support::{Architecture, Server, for_each, registry, wait_for};

/// The architectures for which `is` holds, each by itself.
fn each(is: impl Fn(&Architecture) -> bool, work: impl Fn(&Architecture) + Sync) {
    for_each(registry().into_iter().filter(is).collect(), |architecture| {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(architecture)));
        result.err().map(|_| format!("{}: see above", architecture.name)).into_iter().collect()
    });
}

fn each_of(names: &[&str], work: impl Fn(&Architecture) + Sync) {
    each(|architecture| names.contains(&architecture.name.as_str()), work);
}

/// Whether an answer has come already.
fn has_answer(client: &mut Stream) -> bool {
    client.set_patience(Duration::from_millis(1));
    let heard = client.read(&mut [0; 1]);
    client.set_patience(support::PATIENCE);
    !heard.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

const fn is_one_at_a_time(architecture: &Architecture) -> bool {
    architecture.per_worker
}

#[test]
fn a_silent_client_blocks_a_server_that_serves_one_at_a_time_until_its_idle_timeout() {
    each_of(&["single_threaded", "socketserver"], |architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &["idle_timeout=60s"]);
        let silent = Stream::connect(&server, "tcp");
        wait_for("the silent client to be taken", || (server.open("tcp") == 1).then_some(()));
        let mut waiting = Stream::connect(&server, "tcp");
        waiting.say(Q);
        wait_for("the other one to wait", || (server.endpoint("tcp")["queue"]["length"] == 1).then_some(()));
        assert!(!has_answer(&mut waiting));
        server.set("idle_timeout", json!("200ms"));
        waiting.hear(A);
        drop(silent);
        server.stop();
    });
}

#[test]
fn a_silent_client_blocks_nobody_elsewhere() {
    each(
        |architecture| !["single_threaded", "socketserver"].contains(&architecture.name.as_str()),
        |architecture| {
            let server = Server::start_on(&architecture.name, &["tcp"], &["idle_timeout=60s"]);
            let _silent = Stream::connect(&server, "tcp");
            wait_for("the silent client to be taken", || (server.open("tcp") == 1).then_some(()));
            for _ in 0..5 {
                Stream::connect(&server, "tcp").ask(Q, A);
            }
            assert_eq!(server.metric("zen_connections_closed_total", &["reason=\"idle\""]), 0.0);
        },
    );
}

#[test]
fn as_many_silent_clients_as_workers_exhaust_a_pool() {
    each(
        |architecture| is_one_at_a_time(architecture) && architecture.workers != "ignored",
        |architecture| {
            let server = Server::start_on(&architecture.name, &["tcp"], &["idle_timeout=60s", "workers=3"]);
            let mut silent: Vec<_> = (0..3).map(|_| Stream::connect(&server, "tcp")).collect();
            wait_for("all workers to be taken", || (server.open("tcp") == 3).then_some(()));
            let mut next = Stream::connect(&server, "tcp");
            next.say(Q);
            assert!(!has_answer(&mut next));
            assert_eq!(server.open("tcp"), 3, "nobody has a worker for it");
            drop(silent.pop());
            next.hear(A);
            server.stop();
        },
    );
}

/// Fifty clients; one of them meets a fault. Gives how many are lost.
fn fifty_and_a_fault(name: &str, kind: &str) -> usize {
    let server = Server::start_on(name, &["tcp"], &["idle_timeout=60s"]);
    let mut clients: Vec<_> = (0..50).map(|_| Stream::connect(&server, "tcp")).collect();
    for client in &mut clients {
        client.ask(Q, A);
    }
    let (status, answer) = server.post("/api/v1/faults", json!({"kind": kind, "target": "conversation"}));
    assert_eq!(status, 202, "{answer}");
    clients[0].say(Q);
    let (heard, _) = clients[0].hear_rest();
    assert_eq!(heard, b"", "no answer comes of it");
    let mut lost = 1;
    for client in &mut clients[1..] {
        let answered = std::io::Write::write_all(client, Q).is_ok() && client.read_exact(&mut [0; 5]).is_ok();
        lost += usize::from(!answered);
    }
    Stream::connect(&server, "tcp").ask(Q, A);
    server.stop();
    lost
}

#[test]
fn an_abort_costs_a_process_its_one_client_and_threads_everybody() {
    assert_eq!(fifty_and_a_fault("fork_per_connection", "abort"), 1);
    assert_eq!(fifty_and_a_fault("thread_per_connection", "abort"), 50);
}

#[test]
fn a_panic_costs_one_client_everywhere() {
    each(
        |architecture| !is_one_at_a_time(architecture),
        |architecture| {
            assert_eq!(fifty_and_a_fault(&architecture.name, "panic"), 1, "{}", architecture.name);
        },
    );
}

#[test]
fn a_worker_that_fails_is_replaced() {
    each_of(&["thread_pool", "prefork"], |architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &[]);
        assert_eq!(server.post("/api/v1/faults", json!({"kind": "panic", "target": "worker"})).0, 202);
        wait_for("the worker to be replaced", || {
            (server.metric("zen_worker_restarts_total", &[]) == 1.0).then_some(())
        });
        wait_for("four workers", || (server.endpoint("tcp")["workers"]["running"] == 4).then_some(()));
        Stream::connect(&server, "tcp").ask(Q, A);
        server.stop();
    });
}

#[test]
fn a_data_plane_that_fails_is_replaced() {
    for kind in ["panic", "abort"] {
        let server = Server::start_on("epoll", &["tcp"], &[]);
        let leader = server.leader("tcp");
        assert_eq!(server.post("/api/v1/faults", json!({"kind": kind, "target": "data"})).0, 202);
        wait_for("another data plane", || (server.leader("tcp") != leader && server.leader("tcp") != 0).then_some(()));
        Stream::connect(&server, "tcp").ask(Q, A);
        assert_eq!(server.get("/api/v1/faults").1["happened"], 1);
        server.stop();
    }
}

#[test]
fn faults_need_a_laboratory() {
    let server = Server::start_on("epoll", &["tcp"], &["lab=false"]);
    assert_eq!(server.post("/api/v1/faults", json!({"kind": "panic", "target": "data"})).0, 403);
    Stream::connect(&server, "tcp").ask(Q, A);
}

#[test]
fn select_ends_where_its_set_ends_and_poll_goes_on() {
    for (name, limited) in [("select", true), ("poll", false)] {
        let server = Server::start_on(name, &["tcp"], &["max_connections=2000", "idle_timeout=60s"]);
        let mut clients: Vec<_> = (0..1100).map(|_| Stream::connect(&server, "tcp")).collect();
        let mut refused = 0;
        for client in &mut clients {
            // Whoever is refused may find the connection closed already.
            let _ = std::io::Write::write_all(client, Q);
            let mut answer = [0; 5];
            client.read_exact(&mut answer).unwrap();
            refused += usize::from(answer != A);
        }
        assert_eq!(refused > 0, limited, "{name} refused {refused}");
        assert_eq!(server.metric("zen_connections_rejected_total", &["reason=\"select_limit\""]), refused as f64);
        assert_eq!(server.metric("zen_worker_restarts_total", &[]), 0.0, "{name} goes on");
        server.stop();
    }
}

#[test]
fn one_thread_serves_five_thousand_open_conversations() {
    each_of(&["epoll", "callbacks", "coroutines", "tokio_current_thread"], |architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &["idle_timeout=1h"]);
        let mut clients: Vec<_> = (0..2500).map(|_| Stream::connect(&server, "tcp")).collect();
        for client in &mut clients {
            client.ask(Q, A);
        }
        assert_eq!(server.open("tcp"), 2500);
        assert_eq!(server.metric("zen_threads", &["role=\"data\""]), 1.0, "{}", architecture.name);
        server.stop();
    });
}

/// Two clients ask a server whose answers cost time. Gives whether the second is taken before the first has its answer.
fn takes_others_meanwhile(name: &str, delay: &str, work: &str) -> bool {
    let server = Server::start_on(name, &["tcp"], &[&format!("answer_delay={delay}"), &format!("answer_work={work}")]);
    let mut first = Stream::connect(&server, "tcp");
    wait_for("the first client to be taken", || (server.open("tcp") == 1).then_some(()));
    first.say(Q);
    // A question is counted when it is understood, before its answer is paid for.
    wait_for("the first question to be understood", || (server.metric("zen_requests_total", &[]) == 1.0).then_some(()));
    let mut second = Stream::connect(&server, "tcp");
    second.say(Q);
    wait_for("the second client to be taken", || (server.open("tcp") == 2).then_some(()));
    let meanwhile = !has_answer(&mut first);
    second.hear(A);
    server.stop();
    meanwhile
}

#[test]
fn work_that_is_awaited_or_done_elsewhere_stops_nobody() {
    each(
        |architecture| !is_one_at_a_time(architecture),
        |architecture| {
            let name = &architecture.name;
            assert!(takes_others_meanwhile(name, "4s", "wait"), "{name}: awaited work must stop nobody");
            if name.contains("per_connection") {
                assert!(takes_others_meanwhile(name, "4s", "spin"), "{name}: everybody has a thread or process");
            }
        },
    );
}

#[test]
fn work_that_burns_the_cpu_or_blocks_stops_everybody_in_a_loop() {
    each_of(&["select", "poll", "epoll", "callbacks", "coroutines", "tokio_current_thread"], |architecture| {
        for work in ["spin", "block"] {
            let name = &architecture.name;
            assert!(!takes_others_meanwhile(name, "500ms", work), "{name}: {work} must stop the loop");
        }
    });
}

#[test]
fn datagrams_know_no_connection_so_a_crash_resets_nobody() {
    each(
        |architecture| architecture.serves("udp"),
        |architecture| {
            let server = Server::start_on(&architecture.name, &["udp"], &[]);
            let client = Datagram::connect(&server, "udp");
            client.ask(Q, A);
            let leader = server.leader("udp");
            assert_eq!(server.post("/api/v1/faults", json!({"kind": "abort", "target": "data"})).0, 202);
            wait_for("another data plane", || {
                let now = server.leader("udp");
                (now != leader && now != 0).then_some(())
            });
            client.ask(Q, A);
            server.stop();
        },
    );
}

#[test]
fn a_client_over_the_limit_hears_that_the_server_is_busy() {
    each(
        |architecture| !is_one_at_a_time(architecture),
        |architecture| {
            let server = Server::start_on(&architecture.name, &["tcp"], &["max_connections=3", "idle_timeout=60s"]);
            let mut clients: Vec<_> = (0..3).map(|_| Stream::connect(&server, "tcp")).collect();
            for client in &mut clients {
                client.ask(Q, A);
            }
            assert_eq!(
                Stream::connect(&server, "tcp").hear_rest(),
                (b"Error: busy.".to_vec(), End::Closed),
                "{}",
                architecture.name
            );
            assert_eq!(server.metric("zen_connections_rejected_total", &["reason=\"max_connections\""]), 1.0);
            drop(clients.pop());
            // A process' place is free when its parent has buried it, which takes a tick.
            wait_for("a place", || {
                let mut client = Stream::connect(&server, "tcp");
                let mut answer = [0; 5];
                let asked = std::io::Write::write_all(&mut client, Q).and_then(|()| client.read_exact(&mut answer));
                (asked.is_ok() && answer == A).then_some(())
            });
            server.stop();
        },
    );
}
