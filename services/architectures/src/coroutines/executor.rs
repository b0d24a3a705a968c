//! The executor: whose turn it is, and who calls a coroutine again when what it awaits is there.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::reactor::Reactor;

/// A handle of the executor, for whoever starts tasks.
#[derive(Clone)]
pub struct Executor(Rc<Core>);

struct Core {
    reactor: Reactor,
    /// A place is empty while its task runs.
    tasks: RefCell<Vec<Option<Task>>>,
    free: RefCell<Vec<usize>>,
    woken: Arc<Woken>,
    /// Who awaits that all others have ended.
    last: Cell<Option<Waker>>,
}

/// A coroutine that is driven for its own sake: its frame, and what rings for it.
struct Task {
    coroutine: Pin<Box<dyn Future<Output = io::Result<()>>>>,
    waker: Waker,
}

/// The places of the tasks to be driven next. Behind a lock, for a waker may be taken to another thread; here nobody does,
/// so it is always free.
#[derive(Default)]
struct Woken(Mutex<Vec<usize>>);

impl Woken {
    fn list(&self) -> MutexGuard<'_, Vec<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is behind a task's waker.
struct Bell {
    place: usize,
    woken: Arc<Woken>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.list().push(self.place);
    }
}

/// Drives a first task, and those that it starts, until it ends; tells `count_turn` of each look at the events.
pub fn run<F: Future<Output = io::Result<()>> + 'static>(
    count_turn: impl Fn(usize, Duration),
    first: impl FnOnce(Executor) -> F,
) -> io::Result<()> {
    let executor = Executor(Rc::new(Core {
        reactor: Reactor::new()?,
        tasks: RefCell::default(),
        free: RefCell::default(),
        woken: Arc::default(),
        last: Cell::default(),
    }));
    executor.spawn(first(executor.clone()));
    let mut batch = Vec::new();
    loop {
        std::mem::swap(&mut batch, &mut executor.0.woken.list());
        for place in batch.drain(..) {
            match executor.go_on(place) {
                Poll::Ready(result) if place == 0 => return result,
                // A client's task that failed has lost this one client.
                _ => {}
            }
        }
        let at_once = !executor.0.woken.list().is_empty();
        let (events, waited) = executor.0.reactor.wait(at_once)?;
        count_turn(events, waited);
    }
}

impl Executor {
    pub fn reactor(&self) -> &Reactor {
        &self.0.reactor
    }

    /// Starts a task.
    pub fn spawn(&self, coroutine: impl Future<Output = io::Result<()>> + 'static) {
        let mut tasks = self.0.tasks.borrow_mut();
        let place = self.0.free.borrow_mut().pop().unwrap_or(tasks.len());
        let waker = Waker::from(Arc::new(Bell { place, woken: Arc::clone(&self.0.woken) }));
        waker.wake_by_ref();
        let task = Some(Task { coroutine: Box::pin(coroutine), waker });
        if place == tasks.len() { tasks.push(task) } else { tasks[place] = task }
    }

    /// Drives a task to its next `await`.
    fn go_on(&self, place: usize) -> Poll<io::Result<()>> {
        // Nobody is there if a bell rings twice, or for one who left.
        let Some(mut task) = self.0.tasks.borrow_mut()[place].take() else { return Poll::Pending };
        let polled = task.coroutine.as_mut().poll(&mut Context::from_waker(&task.waker));
        if polled.is_pending() {
            self.0.tasks.borrow_mut()[place] = Some(task);
        } else {
            self.0.free.borrow_mut().push(place);
            self.0.last.take().inspect(Waker::wake_by_ref);
        }
        polled
    }

    /// Waits until the task that calls this is the only one.
    pub async fn alone(&self) {
        poll_fn(|context| {
            if self.0.tasks.borrow().len() - self.0.free.borrow().len() == 1 {
                return Poll::Ready(());
            }
            self.0.last.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
