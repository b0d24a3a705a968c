//! A function that can stop in the middle: from `yield` to `await`.
//!
//! # A generator stops
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
//!
//! def go_on(conversation):                      # the loop's part, for each that is new or whose client is ready
//!     try:
//!         event, client = next(conversation)    # runs to the next yield, however deep
//!         selector.register(client, event, conversation)
//!     except StopIteration:                     # it has returned
//!         pass
//! ```
//!
//! # A coroutine is awaited
//!
//! `async def` and `await` are the same by names of their own (PEP 492), and so they are in Rust:
//!
//! | generator | Python's coroutine | Rust | here |
//! |---|---|---|---|
//! | `def` with a `yield` in it | `async def` | `async fn` | `converse` |
//! | `yield from` | `await` | `.await` | `client.ready(…).await` |
//! | calling it runs nothing yet | the same | the same: it gives a [`Future`] | `executor.spawn` takes it |
//! | `next()` | `send(None)` | [`poll`](Future::poll) | `Executor::go_on` |
//! | a value is yielded | the same | [`Poll::Pending`] | |
//! | `StopIteration(value)` | the same | [`Poll::Ready`]`(value)` | |
//! | the loop sees *what* was yielded | the same | a [`Waker`](std::task::Waker) is left with whoever will know | `Reactor`, `Timers` |
//! | `close()`, at the latest by the collector | `Task.cancel()` | it is dropped | the loser of [`first`] |
//!
//! The last line but one is the difference. A generator hands what it waits for up through all its callers to the loop. A
//! future hands the loop's bell down: `poll` brings a [`Context`](std::task::Context) with a waker, the innermost future
//! keeps a copy, and rings when it is worth while to poll again. Between two rings nobody polls.
//!
//! # A state machine is what the compiler makes of it
//!
//! A generator keeps its frame, a piece of memory for its variables and the place where it stopped. The compiler makes of an
//! `async fn` a value of its own type, with one state for each `await`, and in it the variables that are needed after it. It
//! is as large as its largest state, and needs no stack while it waits: that is why a task costs less memory than a thread.
//! Here is one by the compiler and about the same by hand:
//!
//! ```
//! use std::{future::Future, mem, pin::{Pin, pin}, sync::Arc, task::{Context, Poll, Wake, Waker, ready}};
//! use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
//!
//! /// A number that is not there at first. The innermost future is always written by hand.
//! struct Slow { number: u32, asked: bool }
//!
//! impl Future for Slow {
//!     type Output = u32;
//!
//!     fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
//!         if mem::replace(&mut self.asked, true) {
//!             return Poll::Ready(self.number);
//!         }
//!         // Here the number is there at once. A reactor would keep the waker until the kernel has said so.
//!         context.waker().wake_by_ref();
//!         Poll::Pending
//!     }
//! }
//!
//! fn slow(number: u32) -> Slow {
//!     Slow { number, asked: false }
//! }
//!
//! /// By the compiler.
//! async fn sum() -> u32 {
//!     let first = slow(40).await;
//!     first + slow(2).await
//! }
//!
//! /// By hand: before the first line, at the first `await`, and at the second with what is needed after it.
//! enum Sum { Begin, First(Slow), Second { first: u32, slow: Slow } }
//!
//! impl Future for Sum {
//!     type Output = u32;
//!
//!     fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
//!         loop {
//!             // `ready!` returns `Pending` to our caller: `yield from`, by hand.
//!             *self = match &mut *self {
//!                 Sum::Begin => Sum::First(slow(40)),
//!                 Sum::First(number) => Sum::Second { first: ready!(Pin::new(number).poll(context)), slow: slow(2) },
//!                 Sum::Second { first, slow } => return Poll::Ready(*first + ready!(Pin::new(slow).poll(context))),
//!             }
//!         }
//!     }
//! }
//!
//! /// Counts its rings; an executor would note whom to poll again.
//! struct Bell(AtomicU32);
//!
//! impl Wake for Bell {
//!     fn wake(self: Arc<Self>) {
//!         self.0.fetch_add(1, Relaxed);
//!     }
//! }
//!
//! let bell = Arc::new(Bell(AtomicU32::new(0)));
//! let waker = Waker::from(bell.clone());
//! let mut context = Context::from_waker(&waker);
//! let (mut compiled, mut written) = (pin!(sum()), pin!(Sum::Begin));
//! for (polled, rings) in [(Poll::Pending, 2), (Poll::Pending, 4), (Poll::Ready(42), 4)] {
//!     assert_eq!(compiled.as_mut().poll(&mut context), polled);
//!     assert_eq!(written.as_mut().poll(&mut context), polled);
//!     assert_eq!(bell.0.load(Relaxed), rings);
//! }
//! ```
//!
//! Why `Pin`? A variable of an `async fn` may borrow another one: then the value holds a pointer into itself, and must not be
//! moved any more once it was polled. `Sum` borrows nothing and could be moved, so `Pin::new` suffices for it; what the
//! compiler makes is told to stay by `pin!` or `Box::pin`, as [`spawn`](super::executor::Executor::spawn) does.
//!
//! From here: `sleep` is the innermost future of a moment and `watched` that of a descriptor, `reactor` keeps their wakers,
//! and `executor` polls whoever was woken.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

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
