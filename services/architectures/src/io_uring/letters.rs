//! Datagrams: one receive that goes on and on, and a send for each answer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Instant;

use chassis::{DatagramSocket, Letter, Site, Waiting, Wants};
use io_uring::opcode;
use io_uring::types::{Fd, RecvMsgOut};
use socket2::{SockAddr, SockAddrStorage};

use super::buffers::{BUFFERS, GROUP};
use super::ring::{Done, Op, Ring};
use super::set_up;
use crate::epoll;

/// What the kernel writes before a datagram's bytes: their lengths (16 bytes, `io_uring_recvmsg_out`), and the address.
const HEAD: usize = 16 + size_of::<SockAddrStorage>();

pub fn answer_datagrams(mut site: Site<DatagramSocket>) -> io::Result<()> {
    let Some(mut ring) = set_up(&site, HEAD + site.datagram_room())? else { return epoll::answer_datagrams(site) };
    // Answers are still sent when the site has closed its own in a drain.
    let socket = site.as_fd().try_clone_to_owned()?;
    let mut post = Post::new(socket.as_raw_fd());
    let mut waiting = Waiting::default();
    while site.turn() || post.is_busy() || !waiting.is_empty() {
        match (site.is_open(), post.receiving) {
            (true, false) => post.receive(&mut ring)?,
            (false, true) => ring.cancel(Op::Receive, 0)?,
            _ => {}
        }
        let mut events = 0;
        let began = Instant::now();
        ring.turn(site.tick_until(waiting.next_timer()))?;
        let waited = began.elapsed();
        while let Some(done) = ring.next_done() {
            events += 1;
            match done.op {
                Op::Receive => match post.open(&site, &mut ring, &done)? {
                    Some(letter) if letter.wants() == Wants::ToSpeak => post.send(&site, &mut ring, letter)?,
                    Some(letter) => waiting.take_in(&site, letter),
                    None => {}
                },
                Op::SendNow => post.was_sent(&site, done),
                _ => {}
            }
        }
        site.count_turn(events, waited);
        waiting.tend(&site);
    }
    Ok(())
}

struct Post {
    socket: RawFd,
    receiving: bool,
    /// What a receive brings besides bytes: an address of any length.
    form: Box<libc::msghdr>,
    /// Letters whose answers are being sent. They stay where they are: the kernel reads them there.
    answered: Box<[Option<Letter>]>,
    free: Vec<u32>,
}

impl Post {
    fn new(socket: RawFd) -> Self {
        // SAFETY: msghdr is integers and pointers, for which zero is valid.
        let mut form: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        form.msg_namelen = size_of::<SockAddrStorage>() as u32;
        let answered = (0..BUFFERS).map(|_| None).collect();
        Self { socket, receiving: false, form, answered, free: (0..u32::from(BUFFERS)).collect() }
    }

    /// Whether the kernel has operations that use this memory.
    fn is_busy(&self) -> bool {
        self.receiving || self.free.len() < self.answered.len()
    }

    /// Receives one datagram after the other, until further notice (multishot).
    fn receive(&mut self, ring: &mut Ring) -> io::Result<()> {
        self.receiving = true;
        let receive = opcode::RecvMsgMulti::new(Fd(self.socket), &raw const *self.form, GROUP);
        // SAFETY: the form is boxed and stays until nothing is received any more; the buffers stay in any case.
        unsafe { ring.begin(Op::Receive, 0, receive.build()) }
    }

    /// The letter that has come, if it gets an answer.
    fn open(&mut self, site: &Site<DatagramSocket>, ring: &mut Ring, done: &Done) -> io::Result<Option<Letter>> {
        self.receiving = done.more;
        let mut letter = None;
        match (&done.result, done.buffer) {
            (Ok(length), Some(buffer)) => {
                if let Ok(datagram) = RecvMsgOut::parse(ring.buffers.bytes(buffer, *length), &self.form) {
                    let from = address(datagram.name_data());
                    letter = site.open(datagram.payload_data(), datagram.is_payload_truncated(), from);
                }
            }
            (Ok(_), None) => {}
            (Err(error), _) => match error.raw_os_error() {
                // No buffer was free, or the operation was ended on purpose.
                Some(libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
                Some(libc::ECONNREFUSED) => site.bounced(),
                _ => return Err(io::Error::new(error.kind(), format!("receive failed: {error}"))),
            },
        }
        if let Some(buffer) = done.buffer {
            ring.buffers.give_back(buffer);
        }
        Ok(letter)
    }

    fn send(&mut self, site: &Site<DatagramSocket>, ring: &mut Ring, letter: Letter) -> io::Result<()> {
        let Some(place) = self.free.pop() else {
            site.answer_now(&letter);
            return Ok(());
        };
        let letter = self.answered[place as usize].insert(letter);
        let (reply, to) = (letter.reply(), letter.from());
        let send = opcode::Send::new(Fd(self.socket), reply.as_ptr(), reply.len() as u32)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .dest_addr(to.as_ptr().cast())
            .dest_addr_len(to.len());
        // SAFETY: the letter stays in its place until the send is done.
        unsafe { ring.begin(Op::SendNow, place, send.build()) }
    }

    fn was_sent(&mut self, site: &Site<DatagramSocket>, done: Done) {
        if let Some(letter) = self.answered[done.whose as usize].take() {
            site.answered(&letter, done.result);
            self.free.push(done.whose);
        }
    }
}

/// The address that the kernel has written as these bytes.
fn address(bytes: &[u8]) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    let length = bytes.len().min(size_of::<SockAddrStorage>());
    // SAFETY: an address is plain bytes, and so are these, which the kernel wrote as one of that length.
    unsafe {
        storage.view_as::<[u8; size_of::<SockAddrStorage>()]>()[..length].copy_from_slice(&bytes[..length]);
        SockAddr::new(storage, length as libc::socklen_t)
    }
}
