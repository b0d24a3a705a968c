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
//! tcp_server::<MyTcpHandler>(address)?.serve_forever(std::time::Duration::from_millis(500))
//! # }
//! ```
//!
//! | Python | here | difference |
//! |---|---|---|
//! | `TCPServer`, `UDPServer` | [`tcp_server`], [`udp_server`] | functions that bind and give a [`Server`] |
//! | `UnixStreamServer`, `UnixDatagramServer` | [`unix_stream_server`], [`unix_datagram_server`] | the same |
//! | `ThreadingTCPServer` and so on | `tcp_server(…)?.with(ThreadingMixIn::default())` | a mix-in is a value, not a base class |
//! | `BaseRequestHandler` | [`BaseRequestHandler`] | `setup` and `finish` have defaults; `finish` runs whatever happened before |
//! | `self.request`, `self.client_address` | [`TcpRequest`], [`DatagramRequest`] … | one struct; a datagram's data is there already |
//! | `serve_forever(poll_interval)` | [`Server::serve_forever`] | the same: poll(2), then accept(2) |
//! | `shutdown()` | [`Shutdown::shutdown`] | by a handle that can go to another thread; does not wait |
//! | `handle_request()`, `timeout`, `handle_timeout()` | [`Server::handle_request`] | gives whether there was one |
//! | `service_actions()` | [`Server::on_service_actions`] | gives whether to go on |
//! | `verify_request()` | [`Server::on_verify_request`] | a closure |
//! | `handle_error()` | [`Server::on_handle_error`] | is told of panics and of failed spawns as well |
//! | `get_request()`, `close_request()` | [`Requests`] | a trait, since the kinds of request have types |
//! | `process_request()` | [`MixIn::process_request`] | the same |
//! | `request_queue_size`, `allow_reuse_address` | [`REQUEST_QUEUE_SIZE`], always on for TCP | constants |
//! | `daemon_threads`, `block_on_close` | [`ThreadingMixIn`], [`ForkingMixIn`] | fields |
//! | `max_children`, `collect_children()` | [`ForkingMixIn`] | the same; it forks, so the process must have one thread |

mod forking;
mod requests;
mod server;
mod threading;

pub use forking::ForkingMixIn;
pub use requests::{
    DatagramRequest, Requests, StreamRequest, TcpRequest, TcpRequests, UdpRequests, UnixDatagramRequests,
    UnixStreamRequest, UnixStreamRequests,
};
pub use server::{
    BaseRequestHandler, Failure, MixIn, Plain, Server, Shutdown, tcp_server, udp_server, unix_datagram_server,
    unix_stream_server,
};
pub use threading::ThreadingMixIn;

/// How many clients may wait to be accepted (`request_queue_size`).
pub const REQUEST_QUEUE_SIZE: i32 = 128;
