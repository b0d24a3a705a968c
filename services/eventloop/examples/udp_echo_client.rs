//! A UDP echo client in callback style: sends one message, prints what comes back, and gives up after two seconds.
//!
//! ```sh
//! cargo run -p eventloop --example udp_echo_client [HOST:PORT [MESSAGE]]
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use eventloop::{DatagramProtocol, DatagramTransport, EventLoop};
use socket2::SockAddr;

struct Client {
    message: String,
}

impl DatagramProtocol for Client {
    fn connection_made(&mut self, transport: &DatagramTransport) {
        match transport.sendto(self.message.as_bytes(), None) {
            Ok(()) => println!("Sent {:?}", self.message),
            Err(error) => println!("Not sent: {error}"),
        }
        transport.call_later(Duration::from_secs(2), |_: &mut Self, transport| {
            println!("No answer");
            transport.close();
        });
    }

    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], _from: &SockAddr, _truncated: bool) {
        println!("Received {:?}", String::from_utf8_lossy(data));
        transport.close();
    }

    fn error_received(&mut self, transport: &DatagramTransport, error: io::Error) {
        println!("Error received: {error}");
        transport.close();
    }

    fn connection_lost(&mut self, transport: &DatagramTransport, _error: Option<io::Error>) {
        println!("Closed");
        transport.event_loop().stop();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let server: SocketAddr = arguments.next().unwrap_or_else(|| "127.0.0.1:9999".into()).parse()?;
    let message = arguments.next().unwrap_or_else(|| "Hello World!".into());
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    let mut event_loop = EventLoop::new()?;
    event_loop.create_datagram_endpoint(socket.into(), Client { message })?;
    Ok(event_loop.run_forever()?)
}
