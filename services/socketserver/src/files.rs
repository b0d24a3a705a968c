//! Requests as files: `StreamRequestHandler` and `DatagramRequestHandler`.

use std::io::{self, BufReader, Cursor};
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockAddr, Socket};

use crate::handler::RequestHandler;
use crate::requests::{DatagramRequest, StreamRequest};

/// A client as two files.
#[derive(Debug)]
pub struct StreamFiles {
    /// What the client says, buffered.
    pub rfile: BufReader<Socket>,
    /// Who it is.
    pub client_address: SockAddr,
}

impl StreamFiles {
    /// Takes what the client is told, unbuffered.
    pub fn wfile(&self) -> &Socket {
        self.rfile.get_ref()
    }
}

/// Deals with a client by its files.
#[derive(Debug)]
pub struct StreamRequestHandler<F> {
    /// How long each read and write may take; `None` is for ever.
    pub timeout: Option<Duration>,
    /// Whether small writes leave at once (TCP_NODELAY). For TCP only.
    pub disable_nagle_algorithm: bool,
    files: StreamFiles,
    handle: F,
}

impl<F: FnMut(&mut StreamFiles) -> io::Result<()>> StreamRequestHandler<F> {
    /// A handler that calls `handle` with the client's files.
    pub fn new(request: StreamRequest, handle: F) -> Self {
        let StreamRequest { socket, client_address } = request;
        let files = StreamFiles { rfile: BufReader::new(socket), client_address };
        Self { timeout: None, disable_nagle_algorithm: false, files, handle }
    }
}

impl<F: FnMut(&mut StreamFiles) -> io::Result<()>> RequestHandler for StreamRequestHandler<F> {
    fn setup(&mut self) -> io::Result<()> {
        let socket = self.files.wfile();
        if self.timeout.is_some() {
            socket.set_read_timeout(self.timeout)?;
            socket.set_write_timeout(self.timeout)?;
        }
        if self.disable_nagle_algorithm {
            socket.set_tcp_nodelay(true)?;
        }
        Ok(())
    }

    fn handle(&mut self) -> io::Result<()> {
        (self.handle)(&mut self.files)
    }
}

/// A datagram as two files.
#[derive(Debug)]
pub struct DatagramFiles {
    /// What was received.
    pub rfile: Cursor<Vec<u8>>,
    /// The answer, which leaves as one datagram when the handler has finished.
    pub wfile: Vec<u8>,
    /// Who sent it.
    pub client_address: SockAddr,
}

/// Deals with a datagram by its files. Sends an answer always, an empty one as well, as Python does.
#[derive(Debug)]
pub struct DatagramRequestHandler<F> {
    files: DatagramFiles,
    socket: Arc<Socket>,
    handle: F,
}

impl<F: FnMut(&mut DatagramFiles) -> io::Result<()>> DatagramRequestHandler<F> {
    /// A handler that calls `handle` with the datagram's files.
    pub fn new(request: DatagramRequest, handle: F) -> Self {
        let DatagramRequest { data, socket, client_address } = request;
        Self { files: DatagramFiles { rfile: Cursor::new(data), wfile: Vec::new(), client_address }, socket, handle }
    }
}

impl<F: FnMut(&mut DatagramFiles) -> io::Result<()>> RequestHandler for DatagramRequestHandler<F> {
    fn handle(&mut self) -> io::Result<()> {
        (self.handle)(&mut self.files)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.socket.send_to(&self.files.wfile, &self.files.client_address).map(drop)
    }
}
