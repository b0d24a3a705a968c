//! Python's `socketserver` framework with its forking mix-in: a process for each request, datagrams as well.
//!
//! **Costs**: those of `fork_per_connection`, and a call more for each client (poll before accept). A process for each
//! datagram costs many times the answer.
//! **Choose it** for few, long requests that must be kept apart. `max_children` bounds them; the next one waits.
//! **Watch** on the dashboard: processes, CPU per question, beside `fork_per_connection`.
//! **Chapter**: "The SocketServer Framework", `ForkingMixIn`, and its limitation "resource management".

use std::io;
use std::os::fd::AsFd;

use ::socketserver::{ForkingMixIn, Server};
use chassis::fork::{self, Child};
use chassis::{Architecture, Capacity, DatagramSocket, Endpoint, Errand, Family, Site, StreamListener, Visit, Workers};

use crate::socketserver::{Client, Letter, Requested, TICK};

pub const ARCHITECTURE: Architecture = Architecture {
    name: "socketserver_forking",
    summary: "Python's framework with ForkingMixIn: a process for each request",
    offset: 8,
    family: Family::Framework,
    stream: Some(|site| {
        // Nobody waits in accept(2): the framework looks who has gone before it takes the next one.
        site.set_blocking(false)?;
        let clients = Requested::new(site, Site::accept_for_process);
        let server = Server::new::<Client>(clients).with(forking());
        server.on_service_actions(Requested::goes_on_apart).serve_forever(TICK)
    }),
    datagram: Some(|site| {
        let letters = Requested::new(site, Site::receive_for_process);
        let server = Server::new::<Letter>(letters).with(forking());
        server.on_service_actions(Requested::goes_on_apart).serve_forever(TICK)
    }),
    workers: Workers::Ignored("each request has a process of its own"),
    capacity: Capacity::Processes(CHILDREN),
};

/// How many processes there may be: as many as clients may be served.
const CHILDREN: usize = 512;

fn forking<S: Endpoint, R: Apart<Socket = S>>() -> ForkingMixIn<Requested<S, R>> {
    ForkingMixIn::new(CHILDREN)
}

/// A request that may be handled in another process, and counts in a slot of its own then.
pub(crate) trait Apart: Send + Sized + 'static {
    type Socket: Endpoint;
    /// Makes a process that handles it, and has no descriptor that it does not need.
    fn fork(site: &Site<Self::Socket>, work: impl FnOnce()) -> io::Result<Child>;
    fn seat(&self) -> Option<usize>;
    fn abandon(self);
    fn refuse(self, site: &Site<Self::Socket>);
}

impl Apart for Visit {
    type Socket = StreamListener;

    fn fork(site: &Site<StreamListener>, work: impl FnOnce()) -> io::Result<Child> {
        fork::spawn_without(site.as_fd(), work)
    }

    fn seat(&self) -> Option<usize> {
        Self::seat(self)
    }

    fn abandon(self) {
        Self::abandon(self);
    }

    fn refuse(self, site: &Site<StreamListener>) {
        site.send_away(self);
    }
}

impl Apart for Errand {
    type Socket = DatagramSocket;

    /// It answers by the endpoint's own socket.
    fn fork(_: &Site<DatagramSocket>, work: impl FnOnce()) -> io::Result<Child> {
        fork::spawn(|| {
            work();
            Ok(())
        })
    }

    fn seat(&self) -> Option<usize> {
        Some(Self::seat(self))
    }

    fn abandon(self) {
        Self::abandon(self);
    }

    fn refuse(self, site: &Site<DatagramSocket>) {
        site.give_up(self);
    }
}
