//! What a user of the loop writes: the methods that are called when something happened.

use std::any::Any;
use std::io;

use socket2::SockAddr;

use crate::{DatagramTransport, Transport};

/// One stream connection's conversation: TCP or Unix.
///
/// The order of calls is `connection_made` (`data_received`)* (`eof_received`)? `connection_lost`. Each method gets the
/// transport; it may keep a clone.
pub trait Protocol: Any {
    /// The connection stands.
    fn connection_made(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// Some bytes came: at least one, at most the loop's read buffer. Where they are cut means nothing.
    fn data_received(&mut self, transport: &Transport, data: &[u8]);

    /// The peer will send no more; everything it sent has been received. Answer `true` to keep the connection open
    /// for writing, `false` (the default) to have it flushed and closed.
    fn eof_received(&mut self, transport: &Transport) -> bool {
        let _ = transport;
        false
    }

    /// The last call: the connection is over, with an error or, after an end of file, `close` or `abort`, without one.
    /// The socket is still open, so its names can be asked for, but nothing can be written.
    fn connection_lost(&mut self, transport: &Transport, error: Option<io::Error>) {
        let _ = (transport, error);
    }

    /// More than the high-water mark is waiting to be written: stop writing, and perhaps reading. Not called once the
    /// transport was closed.
    fn pause_writing(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// No more than the low-water mark is waiting: go on.
    fn resume_writing(&mut self, transport: &Transport) {
        let _ = transport;
    }
}

/// One datagram socket's conversations: UDP or Unix datagrams.
pub trait DatagramProtocol: Any {
    /// The endpoint is ready.
    fn connection_made(&mut self, transport: &DatagramTransport) {
        let _ = transport;
    }

    /// A datagram came, possibly an empty one. `truncated` says that it was longer than the loop's read buffer and
    /// that `data` is only its beginning. A Unix sender without a name has an unnamed address, and cannot be answered.
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: &SockAddr, truncated: bool);

    /// An earlier send was refused, or receiving failed. The endpoint stays open.
    fn error_received(&mut self, transport: &DatagramTransport, error: io::Error) {
        let _ = (transport, error);
    }

    /// The last call: the endpoint was closed, or the loop could not watch it any longer.
    fn connection_lost(&mut self, transport: &DatagramTransport, error: Option<io::Error>) {
        let _ = (transport, error);
    }
}
