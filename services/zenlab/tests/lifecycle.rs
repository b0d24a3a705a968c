//! What operators do to servers while clients are there.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use std::io::Read;
use std::time::Duration;

use serde_json::json;
use support::churn::Churn;
use support::client::{A, Datagram, End, Q, Stream};
use support::{Server, each, each_of, registry, wait_for};

#[test]
fn a_paused_server_keeps_its_clients_waiting_and_answers_them_when_it_goes_on() {
    each(|architecture| {
        let server = Server::start(architecture, &["idle_timeout=30s"]);
        let (streams, letters): (Vec<_>, Vec<_>) =
            architecture.transports.iter().partition(|transport| matches!(transport.as_str(), "tcp" | "unix"));
        assert_eq!(server.post("/api/v1/pause", json!({})), (200, json!({"state": "paused"})));
        assert_eq!(server.get("/readyz").0, 503);
        // Whoever waits already takes one more client within its tick; after that nobody is taken.
        for transport in &streams {
            wait_for("nobody to be taken", || {
                let mut probe = Stream::connect(&server, transport);
                probe.set_patience(Duration::from_millis(300));
                probe.say(Q);
                probe.read(&mut [0; 5]).is_err().then_some(())
            });
        }
        for transport in &letters {
            wait_for("no datagram to be answered", || {
                let probe = Datagram::connect(&server, transport);
                probe.say(Q);
                probe.receive_within(Duration::from_millis(300)).is_none().then_some(())
            });
        }
        let waiting = |transport: &&String| {
            let mut client = Stream::connect(&server, transport);
            client.say(Q);
            client
        };
        let clients: Vec<_> = (0..5).flat_map(|_| streams.iter().map(waiting)).collect();
        let letters: Vec<_> = letters.iter().map(|transport| Datagram::connect(&server, transport)).collect();
        letters.iter().for_each(|letter| letter.say(Q));
        assert_eq!(server.post("/api/v1/resume", json!({})), (200, json!({"state": "ready"})));
        // Each goes when it is answered: a server that serves one client at a time serves the next one then.
        for mut client in clients {
            client.hear(A);
        }
        for letter in letters {
            assert_eq!(letter.receive(), A);
        }
        server.stop();
    });
}

#[test]
fn a_pause_can_end_by_itself() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    assert_eq!(server.post("/api/v1/pause", json!({"for": "100ms"})).0, 200);
    server.wait_until_ready();
    Stream::connect(&server, "tcp").ask(Q, A);
    let (status, problem) = server.post("/api/v1/pause", json!({"for": "soon"}));
    assert_eq!((status, problem["errors"][0]["pointer"].as_str()), (422, Some("/for")));
}

#[test]
fn the_end_of_a_pause_does_not_end_the_next_one() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    assert_eq!(server.post("/api/v1/pause", json!({"for": "300ms"})).0, 200);
    assert_eq!(server.post("/api/v1/resume", json!({})).0, 200);
    assert_eq!(server.post("/api/v1/pause", json!({})).0, 200);
    wait_for("the first pause's end to be over", || {
        let status = server.status();
        assert_eq!(status["state"], "paused");
        (status["in_state_seconds"].as_f64()? > 0.6).then_some(())
    });
    server.stop();
}

