//! Python's `socketserver` framework, plain: one request after the other.
//!
//! **Costs**: those of `single_threaded`, and a call more for each client: the framework asks whether somebody is there
//! (poll) before it takes him (accept), so that it can look for other things in between.
//! **Choose it** for small services that may grow: a mix-in turns the same handler into a server with a thread or a process
//! for each request.
//! **Watch** on the dashboard: the accept queue; everything beside `single_threaded`.
//! **Chapter**: "The SocketServer Framework" (`sszt.py`, `sszu.py`). `socketserver_threading` and `socketserver_forking` are
//! the same with its two mix-ins.

mod requested;

use std::io;
use std::time::Duration;

use ::socketserver::{BaseRequestHandler, Server};
use chassis::{Architecture, Capacity, Errand, Family, Site, Visit, Workers};

pub(crate) use requested::Requested;

pub const ARCHITECTURE: Architecture = Architecture {
    name: "socketserver",
    summary: "Python's framework, plain: one request after the other",
    offset: 6,
    family: Family::Framework,
    stream: Some(|site| {
        let clients = Requested::new(site, Site::accept);
        Server::new::<Client>(clients).on_service_actions(Requested::goes_on).serve_forever(TICK)
    }),
    datagram: Some(|site| {
        let letters = Requested::new(site, Site::receive_for_thread);
        Server::new::<Letter>(letters).on_service_actions(Requested::goes_on).serve_forever(TICK)
    }),
    workers: Workers::Ignored("one thread handles one request at a time"),
    capacity: Capacity::PerWorker,
};

/// How often the framework looks whether it should go on.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Handles a client: a conversation to its end.
pub(crate) struct Client(Option<Visit>);

impl BaseRequestHandler for Client {
    type Request = Visit;

    fn new(visit: Visit) -> Self {
        Self(Some(visit))
    }

    fn handle(&mut self) -> io::Result<()> {
        self.0.take().into_iter().for_each(Visit::converse);
        Ok(())
    }
}

/// Handles a datagram: an answer.
pub(crate) struct Letter(Option<Errand>);

impl BaseRequestHandler for Letter {
    type Request = Errand;

    fn new(errand: Errand) -> Self {
        Self(Some(errand))
    }

    fn handle(&mut self) -> io::Result<()> {
        self.0.take().into_iter().for_each(Errand::answer);
        Ok(())
    }
}
