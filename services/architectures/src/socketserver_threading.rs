//! Python's `socketserver` framework with its threading mix-in: a thread for each request, datagrams as well.
//!
//! **Costs**: those of `thread_per_connection`, and a call more for each client (poll before accept). A thread for each
//! datagram costs more than the answer.
//! **Choose it** for services whose handlers block, with some hundred clients at once.
//! **Watch** on the dashboard: threads, context switches per question, beside `thread_per_connection`.
//! **Chapter**: "The SocketServer Framework", `ThreadingMixIn` (`sszt.py`, `sszu.py`).

use ::socketserver::{Server, ThreadingMixIn};
use chassis::{Architecture, Capacity, Family, Site, Workers};

use crate::socketserver::{Client, Letter, Requested, TICK};

pub const ARCHITECTURE: Architecture = Architecture {
    name: "socketserver_threading",
    summary: "Python's framework with ThreadingMixIn: a thread for each request",
    offset: 7,
    family: Family::Framework,
    stream: Some(|site| {
        let clients = Requested::new(site, Site::accept_for_thread);
        let server = Server::new::<Client>(clients).with(ThreadingMixIn::default());
        server.on_service_actions(Requested::goes_on_apart).serve_forever(TICK)
    }),
    datagram: Some(|site| {
        let letters = Requested::new(site, Site::receive_for_thread);
        let server = Server::new::<Letter>(letters).with(ThreadingMixIn::default());
        server.on_service_actions(Requested::goes_on_apart).serve_forever(TICK)
    }),
    workers: Workers::Ignored("each request has a thread of its own"),
    capacity: Capacity::Threads(2000),
};
