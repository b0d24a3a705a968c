//! The executor: who calls a coroutine again when what it awaits is there.
//!
//! # From `yield` to `await`
//!
//! A Python *generator* stops at `yield` and goes on from there when it is asked for its next value. With that alone a loop
//! can serve many clients, each by a function that stops wherever it would have to wait (PEP 342). When such a function
//! calls another, it is the inner one that stops, and `yield from` passes that on to whoever drives the outer (PEP 380):
//!
//! ```python
//! def hear(client):
//!     yield READABLE, client                    # stop here; the loop says next() when there is something to read
//!     return client.recv(4096)
//!
//! def converse(client):
//!     while question := (yield from hear(client)):
//!         client.send(answer(question))
//! ```
//!
//! `async def` and `await` are the same by names of their own (PEP 492), and so they are in Rust: a coroutine is a [`Future`],
//! `next()` is [`poll`](Future::poll), [`Poll::Pending`] is a `yield`, and [`Poll::Ready`] a `return`. But where a generator
//! yields what it waits for, a future leaves its [`Waker`] with whoever will know: the reactor.
//!
//! A generator keeps its frame with it. The compiler makes of an `async fn` a state machine: a value with one state for each
//! `await`, and in it the variables that are needed after it. Here is one by the compiler and about the same by hand:
//!
//! ```
//! use std::{future::Future, pin::{Pin, pin}, task::{Context, Poll, Waker, ready}};
//!
//! struct Slow(u32, bool); // a number that is there when it is asked for again
//!
//! impl Future for Slow {
//!     type Output = u32;
//!     fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u32> {
//!         if std::mem::replace(&mut self.1, true) { Poll::Ready(self.0) } else { Poll::Pending }
//!     }
//! }
//!
//! async fn sum() -> u32 {
//!     let first = Slow(40, false).await;
//!     first + Slow(2, false).await
//! }
//!
//! enum Sum { Begin, First(Slow), Second(u32, Slow) }
//!
//! impl Future for Sum {
//!     type Output = u32;
//!     fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
//!         loop {
//!             *self = match &mut *self {
//!                 Sum::Begin => Sum::First(Slow(40, false)),
//!                 Sum::First(slow) => Sum::Second(ready!(Pin::new(slow).poll(context)), Slow(2, false)),
//!                 Sum::Second(first, slow) => return Poll::Ready(*first + ready!(Pin::new(slow).poll(context))),
//!             }
//!         }
//!     }
//! }
//!
//! let (mut compiled, mut written) = (pin!(sum()), pin!(Sum::Begin));
//! let mut context = Context::from_waker(Waker::noop());
//! for expected in [Poll::Pending, Poll::Pending, Poll::Ready(42)] {
//!     assert_eq!(compiled.as_mut().poll(&mut context), expected);
//!     assert_eq!(written.as_mut().poll(&mut context), expected);
//! }
//! ```

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
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

/// Which of two came first.
pub enum First<A, B> {
    A(A),
    B(B),
}

/// Awaits two futures until one is ready. The other is dropped, and with that no longer awaited.
pub async fn first<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> First<A, B> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|context| match a.as_mut().poll(context) {
        Poll::Ready(a) => Poll::Ready(First::A(a)),
        Poll::Pending => b.as_mut().poll(context).map(First::B),
    })
    .await
}
