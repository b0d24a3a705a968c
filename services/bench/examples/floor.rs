//! The least that a client can do: it sends, waits and receives, and checks, times and records nothing. What it costs is the
//! kernel's; [the lean client](bench::Crowd) is compared with it. `floor HOST:PORT CONNECTIONS DEPTH SECONDS` prints answers.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::error::Error;
use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Events that one wake-up brings at most, as in the lean client.
const EVENTS: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, depth, seconds] = arguments.as_slice() else {
        return Err("floor HOST:PORT CONNECTIONS DEPTH SECONDS".into());
    };
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let (set, clients) = connect(address.parse()?, connections.parse()?)?;
    println!("{}", ask(&set, &clients, depth.parse()?, Duration::from_secs_f64(seconds.parse()?))?);
    Ok(())
}

/// Clients, and the set that says once for each arrival whose it is.
fn connect(address: SocketAddr, connections: usize) -> io::Result<(OwnedFd, Vec<TcpStream>)> {
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    let mut clients = Vec::new();
    for number in 0..connections {
        let client = TcpStream::connect(address)?;
        client.set_nodelay(true)?;
        client.set_nonblocking(true)?;
        epoll::add(&set, &client, EventData::new_u64(number as u64), EventFlags::IN | EventFlags::ET)?;
        clients.push(client);
    }
    Ok((set, clients))
}

/// Keeps `depth` questions of each client on their way for so long, and counts the answers.
fn ask(set: &OwnedFd, clients: &[TcpStream], depth: usize, time: Duration) -> io::Result<usize> {
    let question = zen::QUESTIONS[0].question;
    let questions = question.repeat(depth);
    let mut buffer = vec![0; 4096.max(depth * 16)];
    let (mut answers, mut again) = (0, Vec::new());
    for client in clients {
        send(client, questions.as_bytes(), SendFlags::NOSIGNAL)?;
    }
    let end = Instant::now() + time;
    while Instant::now() < end {
        let mut room = [MaybeUninit::<Event>::uninit(); EVENTS];
        let (events, _) = epoll::wait(set, &mut room, None)?;
        for event in &*events {
            let Event { data, .. } = *event;
            let client = &clients[data.u64() as usize];
            let count = match recv(client, &mut buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((_, count)) => buffer[..count].split(|&byte| byte == b'.').count() - 1,
                Err(Errno::AGAIN) => 0,
                Err(error) => return Err(error.into()),
            };
            again.push((client, count));
        }
        for (client, count) in again.drain(..) {
            answers += count;
            send(client, &questions.as_bytes()[..count * question.len()], SendFlags::NOSIGNAL)?;
        }
    }
    Ok(answers)
}
