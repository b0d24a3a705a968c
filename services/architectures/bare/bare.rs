//! Bare counterparts: the least that serves the dialogue in each way, without limits, deadlines, orders, counters or drain.
//! They show what an architecture costs by itself, and so what the laboratory's own servers add to it.
//!
//! They trust their client: every read is one whole question. Nothing of this is in the image.

use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread::{Builder, available_parallelism};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime;

use crate::ring::ring_loop;

/// A counterpart: serves the listener for ever.
pub type Bare = fn(&TcpListener) -> io::Result<()>;

/// The counterpart of every architecture, in the registry's order. Where a framework stands between the loop and the dialogue,
/// the counterpart is the loop without it.
pub const STREAMS: [(&str, Bare); 18] = [
    ("single_threaded", serve_one_by_one),
    ("thread_pool", thread_pool),
    ("worker_queue", worker_queue),
    ("thread_per_connection", thread_per_connection),
    ("fork_per_connection", fork_per_connection),
    ("prefork", prefork),
    ("socketserver", serve_one_by_one),
    ("socketserver_threading", thread_per_connection),
    ("socketserver_forking", fork_per_connection),
    ("select", select_loop),
    ("poll", poll_loop),
    ("epoll", epoll_loop),
    ("epoll_sharded", epoll_for_each_core),
    ("io_uring", ring_loop),
    ("callbacks", epoll_loop),
    ("coroutines", epoll_loop),
    ("tokio_current_thread", tokio_on_one_thread),
    ("tokio_multi_thread", tokio_on_all_cores),
];

const TICK: Duration = Duration::from_millis(100);

/// As many as the clients of a comparison, so that all are served.
pub const POOL: usize = 128;

pub fn answer(question: &[u8]) -> &'static [u8] {
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

/// Whether those that block do so for a tenth of a second at most, as a server must that is to hear of orders. The kernel sets
/// a timer for each such wait, if only for a moment.
pub static WITH_TIMEOUTS: AtomicBool = AtomicBool::new(false);

fn converse(client: &TcpStream) {
    let mut buffer = [0; 4096];
    if WITH_TIMEOUTS.load(Ordering::Relaxed) {
        // A socket that takes no timeout waits for ever, which a comparison ends as well.
        let _ = client.set_read_timeout(Some(TICK)).and_then(|()| client.set_write_timeout(Some(TICK)));
    }
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

/// The dead are reaped by the kernel.
fn fork_per_connection(listener: &TcpListener) -> io::Result<()> {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    loop {
        let (client, _) = listener.accept()?;
        let _child = chassis::fork::spawn(|| {
            converse(&client);
            Ok(())
        })?;
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

fn worker_queue(listener: &TcpListener) -> io::Result<()> {
    let (queue, clients) = mpsc::channel::<TcpStream>();
    let clients = Mutex::new(clients);
    std::thread::scope(|scope| {
        for _ in 0..POOL {
            scope.spawn(|| {
                while let Some(client) = next(&clients) {
                    converse(&client);
                }
            });
        }
        loop {
            queue.send(listener.accept()?.0).map_err(io::Error::other)?;
        }
    })
}

fn next(clients: &Mutex<mpsc::Receiver<TcpStream>>) -> Option<TcpStream> {
    clients.lock().ok()?.recv().ok()
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

/// Each loop with a queue of its own at the same address (SO_REUSEPORT).
fn epoll_for_each_core(listener: &TcpListener) -> io::Result<()> {
    let cores = available_parallelism().map_or(1, usize::from);
    for _ in 1..cores {
        let another = listen_at(listener.local_addr()?)?;
        Builder::new().spawn(move || epoll_loop(&another))?;
    }
    epoll_loop(listener)
}

/// A listener whose address others may share.
pub fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
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

fn tokio_on_one_thread(listener: &TcpListener) -> io::Result<()> {
    runtime::Builder::new_current_thread().enable_io().build()?.block_on(serve_tasks(listener))
}

fn tokio_on_all_cores(listener: &TcpListener) -> io::Result<()> {
    runtime::Builder::new_multi_thread().enable_io().build()?.block_on(serve_tasks(listener))
}

async fn serve_tasks(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
    loop {
        let (mut client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(bytes @ 1..) = client.read(&mut buffer).await {
                if client.write_all(answer(&buffer[..bytes])).await.is_err() {
                    return;
                }
            }
        });
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
