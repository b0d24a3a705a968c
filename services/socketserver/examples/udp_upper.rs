//! A UDP server: sends back what it hears in upper case, each datagram in a thread of its own.
//!
//! ```text
//! cargo run -p socketserver --example udp_upper [HOST:PORT]
//! ```
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::io;
use std::time::Duration;

use socketserver::{BaseRequestHandler, DatagramRequest, ThreadingMixIn, udp_server};

struct MyUdpHandler {
    request: DatagramRequest,
}

impl BaseRequestHandler for MyUdpHandler {
    type Request = DatagramRequest;

    fn new(request: DatagramRequest) -> Self {
        Self { request }
    }

    fn handle(&mut self) -> io::Result<()> {
        let reply = self.request.data.to_ascii_uppercase();
        self.request.socket.send_to(&reply, &self.request.client_address).map(drop)
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9999".into());
    let address = address.parse().map_err(io::Error::other)?;
    let server = udp_server(address, MyUdpHandler::new)?.with(ThreadingMixIn::default());
    println!("Serving on {}", server.requests().server_address()?.as_socket().unwrap_or(address));
    server.serve_forever(Duration::from_millis(500))
}
