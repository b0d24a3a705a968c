//! The chapter's TCP server: sends back what it hears, one client after the other.
//!
//! ```text
//! cargo run -p socketserver --example tcp_echo [HOST:PORT]
//! ```
#![allow(clippy::print_stdout, reason = "the chapter's server prints who wrote what")]

use std::io::{self, Read, Write};
use std::time::Duration;

use socketserver::{BaseRequestHandler, TcpRequest, tcp_server};

struct MyTcpHandler {
    request: TcpRequest,
}

impl BaseRequestHandler for MyTcpHandler {
    type Request = TcpRequest;

    fn new(request: TcpRequest) -> Self {
        Self { request }
    }

    fn handle(&mut self) -> io::Result<()> {
        let mut data = [0; 1024];
        let bytes = self.request.socket.read(&mut data)?;
        let data = data[..bytes].trim_ascii();
        if let Some(client) = self.request.client_address.as_socket() {
            println!("{} wrote: {}", client.ip(), String::from_utf8_lossy(data));
        }
        self.request.socket.write_all(data)
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9999".into());
    let address = address.parse().map_err(io::Error::other)?;
    let server = tcp_server(address, MyTcpHandler::new)?;
    println!("Serving on {}", server.requests().server_address()?.as_socket().unwrap_or(address));
    server.serve_forever(Duration::from_millis(500))
}
