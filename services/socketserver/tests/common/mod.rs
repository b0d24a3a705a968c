//! Handlers that echo, servers in threads, and clients.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part, and a test that fails says where")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socketserver::{
    BaseRequestHandler, DatagramRequest, MixIn, Requests, Server, Shutdown, StreamRequest, StreamRequests,
};

pub const PATIENCE: Duration = Duration::from_secs(30);
pub const INTERVAL: Duration = Duration::from_millis(5);
pub const ANY: &str = "127.0.0.1:0";

/// Sends back what it hears until the client is gone; some words have effects.
pub struct Echo(pub StreamRequest);

impl BaseRequestHandler for Echo {
    type Request = StreamRequest;

    fn new(request: StreamRequest) -> Self {
        Self(request)
    }

    fn handle(&mut self) -> io::Result<()> {
        let mut data = [0; 64];
        loop {
            let bytes = self.0.socket.read(&mut data)?;
            match &data[..bytes] {
                b"" => return Ok(()),
                b"panic" => panic!("as the client wishes"),
                b"fail" => return Err(io::Error::other("as he wishes")),
                words => self.0.socket.write_all(words)?,
            }
        }
    }
}

pub struct EchoDatagram(DatagramRequest);

impl BaseRequestHandler for EchoDatagram {
    type Request = DatagramRequest;

    fn new(request: DatagramRequest) -> Self {
        Self(request)
    }

    fn handle(&mut self) -> io::Result<()> {
        self.0.socket.send_to(&self.0.data, &self.0.client_address).map(drop)
    }
}

/// A server in a thread.
pub struct Running {
    pub shutdown: Shutdown,
    pub failures: Receiver<String>,
    pub thread: JoinHandle<io::Result<()>>,
}

impl Running {
    pub fn start<S, M>(server: Server<S, M>) -> Self
    where
        S: Requests + Send + 'static,
        M: MixIn<S> + Send + 'static,
    {
        let (report, failures) = channel();
        let server = server.on_handle_error(move |failure| report.send(failure.to_string()).unwrap());
        let shutdown = server.shutdown_handle();
        let thread = thread::Builder::new().spawn(move || server.serve_forever(INTERVAL)).unwrap();
        Self { shutdown, failures, thread }
    }

    pub fn failure(&self) -> String {
        self.failures.recv_timeout(PATIENCE).unwrap()
    }

    pub fn stop(self) {
        self.shutdown.shutdown();
        self.thread.join().unwrap().unwrap();
    }
}

pub fn any() -> SocketAddr {
    ANY.parse().unwrap()
}

pub fn tcp(requests: &StreamRequests) -> SocketAddr {
    requests.server_address().unwrap().as_socket().unwrap()
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

pub fn ask(mut client: impl Read + Write, text: &str) {
    client.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text.as_bytes());
}
