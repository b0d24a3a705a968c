//! Bare counterparts: the least that serves the dialogue in each way, without limits, deadlines, orders, counters or drain.
//! They show what an architecture costs by itself, and so what the laboratory's own servers add to it.
//!
//! They trust their client: every read is one whole question. Nothing of this is in the image.

use std::io;
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::thread::Builder;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// A counterpart: serves the listener for ever.
pub type Bare = fn(&TcpListener) -> io::Result<()>;

/// The counterparts by the name of their architecture.
pub const STREAMS: [(&str, Bare); 6] = [
    ("select", select_loop),
    ("poll", poll_loop),
    ("epoll", epoll_loop),
    ("thread_per_connection", thread_per_connection),
    ("thread_pool", thread_pool),
    ("prefork", prefork),
];

/// As many as the clients of a comparison, so that all are served.
pub const POOL: usize = 128;

fn answer(question: &[u8]) -> &'static [u8] {
    match question.first() {
        Some(b'B') => b"Ugly.",
        Some(b'E') => b"Implicit.",
        _ => b"Complex.",
    }
}

/// One read and one write; false at the end.
fn turn(client: impl AsFd, buffer: &mut [u8; 4096]) -> bool {
    match recv(&client, &mut *buffer, RecvFlags::empty()) {
        Ok((0, _)) => false,
        Ok((bytes, _)) => send(&client, answer(&buffer[..bytes]), SendFlags::NOSIGNAL).is_ok(),
        Err(error) => error == Errno::AGAIN,
    }
}

fn converse(client: &TcpStream) {
    let mut buffer = [0; 4096];
    while turn(client, &mut buffer) {}
}

fn serve_one_by_one(listener: &TcpListener) -> io::Result<()> {
    loop {
        converse(&listener.accept()?.0);
    }
}

fn thread_per_connection(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (client, _) = listener.accept()?;
        Builder::new().stack_size(256 * 1024).spawn(move || converse(&client))?;
    }
}

fn thread_pool(listener: &TcpListener) -> io::Result<()> {
    std::thread::scope(|scope| {
        for _ in 0..POOL {
            scope.spawn(|| serve_one_by_one(listener));
        }
    });
    Ok(())
}

fn prefork(listener: &TcpListener) -> io::Result<()> {
    for _ in 1..POOL {
        let _child = chassis::fork::spawn(|| serve_one_by_one(listener))?;
    }
    serve_one_by_one(listener)
}

fn epoll_loop(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&set, listener, EventData::new_u64(listener.as_raw_fd() as u64), EventFlags::IN)?;
    let mut clients = Clients::default();
    let mut events: Vec<Event> = Vec::with_capacity(256);
    loop {
        epoll::wait(&set, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let fd = event.data.u64() as RawFd;
            if fd == listener.as_raw_fd() {
                let newcomers = clients.accept(listener)?;
                for client in newcomers.iter().filter_map(|fd| clients.get(*fd)) {
                    epoll::add(&set, client, EventData::new_u64(client.as_raw_fd() as u64), EventFlags::IN)?;
                }
            } else {
                clients.turn(fd);
            }
        }
    }
}

fn poll_loop(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut clients = Clients::default();
    loop {
        let mut list = vec![PollFd::new(listener, PollFlags::IN)];
        list.extend(clients.0.iter().flatten().map(|client| PollFd::new(client, PollFlags::IN)));
        rustix::event::poll(&mut list, None)?;
        let ready = |entry: &&PollFd<'_>| !entry.revents().is_empty();
        let ready: Vec<RawFd> = list.iter().filter(ready).map(|entry| entry.as_fd().as_raw_fd()).collect();
        clients.serve(listener, &ready)?;
    }
}

fn select_loop(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut clients = Clients::default();
    loop {
        let mut fds: Vec<RawFd> = vec![listener.as_raw_fd()];
        fds.extend(clients.0.iter().flatten().map(AsRawFd::as_raw_fd));
        let end = fds.iter().max().map_or(0, |highest| highest + 1);
        let mut set = MaybeUninit::<libc::fd_set>::uninit();
        // SAFETY: FD_ZERO initialises the set, and a comparison has fewer clients than FD_SETSIZE.
        let ready: Vec<RawFd> = unsafe {
            libc::FD_ZERO(set.as_mut_ptr());
            for &fd in &fds {
                libc::FD_SET(fd, set.as_mut_ptr());
            }
            let null = std::ptr::null_mut();
            libc::select(end, set.as_mut_ptr(), null, null, std::ptr::null_mut());
            fds.into_iter().filter(|&fd| libc::FD_ISSET(fd, set.as_ptr())).collect()
        };
        clients.serve(listener, &ready)?;
    }
}

/// Clients by descriptor.
#[derive(Default)]
struct Clients(Vec<Option<TcpStream>>);

impl Clients {
    fn get(&self, fd: RawFd) -> Option<&TcpStream> {
        self.0.get(fd as usize)?.as_ref()
    }

    fn turn(&mut self, fd: RawFd) {
        let mut buffer = [0; 4096];
        if self.get(fd).is_some_and(|client| !turn(client, &mut buffer)) {
            self.0[fd as usize] = None;
        }
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<Vec<RawFd>> {
        let mut newcomers = Vec::new();
        while let Ok((client, _)) = listener.accept() {
            client.set_nonblocking(true)?;
            client.set_nodelay(true)?;
            let fd = client.as_raw_fd();
            self.0.resize_with(self.0.len().max(fd as usize + 1), || None);
            self.0[fd as usize] = Some(client);
            newcomers.push(fd);
        }
        Ok(newcomers)
    }

    fn serve(&mut self, listener: &TcpListener, ready: &[RawFd]) -> io::Result<()> {
        for &fd in ready {
            if fd == listener.as_raw_fd() {
                self.accept(listener)?;
            } else {
                self.turn(fd);
            }
        }
        Ok(())
    }
}
