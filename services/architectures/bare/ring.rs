//! The counterpart of `io_uring`: multishot accept, one receive and one send at a time for each client, all begun by one call.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::types::Fd;
use io_uring::{IoUring, opcode, squeue};

use crate::bare::answer;

/// What a completion carries beside the client's descriptor.
const ACCEPT: u64 = 1 << 32;
const RECEIVE: u64 = 2 << 32;
const SEND: u64 = 3 << 32;

/// Clients by descriptor, each with its buffer.
type Buffers = Vec<Option<Box<[u8; 4096]>>>;

pub fn ring_loop(listener: &TcpListener) -> io::Result<()> {
    let mut ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().setup_cqsize(8192).build(1024)?;
    let mut buffers = Buffers::new();
    let mut begun = vec![opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build().user_data(ACCEPT)];
    loop {
        begin(&mut ring, &mut begun)?;
        let done: Vec<(u64, i32)> = ring.completion().map(|entry| (entry.user_data(), entry.result())).collect();
        for (data, result) in done {
            let fd = data as u32 as RawFd;
            match data & !u64::from(u32::MAX) {
                ACCEPT if result >= 0 => begun.push(welcome(&mut buffers, result)),
                RECEIVE if result > 0 => begun.extend(send(&buffers, fd, result as usize)),
                SEND if result > 0 => begun.extend(buffer(&mut buffers, fd).map(|buffer| receive(fd, buffer))),
                // Whoever leaves is not closed: a comparison ends with its clients.
                _ => {}
            }
        }
    }
}

fn welcome(buffers: &mut Buffers, fd: RawFd) -> squeue::Entry {
    buffers.resize_with(buffers.len().max(fd as usize + 1), || None);
    receive(fd, buffers[fd as usize].insert(Box::new([0; 4096])))
}

fn buffer(buffers: &mut Buffers, fd: RawFd) -> Option<&mut [u8; 4096]> {
    buffers.get_mut(fd as usize)?.as_deref_mut()
}

fn send(buffers: &Buffers, fd: RawFd, bytes: usize) -> Option<squeue::Entry> {
    let text = answer(&buffers.get(fd as usize)?.as_ref()?[..bytes]);
    Some(opcode::Send::new(Fd(fd), text.as_ptr(), text.len() as u32).build().user_data(SEND | fd as u64))
}

fn receive(fd: RawFd, buffer: &mut [u8; 4096]) -> squeue::Entry {
    opcode::Recv::new(Fd(fd), buffer.as_mut_ptr(), buffer.len() as u32).build().user_data(RECEIVE | fd as u64)
}

/// Begins these operations and waits until one is done.
fn begin(ring: &mut IoUring, operations: &mut Vec<squeue::Entry>) -> io::Result<()> {
    // SAFETY: answers are constants, and a client's buffer stays where it is for as long as the program runs.
    unsafe { ring.submission().push_multiple(operations) }.map_err(io::Error::other)?;
    operations.clear();
    ring.submit_and_wait(1)?;
    Ok(())
}
