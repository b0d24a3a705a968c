//! The members of the fleet that echo: the chapter's `tacb`, `tacr`, `uacb` and their like.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use support::{Server, ZENLAB, request, wait_for};

const TRANSPORTS: [&str; 4] = ["tcp", "udp", "unix", "unixgram"];

/// Their names, and what serves them.
const ECHO: [(&str, &str); 2] = [("echo_callbacks", "callbacks"), ("echo_coroutines", "coroutines")];

fn start(name: &str, architecture: &str) -> Server {
    Server::start_on(architecture, &TRANSPORTS, &[&format!("name={name}"), "dialogue=echo"])
}

/// Where it serves over `transport`.
fn url(server: &Server, transport: &str) -> String {
    format!("{transport}://{}", server.path(transport).display())
}

fn zenlab(args: &[&str], admin: &str) -> Output {
    Command::new(ZENLAB).args(args).env("ZENLAB_ADMIN", admin).output().unwrap()
}

/// A process that ends with the test.
struct Swarm {
    child: Child,
    url: String,
}

impl Swarm {
    /// A swarm that loads a server by its name on every transport.
    fn start(name: &str, server: &Server) -> Self {
        let mut command = Command::new(ZENLAB);
        command.args(["swarm", "--admin", "127.0.0.1:0"]);
        for transport in TRANSPORTS {
            command.args(["--target", &format!("{name}={}", url(server, transport))]);
        }
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut events = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        let listening = events.find(|event| event["event"] == "admin_listening").unwrap();
        Self { child, url: listening["url"].as_str().unwrap().to_owned() }
    }

    /// The outcomes of each transport.
    fn outcomes(&self) -> Vec<Value> {
        let status = request("GET", &format!("{}/api/v1/status", self.url), &[], None).1;
        status["targets"].as_array().into_iter().flatten().map(|target| target["outcomes"].clone()).collect()
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_is_said_comes_back_over_every_transport() {
    for (name, architecture) in ECHO {
        let server = start(name, architecture);
        for transport in TRANSPORTS {
            let place = url(&server, transport);
            let answered = zenlab(&["ask", &place, "--echo"], "");
            assert_eq!(answered.status.code(), Some(0), "{name} {transport}: {answered:?}");
            let text = String::from_utf8(answered.stdout).unwrap();
            assert!(text.starts_with("Beautiful is better than? → Beautiful is better than?\n"), "{text}");
        }
        server.stop();
    }
}

#[test]
fn a_server_is_asked_by_the_name_it_goes_by() {
    let (name, architecture) = ECHO[0];
    let server = start(name, architecture);
    for host in [name, architecture] {
        let status = request("GET", &format!("{}/livez", server.admin), &[("Host", &format!("{host}:9060"))], None).0;
        assert_eq!(status, 200, "{host}");
    }
    let row = zenlab(&["status", name], &server.admin);
    let text = String::from_utf8_lossy(&row.stdout);
    assert_eq!(row.status.code(), Some(0), "{row:?}");
    assert!(text.lines().skip(1).all(|line| line.starts_with("echo_callbacks ")), "{text}");
    let gone = zenlab(&["shutdown", name, "--fast"], &server.admin);
    let text = String::from_utf8_lossy(&gone.stdout);
    assert!(text.contains("bring it back with: zenlab up --only echo_callbacks"), "{gone:?}");
}

#[test]
fn the_swarm_knows_an_echo_for_the_right_answer() {
    for (name, architecture) in ECHO {
        let server = start(name, architecture);
        let swarm = Swarm::start(name, &server);
        wait_for("right answers over every transport", || {
            let outcomes = swarm.outcomes();
            assert!(outcomes.iter().all(|one| one["wrong_answer"] == 0), "{name}: {outcomes:?}");
            let right = outcomes.iter().filter(|one| one["ok"].as_u64() > Some(10)).count();
            (right == TRANSPORTS.len()).then_some(())
        });
        drop(swarm);
        server.stop();
    }
}

#[test]
fn they_are_of_the_fleet_and_not_of_the_comparison() {
    for (name, _) in ECHO {
        // Nobody is there: it is the server that fails, not the name.
        let asked = zenlab(&["status", name], "http://127.0.0.1:1");
        assert_eq!(asked.status.code(), Some(1), "{asked:?}");
        let measured = zenlab(&["bench", "--only", name], "");
        assert_eq!(measured.status.code(), Some(2), "{measured:?}");
    }
}
