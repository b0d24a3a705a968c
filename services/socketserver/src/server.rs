//! The server: takes requests, and has each of them handled.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::handler::{BaseRequestHandler, Failure, RequestHandler, Work, attend};
use crate::mix_in::{MixIn, Plain};
use crate::requests::{DatagramRequest, Requests, StreamRequest};
use crate::sockets::{DatagramRequests, Listening, StreamRequests};

/// A server.
pub struct Server<S: Requests, M: MixIn<S> = Plain> {
    requests: S,
    mix_in: M,
    work: Work<S::Request>,
    stop: Arc<AtomicBool>,
    service_actions: Box<dyn FnMut(&mut S) -> bool + Send>,
    verify_request: Verify<S::Request>,
    handle_timeout: Box<dyn FnMut(&mut S) + Send>,
}

type Verify<R> = Box<dyn Fn(&R) -> bool + Send>;

/// `TCPServer`, or with a mix-in `ThreadingTCPServer` and so on.
pub type TcpServer<M = Plain> = Server<StreamRequests, M>;
/// `UnixStreamServer`.
pub type UnixStreamServer<M = Plain> = Server<StreamRequests, M>;
/// `UDPServer`.
pub type UdpServer<M = Plain> = Server<DatagramRequests, M>;
/// `UnixDatagramServer`.
pub type UnixDatagramServer<M = Plain> = Server<DatagramRequests, M>;

/// How long a server that could not take a request leaves it at that: without a free descriptor the client stays where he is,
/// and the loop would spin.
const BREATH: Duration = Duration::from_millis(10);

/// Ends a server's [`serve_forever`](Server::serve_forever), from wherever.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<AtomicBool>);

impl Shutdown {
    /// The server stops when it has noticed: after a poll interval at the latest, or the request that it handles itself.
    pub fn shutdown(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl<S: Requests> Server<S> {
    /// A server of these requests, with a handler that is made of a request alone.
    pub fn new<H: BaseRequestHandler<Request = S::Request> + 'static>(requests: S) -> Self {
        Self::with_factory(requests, H::new)
    }

    /// A server whose handlers are made by a function, which may know more than the request.
    pub fn with_factory<H: RequestHandler>(
        requests: S,
        make: impl Fn(S::Request) -> H + Send + Sync + 'static,
    ) -> Self {
        Self::with_function(requests, move |request| attend(make(request)))
    }

    /// A server whose handler is a function.
    pub fn with_function(requests: S, handle: impl Fn(S::Request) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self {
            requests,
            mix_in: Plain,
            work: Work { handle: Arc::new(handle), on_error: Arc::new(|_| {}) },
            stop: Arc::default(),
            service_actions: Box::new(|_| true),
            verify_request: Box::new(|_| true),
            handle_timeout: Box::new(|_| {}),
        }
    }

    /// The same server with a mix-in.
    pub fn with<M: MixIn<S>>(self, mix_in: M) -> Server<S, M> {
        Server {
            requests: self.requests,
            mix_in,
            work: self.work,
            stop: self.stop,
            service_actions: self.service_actions,
            verify_request: self.verify_request,
            handle_timeout: self.handle_timeout,
        }
    }
}

impl<S: Requests, M: MixIn<S>> Server<S, M> {
    /// Is called once a turn (`service_actions`), before the server waits; the server stops when it gives false.
    #[must_use]
    pub fn on_service_actions(mut self, actions: impl FnMut(&mut S) -> bool + Send + 'static) -> Self {
        self.service_actions = Box::new(actions);
        self
    }

    /// Says whether a request is handled (`verify_request`).
    #[must_use]
    pub fn on_verify_request(mut self, verify: impl Fn(&S::Request) -> bool + Send + 'static) -> Self {
        self.verify_request = Box::new(verify);
        self
    }

    /// Is told what goes wrong (`handle_error`), in the thread or process where it does. Without it nothing is said.
    #[must_use]
    pub fn on_handle_error(mut self, on_error: impl Fn(&Failure) + Send + Sync + 'static) -> Self {
        self.work.on_error = Arc::new(on_error);
        self
    }

    /// Is called when [`handle_request`](Self::handle_request) ends without a request (`handle_timeout`).
    #[must_use]
    pub fn on_handle_timeout(mut self, call: impl FnMut(&mut S) + Send + 'static) -> Self {
        self.handle_timeout = Box::new(call);
        self
    }

