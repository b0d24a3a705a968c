//! What goes wrong below a server, and what its clients do to it: it says so, keeps to its bounds, and goes on.
#![allow(clippy::unwrap_used, clippy::float_cmp, clippy::print_stdout, reason = "a test that fails says where")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;
use support::client::{A, BAD_BYTE, Datagram, End, Q, Stream};
use support::process::{Process, descendants, raise_descriptor_limit};
use support::{Architecture, Server, for_each, for_each_alone, registry, wait_for};

#[test]
fn a_listener_that_fails_is_told_of() {
    for_each(registry(), |architecture| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::start_with_listener(&architecture.name, &listener);
        assert!(!server.log().iter().any(|line| line.contains("accept failed")));
        // It is the server's own: from now on accept(2) fails for everybody who has it.
        socket2::SockRef::from(&listener).shutdown(std::net::Shutdown::Both).unwrap();
        wait_for(&format!("{} to log why it takes nobody", architecture.name), || {
            server.log().iter().any(|line| line.contains("accept failed: Invalid argument")).then_some(())
        });
        server.stop();
        Vec::new()
    });
}

#[test]
fn a_client_whose_process_has_ended_keeps_nobody_out() {
    for_each(forking(), |architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &["max_connections=2", "idle_timeout=10m"]);
        let leader = server.leader("tcp") as u32;
        let mut held = Stream::connect(&server, "tcp");
        held.ask(Q, A);
        for _ in 0..20 {
            let others = descendants(leader);
            let mut client = Stream::connect(&server, "tcp");
            client.ask(Q, A);
            let new = descendants(leader).into_iter().find(|pid| !others.contains(pid));
            let process = new.and_then(Process::find).expect("the client's process");
            let mut refused = Stream::connect(&server, "tcp");
            refused.hear(b"Error: busy.");
            drop(client);
            // The server may know of it or not.
            wait_for("the client's process to end", || (!process.is_alive()).then_some(()));
        }
        server.stop();
        Vec::new()
    });
}

/// Those who make a process for each client.
fn forking() -> Vec<Architecture> {
    let mut architectures = registry();
    architectures
        .retain(|architecture| ["fork_per_connection", "socketserver_forking"].contains(&architecture.name.as_str()));
    architectures
}

/// More turns than a loop takes while one client keeps it waiting: ten in a second, and what its linger list asks for. A
/// loop that spins takes tens of thousands.
const TURNS: f64 = 1000.0;

/// The architectures that have a loop, and so say how often it turned.
fn loops() -> Vec<Architecture> {
    let mut architectures = registry();
    architectures.retain(|architecture| matches!(architecture.family.as_str(), "readiness" | "completion" | "async"));
    architectures
}

fn turns(server: &Server) -> f64 {
    server.metric("zen_event_loop_iterations_total", &[])
}

#[test]
fn a_client_who_does_not_take_its_answers_makes_no_loop_spin() {
    for_each(loops(), |architecture| {
        let server = Server::start_on(&architecture.name, &["unix"], &["write_stall=2s"]);
        let mut client = Stream::connect(&server, "unix");
        // It asks until nothing more goes through: the server has answers that it cannot send, and questions to read. (A TCP
        // client with a full buffer takes no acknowledgements either, and then the questions stay with it.)
        client.set_write_patience(Duration::from_millis(500));
        let questions = Q.repeat(100);
        while client.write(&questions).is_ok() {}
        let before = turns(&server);
        // The end of it is the server's: its patience.
        wait_for("the client to be closed", || (server.open("unix") == 0).then_some(()));
        let turned = turns(&server) - before;
        server.stop();
        within(architecture, turned)
    });
}

#[test]
fn a_client_who_goes_on_after_the_end_makes_no_loop_spin() {
    for_each(loops(), |architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &[]);
        let mut client = Stream::connect(&server, "tcp");
        let before = turns(&server);
        client.say(b"\0");
        let more = vec![b'x'; 65536];
        // It has its FIN, and sends more than anybody reads: the socket lingers, and is readable all the time.
        wait_for("the connection to be closed", || client.write(&more).is_err().then_some(()));
        let turned = turns(&server) - before;
        server.stop();
        within(architecture, turned)
    });
}

fn within(architecture: &Architecture, turned: f64) -> Vec<String> {
    println!("{}: {turned} turns", architecture.name);
    if turned < TURNS { Vec::new() } else { vec![format!("{}: {turned} turns", architecture.name)] }
}

/// More than a linger list keeps.
const LEAVING: usize = 1500;

#[test]
fn whoever_lingers_gives_its_descriptor_back() {
    if raise_descriptor_limit() < 3 * LEAVING as u64 {
        return println!("skipped: this machine does not let a process have {} descriptors", 3 * LEAVING);
    }
    for_each_alone(loops(), |architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &["idle_timeout=10m"]);
        let leader = Process::find(server.leader("tcp") as u32).unwrap();
        let before = leader.descriptors();
        let mut clients: Vec<_> = (0..LEAVING).map(|_| Stream::connect(&server, "tcp")).collect();
        // Those whom select(2) has no place for are sent away, and stay as well.
        wait_for("all to be taken", || {
            let refused = server.metric("zen_connections_rejected_total", &[]) as u64;
            (server.open("tcp") + refused == LEAVING as u64).then_some(())
        });
        // All at once, and none of them closes.
        server.set("idle_timeout", json!("100ms"));
        for client in &mut clients {
            client.hear_rest();
        }
        wait_for("all descriptors to be given back", || (leader.descriptors() <= before).then_some(()));
        server.stop();
        Vec::new()
    });
}

