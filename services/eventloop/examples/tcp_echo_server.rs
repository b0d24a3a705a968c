//! A TCP echo server in callback style (asyncio's `EchoServerProtocol`).
//!
//! ```sh
//! cargo run -p eventloop --example tcp_echo_server [HOST:PORT]
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::io;
use std::net::TcpListener;

use eventloop::{EventLoop, Protocol, Transport};

struct Echo;

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &Transport) {
        let peer = transport.peer_name().ok().and_then(|peer| peer.as_socket());
        println!("Connection from {peer:?}");
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        println!("Received {:?}, sending it back", String::from_utf8_lossy(data));
        transport.write(data);
    }

    fn connection_lost(&mut self, _transport: &Transport, error: Option<io::Error>) {
        match error {
            Some(error) => println!("Connection lost: {error}"),
            None => println!("Connection closed"),
        }
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8888".into());
    let mut event_loop = EventLoop::new()?;
    let listener = TcpListener::bind(address)?;
    println!("Serving on {}", listener.local_addr()?);
    event_loop.create_server(listener.into(), || Echo)?;
    event_loop.run_forever()
}
