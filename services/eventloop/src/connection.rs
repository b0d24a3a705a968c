//! The loop's side of one stream connection: its socket, its buffer, and what it wants to hear of.

use std::io;
use std::mem::take;
use std::net::Shutdown;
use std::os::fd::AsFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::SendFlags;
use socket2::Socket;

use crate::Protocol;
use crate::handle::{Core, Ready};
use crate::server::Membership;
use crate::slots::Token;

/// asyncio's limits.
const HIGH_WATER: usize = 64 * 1024;
const LOW_WATER: usize = HIGH_WATER / 4;

/// The kernel reports these whether asked or not.
pub(crate) const BROKEN: EventFlags = EventFlags::ERR.union(EventFlags::HUP);
pub(crate) const READABLE: EventFlags = EventFlags::IN.union(EventFlags::RDHUP);

/// One stream connection. Small, for there may be a hundred thousand idle ones.
#[expect(clippy::struct_excessive_bools, reason = "independent facts; a byte each, readable")]
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    /// Absent while one of its methods runs.
    pub(crate) protocol: Option<Box<dyn Protocol>>,
    /// What the kernel refused, from `sent` on; allocated only then.
    unsent: Vec<u8>,
    sent: usize,
    high_water: usize,
    low_water: usize,
    interest: EventFlags,
    pub(crate) connecting: bool,
    pub(crate) reading_paused: bool,
    writing_paused: bool,
    pub(crate) read_ended: bool,
    write_ended: bool,
    pub(crate) closing: bool,
    /// `connection_lost` is due; no event will be told before it.
    lost: bool,
    pub(crate) error: Option<io::Error>,
    pub(crate) membership: Option<Membership>,
}

impl Connection {
    pub(crate) fn new(socket: Socket, protocol: Box<dyn Protocol>, membership: Option<Membership>) -> Self {
        Self {
            socket,
            protocol: Some(protocol),
            unsent: Vec::new(),
            sent: 0,
            high_water: HIGH_WATER,
            low_water: LOW_WATER,
            interest: EventFlags::empty(),
            connecting: false,
            reading_paused: false,
            writing_paused: false,
            read_ended: false,
            write_ended: false,
            closing: false,
            lost: false,
            error: None,
            membership,
        }
    }

    pub(crate) fn connecting(mut self) -> Self {
        self.connecting = true;
        self
    }

    pub(crate) fn waiting_to_be_sent(&self) -> usize {
        self.unsent.len() - self.sent
    }

    pub(crate) const fn is_lost(&self) -> bool {
        self.lost
    }

    pub(crate) fn is_reading(&self) -> bool {
        !(self.connecting || self.reading_paused || self.read_ended || self.closing)
    }

    fn wanted(&self) -> EventFlags {
        let mut wanted = EventFlags::empty();
        wanted.set(READABLE, self.is_reading());
        wanted.set(EventFlags::OUT, self.connecting || self.waiting_to_be_sent() > 0);
        if self.lost { EventFlags::empty() } else { wanted }
    }

    pub(crate) fn update_interest(&mut self, core: &Core, token: Token) {
        let wanted = self.wanted();
        if let Err(error) = core.watch(self.socket.as_fd(), token, &mut self.interest, wanted) {
            self.end(core, token, Some(error));
        }
    }

    /// Ends the connection now, unsent bytes or not; `connection_lost` follows before the loop waits again.
    pub(crate) fn end(&mut self, core: &Core, token: Token, error: Option<io::Error>) {
        if self.lost {
            return;
        }
        self.lost = true;
        self.closing = true;
        self.error = error;
        self.unsent = Vec::new();
        self.sent = 0;
        self.update_interest(core, token);
        core.later(Ready::Lost(token));
    }

    pub(crate) fn close(&mut self, core: &Core, token: Token) {
        self.closing = true;
        if self.connecting || self.waiting_to_be_sent() == 0 {
            self.end(core, token, None);
        } else {
            self.update_interest(core, token);
        }
    }

    pub(crate) fn write_eof(&mut self) {
        if !self.closing && !self.write_ended {
            self.write_ended = true;
            if !self.connecting && self.waiting_to_be_sent() == 0 {
                self.shut_down_writing();
            }
        }
    }

    fn shut_down_writing(&self) {
        // Fails only when the peer is gone; the next read tells that better.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    pub(crate) fn write(&mut self, core: &Core, token: Token, data: &[u8]) {
        if self.closing || self.write_ended || data.is_empty() {
            return;
        }
        let mut rest = data;
        if !self.connecting && self.waiting_to_be_sent() == 0 {
            match self.send(data) {
                Ok(sent) => rest = &data[sent..],
                Err(error) => return self.end(core, token, Some(error)),
            }
        }
        if !rest.is_empty() {
            self.unsent.extend_from_slice(rest);
            self.check_high_water(core, token);
            self.update_interest(core, token);
        }
    }

    pub(crate) fn set_limits(&mut self, core: &Core, token: Token, high: usize, low: usize) {
        self.high_water = high;
        self.low_water = low.min(high);
        self.check_high_water(core, token);
    }

    pub(crate) const fn limits(&self) -> (usize, usize) {
        (self.high_water, self.low_water)
    }

    fn check_high_water(&mut self, core: &Core, token: Token) {
        if !self.writing_paused && self.waiting_to_be_sent() > self.high_water {
            self.writing_paused = true;
            core.later(Ready::PauseWriting(token, true));
        }
    }

    /// Offers bytes to the kernel; 0 if it has no room.
    fn send(&self, data: &[u8]) -> io::Result<usize> {
        match rustix::net::send(&self.socket, data, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            result => Ok(result?),
        }
    }

    /// Sends what was written too early, and listens.
    pub(crate) fn connected(&mut self, core: &Core, token: Token) {
        if self.waiting_to_be_sent() > 0 {
            self.flush(core, token);
        } else {
            if self.write_ended && !self.closing {
                self.shut_down_writing();
            }
            self.update_interest(core, token);
        }
    }

    /// The kernel has room again.
    pub(crate) fn flush(&mut self, core: &Core, token: Token) {
        match self.send(&self.unsent[self.sent..]) {
            Ok(sent) => self.sent += sent,
            Err(error) => return self.end(core, token, Some(error)),
        }
        if self.waiting_to_be_sent() == 0 {
            (self.unsent, self.sent) = (Vec::new(), 0);
            if self.closing {
                return self.end(core, token, None);
            }
            if self.write_ended {
                self.shut_down_writing();
            }
        } else if self.sent > self.unsent.len() / 2 {
            self.unsent.drain(..take(&mut self.sent));
        }
        if self.writing_paused && self.waiting_to_be_sent() <= self.low_water {
            self.writing_paused = false;
            core.later(Ready::PauseWriting(token, false));
        }
        self.update_interest(core, token);
    }
}

#[cfg(test)]
mod tests {
    use crate::handle::Source;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Option<Source>>() <= 160, "{} bytes", size_of::<Option<Source>>());
    }
}
