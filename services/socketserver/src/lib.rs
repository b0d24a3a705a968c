//! Python's [`socketserver`](https://docs.python.org/3/library/socketserver.html) in Rust.
//!
//! A server takes requests from somewhere and has a handler deal with each. Where they come from is a [`Requests`]: the four
//! kinds of socket are here, and anything else can be one. How a handler is run is a [`MixIn`]: one after the other
//! ([`Plain`]), in a thread each ([`ThreadingMixIn`]), or in a process each ([`ForkingMixIn`]).
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use socketserver::{BaseRequestHandler, TcpRequest, tcp_server};
//!
//! struct MyTcpHandler(TcpRequest);
//!
//! impl BaseRequestHandler for MyTcpHandler {
//!     type Request = TcpRequest;
//!
//!     fn new(request: TcpRequest) -> Self {
//!         Self(request)
//!     }
//!
//!     fn handle(&mut self) -> std::io::Result<()> {
//!         let mut data = [0; 1024];
//!         let bytes = self.0.socket.read(&mut data)?;
//!         self.0.socket.write_all(&data[..bytes])
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let address = "127.0.0.1:9999".parse().expect("an address");
//! tcp_server(address, MyTcpHandler::new)?.serve_forever(std::time::Duration::from_millis(500))
//! # }
//! ```
//!
//! | Python | here | difference |
//! |---|---|---|
//! | `TCPServer`, `UDPServer` | [`TcpServer`], [`UdpServer`]: [`tcp_server`], [`udp_server`] | functions that bind; [`Server`] is one type |
//! | `UnixStreamServer`, `UnixDatagramServer` | [`UnixStreamServer`], [`UnixDatagramServer`]: [`unix_stream_server`], [`unix_datagram_server`] | the same |
//! | `server_bind()`, `server_activate()` | [`Listening::server_bind`], [`Bound::server_activate`] | two types: what is not bound cannot listen, what does not listen cannot serve |
//! | `bind_and_activate=False` | [`StreamRequests::from_socket`], [`DatagramRequests::from_socket`] | a socket of the caller's |
//! | `server_address`, `fileno()` | [`StreamRequests::server_address`], [`StreamRequests::socket`] | asked of [`Server::requests`] |
//! | `ThreadingTCPServer` and so on | `tcp_server(…)?.with(ThreadingMixIn::default())` | a mix-in is a value, not a base class |
//! | `RequestHandlerClass` | a function that makes a [`RequestHandler`] | may know more than the request; `H::new` of a [`BaseRequestHandler`] is one |
//! | `setup()`, `handle()`, `finish()` | [`RequestHandler`] | the same: `finish` comes after `handle` also when that failed or panicked |
//! | `self.request`, `self.client_address` | [`StreamRequest`], [`DatagramRequest`] | one struct; closed when it is dropped |
//! | `StreamRequestHandler`, `DatagramRequestHandler` | [`StreamRequestHandler`], [`DatagramRequestHandler`] | around a function that gets `rfile` and `wfile` |
//! | `serve_forever(poll_interval)` | [`Server::serve_forever`] | closes the server at its end |
//! | its selector | poll(2), then accept(2), as Python does | or [`StreamRequests::wait_in_accept`], [`DatagramRequests::wait_in_receive`]: by SO_RCVTIMEO |
//! | `shutdown()` | [`Shutdown::shutdown`] | by a handle that can go to another thread; does not wait: join the thread that serves |
//! | `handle_request()`, `timeout`, `handle_timeout()` | [`Server::handle_request`], [`Server::on_handle_timeout`] | the timeout is an argument, `Duration::MAX` for none; gives whether there was a request |
//! | `service_actions()` | [`Server::on_service_actions`] | gives whether to go on; comes before the wait |
//! | `verify_request()` | [`Server::on_verify_request`] | a closure |
//! | `handle_error()` | [`Server::on_handle_error`] | gets a [`Failure`]; also told of panics and of failed spawns; silent by default |
//! | `get_request()`, `close_request()` | [`Requests`] | a trait, since the kinds of request have types |
//! | `process_request()`, `finish_request()` | [`MixIn::process_request`], [`Work::run`] | the same |
//! | an override of `process_request()` | [`Requests::start_thread`], [`Requests::fork`] | of the call alone that makes the thread or process |
//! | `server_close()` | [`Server::server_close`] | the same: the listener first, then threads or children |
//! | `request_queue_size`, `allow_reuse_address` | [`Listening`] | 128 and on, not 5 and off: a queue of 5 refuses clients whom the server could serve |
//! | `max_packet_size` | [`DatagramRequests::max_packet_size`] | the same |
//! | `daemon_threads`, `block_on_close` | [`ThreadingMixIn`], [`ForkingMixIn`] | fields |
//! | `max_children`, `collect_children()` | [`ForkingMixIn`] | collects before it takes a request, not after; tells how each child ended and what it cost; the process must have one thread |
//! | – | [`ForkingMixIn::in_child`] | is called in each child; the listener is closed there |
//!
//! A server that could not get a thread or a process for a request (EAGAIN) closes that request, tells `handle_error`, and goes
//! on. In Python that exception reaches `handle_error` as well.

mod files;
mod forking;
mod handler;
mod mix_in;
mod requests;
mod server;
mod sockets;
mod threading;

pub use files::{DatagramFiles, DatagramRequestHandler, StreamFiles, StreamRequestHandler};
pub use forking::{ChildEnded, ForkingMixIn};
pub use handler::{BaseRequestHandler, Failure, RequestHandler, Work};
pub use mix_in::{MixIn, Plain};
pub use requests::{DatagramRequest, Requests, StreamRequest, TcpRequest, UnixStreamRequest};
pub use server::{
    Server, Shutdown, TcpServer, UdpServer, UnixDatagramServer, UnixStreamServer, tcp_server, udp_server,
    unix_datagram_server, unix_stream_server,
};
pub use sockets::{
    Bound, DatagramRequests, Listening, StreamRequests, TcpRequests, UdpRequests, UnixDatagramRequests,
    UnixStreamRequests,
};
pub use threading::ThreadingMixIn;

/// How many clients may wait to be accepted, unless told otherwise (`request_queue_size`).
pub const REQUEST_QUEUE_SIZE: i32 = 128;
