//! A TCP echo client in callback style: sends one message, prints what comes back, closes.
//!
//! ```sh
//! cargo run -p eventloop --example tcp_echo_client [HOST:PORT [MESSAGE]]
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::io;
use std::net::SocketAddr;

use eventloop::{EventLoop, Protocol, Transport};

struct Client {
    message: String,
    echoed: usize,
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(self.message.as_bytes());
        println!("Sent {:?}", self.message);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        println!("Received {:?}", String::from_utf8_lossy(data));
        self.echoed += data.len();
        if self.echoed >= self.message.len() {
            transport.close();
        }
    }

    fn connection_lost(&mut self, transport: &Transport, error: Option<io::Error>) {
        match error {
            Some(error) => println!("Connection lost: {error}"),
            None => println!("Connection closed"),
        }
        transport.event_loop().stop();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr = arguments.next().unwrap_or_else(|| "127.0.0.1:8888".into()).parse()?;
    let message = arguments.next().unwrap_or_else(|| "Hello World!".into());
    let mut event_loop = EventLoop::new()?;
    event_loop.create_connection(&address.into(), Client { message, echoed: 0 })?;
    Ok(event_loop.run_forever()?)
}
