//! How requests are handled.

use crate::handler::Work;
use crate::requests::Requests;

/// How requests are handled: here, or in a thread or a process of their own.
pub trait MixIn<S: Requests> {
    /// Has a request handled, now or elsewhere. Where there is no room for it, it goes to `refuse_request`.
    fn process_request(&mut self, requests: &mut S, request: S::Request, work: &Work<S::Request>);

    /// Is called once a turn: in `serve_forever` before a request is taken, so that it is known by then who has ended.
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
    fn process_request(&mut self, _: &mut S, request: S::Request, work: &Work<S::Request>) {
        work.run(request);
    }
}
