//! The endpoint as the framework's source of requests: what Python has a server's `get_request` and its like for.

use std::cell::Cell;
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use ::socketserver::Requests;
use chassis::{Endpoint, Site, Worker};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::socketserver_forking::Apart;

/// An endpoint whose clients or datagrams are requests.
pub struct Requested<S: Endpoint, R> {
    site: Site<S>,
    take: Take<S, R>,
    /// Why nobody can be taken any more: ends the server, as it ends the others.
    failed: Cell<Option<io::Error>>,
}

/// accept(2) or recvmsg(2).
type Take<S, R> = fn(&mut Site<S>) -> io::Result<Option<R>>;

impl<S: Endpoint, R> Requested<S, R> {
    pub fn new(site: Site<S>, take: Take<S, R>) -> Self {
        Self { site, take, failed: Cell::default() }
    }

    /// Once a turn: pauses, drains, orders.
    pub fn goes_on(&mut self) -> bool {
        self.site.proceed()
    }

    /// The same where each request has a thread or process of its own: says how many there are.
    pub fn goes_on_apart(&mut self) -> bool {
        self.site.report_running(self.site.seated());
        self.goes_on()
    }

    /// Has a thread or process made as every other worker is: timed, and told of if there is none.
    fn hire<W: Worker>(&self, spawn: impl FnOnce() -> io::Result<W>) -> io::Result<W> {
        self.site.hire(spawn).ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

impl<R: Apart> Requests for Requested<R::Socket, R> {
    type Request = R;
    type Ticket = Option<usize>;

    fn wait(&self, time: Duration) -> io::Result<bool> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if !self.site.is_open() {
            return Ok(false);
        }
        let mut fds = [PollFd::new(&self.site, PollFlags::IN)];
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        // In a drain the last look is the site's own.
        Ok(poll(&mut fds, Some(&time)).is_ok_and(|ready| ready > 0) || self.site.is_draining())
    }

    fn get_request(&mut self) -> io::Result<Option<R>> {
        (self.take)(&mut self.site).or_else(|error| {
            self.failed.set(Some(error));
            Ok(None)
        })
    }

    fn start_thread(&mut self, start: impl FnOnce() -> io::Result<JoinHandle<()>>) -> io::Result<JoinHandle<()>> {
        self.hire(start)
    }

    fn fork(&mut self, work: impl FnOnce() -> bool) -> io::Result<i32> {
        // What goes wrong in the child is told and counted there.
        let work = || {
            work();
        };
        let child = self.hire(|| R::fork(&self.site, work))?;
        Ok(child.id() as i32)
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
}
