//! What happens to the processes of servers by themselves, or by force, while clients are there.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

use support::churn::{Churn, visit};
use support::client::{A, Datagram, Q, Stream};
use support::process::{self, Frozen, Process, descendants};
use support::{Server, each, kill, wait_for};

#[test]
fn every_endpoint_has_a_process_and_the_supervisor_has_no_thread() {
    each(|architecture| {
        let server = Server::start(architecture, &[]);
        assert_eq!(Process::find(server.pid()).unwrap().threads(), 1);
        let mut leaders: Vec<_> = architecture.transports.iter().map(|transport| server.leader(transport)).collect();
        leaders.sort_unstable();
        leaders.dedup();
        assert_eq!(leaders.len(), architecture.transports.len());
        server.stop();
    });
}

#[test]
fn a_killed_data_plane_is_replaced_and_no_counter_falls() {
    each(|architecture| {
        let server = Server::start_on(&architecture.name, &["tcp"], &[]);
        let churn = Churn::start(&server);
        churn.wait_for_more(20);
        let (leader, before) = (server.leader("tcp"), server.metric("zen_requests_total", &[]));
        kill(leader, libc::SIGKILL);
        wait_for("the restart to be counted", || {
            let now = server.metric("zen_requests_total", &[]);
            assert!(now >= before, "{now} questions after {before}");
            (server.metric("zen_worker_restarts_total", &[]) >= 1.0).then_some(())
        });
        churn.wait_for_more(50);
        assert_ne!(server.leader("tcp"), leader);
        let failed = churn.stop();
        // Whoever was being served is lost; the workers of a dead leader may each have taken one more before they died.
        assert!(failed <= Churn::CLIENTS + 4, "nobody else may be lost: {failed}");
        wait_for("the books to balance", || (server.open("tcp") == 0).then_some(()));
        let respawn = server.endpoint("tcp")["last_respawn_ms"].clone();
        println!("{}: replaced after {respawn} ms, {failed} lost", architecture.name);
        server.stop();
    });
}

/// Clients that queue when a data plane dies find the next one: the listener is the supervisor's.
#[test]
fn nobody_who_waits_is_lost_with_a_killed_data_plane() {
    each(|architecture| {
        let server = Server::start(architecture, &[]);
        for transport in &architecture.transports {
            let is_stream = matches!(transport.as_str(), "tcp" | "unix");
            // Stopped, it takes nobody, so whoever comes now waits in the kernel's queue.
            let frozen = Frozen::new(server.leader(transport) as u32);
            let streams: Vec<_> =
                (0..if is_stream { 20 } else { 0 }).map(|_| Stream::connect(&server, transport)).collect();
            let letters: Vec<_> =
                (0..if is_stream { 0 } else { 5 }).map(|_| Datagram::connect(&server, transport)).collect();
            letters.iter().for_each(|letter| letter.say(Q));
            let streams = streams.into_iter().map(|mut client| {
                client.say(Q);
                client
            });
            let streams: Vec<_> = streams.collect();
            frozen.kill_leader();
            for mut client in streams {
                client.hear(A);
            }
            for letter in letters {
                assert_eq!(letter.receive(), A, "{} over {transport}", architecture.name);
            }
        }
        let restarts = server.metric("zen_worker_restarts_total", &[]);
        assert_eq!(restarts, architecture.transports.len() as f64);
        server.stop();
    });
}

#[test]
fn a_killed_supervisor_takes_everybody_along() {
    each(|architecture| {
        let server = Server::start(architecture, &["idle_timeout=60s"]);
        let mut clients: Vec<_> = (0..4).map(|_| Stream::connect(&server, "tcp")).collect();
        clients[0].ask(Q, A);
        let family = process::family(server.pid());
        assert!(family.len() > architecture.transports.len(), "{family:?}");
        server.signal(libc::SIGKILL);
        wait_for(&format!("everybody of {} to be gone", architecture.name), || {
            family.iter().all(|process| !process.is_alive()).then_some(())
        });
        // So its addresses are free, and the file that it could not remove is no hindrance.
        let (tcp, unix) = (server.address("tcp"), server.path("unix").display().to_string());
        let next = Server::start_with(&architecture.name, &[], &[], |command| {
            command.args(["--listen", &format!("tcp://{tcp}"), "--listen", &format!("unix://{unix}")]);
        });
        visit(&tcp).unwrap();
        next.stop();
    });
}

