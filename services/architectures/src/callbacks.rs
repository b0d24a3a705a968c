//! A framework of callbacks, as asyncio's protocols: the loop calls a method of yours when something has happened.
//!
//! **Costs**: about what `epoll` costs, and it is the same loop below. What is said with one client is cut into pieces, one
//! method each, and what must be remembered between them lives in a struct's fields.
//! **Choose it** for many clients on one thread when each event's answer is short. Where one step waits for another,
//! callbacks nest in callbacks: compare [`Client::go_on`] with the same thing in `coroutines`.
//! **Watch** on the dashboard: memory per connection and context switches per question, both beside `epoll`.
//! **Chapter**: "Asyncio framework", callback style (`tacb.py`, `uacb.py`, `asynpro.py`, `asyndg.py`); crate `eventloop`.

mod datagrams;
mod turns;

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use chassis::{Architecture, Capacity, Family, Site, StreamListener, Talk, Wants, Workers};
use eventloop::{Accepted, EventLoop, LoopHandle, Protocol, ServerHandle, Transport};

pub const ARCHITECTURE: Architecture = Architecture {
    name: "callbacks",
    summary: "protocols whose methods a loop calls, as in asyncio",
    offset: 14,
    family: Family::Async,
    stream: Some(serve_clients),
    datagram: Some(datagrams::answer_datagrams),
    workers: Workers::Ignored("one thread makes all calls"),
    capacity: Capacity::Connections(10_000),
};

/// How often the loop looks whose time is up.
const ROUND: Duration = Duration::from_millis(100);

fn serve_clients(site: Site<StreamListener>) -> io::Result<()> {
    let mut event_loop = EventLoop::new()?;
    let failed = turns::watch_for_failures(&event_loop);
    let listener = site.as_fd().try_clone_to_owned()?;
    let site = Rc::new(RefCell::new(site));
    let door = Rc::clone(&site);
    let server = event_loop.create_server_with(listener.into(), move |_| {
        let newcomer = door.borrow_mut().greet()?;
        Ok(newcomer.map(|(stream, talk)| Accepted::new(OwnedFd::from(stream).into(), Client { talk })))
    })?;
    make_rounds(&event_loop, server.clone());
    while site.borrow_mut().turn() || server.open_connections() > 0 {
        follow(&site.borrow(), &server)?;
        turns::take_turn(&mut event_loop, &site, &failed)?;
    }
    Ok(())
}

/// The listener here is a copy of the site's, and goes with it.
fn follow(site: &Site<StreamListener>, server: &ServerHandle) -> io::Result<()> {
    match (site.has_socket(), site.is_open()) {
        (false, _) => server.close(),
        (true, open) if open == server.is_serving() => {}
        (true, true) => server.resume()?,
        (true, false) => server.pause()?,
    }
    Ok(())
}

fn make_rounds(event_loop: &LoopHandle, server: ServerHandle) {
    server.for_each(Client::look_at_clock);
    event_loop.call_later(ROUND, move |event_loop| make_rounds(event_loop, server));
}

/// What is remembered of one client between two callbacks.
struct Client {
    talk: Talk,
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &Transport) {
        // Tell us of every byte that the kernel refuses, and when it has taken the last of them.
        transport.set_write_buffer_limits(0, 0);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.talk.heard(data);
        self.go_on(transport);
    }

    fn eof_received(&mut self, transport: &Transport) -> bool {
        self.data_received(transport, &[]);
        true
    }

    fn resume_writing(&mut self, transport: &Transport) {
        self.count_sent(transport);
        self.go_on(transport);
    }

    fn connection_lost(&mut self, transport: &Transport, error: Option<io::Error>) {
        if let Some(error) = error {
            self.talk.failed(&error);
        }
        if self.talk.closes_first() {
            transport.take_socket().into_iter().for_each(chassis::linger);
        }
    }
}

impl Client {
    /// Does what can be done now, and arranges for the next callback.
    fn go_on(&mut self, transport: &Transport) {
        if self.talk.wants() == Wants::ToSpeak && transport.get_write_buffer_size() == 0 {
            transport.write(self.talk.reply());
            self.count_sent(transport);
        }
        match self.talk.wants() {
            Wants::ToHear => transport.resume_reading(),
            // Who does not read is not read. The kernel has refused some; `resume_writing` comes when it has taken it.
            Wants::ToSpeak => transport.pause_reading(),
            Wants::ToWait(until) => {
                transport.pause_reading();
                let delay = until.saturating_duration_since(Instant::now());
                transport.call_later(delay, |client: &mut Self, transport| {
                    client.talk.waited();
                    client.go_on(transport);
                });
            }
            Wants::ToLeave => transport.abort(),
        }
    }

    /// Counts what the kernel has taken of the reply since the last time.
    fn count_sent(&mut self, transport: &Transport) {
        let sent = self.talk.reply().len().saturating_sub(transport.get_write_buffer_size());
        if sent > 0 && self.talk.wants() == Wants::ToSpeak && !transport.is_closing() {
            self.talk.spoke(sent);
        }
    }

    fn look_at_clock(&mut self, transport: &Transport) {
        self.count_sent(transport);
        if transport.with_socket(|socket| self.talk.is_overdue(socket)) == Some(true) {
            self.talk.time_is_up();
            self.go_on(transport);
        }
    }
}
