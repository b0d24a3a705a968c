//! Servers whose answers, and whose faults, are known.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bench::{Crowd, Life, Options, Pace, Slot};
use rustix::net::{SendFlags, send};
use zen::{Endpoint, QUESTIONS, Transport};

/// Clients that wait longer than a busy machine stalls: what fails then is the server's fault.
pub const PATIENT: Options = Options {
    depth: 1,
    life: Life::Held,
    patience: Duration::from_secs(30),
    drain: Duration::from_secs(30),
    stop: None,
};

/// Slots until they have seen enough together: in one of them a busy machine may do next to nothing.
pub fn slots_until(crowd: &mut Crowd, time: Duration, pace: Pace, is_enough: impl Fn(&Slot) -> bool) -> Slot {
    let mut all = Slot::default();
    for _ in 0..100 {
        let slot = crowd.slot(time, pace).unwrap();
        assert!(slot.balances(), "{slot:?}");
        all.add(&slot);
        if is_enough(&all) {
            return all;
        }
    }
    panic!("not in 100 slots, {pace:?}: {all:?}");
}

/// What the server does before an answer, and what it answers.
pub type Reply = Arc<dyn Fn(&'static str) -> Vec<u8> + Send + Sync>;

pub fn right(answer: &'static str) -> Vec<u8> {
    answer.as_bytes().to_vec()
}

pub fn endpoint(transport: Transport, address: SocketAddr) -> Endpoint {
    Endpoint::host(transport, address.ip().to_string(), address.port())
}

/// A thread for each connection; `reply` makes each answer.
pub fn tcp(reply: Reply) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    start(move || {
        for client in listener.incoming().flatten() {
            let reply = reply.clone();
            start(move || converse(client, &reply));
        }
    });
    endpoint(Transport::Tcp, address)
}

/// Answers every datagram with the datagrams that `replies` makes of the answer.
pub fn udp(replies: impl Fn(&'static str) -> Vec<Vec<u8>> + Send + 'static) -> Endpoint {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    start(move || {
        let mut buffer = [0; 64];
        while let Ok((count, client)) = socket.recv_from(&mut buffer) {
            for reply in replies(answer_to(&buffer[..count])) {
                let _ = socket.send_to(&reply, client);
            }
        }
    });
    endpoint(Transport::Udp, address)
}

/// Answers one question of each connection and closes it at once: the end comes with the answer.
pub fn brief() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    start(move || {
        for mut client in listener.incoming().flatten() {
            let mut buffer = [0; 64];
            if let Ok(count @ 1..) = client.read(&mut buffer) {
                // Held back until more comes, and that is the end: one packet has both, whenever this thread runs.
                let _ = send(&client, answer_to(&buffer[..count]).as_bytes(), SendFlags::MORE);
            }
        }
    });
    endpoint(Transport::Tcp, address)
}

/// Takes no client from its queue.
pub fn stalled() -> (Endpoint, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (endpoint(Transport::Tcp, address), listener)
}

/// Stands still for `pause` once, `after` the first question; everybody waits.
pub fn pausing(after: Duration, pause: Duration) -> Reply {
    let first = Mutex::new(None::<Instant>);
    let paused = AtomicBool::new(false);
    Arc::new(move |answer| {
        let mut first = first.lock().unwrap();
        let begun = *first.get_or_insert_with(Instant::now);
        if begun.elapsed() >= after && !paused.swap(true, Ordering::Relaxed) {
            // The lock is held: this is the pause of all.
            thread::sleep(pause);
        }
        right(answer)
    })
}

/// Answers at most `rate` questions a second: each has its own instant, one after the other.
pub fn capped(rate: f64) -> Reply {
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let gap = (1e9 / rate) as u64;
    Arc::new(move |answer| {
        let now = begun.elapsed().as_nanos() as u64;
        let taken = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| Some(next.max(now) + gap)).unwrap();
        let mine = taken.max(now);
        thread::sleep(Duration::from_nanos(mine.saturating_sub(begun.elapsed().as_nanos() as u64)));
        right(answer)
    })
}

/// Every `nth` answer is made by `other`.
pub fn every(nth: u64, other: fn(&'static str) -> Vec<u8>) -> Reply {
    let count = AtomicU64::new(0);
    Arc::new(move |answer| {
        let is_other = count.fetch_add(1, Ordering::Relaxed) % nth == nth - 1;
        if is_other { other(answer) } else { right(answer) }
    })
}

fn converse(mut client: TcpStream, reply: &Reply) {
    client.set_nodelay(true).unwrap();
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        heard.extend_from_slice(&buffer[..count]);
        while let Some(end) = heard.iter().position(|&byte| byte == b'?') {
            let question: Vec<u8> = heard.drain(..=end).collect();
            let answer = reply(answer_to(&question));
            if answer.is_empty() || client.write_all(&answer).is_err() {
                return;
            }
        }
    }
}

pub fn answer_to(question: &[u8]) -> &'static str {
    QUESTIONS.iter().find(|known| known.question.as_bytes() == question).expect("a known question").answer
}

pub fn start(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().spawn(work).unwrap();
}
