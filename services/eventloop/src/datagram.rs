//! Datagram sockets: UDP and Unix.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use rustix::event::epoll::EventFlags;
use socket2::{MaybeUninitSlice, SockAddr, Socket};

use crate::DatagramProtocol;
use crate::handle::{Core, LoopHandle, Ready, Source};
use crate::slots::Token;

/// The most datagrams received per wake-up; the other sockets are waiting.
const RECEIVES_PER_TURN: usize = 64;

/// The loop's side of one datagram socket.
pub(crate) struct Endpoint {
    socket: Socket,
    /// Absent while one of its methods runs.
    protocol: Option<Box<dyn DatagramProtocol>>,
    interest: EventFlags,
    reading_paused: bool,
    lost: bool,
    error: Option<io::Error>,
}

impl Endpoint {
    fn is_reading(&self) -> bool {
        !(self.reading_paused || self.lost)
    }

    fn update_interest(&mut self, core: &Core, token: Token) {
        let wanted = if self.is_reading() { EventFlags::IN } else { EventFlags::empty() };
        if let Err(error) = core.watch(self.socket.as_fd(), token, &mut self.interest, wanted) {
            self.end(core, token, Some(error));
        }
    }

    fn end(&mut self, core: &Core, token: Token, error: Option<io::Error>) {
        if !self.lost {
            self.lost = true;
            self.error = error;
            self.update_interest(core, token);
            core.later(Ready::Lost(token));
        }
    }
}

/// One datagram endpoint, to send from and to steer. Cheap to clone; does nothing once the endpoint is closed.
#[derive(Clone, Debug)]
pub struct DatagramTransport {
    event_loop: LoopHandle,
    token: Token,
}

impl DatagramTransport {
    fn endpoint<R>(&self, call: impl FnOnce(&mut Endpoint, &Core, Token) -> R) -> Option<R> {
        self.event_loop.endpoint(self.token, call)
    }

    /// Sends one datagram, to `to` or, from a connected socket, to its peer. At once or not at all: nothing is queued.
    ///
    /// # Errors
    /// `WouldBlock` when the socket's or a Unix peer's buffer is full, `ConnectionRefused` when the peer is known to
    /// be gone, `NotConnected` once the endpoint is closed. A datagram may be lost, so the caller counts and goes on.
    pub fn sendto(&self, data: &[u8], to: Option<&SockAddr>) -> io::Result<()> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let sent = self.endpoint(|endpoint, _, _| match to {
            Some(to) => endpoint.socket.send_to_with_flags(data, to, flags),
            None => endpoint.socket.send_with_flags(data, flags),
        });
        sent.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into())).map(|_| ())
    }

    /// Closes the endpoint; `connection_lost(None)` follows before the loop waits again. Unread datagrams are lost.
    pub fn close(&self) {
        self.endpoint(|endpoint, core, token| endpoint.end(core, token, None));
    }

    /// The same as [`close`](Self::close): nothing is ever queued.
    pub fn abort(&self) {
        self.close();
    }

    /// Whether it was closed.
    pub fn is_closing(&self) -> bool {
        self.endpoint(|endpoint, _, _| endpoint.lost).unwrap_or(true)
    }

    /// Leaves datagrams in the socket's buffer until [`resume_reading`](Self::resume_reading).
    pub fn pause_reading(&self) {
        self.set_reading_paused(true);
    }

    /// Receives again.
    pub fn resume_reading(&self) {
        self.set_reading_paused(false);
    }

    fn set_reading_paused(&self, paused: bool) {
        self.endpoint(|endpoint, core, token| {
            endpoint.reading_paused = paused;
            endpoint.update_interest(core, token);
        });
    }

    /// The peer's address, of a socket that is connected.
    ///
    /// # Errors
    /// `NotConnected` if it is not, or once the endpoint is closed.
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

    /// Lends the socket, for its options. `call` must not call the loop or a transport.
    pub fn with_socket<R>(&self, call: impl FnOnce(&Socket) -> R) -> Option<R> {
        self.endpoint(|endpoint, _, _| call(&endpoint.socket))
    }

    /// Calls `call` with the endpoint's own protocol, which must be a `P`, after `delay`, if the endpoint is still
    /// open then.
    pub fn call_later<P: DatagramProtocol>(
        &self,
        delay: std::time::Duration,
        call: impl FnOnce(&mut P, &DatagramTransport) + 'static,
    ) -> crate::TimerHandle {
        let transport = self.clone();
        self.event_loop.call_later(delay, move |event_loop| {
            event_loop.with_datagram_protocol("call_later", &transport, |protocol| {
                let protocol: &mut dyn std::any::Any = protocol;
                let protocol = protocol.downcast_mut();
                debug_assert!(protocol.is_some(), "call_later: the protocol is of another type");
                protocol.map(|protocol| call(protocol, &transport))
            });
        })
    }

    /// The loop that serves this endpoint.
    pub fn event_loop(&self) -> &LoopHandle {
        &self.event_loop
    }
}