#[test]
fn workers_follow_the_setting_up_and_down_while_clients_come_and_go() {
    each(|architecture| {
        let transports: Vec<_> =
            ["tcp", "udp"].into_iter().filter(|transport| architecture.serves(transport)).collect();
        let server = Server::start_on(&architecture.name, &transports, &[]);
        if architecture.workers == "ignored" {
            let (status, problem) = server.patch(json!({"workers": 8}));
            assert_eq!(status, 409, "{problem}");
            assert_eq!(server.post("/api/v1/workers", json!({"count": 8})).0, 409);
            return server.stop();
        }
        let churn = Churn::start(&server);
        for wanted in [8, 2, 5, 1, 4] {
            assert_eq!(server.patch(json!({"workers": wanted})).0, 200);
            for transport in &transports {
                wait_for(&format!("{wanted} workers of {} over {transport}", architecture.name), || {
                    (server.endpoint(transport)["workers"]["running"] == wanted).then_some(())
                });
                // What is counted is what there is: each worker is a thread or process of its own.
                wait_for(&format!("{wanted} {} of {}", architecture.workers, architecture.name), || {
                    let family = server.data_plane(transport);
                    let leader = family.first()?;
                    let found = if architecture.workers == "threads" { leader.threads() } else { family.len() };
                    // A leader of workers is none itself, or is one.
                    (wanted..=wanted + 1).contains(&found).then_some(())
                });
            }
            if architecture.serves("udp") {
                Datagram::connect(&server, "udp").ask(Q, A);
            }
            churn.wait_for_more(20);
        }
        assert_eq!(churn.stop(), 0, "no client may notice");
        assert_eq!(server.metric("zen_worker_restarts_total", &[]), 0.0);
        server.stop();
    });
}

#[test]
fn settings_hold_for_conversations_that_go_on() {
    each(|architecture| {
        let server = Server::start(architecture, &["idle_timeout=1h", "question_deadline=60s"]);
        for transport in ["tcp", "unix"] {
            let mut slow = Stream::connect(&server, transport);
            slow.say(&Q[..10]);
            server.set("question_deadline", json!("300ms"));
            assert_eq!(slow.hear_rest(), (support::client::TIMEOUT.to_vec(), End::Closed), "{transport}");
            let mut silent = Stream::connect(&server, transport);
            silent.ask(Q, A);
            server.set("idle_timeout", json!("300ms"));
            assert_eq!(silent.hear_rest(), (Vec::new(), End::Closed), "{transport}");
            server.set("idle_timeout", json!("1h"));
            server.set("question_deadline", json!("60s"));
        }
        server.stop();
    });
}

#[test]
fn an_echo_sends_back_every_byte() {
    let bytes: Vec<u8> = (0..=255).collect();
    each(|architecture| {
        let server = Server::start(architecture, &["dialogue=echo", "idle_timeout=30s"]);
        for transport in &architecture.transports {
            if matches!(transport.as_str(), "tcp" | "unix") {
                let mut client = Stream::connect(&server, transport);
                client.ask(b"Hello, World!", b"Hello, World!");
                // More than is read at once.
                client.ask(&bytes.repeat(40), &bytes.repeat(40));
            } else {
                let client = Datagram::connect(&server, transport);
                client.ask(b"Hello, World!", b"Hello, World!");
                client.ask(&bytes[192..], &bytes[192..]);
            }
        }
        let mut client = Stream::connect(&server, "tcp");
        client.ask(Q, Q);
        server.set("dialogue", json!("zen"));
        client.ask(Q, A);
        server.stop();
    });
}

#[test]
fn the_limit_of_connections_follows_the_setting() {
    each_of(registry().into_iter().filter(|architecture| !architecture.per_worker).collect(), |architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &["max_connections=2", "idle_timeout=30s"]);
        let welcome = || {
            let mut client = Stream::connect(&server, "tcp");
            client.ask(Q, A);
            client
        };
        let is_refused = || {
            let (heard, _) = Stream::connect(&server, "tcp").hear_rest();
            assert_eq!(String::from_utf8_lossy(&heard), "Error: busy.");
        };
        let mut clients = vec![welcome(), welcome()];
        is_refused();
        server.set("max_connections", json!(4));
        clients.extend([welcome(), welcome()]);
        is_refused();
        server.set("max_connections", json!(1));
        // Whoever is in may stay.
        for client in &mut clients {
            client.ask(Q, A);
        }
        is_refused();
        assert_eq!(server.metric("zen_connections_rejected_total", &["reason=\"max_connections\""]), 3.0);
        server.stop();
    });
}

