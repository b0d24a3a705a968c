//! A function that can stop in the middle: from `yield` to `await`.
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
