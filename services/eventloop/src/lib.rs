//! asyncio's callback half in Rust: protocols that are called when something happened, transports by which they
//! answer, and one single-threaded loop over `epoll` that does the waiting for all of them.
//!
//! ```no_run
//! use eventloop::{EventLoop, Protocol, Transport};
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
//!         transport.write(data);
//!     }
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     let mut event_loop = EventLoop::new()?;
//!     let listener = std::net::TcpListener::bind("127.0.0.1:8888")?;
//!     event_loop.create_server(listener.into(), || Echo)?;
//!     event_loop.run_forever()
//! }
//! ```
//!
//! # Coming from asyncio
//!
//! | asyncio | here | difference |
//! |---|---|---|
//! | `loop.run_forever()`, `stop()` | [`EventLoop::run_forever`], [`LoopHandle::stop`] | none |
//! | `run_until_complete(future)` | [`EventLoop::run_until`] | there are no futures: a closure says when it is over |
//! | `loop._run_once()` | [`EventLoop::run_once`] | public, with a timeout, for an owner with a clock of its own |
//! | `get_running_loop()` | [`Transport::event_loop`], [`EventLoop::handle`] | no global: a handle is passed or asked for |
//! | `call_soon(f, *args)` | [`LoopHandle::call_soon`], [`Transport::call_soon`] | a closure; cannot be cancelled |
//! | `call_later`, `call_at` | the same, also on [`Transport`] | on a transport the closure gets `&mut` its own protocol, and is forgotten when the connection is gone |
//! | `TimerHandle` | [`TimerHandle`] | none; many cancelled timers are swept together, as there |
//! | `create_server(factory, sock=…)` | [`LoopHandle::create_server`] | takes a listening socket; the backlog is the kernel's |
//! | – | [`LoopHandle::create_server_with`] | the caller accepts: filter, count, greet, choose a protocol per client |
//! | `Server` | [`ServerHandle`] | also pause, resume, count, and reach every connection |
//! | `create_connection(factory, host, port)` | [`LoopHandle::create_connection`] | no name look-up; failure arrives as `connection_lost` without `connection_made` |
//! | `connect_accepted_socket` | [`LoopHandle::connect_accepted_socket`] | none |
//! | `create_datagram_endpoint` | [`LoopHandle::create_datagram_endpoint`] | takes a bound or connected socket |
//! | `add_reader`, `remove_reader` | the same | anything with a descriptor (`AsFd`) |
//! | `set_exception_handler`, `call_exception_handler`, `default_exception_handler` | the same | a typed [`Failure`]; the default writes a line to stderr, but of panics, where the panic hook has spoken |
//! | a transport's I/O error: `connection_lost(exc)` | the same | and nobody else hears of it; there is no debug mode |
//! | `accept` fails for want of descriptors or memory: the handler is told, the listener rests for 1 s | the same | for 10 to 100 ms, also after other errors that concern no client |
//! | `Protocol` | [`Protocol`] | each method gets the transport, so it need not be kept |
//! | `pause_writing`, `resume_writing` | the same | called right after the callback that wrote too much, not inside `write` |
//! | `eof_received` returns true | the same | the connection stays open for writing |
//! | `DatagramProtocol` | [`DatagramProtocol`] | `datagram_received` also says whether the datagram was cut |
//! | `Transport` | [`Transport`] | `Clone`, a few bytes; does nothing once the connection is gone |
//! | `write`, `write_eof`, `close`, `abort`, `is_closing` | the same | bytes written after `close` or `write_eof` are dropped, not an error |
//! | `pause_reading`, `resume_reading`, `is_reading` | the same, pausing also on [`DatagramTransport`] | twice is as good as once |
//! | `set_write_buffer_limits(high, low)` and its getters | the same | both marks are given; the default is asyncio's |
//! | `transport.get_extra_info(…)` | [`Transport::peer_name`], [`Transport::socket_name`], [`Transport::with_socket`] | methods instead of strings; on [`DatagramTransport`] as well |
//! | – | [`Transport::take_socket`] | in `connection_lost`: the socket goes on elsewhere |
//! | `DatagramTransport.sendto` | [`DatagramTransport::sendto`] | never queues: a full socket is an error for the caller to count |
//! | a callback raises | a callback panics | caught; the connection is closed; the exception handler is told |
//! | `add_writer`, `sock_recv` and its like, `set_protocol`, `writelines` | – | left out: a [`Transport`] and one protocol do |
//! | `call_soon_threadsafe`, executors, signals, subprocesses, TLS, futures | – | left out: one thread, sockets, callbacks |
//!
//! The examples are asyncio's echo server and client over TCP and over UDP, in callback style:
//! `cargo run -p eventloop --example tcp_echo_server`, and so on.
//!
//! # What it costs, what it promises
//!
//! * One `read` per wake-up into one buffer that the loop owns; an idle connection holds its protocol and about a
//!   hundred bytes. One `write` per [`Transport::write`], at once; only what the kernel refuses is kept.
//! * Readiness is level-triggered. A descriptor nobody wants to hear from is taken out of the epoll set, because the
//!   kernel reports hang-ups whether asked or not, and a loop that ignores them spins.
//! * Events carry a *generation*: one that was meant for a closed connection never reaches the newcomer that inherited
//!   its descriptor's number.
//! * Sockets are read and written with `MSG_DONTWAIT`, so one that was handed over in blocking mode is no trap.
//! * When `accept` fails for want of descriptors or memory, the listener rests for 10 ms, then twice as long, up to
//!   100 ms; a level-triggered listener would otherwise take the whole processor to fail.
//! * A protocol's method must not block, for nobody else is served meanwhile: that is the bargain of this architecture.

mod connection;
mod datagram;
mod event_loop;
mod handle;
mod protocol;
mod server;
mod slots;
mod stream;
mod timers;
mod transport;

pub use datagram::DatagramTransport;
pub use event_loop::EventLoop;
pub use handle::{Failure, LoopHandle, Stats};
pub use protocol::{DatagramProtocol, Protocol};
pub use server::{ACCEPTS_PER_TURN, Accepted, ServerHandle};
/// The sockets and addresses that this crate takes and gives.
pub use socket2::{SockAddr, Socket};
pub use timers::TimerHandle;
pub use transport::Transport;