#[test]
fn a_drained_server_can_be_started_again() {
    each(|architecture| {
        let server = Server::start(architecture, &[]);
        Stream::connect(&server, "tcp").ask(Q, A);
        let before = server.metric("zen_requests_total", &[]);
        for _ in 0..2 {
            assert_eq!(server.post("/api/v1/drain", json!({})).0, 202, "a second order changes nothing");
        }
        server.wait_for_state("parked");
        assert_eq!(server.get("/readyz").0, 503);
        assert_eq!(server.get("/livez").0, 200);
        for transport in ["tcp", "unix"] {
            assert!(Stream::try_connect(&server, transport).is_err(), "a parked server listens to nobody");
        }
        for order in ["pause", "resume", "drain"] {
            assert_eq!(server.post(&format!("/api/v1/{order}"), json!({})).0, 409, "{order}");
        }
        assert_eq!(server.status()["drain"]["lost"], 0);
        assert_eq!(server.post("/api/v1/start", json!({})).0, 202);
        server.wait_until_ready();
        assert_eq!(server.post("/api/v1/start", json!({})).0, 409);
        for transport in &architecture.transports {
            if matches!(transport.as_str(), "tcp" | "unix") {
                Stream::connect(&server, transport).ask(Q, A);
            } else {
                Datagram::connect(&server, transport).ask(Q, A);
            }
        }
        let asked = before + architecture.transports.len() as f64;
        assert_eq!(server.metric("zen_requests_total", &[]), asked, "no counter begins anew");
        server.stop();
    });
}

/// Orders in the order in which they are given, the last of which ends the server.
#[test]
fn every_order_to_end_ends_in_order() {
    let given: [&[(&str, &str)]; 9] = [
        &[("shutdown", "{}")],
        &[("shutdown", r#"{"mode": "graceful"}"#)],
        &[("shutdown", r#"{"mode": "fast"}"#)],
        &[("drain", r#"{"then": "exit"}"#)],
        &[("pause", "{}"), ("shutdown", "{}")],
        &[("pause", "{}"), ("drain", "{}"), ("drain", r#"{"then": "exit"}"#)],
        &[("drain", "{}"), ("shutdown", "{}")],
        &[("drain", "{}"), ("drain", "{}"), ("shutdown", r#"{"mode": "fast"}"#)],
        &[("drain", "{}"), ("parked", ""), ("shutdown", "{}")],
    ];
    for orders in given {
        let server = Server::start_on("epoll", &["tcp", "udp", "unix", "unixgram"], &[]);
        let mut client = Stream::connect(&server, "tcp");
        client.ask(Q, A);
        for (order, body) in orders {
            if *order == "parked" {
                server.wait_for_state("parked");
                continue;
            }
            let (status, answer) = server.post(&format!("/api/v1/{order}"), serde_json::from_str(body).unwrap());
            assert!(matches!(status, 200 | 202), "{orders:?}: {order}: {answer}");
        }
        assert_eq!(client.hear_rest(), (Vec::new(), End::Closed), "{orders:?}");
        server.ends_in_order();
    }
}

#[test]
fn every_signal_to_end_ends_in_order() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
        for parked in [false, true] {
            let server = Server::start_on("epoll", &["tcp", "unix"], &[]);
            if parked {
                assert_eq!(server.post("/api/v1/drain", json!({})).0, 202);
                server.wait_for_state("parked");
            }
            server.signal(signal);
            server.ends_in_order();
        }
    }
}

#[test]
fn a_second_signal_does_not_wait() {
    each(|architecture| {
        let settings = ["question_deadline=60s", "drain_timeout=60s"];
        let mut server = Server::start_on(&architecture.name, &["tcp"], &settings);
        let mut client = Stream::connect(&server, "tcp");
        client.say(&Q[..10]);
        wait_for("the client to be taken", || (server.open("tcp") == 1).then_some(()));
        server.signal(libc::SIGTERM);
        server.wait_for_event("state", 2);
        server.signal(libc::SIGTERM);
        server.ends_in_order();
        client.hear_rest();
    });
}
