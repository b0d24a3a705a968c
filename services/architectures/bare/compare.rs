//! What an architecture's server costs beside its bare counterpart: CPU time of the server for each question, as a ratio.
//!
//! ```text
//! cargo run --release -p architectures --example compare -- [--pairs N] [--connections 16,128] [--timeouts] [NAME…]
//! ```
//!
//! Each pair has new processes; short turns of load go to one and the other, so that whatever else the machine does meets both
//! alike. The median of the pairs' ratios is printed with its quartiles. A packet filter makes every question dearer and the
//! ratio smaller: run it under `unshare --net`, after `ip link set lo up`. With `--timeouts` the
//! counterparts that block do so with a timeout, as ours must.

#![allow(clippy::print_stdout, reason = "a program whose result is its output")]

mod bare;
mod ring;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bare::{Bare, POOL, STREAMS, WITH_TIMEOUTS, listen_at};
use chassis::page::LiveValue;
use chassis::settings::{Source, Start};
use chassis::{Architecture, IoUring, Workers};
use rustix::process::{Pid, Signal};

/// How long one turn of load is.
const TURN: Duration = Duration::from_millis(20);

/// Turns that each server of a pair has.
const TURNS: usize = 20;

const QUESTION: &[u8] = b"Simple is better than?";
const ANSWER: &[u8] = b"Complex.";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Vec<String>) -> io::Result<()> {
    let mut option = |name: &str, default: &str| -> String {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(default.into(), |at| arguments.drain(at..at + 2).nth(1).unwrap_or_default())
    };
    let pairs: usize = option("--pairs", "17").parse::<NonZeroUsize>().map_err(io::Error::other)?.get();
    let connections = option("--connections", "16,128");
    if let Some(at) = arguments.iter().position(|argument| argument == "--timeouts") {
        arguments.remove(at);
        WITH_TIMEOUTS.store(true, Ordering::Relaxed);
    }
    let connections: Vec<usize> =
        connections.split(',').map(str::parse).collect::<Result<_, _>>().map_err(io::Error::other)?;
    println!("| architecture | connections | CPU ratio to bare (quartiles) | questions a pair, bare / ours |");
    println!("|---|---|---|---|");
    for (name, counterpart) in
        STREAMS.into_iter().filter(|(name, _)| arguments.is_empty() || arguments.iter().any(|a| a == name))
    {
        let Some(architecture) = architectures::find(name) else { continue };
        let mut connections: Vec<usize> = connections.iter().map(|&wanted| wanted.min(most(architecture))).collect();
        connections.dedup();
        for connections in connections {
            compare(architecture, counterpart, connections, pairs)?;
        }
    }
    Ok(())
}

/// How many clients are served at once: a closed loop would wait for the others for ever.
fn most(architecture: &Architecture) -> usize {
    architecture.capacity.connections().unwrap_or_else(|| workers(architecture))
}

fn workers(architecture: &Architecture) -> usize {
    if matches!(architecture.workers, Workers::Ignored(_)) { 1 } else { POOL }
}

fn compare(architecture: &'static Architecture, counterpart: Bare, connections: usize, pairs: usize) -> io::Result<()> {
    let mut ratios = Vec::new();
    let mut answered = [0, 0];
    for _ in 0..pairs {
        let [bare, ours] = pair(&[Server::bare(counterpart)?, Server::ours(architecture)?], connections)?;
        ratios.push(ours.per_question() / bare.per_question());
        answered[0] += bare.questions;
        answered[1] += ours.questions;
    }
    ratios.sort_by(f64::total_cmp);
    let quantile = |q: usize| ratios[(ratios.len() - 1) * q / 4];
    println!(
        "| {} | {connections} | {:.3} ({:.3}-{:.3}) | {} / {} |",
        architecture.name,
        quantile(2),
        quantile(1),
        quantile(3),
        answered[0] / pairs,
        answered[1] / pairs,
    );
    Ok(())
}

/// What the turns of one server took.
#[derive(Clone, Copy, Default)]
struct Cost {
    cpu_ns: u64,
    questions: usize,
}

impl Cost {
    fn per_question(self) -> f64 {
        self.cpu_ns as f64 / self.questions as f64
    }
}

/// Turns of two servers, one after the other. The first of each are not counted: new processes have cold caches.
fn pair(servers: &[Server; 2], connections: usize) -> io::Result<[Cost; 2]> {
    let mut loads = [Load::connect(servers[0].address, connections)?, Load::connect(servers[1].address, connections)?];
    let mut costs = [Cost::default(); 2];
    for turn in 0..=TURNS {
        // Whoever is first has the warmer or the colder machine: they take turns at that, too.
        for which in if turn % 2 == 0 { [0, 1] } else { [1, 0] } {
            let before = servers[which].cpu_ns()?;
            let questions = loads[which].run(TURN)?;
            if turn > 0 {
                costs[which].cpu_ns += servers[which].cpu_ns()? - before;
                costs[which].questions += questions;
            }
        }
    }
    Ok(costs)
}

