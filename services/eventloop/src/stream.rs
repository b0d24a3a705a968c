//! Stream events: from the kernel to a connection, from a connection to its protocol.

use std::any::Any;
use std::io;
use std::mem::MaybeUninit;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::{SockAddr, Socket, Type};

use crate::connection::{BROKEN, Connection, READABLE};
use crate::handle::{Core, LoopHandle, Source};
use crate::slots::Token;
use crate::{Protocol, Transport};

impl LoopHandle {
    /// Runs `call` on a connection that is still there.
    pub(crate) fn connection<R>(
        &self,
        token: Token,
        call: impl FnOnce(&mut Connection, &Core, Token) -> R,
    ) -> Option<R> {
        match self.0.sources.borrow_mut().get_mut(token)? {
            Source::Connection(connection) => Some(call(connection, &self.0, token)),
            _ => None,
        }
    }

    /// Connects to a TCP or Unix address without waiting. `connection_made` follows, or, if it fails,
    /// `connection_lost` with the error alone; what is written before is kept.
    ///
    /// # Errors
    /// When the attempt fails at once, as it does for a Unix socket that nobody serves; then nothing is called.
    pub fn create_connection(&self, address: &SockAddr, protocol: impl Protocol) -> io::Result<Transport> {
        let socket = Socket::new(address.domain(), Type::STREAM.nonblocking(), None)?;
        if !address.is_unix() {
            socket.set_tcp_nodelay(true)?;
        }
        if let Err(error) = socket.connect(address)
            && error.raw_os_error() != Some(libc::EINPROGRESS)
        {
            return Err(error);
        }
        let connection = Connection::new(socket, Box::new(protocol), None).connecting();
        let token = self.0.sources.borrow_mut().insert(Source::Connection(connection));
        self.connection(token, Connection::update_interest);
        Ok(Transport::new(self, token))
    }

    /// Serves a socket that is connected already; `connection_made` is called before this returns.
    pub fn connect_accepted_socket(&self, socket: Socket, protocol: impl Protocol) -> Transport {
        self.begin(Connection::new(socket, Box::new(protocol), None))
    }

    /// Starts a connection that stands.
    pub(crate) fn begin(&self, connection: Connection) -> Transport {
        let token = self.0.sources.borrow_mut().insert(Source::Connection(connection));
        self.with_protocol(token, "connection_made", Protocol::connection_made);
        self.connection(token, Connection::update_interest);
        Transport::new(self, token)
    }

    /// Calls a protocol, taken out of its place for as long, so that it can use its transport freely. `None` if it is
    /// gone, being called already, or panicked; then its connection ends.
    pub(crate) fn with_protocol<R>(
        &self,
        token: Token,
        callback: &'static str,
        call: impl FnOnce(&mut dyn Protocol, &Transport) -> R,
    ) -> Option<R> {
        let mut protocol = self.connection(token, |connection, _, _| connection.protocol.take())??;
        let transport = Transport::new(self, token);
        let result = self.guard(callback, || call(protocol.as_mut(), &transport));
        self.connection(token, |connection, core, token| {
            connection.protocol = Some(protocol);
            if result.is_none() {
                let message = format!("{callback} panicked");
                connection.end(core, token, Some(io::Error::other(message)));
            }
        });
        result
    }

    /// The same for a protocol whose type the caller knows; `None` also if it is another.
    pub(crate) fn with_protocol_as<P: Protocol, R>(
        &self,
        token: Token,
        callback: &'static str,
        call: impl FnOnce(&mut P, &Transport) -> R,
    ) -> Option<R> {
        self.with_protocol(token, callback, |protocol, transport| {
            let protocol: &mut dyn Any = protocol;
            protocol.downcast_mut().map(|protocol| call(protocol, transport))
        })?
    }

    pub(crate) fn on_stream_event(&self, token: Token, flags: EventFlags, buffer: &mut [MaybeUninit<u8>]) {
        if self.connection(token, |connection, _, _| connection.connecting) == Some(true) {
            return self.finish_connecting(token);
        }
        if flags.intersects(EventFlags::OUT | BROKEN) {
            self.connection(token, |connection, core, token| {
                if connection.waiting_to_be_sent() > 0 {
                    connection.flush(core, token);
                }
            });
        }
        if flags.intersects(READABLE | BROKEN) {
            self.read(token, buffer);
        }
    }

    fn finish_connecting(&self, token: Token) {
        let stands = self.connection(token, |connection, core, token| {
            if let Some(error) = connection.socket.take_error().unwrap_or_else(Some) {
                connection.end(core, token, Some(error));
                return false;
            }
            connection.connecting = false;
            true
        });
        if stands == Some(true) {
            self.with_protocol(token, "connection_made", Protocol::connection_made);
            self.connection(token, Connection::connected);
        }
    }

    /// One read, however much there is: the others are waiting.
    fn read(&self, token: Token, buffer: &mut [MaybeUninit<u8>]) {
        let received = self.connection(token, |connection, core, token| {
            if !connection.is_reading() {
                return None;
            }
            match rustix::net::recv(&connection.socket, buffer, RecvFlags::DONTWAIT) {
                Ok(((data, _), _)) => Some(data),
                Err(Errno::AGAIN | Errno::INTR) => None,
                Err(error) => {
                    connection.end(core, token, Some(error.into()));
                    None
                }
            }
        });
        match received.flatten() {
            None => {}
            Some([]) => self.read_ended(token),
            Some(data) => {
                self.with_protocol(token, "data_received", |protocol, transport| {
                    protocol.data_received(transport, data);
                });
            }
        }
    }

    fn read_ended(&self, token: Token) {
        self.connection(token, |connection, _, _| connection.read_ended = true);
        let keep = self.with_protocol(token, "eof_received", Protocol::eof_received);
        self.connection(token, |connection, core, token| match keep {
            Some(true) => connection.update_interest(core, token),
            _ => connection.close(core, token),
        });
    }

    /// Takes out a connection that is over.
    pub(crate) fn take_lost(&self, token: Token) -> Option<Connection> {
        let is_lost = self.connection(token, |connection, _, _| connection.is_lost())?;
        let source = if is_lost { self.0.sources.borrow_mut().remove(token) } else { None };
        match source {
            Some(Source::Connection(connection)) => Some(connection),
            _ => None,
        }
    }

    /// The connection's last call, and its end.
    pub(crate) fn lose_connection(&self, token: Token) {
        let found = self.connection(token, |connection, _, _| (connection.protocol.take(), connection.error.take()));
        let Some((protocol, error)) = found else { return };
        if let Some(mut protocol) = protocol {
            let transport = Transport::new(self, token);
            self.guard("connection_lost", move || protocol.connection_lost(&transport, error));
        }
        self.forget(token);
    }
}
