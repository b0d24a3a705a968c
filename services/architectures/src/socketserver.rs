//! Python's `socketserver` framework, plain: one request after the other.
//!
//! **Costs**: those of `single_threaded`, and a call more for each client: the framework asks whether somebody is there
//! (poll) before it takes him (accept), so that it can look for other things in between.
//! **Choose it** for small services that may grow: a mix-in turns the same handler into a server with a thread or a process
//! for each request.
//! **Watch** on the dashboard: the accept queue; everything beside `single_threaded`.
//! **Chapter**: "The SocketServer Framework" (`sszt.py`, `sszu.py`). `socketserver_threading` and `socketserver_forking` are
//! the same with its two mix-ins.

use std::io;
use std::time::Duration;

use ::socketserver::{BaseRequestHandler, Failure, Requests, Server};
use chassis::{Architecture, Capacity, Endpoint, Errand, Family, Site, Visit, Workers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::socketserver_forking::Apart;

pub const ARCHITECTURE: Architecture = Architecture {
    name: "socketserver",
    summary: "Python's framework, plain: one request after the other",
    offset: 6,
    family: Family::Framework,
    stream: Some(|site| {
        let clients = Requested { site, take: Site::accept };
        Server::new::<Client>(clients).on_service_actions(Requested::goes_on).serve_forever(TICK)
    }),
    datagram: Some(|site| {
        let letters = Requested { site, take: Site::receive_for_thread };
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

/// The endpoint as the framework's source of requests.
pub(crate) struct Requested<S: Endpoint, R> {
    pub site: Site<S>,
    /// accept(2) or recvmsg(2).
    pub take: fn(&mut Site<S>) -> io::Result<Option<R>>,
}

impl<S: Endpoint, R> Requested<S, R> {
    /// Once a turn: pauses, drains, orders.
    pub fn goes_on(&mut self) -> bool {
        self.site.proceed()
    }

    /// The same where each request has a thread or process of its own: says how many there are.
    pub fn goes_on_apart(&mut self) -> bool {
        self.site.report_running(self.site.seated());
        self.goes_on()
    }
}

/// Tells of requests that found no thread or process. What goes wrong in one is counted where it does.
pub(crate) fn tell(failure: &Failure) {
    if let Failure::Spawn(error) = failure {
        chassis::worker_not_started(error);
    }
}

impl<R: Apart> Requests for Requested<R::Socket, R> {
    type Request = R;
    type Ticket = Option<usize>;

    fn wait(&self, time: Duration) -> io::Result<bool> {
        if !self.site.is_open() {
            return Ok(false);
        }
        let mut fds = [PollFd::new(&self.site, PollFlags::IN)];
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        // In a drain the last look is the site's own.
        Ok(poll(&mut fds, Some(&time)).is_ok_and(|ready| ready > 0) || self.site.is_draining())
    }

    fn get_request(&mut self) -> io::Result<Option<R>> {
        (self.take)(&mut self.site)
    }

    fn ticket(&self, request: &R) -> Option<usize> {
        request.seat()
    }

    fn close_request(&mut self, request: R) {
        request.abandon();
    }

    fn refuse_request(&mut self, request: R) {
        request.refuse(&self.site);
    }

    fn child_ended(&mut self, seat: Option<usize>) {
        if let Some(seat) = seat {
            self.site.vacate(seat);
        }
    }

    fn close_in_child(&mut self) {
        self.site.leave();
    }
}