    /// Where requests come from.
    pub const fn requests(&self) -> &S {
        &self.requests
    }

    /// How many requests are being handled in threads or processes, ended ones that are not collected yet among them.
    pub fn active(&self) -> usize {
        self.mix_in.active()
    }

    /// A handle by which the server can be stopped.
    pub fn shutdown_handle(&self) -> Shutdown {
        Shutdown(self.stop.clone())
    }

    /// Handles requests until it is told to stop, looking for that every `poll_interval`; then closes the server.
    ///
    /// # Errors
    /// If nobody can be waited for. Threads and processes that are at work are not waited for then: as after an exception in
    /// Python, whether there is time for that is for the caller to say.
    pub fn serve_forever(mut self, poll_interval: Duration) -> io::Result<()> {
        self.serve_until_told(poll_interval)?;
        self.server_close();
        Ok(())
    }

    fn serve_until_told(&mut self, poll_interval: Duration) -> io::Result<()> {
        while !self.is_told() && (self.service_actions)(&mut self.requests) {
            let somebody_waits = self.requests.wait(poll_interval)?;
            // Who has ended while it waited must not keep a newcomer out.
            self.mix_in.service_actions(&mut self.requests);
            // Told while it waited: it takes nobody any more.
            if somebody_waits && !self.is_told() {
                self.handle_request_now();
            }
        }
        Ok(())
    }

    fn is_told(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Handles one request, if one comes in this time; whether one did. A signal may end the time early.
    ///
    /// # Errors
    /// If nobody can be waited for.
    pub fn handle_request(&mut self, timeout: Duration) -> io::Result<bool> {
        let handled = self.requests.wait(timeout)? && self.handle_request_now();
        if !handled {
            (self.handle_timeout)(&mut self.requests);
        }
        self.mix_in.service_actions(&mut self.requests);
        Ok(handled)
    }

    /// Takes no more requests, and waits for the threads or processes that are at work, if the mix-in is to.
    pub fn server_close(mut self) {
        self.requests.server_close();
        self.mix_in.server_close(&mut self.requests);
    }

    fn handle_request_now(&mut self) -> bool {
        match self.requests.get_request() {
            Ok(Some(request)) if (self.verify_request)(&request) => {
                self.mix_in.process_request(&mut self.requests, request, &self.work);
                true
            }
            Ok(Some(request)) => {
                self.requests.refuse_request(request);
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.work.failed(&Failure::Request(error));
                thread::sleep(BREATH);
                false
            }
        }
    }
}

/// A TCP server (`TCPServer`): `tcp_server(address, MyTcpHandler::new)`.
///
/// # Errors
/// If the address cannot be bound.
pub fn tcp_server<H: RequestHandler>(
    address: SocketAddr,
    make: impl Fn(StreamRequest) -> H + Send + Sync + 'static,
) -> io::Result<TcpServer> {
    Ok(Server::with_factory(StreamRequests::tcp(address, Listening::default())?, make))
}

/// A UDP server (`UDPServer`).
///
/// # Errors
/// If the address cannot be bound.
pub fn udp_server<H: RequestHandler>(
    address: SocketAddr,
    make: impl Fn(DatagramRequest) -> H + Send + Sync + 'static,
) -> io::Result<UdpServer> {
    Ok(Server::with_factory(DatagramRequests::udp(address)?, make))
}

/// A server on a Unix stream socket (`UnixStreamServer`). The path must not exist.
///
/// # Errors
/// If the path cannot be bound.
pub fn unix_stream_server<H: RequestHandler>(
    path: &Path,
    make: impl Fn(StreamRequest) -> H + Send + Sync + 'static,
) -> io::Result<UnixStreamServer> {
    Ok(Server::with_factory(StreamRequests::unix(path, Listening::default())?, make))
}

/// A server on a Unix datagram socket (`UnixDatagramServer`). The path must not exist.
///
/// # Errors
/// If the path cannot be bound.
pub fn unix_datagram_server<H: RequestHandler>(
    path: &Path,
    make: impl Fn(DatagramRequest) -> H + Send + Sync + 'static,
) -> io::Result<UnixDatagramServer> {
    Ok(Server::with_factory(DatagramRequests::unix(path)?, make))
}