impl LoopHandle {
    /// Serves a bound or connected datagram socket, UDP or Unix. A panic in the protocol loses that one datagram; the
    /// endpoint stays open for everybody else's.
    pub fn create_datagram_endpoint(
        &self,
        socket: Socket,
        protocol: impl DatagramProtocol,
    ) -> io::Result<DatagramTransport> {
        let endpoint = Endpoint {
            socket,
            protocol: Some(Box::new(protocol)),
            interest: EventFlags::empty(),
            reading_paused: false,
            lost: false,
            error: None,
        };
        let token = self.0.sources.borrow_mut().insert(Source::Endpoint(endpoint));
        let transport = DatagramTransport { event_loop: self.clone(), token };
        let watched = transport.endpoint(|endpoint, core, token| {
            core.watch(endpoint.socket.as_fd(), token, &mut endpoint.interest, EventFlags::IN)
        });
        if let Some(Err(error)) = watched {
            self.forget(token);
            return Err(error);
        }
        self.with_datagram_protocol("connection_made", &transport, |protocol| protocol.connection_made(&transport));
        Ok(transport)
    }

    fn endpoint<R>(&self, token: Token, call: impl FnOnce(&mut Endpoint, &Core, Token) -> R) -> Option<R> {
        match self.0.sources.borrow_mut().get_mut(token)? {
            Source::Endpoint(endpoint) => Some(call(endpoint, &self.0, token)),
            _ => None,
        }
    }

    fn with_datagram_protocol<R>(
        &self,
        callback: &'static str,
        transport: &DatagramTransport,
        call: impl FnOnce(&mut dyn DatagramProtocol) -> R,
    ) -> Option<R> {
        let mut protocol = transport.endpoint(|endpoint, _, _| endpoint.protocol.take())??;
        let result = self.guard(callback, || call(protocol.as_mut()));
        transport.endpoint(|endpoint, _, _| endpoint.protocol = Some(protocol));
        result
    }

    pub(crate) fn on_datagram_event(&self, token: Token, buffer: &mut [MaybeUninit<u8>]) {
        let transport = DatagramTransport { event_loop: self.clone(), token };
        for _ in 0..RECEIVES_PER_TURN {
            let received =
                transport.endpoint(|endpoint, _, _| endpoint.is_reading().then(|| receive(endpoint, buffer)));
            match received.flatten() {
                None => break,
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Some(Err(error)) => {
                    self.with_datagram_protocol("error_received", &transport, |protocol| {
                        protocol.error_received(&transport, error);
                    });
                }
                Some(Ok((data, from, truncated))) => {
                    self.with_datagram_protocol("datagram_received", &transport, |protocol| {
                        protocol.datagram_received(&transport, data, &from, truncated);
                    });
                }
            }
        }
    }

    pub(crate) fn lose_endpoint(&self, token: Token) {
        let found = self.endpoint(token, |endpoint, _, _| (endpoint.protocol.take(), endpoint.error.take()));
        let Some((protocol, error)) = found else { return };
        if let Some(mut protocol) = protocol {
            let transport = DatagramTransport { event_loop: self.clone(), token };
            self.guard("connection_lost", move || protocol.connection_lost(&transport, error));
        }
        self.forget(token);
    }
}

/// One `recvmsg`: unlike `recvfrom` it says whether the datagram was cut.
fn receive<'buffer>(
    endpoint: &Endpoint,
    buffer: &'buffer mut [MaybeUninit<u8>],
) -> io::Result<(&'buffer [u8], SockAddr, bool)> {
    let mut slices = [MaybeUninitSlice::new(buffer)];
    let (length, flags, from) = endpoint.socket.recv_from_vectored_with_flags(&mut slices, libc::MSG_DONTWAIT)?;
    // SAFETY: without MSG_TRUNC among the flags we gave, recvmsg returns how many bytes it wrote into the buffer.
    let data = unsafe { buffer[..length].assume_init_ref() };
    Ok((data, from, flags.is_truncated()))
}
