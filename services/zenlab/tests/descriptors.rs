//! A server that has no descriptor left: its clients wait, its operator does not, and it does not burn the machine.
#![allow(clippy::unwrap_used, clippy::float_cmp, clippy::print_stdout, reason = "a test that fails says where")]

mod support;

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use support::client::{A, Q, Stream};
use support::{Architecture, Server, for_each, registry, wait_for};

/// What the data plane may have.
const DESCRIPTORS: u64 = 256;

const CLIENTS: usize = 400;

/// Of those who wait at the limit, so many are asked for their answers.
const WAITING: usize = 90;

/// How long failed accepts are counted.
const WATCH: Duration = Duration::from_millis(1500);

/// A loop without a pause makes 200,000 and more.
const ERRORS_A_SECOND: f64 = 20.0;

/// Bounds of behaviour and not of speed: 200 ms and what a busy machine adds.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn without_a_descriptor_clients_wait_and_the_admin_api_answers() {
    for_each(registry(), run_out);
}

fn run_out(architecture: &Architecture) -> Vec<String> {
    let settings = ["max_connections=1000", "idle_timeout=60s"];
    let server = Server::start_on(&architecture.name, &["tcp"], &settings);
    take_descriptors_away(server.leader("tcp"));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Stream::connect(&server, "tcp")).collect();
    let is_settled = || {
        let queue = server.endpoint("tcp")["queue"]["length"].as_u64();
        let errors = server.metric("zen_accept_errors_total", &[]);
        (errors > 0.0 || queue == Some(0) || architecture.per_worker && server.open("tcp") > 0).then_some(())
    };
    wait_for("the last descriptor, or the last client, to be taken", is_settled);
    let (errors, admin) = watch(&server);

    let mut waiting = clients.split_off(server.open("tcp") as usize);
    waiting.truncate(WAITING);
    for client in &mut waiting {
        client.say(Q);
    }
    let (count, wait) = (waiting.len(), time_to_serve(clients, waiting));
    println!(
        "{}: {errors:.1} failed accepts a second, admin {admin:.0?} at worst, {count} clients that waited served {wait:.0?} \
         after descriptors were free",
        architecture.name,
    );
    server.stop();
    let mut failed = Vec::new();
    let mut bound = |holds: bool, what: &str| {
        if !holds {
            failed.push(format!("{}: {what}", architecture.name));
        }
    };
    bound(errors <= ERRORS_A_SECOND, &format!("{errors:.0} failed accepts a second"));
    bound(admin <= SOON, &format!("the admin API took {admin:?}"));
    bound(wait <= SOON, &format!("clients that waited took {wait:?}"));
    failed
}

/// Once it serves, so that it could not prepare.
fn take_descriptors_away(pid: i32) {
    let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    prlimit(Pid::from_raw(pid), Resource::Nofile, limit).expect("the limit of a process of ours");
}

/// Failed accepts a second, and the longest that the admin API took to answer.
fn watch(server: &Server) -> (f64, Duration) {
    let errors = || server.metric("zen_accept_errors_total", &[]);
    let (began, before) = (Instant::now(), errors());
    let mut longest = Duration::ZERO;
    while began.elapsed() < WATCH {
        let asked = Instant::now();
        assert_eq!(server.get("/api/v1/status").0, 200);
        longest = longest.max(asked.elapsed());
    }
    ((errors() - before) / began.elapsed().as_secs_f64(), longest)
}

/// How long those who wait still wait when the others are gone. Whoever has its answer goes as well.
fn time_to_serve(holding: Vec<Stream>, waiting: Vec<Stream>) -> Duration {
    drop(holding);
    let freed = Instant::now();
    for mut client in waiting {
        client.hear(A);
    }
    freed.elapsed()
}

#[test]
fn a_server_that_was_given_few_descriptors_keeps_some_for_itself() {
    for_each(registry(), |architecture| {
        let server = Server::start_with(&architecture.name, &["tcp"], &["idle_timeout=60s"], |command| {
            limit_descriptors(command, 128);
        });
        let mut clients: Vec<_> = (0..200).map(|_| Stream::connect(&server, "tcp")).collect();
        if !architecture.per_worker {
            wait_for("the limit, or a refusal before it", || {
                let errors = server.metric("zen_accept_errors_total", &[]);
                let open = server.open("tcp");
                let refused = server.metric("zen_connections_rejected_total", &[]);
                (errors > 0.0 || open + refused as u64 >= 64).then_some(())
            });
        }
        assert_eq!(server.get("/livez").0, 200);
        // Those who go make room for those who wait.
        let last = clients.split_off(195);
        drop(clients);
        for mut client in last {
            client.say(Q);
            let (mut answer, busy) = ([0; 5], b"Error");
            client.read_exact(&mut answer).unwrap();
            assert!(answer == A || answer == *busy, "{}", String::from_utf8_lossy(&answer));
        }
        server.stop();
        Vec::new()
    });
}

/// Lowers the hard limit, so that the server cannot raise its own.
fn limit_descriptors(command: &mut Command, limit: u64) {
    let set = move || {
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: a plain system call with a pointer to a variable of this frame.
        match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: only a system call happens between fork and exec.
    unsafe { command.pre_exec(set) };
}