/// Five deaths in ten seconds: the sixth life has to wait, and the clients with it.
#[test]
fn a_data_plane_that_dies_over_and_over_is_not_replaced_at_once() {
    let server = Server::start_on("epoll", &["tcp"], &[]);
    for death in 1..=5_u32 {
        let leader = wait_for("a data plane", || Some(server.leader("tcp")).filter(|&leader| leader != 0));
        kill(leader, libc::SIGKILL);
        wait_for("its death to be noticed", || {
            (server.metric("zen_worker_restarts_total", &[]) == f64::from(death)).then_some(())
        });
    }
    visit(&server.address("tcp")).expect("an answer after the pause");
    let pause = wait_for("the respawn to be timed", || {
        server.endpoint("tcp")["last_respawn_ms"].as_f64().filter(|&respawn| respawn > 1000.0)
    });
    assert!(pause >= 4000.0, "{pause} ms");
    assert_eq!(server.metric("zen_worker_restarts_total", &[]), 5.0);
    server.stop();
}

#[test]
fn a_killed_control_plane_is_replaced_and_no_client_notices() {
    let mut server = Server::start_on("epoll", &["tcp"], &[]);
    let churn = Churn::start(&server);
    churn.wait_for_more(10);
    let leader = server.leader("tcp") as u32;
    let control = descendants(server.pid()).into_iter().find(|&pid| pid != leader).expect("a control plane");
    kill(control as i32, libc::SIGKILL);
    server.wait_for_event("control_lost", 1);
    server.wait_until_ready();
    churn.wait_for_more(10);
    assert_eq!(churn.stop(), 0);
    assert_eq!(server.status()["control_restarts"], 1);
    server.stop();
}

#[test]
fn a_killed_worker_of_prefork_takes_only_its_own_client_along() {
    let server = Server::start_on("prefork", &["tcp"], &["idle_timeout=30s"]);
    let mut clients: Vec<_> = (0..4).map(|_| Stream::connect(&server, "tcp")).collect();
    for client in &mut clients {
        client.ask(Q, A);
    }
    let leader = server.leader("tcp") as u32;
    kill(descendants(leader)[0] as i32, libc::SIGKILL);
    wait_for("the worker to be replaced", || {
        let replaced = server.metric("zen_worker_restarts_total", &[]) == 1.0;
        (replaced && descendants(leader).len() == 4).then_some(())
    });
    let mut lost = 0;
    for mut client in clients {
        client.say(Q);
        lost += usize::from(client_is_lost(&mut client));
    }
    assert_eq!(lost, 1);
    server.stop();
}

fn client_is_lost(client: &mut Stream) -> bool {
    let mut answer = [0; 5];
    client.read_exact(&mut answer).is_err()
}

#[test]
fn at_the_limit_of_descriptors_clients_wait_and_the_admin_api_answers() {
    each(|architecture| {
        let server = Server::start_with(&architecture.name, &["tcp"], &["idle_timeout=60s"], |command| {
            limit_descriptors(command, 128);
        });
        let began = Instant::now();
        let mut clients: Vec<_> = (0..200).map(|_| Stream::connect(&server, "tcp")).collect();
        if !architecture.per_worker {
            wait_for("the limit, or a refusal before it", || {
                let errors = server.metric("zen_accept_errors_total", &[]);
                let refused = server.metric("zen_connections_rejected_total", &[]);
                (errors >= 5.0 || server.open("tcp") + refused as u64 >= 64).then_some(())
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
        // A server that tries again without a pause has hundreds of thousands.
        let errors = server.metric("zen_accept_errors_total", &[]);
        let most = 50.0 + 100.0 * began.elapsed().as_secs_f64();
        assert!(errors <= most, "{}: {errors} failed accepts, at most {most} with pauses", architecture.name);
        server.stop();
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
