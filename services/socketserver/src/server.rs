//! The server: takes requests, and has each of them handled.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::REQUEST_QUEUE_SIZE;
use crate::requests::{Requests, TcpRequests, UdpRequests, UnixDatagramRequests, UnixStreamRequests};

/// Deals with one request: made for it, and gone with it.
pub trait BaseRequestHandler: Sized {
    /// What it deals with.
    type Request: Send + 'static;

    /// A handler for this request.
    fn new(request: Self::Request) -> Self;

    /// Comes before `handle`.
    ///
    /// # Errors
    /// What went wrong; `handle` is not called then.
    fn setup(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Does what there is to do.
    ///
    /// # Errors
    /// What went wrong; the server goes on.
    fn handle(&mut self) -> io::Result<()>;

    /// Comes after `handle`, whatever came of it.
    fn finish(&mut self) {}
}

/// What a server does with a request: makes a handler, and lets it work.
pub(crate) type Handle<R> = Arc<dyn Fn(R) -> io::Result<()> + Send + Sync>;

/// What went wrong with one request. The server goes on.
#[derive(Debug)]
pub enum Failure {
    /// The handler failed.
    Handler(io::Error),
    /// The handler panicked.
    Panic(String),
    /// There was no thread or process for the request; it was refused.
    Spawn(io::Error),
    /// No request could be taken.
    Request(io::Error),
}

pub(crate) type OnError = Arc<dyn Fn(&Failure) + Send + Sync>;

/// How requests are handled.
pub trait MixIn<S: Requests> {
    /// Has a request handled, now or elsewhere.
    fn process_request(
        &mut self,
        requests: &mut S,
        request: S::Request,
        handle: &Handle<S::Request>,
        on_error: &OnError,
    );

    /// Is called once a turn, and after every request.
    fn service_actions(&mut self, _requests: &mut S) {}

    /// How many requests are being handled elsewhere.
    fn active(&self) -> usize {
        0
    }

