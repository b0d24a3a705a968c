//! A UDP echo server in callback style (asyncio's `EchoServerProtocol` for datagrams).
//!
//! ```sh
//! cargo run -p eventloop --example udp_echo_server [HOST:PORT]
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::io;
use std::net::UdpSocket;

use eventloop::{DatagramProtocol, DatagramTransport, EventLoop};
use socket2::SockAddr;

struct Echo;

impl DatagramProtocol for Echo {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: &SockAddr, truncated: bool) {
        let cut = if truncated { " (cut)" } else { "" };
        println!("Received {:?}{cut} from {:?}", String::from_utf8_lossy(data), from.as_socket());
        if let Err(error) = transport.sendto(data, Some(from)) {
            println!("Not sent back: {error}");
        }
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9999".into());
    let mut event_loop = EventLoop::new()?;
    let socket = UdpSocket::bind(address)?;
    println!("Serving on {}", socket.local_addr()?);
    event_loop.create_datagram_endpoint(socket.into(), Echo)?;
    event_loop.run_forever()
}
