//! What deals with a request.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// Deals with one request: made for it, and gone with it.
pub trait RequestHandler {
    /// Comes before `handle`.
    ///
    /// # Errors
    /// What went wrong; neither `handle` nor `finish` is called then.
    fn setup(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Does what there is to do.
    ///
    /// # Errors
    /// What went wrong; the server goes on.
    fn handle(&mut self) -> io::Result<()>;

    /// Comes after `handle`, also when that failed or panicked.
    ///
    /// # Errors
    /// What went wrong; not told if `handle` failed before.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A handler that is made of its request alone (Python's base class). What needs more, state from outside for instance, is a
/// [`RequestHandler`] that the server's factory makes.
pub trait BaseRequestHandler: Sized {
    /// What it deals with.
    type Request: Send + 'static;

    /// A handler for this request.
    fn new(request: Self::Request) -> Self;

    /// As [`RequestHandler::setup`].
    ///
    /// # Errors
    /// What went wrong.
    fn setup(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// As [`RequestHandler::handle`].
    ///
    /// # Errors
    /// What went wrong.
    fn handle(&mut self) -> io::Result<()>;

    /// As [`RequestHandler::finish`].
    ///
    /// # Errors
    /// What went wrong.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<H: BaseRequestHandler> RequestHandler for H {
    fn setup(&mut self) -> io::Result<()> {
        BaseRequestHandler::setup(self)
    }

    fn handle(&mut self) -> io::Result<()> {
        BaseRequestHandler::handle(self)
    }

    fn finish(&mut self) -> io::Result<()> {
        BaseRequestHandler::finish(self)
    }
}

/// A handler's whole life.
pub(crate) fn attend(mut handler: impl RequestHandler) -> io::Result<()> {
    handler.setup()?;
    let result = catch_unwind(AssertUnwindSafe(|| handler.handle()));
    let finished = handler.finish();
    result.unwrap_or_else(|panic| resume_unwind(panic)).and(finished)
}

/// What went wrong with one request. The server goes on.
#[derive(Debug)]
pub enum Failure {
    /// The handler failed.
    Handler(io::Error),
    /// The handler panicked, with this message (empty if it was not a text).
    Panic(String),
    /// There was no thread or process for the request (EAGAIN); it was closed.
    Spawn(io::Error),
    /// No request could be taken.
    Request(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(error) => write!(f, "the handler failed: {error}"),
            Self::Panic(message) => write!(f, "the handler panicked: {message}"),
            Self::Spawn(error) => write!(f, "a request was closed, for there was no thread or process for it: {error}"),
            Self::Request(error) => write!(f, "no request could be taken: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

/// What a server does with a request, wherever that is: has it handled, and says what went wrong.
pub struct Work<R> {
    pub(crate) handle: Arc<dyn Fn(R) -> io::Result<()> + Send + Sync>,
    pub(crate) on_error: Arc<dyn Fn(&Failure) + Send + Sync>,
}

impl<R> Clone for Work<R> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), on_error: self.on_error.clone() }
    }
}

impl<R> Work<R> {
    /// Handles a request here and now (`finish_request`). A failure or a panic goes to `handle_error`; whether there was none.
    pub fn run(&self, request: R) -> bool {
        match catch_unwind(AssertUnwindSafe(|| (self.handle)(request))) {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => self.failed(&Failure::Handler(error)),
            Err(panic) => self.failed(&Failure::Panic(message(&*panic))),
        }
        false
    }

    /// Tells what went wrong (`handle_error`).
    pub fn failed(&self, failure: &Failure) {
        (self.on_error)(failure);
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
