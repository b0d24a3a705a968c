//! The protocol's hand on its connection.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use socket2::{SockAddr, Socket};

use crate::connection::Connection;
use crate::handle::LoopHandle;
use crate::slots::Token;
use crate::{Protocol, TimerHandle};

/// One stream connection, to write to and to steer. A few bytes, cheap to clone, and harmless for ever: once the
/// connection is gone, its methods do nothing.
#[derive(Clone, Debug)]
pub struct Transport {
    event_loop: LoopHandle,
    token: Token,
}

impl Transport {
    pub(crate) fn new(event_loop: &LoopHandle, token: Token) -> Self {
        Self { event_loop: event_loop.clone(), token }
    }

    fn connection<R>(&self, call: impl FnOnce(&mut Connection) -> R) -> Option<R> {
        self.event_loop.connection(self.token, |connection, _, _| call(connection))
    }

    /// Sends `data`: at once as far as the kernel takes it, the rest as it can. Never blocks and never fails; a broken
    /// connection is told by `connection_lost`. Bytes written after `close` or `write_eof` are dropped.
    pub fn write(&self, data: &[u8]) {
        self.event_loop.connection(self.token, |connection, core, token| connection.write(core, token, data));
    }

    /// Ends our half when everything written is sent; the peer may still send.
    pub fn write_eof(&self) {
        self.connection(Connection::write_eof);
    }

    /// Reads no more, sends what is waiting, then closes; `connection_lost(None)` follows. A peer that never reads
    /// holds this up: see [`abort`](Self::abort).
    pub fn close(&self) {
        self.event_loop.connection(self.token, Connection::close);
    }

    /// Closes now; what is waiting is dropped. `connection_lost(None)` follows before the loop waits again.
    pub fn abort(&self) {
        self.event_loop.connection(self.token, |connection, core, token| connection.end(core, token, None));
    }

    /// Whether it was closed, aborted or broken.
    pub fn is_closing(&self) -> bool {
        self.connection(|connection| connection.closing).unwrap_or(true)
    }

    /// Calls `data_received` no more until [`resume_reading`](Self::resume_reading); the kernel's buffer fills, then
    /// the peer has to wait.
    pub fn pause_reading(&self) {
        self.set_reading_paused(true);
    }

    /// Reads again.
    pub fn resume_reading(&self) {
        self.set_reading_paused(false);
    }

    /// Whether `data_received` may be called: neither paused nor closed, and the peer's half has not ended.
    pub fn is_reading(&self) -> bool {
        self.connection(|connection| connection.is_reading()).unwrap_or(false)
    }

    fn set_reading_paused(&self, paused: bool) {
        self.event_loop.connection(self.token, |connection, core, token| {
            connection.reading_paused = paused;
            connection.update_interest(core, token);
        });
    }

    /// Above `high` waiting bytes `pause_writing` is called, at `low` or fewer `resume_writing`. The default is
    /// 64 and 16 KiB; `(0, 0)` tells of every byte that the kernel refused. A `low` above `high` counts as `high`.
    pub fn set_write_buffer_limits(&self, high: usize, low: usize) {
        self.event_loop.connection(self.token, |connection, core, token| connection.set_limits(core, token, high, low));
    }

    /// The high and the low mark, in bytes; `(0, 0)` once the connection is gone.
    pub fn get_write_buffer_limits(&self) -> (usize, usize) {
        self.connection(|connection| connection.limits()).unwrap_or_default()
    }

    /// How many written bytes the kernel has not taken yet.
    pub fn get_write_buffer_size(&self) -> usize {
        self.connection(|connection| connection.waiting_to_be_sent()).unwrap_or(0)
    }

    /// The peer's address.
    pub fn peer_name(&self) -> io::Result<SockAddr> {
        self.with_socket(Socket::peer_addr).ok_or(io::ErrorKind::NotConnected)?
    }

    /// Our address.
    pub fn socket_name(&self) -> io::Result<SockAddr> {
        self.with_socket(Socket::local_addr).ok_or(io::ErrorKind::NotConnected)?
    }

    /// The descriptor's number, while there is one.
    pub fn raw_fd(&self) -> Option<RawFd> {
        self.with_socket(AsRawFd::as_raw_fd)
    }

    /// Lends the socket, for its options. `call` must not call the loop, a transport or a server.
    pub fn with_socket<R>(&self, call: impl FnOnce(&Socket) -> R) -> Option<R> {
        self.connection(|connection| call(&connection.socket))
    }

    /// Takes the socket out of a connection that is over: for a protocol that, in `connection_lost`, hands it on. A copy would
    /// need a descriptor, which there may not be. `None` while the connection stands, and once it is taken.
    pub fn take_socket(&self) -> Option<Socket> {
        self.event_loop.take_lost(self.token).map(|connection| connection.socket)
    }

    /// Calls `call` with the connection's own protocol, which must be a `P`, before the loop waits again, if the
    /// connection is still there.
    pub fn call_soon<P: Protocol>(&self, call: impl FnOnce(&mut P, &Transport) + 'static) {
        let transport = self.clone();
        self.event_loop.call_soon(move |_| transport.call_now("call_soon", call));
    }

    /// Calls `call` with the connection's own protocol, which must be a `P`, after `delay`, if the connection is still
    /// there then. For answers that take their time, and for deadlines. A deadline that moves with every question is
    /// best kept as a field, looked at when the timer fires, and the timer set again.
    pub fn call_later<P: Protocol>(
        &self,
        delay: Duration,
        call: impl FnOnce(&mut P, &Transport) + 'static,
    ) -> TimerHandle {
        let transport = self.clone();
        self.event_loop.call_later(delay, move |_| transport.call_now("call_later", call))
    }

    fn call_now<P: Protocol>(&self, name: &'static str, call: impl FnOnce(&mut P, &Transport)) {
        let called = self.event_loop.with_protocol_as(self.token, name, call);
        debug_assert!(called.is_some() || self.is_closing(), "{name}: the protocol is of another type");
    }

    /// The loop that serves this connection.
    pub fn event_loop(&self) -> &LoopHandle {
        &self.event_loop
    }
}
