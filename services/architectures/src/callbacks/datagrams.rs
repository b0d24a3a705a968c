//! The datagrams' half: one protocol for the endpoint, since nobody is connected.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Instant;

use chassis::{DatagramSocket, Letter, Site, Wants};
use eventloop::{DatagramProtocol, DatagramTransport, EventLoop, Failure, SockAddr};

use super::turns::{take_turn, watch_for_failures};

pub(super) fn answer_datagrams(site: Site<DatagramSocket>) -> io::Result<()> {
    let mut event_loop = EventLoop::with_read_buffer(site.datagram_room())?;
    let failed = watch_for_failures(&event_loop);
    let socket = site.as_fd().try_clone_to_owned()?;
    let (site, owed) = (Rc::new(RefCell::new(site)), Rc::new(Cell::new(0)));
    let clerk = Clerk { site: Rc::clone(&site), owed: Rc::clone(&owed) };
    let transport = event_loop.create_datagram_endpoint(socket.into(), clerk)?;
    while site.borrow_mut().turn() || owed.get() > 0 {
        if site.borrow().is_open() {
            transport.resume_reading();
        } else {
            transport.pause_reading();
        }
        take_turn(&mut event_loop, &site, &failed)?;
    }
    Ok(())
}

/// Who answers the datagrams.
struct Clerk {
    site: Rc<RefCell<Site<DatagramSocket>>>,
    /// How many answers are owed whose costs are not paid yet.
    owed: Rc<Cell<usize>>,
}

impl DatagramProtocol for Clerk {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: &SockAddr, truncated: bool) {
        let site = self.site.borrow();
        let Some(letter) = site.open(data, truncated, from.clone()) else { return };
        let Wants::ToWait(until) = letter.wants() else { return answer(&site, transport, &letter) };
        self.owed.update(|owed| owed + 1);
        let delay = until.saturating_duration_since(Instant::now());
        transport.call_later(delay, move |clerk: &mut Self, transport| {
            answer(&clerk.site.borrow(), transport, &letter);
            clerk.owed.update(|owed| owed - 1);
        });
    }

    fn error_received(&mut self, transport: &DatagramTransport, error: io::Error) {
        match error.kind() {
            // The answer to an earlier datagram found nobody (ICMP).
            io::ErrorKind::ConnectionRefused => self.site.borrow().bounced(),
            io::ErrorKind::Interrupted => {}
            _ => transport.event_loop().call_exception_handler(&Failure::Told { what: "receiving", error }),
        }
    }
}

fn answer(site: &Site<DatagramSocket>, transport: &DatagramTransport, letter: &Letter) {
    let sent = transport.sendto(letter.reply(), Some(letter.from()));
    site.answered(letter, sent.map(|()| letter.reply().len()));
}
