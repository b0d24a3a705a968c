//! Many datagrams with one system call.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use chassis::{DatagramSocket, Letter, Site, Waiting, Wants};
use socket2::{SockAddr, SockAddrStorage};

/// Datagrams of one call.
const MOST: usize = 64;

/// Room for datagrams that are received together, and those of them that are answered together.
pub struct Batch {
    /// The size of one datagram's room in bytes.
    room: usize,
    bytes: Vec<u8>,
    names: Vec<SockAddrStorage>,
    letters: Vec<Letter>,
}

impl Batch {
    pub fn new(room: usize) -> Self {
        let names = (0..MOST).map(|_| SockAddrStorage::zeroed()).collect();
        Self { room, bytes: vec![0; MOST * room], names, letters: Vec::with_capacity(MOST) }
    }

    /// Receives what has come, up to [`MOST`] datagrams, and keeps those that are to be answered at once.
    pub fn receive(&mut self, site: &Site<DatagramSocket>, waiting: &mut Waiting) -> io::Result<()> {
        self.letters.clear();
        let mut parts: [libc::iovec; MOST] = [EMPTY_PART; MOST];
        let mut headers = [EMPTY; MOST];
        let rooms = self.bytes.chunks_exact_mut(self.room).zip(&mut self.names);
        for ((header, part), (bytes, name)) in headers.iter_mut().zip(&mut parts).zip(rooms) {
            *part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: self.room };
            *header = message(part, std::ptr::from_mut(name).cast(), size_of::<SockAddrStorage>() as libc::socklen_t);
        }
        let socket = site.as_fd().as_raw_fd();
        // SAFETY: each header names its own room, and all of them outlive the call.
        let count = unsafe {
            libc::recvmmsg(socket, headers.as_mut_ptr(), MOST as _, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        let Ok(count) = usize::try_from(count) else { return no_datagrams(site, io::Error::last_os_error()) };
        let rooms = self.bytes.chunks_exact(self.room).zip(&mut self.names);
        for (header, (bytes, name)) in headers[..count].iter().zip(rooms) {
            let truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            let length = header.msg_len as usize;
            // SAFETY: the kernel wrote an address of that length.
            let from = unsafe {
                SockAddr::new(std::mem::replace(name, SockAddrStorage::zeroed()), header.msg_hdr.msg_namelen)
            };
            match site.open(&bytes[..length], truncated, from) {
                Some(letter) if letter.wants() == Wants::ToSpeak => self.letters.push(letter),
                Some(letter) => waiting.take_in(site, letter),
                None => {}
            }
        }
        Ok(())
    }

    /// Sends the answers.
    pub fn answer(&self, site: &Site<DatagramSocket>) {
        let mut parts: [libc::iovec; MOST] = [EMPTY_PART; MOST];
        let mut headers = [EMPTY; MOST];
        for ((header, part), letter) in headers.iter_mut().zip(&mut parts).zip(&self.letters) {
            let (reply, to) = (letter.reply(), letter.from());
            // sendmsg(2) only reads what a header names.
            *part = libc::iovec { iov_base: reply.as_ptr().cast_mut().cast(), iov_len: reply.len() };
            *header = message(part, to.as_ptr().cast_mut().cast(), to.len());
        }
        let (socket, flags) = (site.as_fd().as_raw_fd(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
        let mut done = 0;
        while done < self.letters.len() {
            let left = &mut headers[done..self.letters.len()];
            // SAFETY: each header names its letter's reply and address, and all of them outlive the call.
            let sent = unsafe { libc::sendmmsg(socket, left.as_mut_ptr(), left.len() as _, flags) };
            // It stops before one that cannot be sent, and fails only if that is the first.
            let Ok(sent @ 1..) = usize::try_from(sent) else {
                site.answered(&self.letters[done], Err(io::Error::last_os_error()));
                done += 1;
                continue;
            };
            for (letter, header) in self.letters[done..].iter().zip(&left[..sent]) {
                site.answered(letter, Ok(header.msg_len as usize));
            }
            done += sent;
        }
    }
}

const EMPTY_PART: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

const EMPTY: libc::mmsghdr = message(std::ptr::null_mut(), std::ptr::null_mut(), 0);

/// The header of a message that lies in one part, from or to the address `name`.
const fn message(part: *mut libc::iovec, name: *mut libc::c_void, name_length: libc::socklen_t) -> libc::mmsghdr {
    // SAFETY: mmsghdr is integers and pointers, for which zero is valid; some C libraries have padding in it.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    message.msg_hdr.msg_name = name;
    message.msg_hdr.msg_namelen = name_length;
    message.msg_hdr.msg_iov = part;
    message.msg_hdr.msg_iovlen = if part.is_null() { 0 } else { 1 };
    message
}

fn no_datagrams(site: &Site<DatagramSocket>, error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR) => Ok(()),
        // The answer to an earlier datagram found nobody (ICMP).
        Some(libc::ECONNREFUSED) => {
            site.bounced();
            Ok(())
        }
        _ => Err(error),
    }
}