#[test]
fn each_process_that_leads_has_a_group_of_its_own() {
    let server = Server::start_on("prefork", &["tcp", "udp"], &["workers=2"]);
    let group = |pid: u32| {
        // SAFETY: a plain system call.
        unsafe { libc::getpgid(pid as i32) as u32 }
    };
    let planes = [server.leader("tcp") as u32, server.leader("udp") as u32];
    let children: Vec<_> = descendants(server.pid()).into_iter().filter(|&pid| parent(pid) == server.pid()).collect();
    let control = children.iter().copied().find(|pid| !planes.contains(pid)).expect("a control plane");
    for leader in planes.into_iter().chain([control]) {
        assert_eq!(group(leader), leader, "of {planes:?} and control {control}");
    }
    assert!(!children.contains(&group(server.pid())));
    // Whoever a data plane makes is ended with it.
    for plane in planes {
        let workers = wait_for("two workers", || Some(descendants(plane)).filter(|workers| workers.len() == 2));
        assert!(workers.iter().all(|&worker| group(worker) == plane), "{workers:?} of {plane}");
    }
    server.stop();
}

/// Field 4 of proc_pid_stat(5).
fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Nobody can be given a descriptor any more; those that are there stay.
const NO_MORE: u64 = 3;

#[test]
fn whoever_is_served_stays_served_when_there_are_no_more_descriptors() {
    for_each(registry(), |architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &["idle_timeout=10m"]);
        let leader = server.leader("tcp");
        let mut known = Stream::connect(&server, "tcp");
        known.ask(Q, A);
        let before = limit_descriptors(leader, Some(NO_MORE));
        let mut waiting = Stream::connect(&server, "tcp");
        waiting.say(Q);
        if !architecture.per_worker {
            // Several times, with the pauses between them. A ring goes by the limit that there was when it was told to accept.
            wait_for("accept to fail", || {
                let errors = server.metric("zen_accept_errors_total", &[]);
                (errors >= 5.0 || server.open("tcp") == 2).then_some(())
            });
        }
        known.ask(Q, A);
        limit_descriptors(leader, before);
        drop(known);
        waiting.hear(A);
        assert_eq!(server.leader("tcp"), leader, "{}: {:?}", architecture.name, server.log());
        server.stop();
        Vec::new()
    });
}

/// Limits a process of ours; gives what its limit was.
fn limit_descriptors(pid: i32, most: Option<u64>) -> Option<u64> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(Pid::from_raw(pid), Resource::Nofile, Rlimit { current: most, maximum }).unwrap().current
}

#[test]
fn who_was_sent_away_is_let_go_whatever_others_do() {
    // One conversation goes on, and the client who was sent away before it goes on as if it had not heard.
    for_each(forking(), |architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &["max_connections=1", "idle_timeout=10m"]);
        let mut first = Stream::connect(&server, "tcp");
        first.ask(Q, A);
        let mut refused = Stream::connect(&server, "tcp");
        refused.hear_rest();
        drop(first);
        let mut next = wait_for("room for another", || {
            let mut next = Stream::connect(&server, "tcp");
            next.say(Q);
            let mut answer = [0; 5];
            (next.read_exact(&mut answer).is_ok() && answer == A).then_some(next)
        });
        wait_for("the connection to be closed", || refused.write(b"?").is_err().then_some(()));
        next.ask(Q, A);
        server.stop();
        Vec::new()
    });
}

#[test]
fn who_was_ended_is_let_go_while_its_worker_serves_another() {
    for_each(registry(), |architecture| {
        let one = (architecture.workers != "ignored").then_some("workers=1");
        let settings: Vec<_> = ["idle_timeout=10m"].into_iter().chain(one).collect();
        let server = Server::start_on(&architecture.name, &["tcp"], &settings);
        let mut ended = Stream::connect(&server, "tcp");
        ended.say(b"\0");
        ended.hear_rest();
        let mut next = Stream::connect(&server, "tcp");
        next.ask(Q, A);
        wait_for("the connection to be closed", || ended.write(b"?").is_err().then_some(()));
        next.ask(Q, A);
        server.stop();
        Vec::new()
    });
}

#[test]
fn a_drain_loses_no_letter_that_waits_for_a_worker() {
    // More time than a drain leaves the endpoint open, and less than it leaves those who are owed an answer.
    let settings = ["workers=1", "answer_work=wait", "answer_delay=5s"];
    let server = Server::start_on("worker_queue", &["udp"], &settings);
    let client = Datagram::connect(&server, "udp");
    for _ in 0..10 {
        client.say(Q);
    }
    wait_for("all to be received", || (server.metric("zen_datagrams_received_total", &[]) == 10.0).then_some(()));
    assert_eq!(server.post("/api/v1/drain", json!({})).0, 202);
    for _ in 0..10 {
        assert_eq!(client.receive(), A);
    }
    server.stop();
}

#[test]
fn an_ending_is_heard_though_there_are_no_more_descriptors() {
    for_each(loops(), |architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &[]);
        let mut client = Stream::connect(&server, "tcp");
        client.ask(Q, A);
        limit_descriptors(server.leader("tcp"), Some(NO_MORE));
        // More than one read takes: what lies unread when the stream is closed makes a reset of it.
        client.say(&[0; 10_000]);
        assert_eq!(client.hear_rest(), (BAD_BYTE.to_vec(), End::Closed), "{}", architecture.name);
        server.stop();
        Vec::new()
    });
}
