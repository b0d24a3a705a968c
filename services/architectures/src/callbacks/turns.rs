//! The loop's turns, and what ends them.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use chassis::{Endpoint, Site};
use eventloop::{EventLoop, Failure, LoopHandle};

/// Why the server cannot go on, once it cannot.
#[derive(Clone, Default)]
pub struct Failed(Rc<Cell<Option<io::Error>>>);

/// Has the loop tell us of what goes wrong with the endpoint. It would try again for ever; the server ends, and is replaced.
pub fn watch_for_failures(event_loop: &LoopHandle) -> Failed {
    let failed = Failed::default();
    let told = failed.clone();
    event_loop.set_exception_handler(move |failure| match failure {
        Failure::Accept(error) | Failure::Told { error, .. } => {
            told.0.set(Some(io::Error::new(error.kind(), error.to_string())));
        }
        // A panic cost one client, and the log has it.
        _ => {}
    });
    failed
}

/// Takes one turn, and counts it.
///
/// # Errors
/// If the loop cannot wait, or what was told in this turn.
pub fn take_turn<S: Endpoint>(event_loop: &mut EventLoop, site: &RefCell<Site<S>>, failed: &Failed) -> io::Result<()> {
    let (tick, before) = (site.borrow().tick(), event_loop.stats());
    event_loop.run_once(Some(tick))?;
    let turn = event_loop.stats().since(before);
    site.borrow().count_turn(turn.events as usize, turn.waited);
    failed.0.take().map_or(Ok(()), Err)
}