    /// Comes when the server is closed.
    fn server_close(&mut self, _requests: &mut S) {}
}

/// One request after the other.
#[derive(Debug, Default)]
pub struct Plain;

impl<S: Requests> MixIn<S> for Plain {
    fn process_request(&mut self, _: &mut S, request: S::Request, handle: &Handle<S::Request>, on_error: &OnError) {
        run(request, handle, on_error);
    }
}

/// Handles a request here and now; says what went wrong.
pub(crate) fn run<R>(request: R, handle: &Handle<R>, on_error: &OnError) {
    match catch_unwind(AssertUnwindSafe(|| handle(request))) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => on_error(&Failure::Handler(error)),
        Err(panic) => on_error(&Failure::Panic(message(&*panic))),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// A server.
pub struct Server<S: Requests, M: MixIn<S> = Plain> {
    requests: S,
    mix_in: M,
    handle: Handle<S::Request>,
    stop: Arc<AtomicBool>,
    service_actions: Box<dyn FnMut(&mut S) -> bool>,
    verify_request: Verify<S::Request>,
    handle_error: OnError,
}

type Verify<R> = Box<dyn Fn(&R) -> bool>;

/// Ends a server's [`serve_forever`](Server::serve_forever), from wherever.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<AtomicBool>);

impl Shutdown {
    /// The server stops when it has noticed: after a poll interval at the latest.
    pub fn shutdown(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl<S: Requests> Server<S> {
    /// A server of these requests.
    pub fn new<H: BaseRequestHandler<Request = S::Request> + 'static>(requests: S) -> Self {
        Self::with_function(requests, |request| {
            let mut handler = H::new(request);
            let result = handler.setup().and_then(|()| handler.handle());
            handler.finish();
            result
        })
    }

    /// A server whose handler is a function.
    pub fn with_function(requests: S, handle: impl Fn(S::Request) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self {
            requests,
            mix_in: Plain,
            handle: Arc::new(handle),
            stop: Arc::default(),
            service_actions: Box::new(|_| true),
            verify_request: Box::new(|_| true),
            handle_error: Arc::new(|_| {}),
        }
    }

    /// The same server with a mix-in.
    pub fn with<M: MixIn<S>>(self, mix_in: M) -> Server<S, M> {
        Server {
            requests: self.requests,
            mix_in,
            handle: self.handle,
            stop: self.stop,
            service_actions: self.service_actions,
            verify_request: self.verify_request,
            handle_error: self.handle_error,
        }
    }
}

impl<S: Requests, M: MixIn<S>> Server<S, M> {
    /// Is called once a turn (`service_actions`); the server stops when it gives false.
    #[must_use]
    pub fn on_service_actions(mut self, actions: impl FnMut(&mut S) -> bool + 'static) -> Self {
        self.service_actions = Box::new(actions);
        self
    }

    /// Says whether a request is handled (`verify_request`).
    #[must_use]
    pub fn on_verify_request(mut self, verify: impl Fn(&S::Request) -> bool + 'static) -> Self {
        self.verify_request = Box::new(verify);
        self
    }

    /// Is told what goes wrong (`handle_error`).
    #[must_use]
    pub fn on_handle_error(mut self, on_error: impl Fn(&Failure) + Send + Sync + 'static) -> Self {
        self.handle_error = Arc::new(on_error);
        self
    }

    /// Where requests come from.
    pub const fn requests(&self) -> &S {
        &self.requests
    }

    /// A handle by which the server can be stopped.
    pub fn shutdown_handle(&self) -> Shutdown {
        Shutdown(self.stop.clone())
    }

    /// Handles requests until it is told to stop, looking for that every `poll_interval`; then closes the server.
    ///
    /// # Errors
    /// If nobody can be waited for.
    pub fn serve_forever(mut self, poll_interval: Duration) -> io::Result<()> {
        while !self.stop.load(Ordering::Acquire) && (self.service_actions)(&mut self.requests) {
            if self.requests.wait(poll_interval)? {
                self.handle_request_now();
            }
            self.mix_in.service_actions(&mut self.requests);
        }
        self.mix_in.server_close(&mut self.requests);
        Ok(())
    }

    /// Handles one request, if one comes in this time; whether one did.
    ///
    /// # Errors
    /// If nobody can be waited for.
    pub fn handle_request(&mut self, timeout: Duration) -> io::Result<bool> {
        let handled = self.requests.wait(timeout)? && self.handle_request_now();
        self.mix_in.service_actions(&mut self.requests);
        Ok(handled)
    }

    fn handle_request_now(&mut self) -> bool {
        match self.requests.get_request() {
            Ok(Some(request)) if (self.verify_request)(&request) => {
                self.mix_in.process_request(&mut self.requests, request, &self.handle, &self.handle_error);
                true
            }
            Ok(Some(request)) => {
                self.requests.refuse_request(request);
                true
            }
            Ok(None) => false,
            Err(error) => {
                (self.handle_error)(&Failure::Request(error));
                false
            }
        }
    }
}

/// A TCP server (`TCPServer`).
///
/// # Errors
/// If the address cannot be bound.
pub fn tcp_server<H>(address: SocketAddr) -> io::Result<Server<TcpRequests>>
where
    H: BaseRequestHandler<Request = crate::TcpRequest> + 'static,
{
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(REQUEST_QUEUE_SIZE)?;
    Ok(Server::new::<H>(TcpRequests::from_socket(socket)))
}

/// A UDP server (`UDPServer`).
///
/// # Errors
/// If the address cannot be bound.
pub fn udp_server<H>(address: SocketAddr) -> io::Result<Server<UdpRequests>>
where
    H: BaseRequestHandler<Request = crate::DatagramRequest> + 'static,
{
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.bind(&address.into())?;
    Ok(Server::new::<H>(UdpRequests::from_socket(socket)))
}

/// A server on a Unix stream socket (`UnixStreamServer`). The path must not exist.
///
/// # Errors
/// If the path cannot be bound.
pub fn unix_stream_server<H>(path: &Path) -> io::Result<Server<UnixStreamRequests>>
where
    H: BaseRequestHandler<Request = crate::UnixStreamRequest> + 'static,
{
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(REQUEST_QUEUE_SIZE)?;
    Ok(Server::new::<H>(UnixStreamRequests::from_socket(socket)))
}

/// A server on a Unix datagram socket (`UnixDatagramServer`). The path must not exist.
///
/// # Errors
/// If the path cannot be bound.
pub fn unix_datagram_server<H>(path: &Path) -> io::Result<Server<UnixDatagramRequests>>
where
    H: BaseRequestHandler<Request = crate::DatagramRequest> + 'static,
{
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(Server::new::<H>(UnixDatagramRequests::from_socket(socket)))
}