/// A server in a process group of its own.
struct Server {
    leader: Pid,
    address: SocketAddr,
}

impl Server {
    fn bare(serve: Bare) -> io::Result<Self> {
        let listener = listen_at(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = listener.local_addr()?;
        Self::fork(address, move || serve(&listener))
    }

    fn ours(architecture: &'static Architecture) -> io::Result<Self> {
        // The kernel chooses a free port; that it is still free a moment later is likely enough for a comparison.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let start = settings(architecture, address);
        let server = Self::fork(address, move || match chassis::run(architecture, start) {
            0 => Ok(()),
            code => Err(io::Error::other(format!("the server ended with code {code}"))),
        })?;
        let patience = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(address).is_err() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    fn fork(address: SocketAddr, serve: impl FnOnce() -> io::Result<()>) -> io::Result<Self> {
        let child = chassis::fork::spawn(|| {
            rustix::process::setsid()?;
            // Ctrl-C ends the comparison without a word to its servers.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            serve()
        })?;
        let leader = Pid::from_raw(child.id() as i32).ok_or_else(|| io::Error::other("no process"))?;
        Ok(Self { leader, address })
    }

    /// CPU time of the server's threads and processes that live now, in nanoseconds.
    fn cpu_ns(&self) -> io::Result<u64> {
        let session = self.leader.as_raw_nonzero().get().to_string();
        let mut sum = 0;
        for process in fs::read_dir("/proc")?.flatten() {
            let path = process.path();
            let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            if fields.get(3) != Some(&session.as_str()) {
                continue;
            }
            for task in fs::read_dir(path.join("task")).into_iter().flatten().flatten() {
                let schedule = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                sum += schedule.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        Ok(sum)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The supervisor's children die with it; a bare server's are in its group.
        let _ = rustix::process::kill_process_group(self.leader, Signal::KILL);
        let _ = rustix::process::waitpid(Some(self.leader), rustix::process::WaitOptions::empty());
    }
}

fn settings(architecture: &Architecture, address: SocketAddr) -> Start {
    let seconds = |number: u64| number * 1_000_000_000;
    let live = [
        (LiveValue::Workers, workers(architecture) as u64),
        (LiveValue::MaxConnections, 900),
        (LiveValue::IdleTimeout, seconds(3600)),
        (LiveValue::QuestionDeadline, seconds(60)),
        (LiveValue::WriteStall, seconds(60)),
        (LiveValue::TraceOneIn, 1024),
        (LiveValue::DrainTimeout, seconds(10)),
    ];
    Start {
        listen: vec![zen::Endpoint::host(zen::Transport::Tcp, "127.0.0.1", address.port())],
        backlog: 4096,
        max_question_bytes: 64,
        receive_buffer: 1 << 20,
        io_uring: IoUring::Require,
        lab: false,
        name: architecture.name.to_owned(),
        otlp_endpoint: String::new(),
        admin_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        token_file: None,
        admin_hosts: Vec::new(),
        config_file: None,
        live: live.into_iter().map(|(key, value)| (key, value, Source::Default)).collect(),
    }
}

/// A closed loop: each connection has one question on its way.
struct Load {
    clients: Vec<TcpStream>,
}

impl Load {
    fn connect(address: SocketAddr, connections: usize) -> io::Result<Self> {
        let clients: Vec<TcpStream> =
            (0..connections).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
        for client in &clients {
            client.set_nodelay(true)?;
        }
        Ok(Self { clients })
    }

    /// Gives how many questions were answered.
    fn run(&mut self, time: Duration) -> io::Result<usize> {
        let end = Instant::now() + time;
        let mut answered = 0;
        let mut answer = [0; ANSWER.len()];
        while Instant::now() < end {
            for client in &mut self.clients {
                client.write_all(QUESTION)?;
            }
            for client in &mut self.clients {
                client.read_exact(&mut answer)?;
                if answer != ANSWER {
                    return Err(io::Error::other("a wrong answer"));
                }
                answered += 1;
            }
        }
        Ok(answered)
    }
}

#[cfg(test)]
mod tests {
    use super::STREAMS;

    #[test]
    fn every_architecture_has_a_counterpart() {
        let listed = STREAMS.iter().map(|(name, _)| *name);
        assert!(listed.eq(architectures::REGISTRY.iter().map(|architecture| architecture.name)));
    }
}
