//! The order of calls, timers, readers, and statistics.

mod common;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::{NEVER, Recorder, pair, until};
use eventloop::EventLoop;

type Notes = Rc<RefCell<Vec<u32>>>;

fn note(notes: &Notes, what: u32) -> impl FnOnce(&eventloop::LoopHandle) + 'static {
    let notes = Rc::clone(notes);
    move |_| notes.borrow_mut().push(what)
}

#[test]
fn call_soon_keeps_its_order_and_new_calls_wait_a_turn() {
    let mut event_loop = EventLoop::new().unwrap();
    let notes = Notes::default();
    event_loop.call_soon(note(&notes, 1));
    let nested = note(&notes, 4);
    event_loop.call_soon(move |handle| handle.call_soon(nested));
    event_loop.call_soon(note(&notes, 2));
    event_loop.call_soon(note(&notes, 3));
    assert_eq!(event_loop.run_once(None).unwrap(), 4);
    assert_eq!(*notes.borrow(), [1, 2, 3]);
    assert_eq!(event_loop.run_once(None).unwrap(), 1);
    assert_eq!(*notes.borrow(), [1, 2, 3, 4]);
    assert_eq!(event_loop.run_once(Some(Duration::ZERO)).unwrap(), 0);
}

#[test]
fn timers_run_in_order_and_can_be_cancelled() {
    let mut event_loop = EventLoop::new().unwrap();
    let notes = Notes::default();
    let start = Instant::now();
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    event_loop.call_at(at(6), note(&notes, 4));
    event_loop.call_at(at(2), note(&notes, 1));
    let cancelled = event_loop.call_at(at(3), note(&notes, 99));
    event_loop.call_at(at(4), note(&notes, 2));
    event_loop.call_at(at(4), note(&notes, 3));
    cancelled.cancel();
    cancelled.cancel();
    assert!(cancelled.cancelled());
    assert_eq!(cancelled.when(), at(3));
    event_loop.run_until(|_| notes.borrow().len() == 4).unwrap();
    assert_eq!(*notes.borrow(), [1, 2, 3, 4]);
    assert!(Instant::now() >= at(6), "a timer must not be early");
}

#[test]
fn a_timer_may_cancel_another_that_is_due_at_the_same_time() {
    let mut event_loop = EventLoop::new().unwrap();
    let notes = Notes::default();
    let now = Instant::now();
    let victim = Rc::new(RefCell::new(None::<eventloop::TimerHandle>));
    let seen = Rc::clone(&victim);
    event_loop.call_at(now, move |_| seen.borrow().as_ref().unwrap().cancel());
    *victim.borrow_mut() = Some(event_loop.call_at(now, note(&notes, 99)));
    event_loop.call_at(now, note(&notes, 1));
    event_loop.run_until(|_| !notes.borrow().is_empty()).unwrap();
    assert_eq!(*notes.borrow(), [1]);
}

#[test]
fn stop_ends_after_the_turn() {
    let mut event_loop = EventLoop::new().unwrap();
    let notes = Notes::default();
    event_loop.call_later(NEVER, note(&notes, 99));
    event_loop.call_soon(eventloop::LoopHandle::stop);
    event_loop.call_soon(note(&notes, 1));
    event_loop.run_forever().unwrap();
    assert_eq!(*notes.borrow(), [1]);
}

/// Two readers are ready in one batch. Whoever is told first closes the other's socket and gives its number to a new
/// connection; the event that is still in the batch must not reach the newcomer, nor anybody else.
#[test]
fn an_event_of_a_closed_descriptor_does_not_reach_its_successor() {
    let mut event_loop = EventLoop::new().unwrap();
    let sockets: Rc<RefCell<Vec<Option<socket2::Socket>>>> = Rc::default();
    let called = Notes::default();
    let newcomer = common::Shared::default();
    let kept = Rc::new(RefCell::new(Vec::new()));
    for me in 0..2 {
        let (peer, ours) = pair();
        (&peer).write_all(b"x").unwrap();
        kept.borrow_mut().push(peer);
        let (all, called, newcomer, kept) = (sockets.clone(), called.clone(), newcomer.clone(), kept.clone());
        let callback = move |handle: &eventloop::LoopHandle| {
            called.borrow_mut().push(me);
            handle.remove_reader(all.borrow()[me as usize].as_ref().unwrap());
            let other = all.borrow_mut()[1 - me as usize].take().unwrap();
            let number = other.as_raw_fd();
            handle.remove_reader(&other);
            // The same number for the newcomer, whatever other tests open meanwhile.
            let (far, near) = pair();
            let mut other = OwnedFd::from(other);
            rustix::io::dup2(&near, &mut other).unwrap();
            let near = socket2::Socket::from(other);
            let recorder = Recorder { record: newcomer.clone(), ..Recorder::default() };
            let transport = handle.connect_accepted_socket(near, recorder);
            assert_eq!(transport.raw_fd(), Some(number));
            kept.borrow_mut().push(far);
        };
        event_loop.add_reader(&ours, callback).unwrap();
        sockets.borrow_mut().push(Some(ours));
    }
    assert_eq!(event_loop.run_once(None).unwrap(), 2, "both in one batch");
    assert_eq!(called.borrow().len(), 1);
    assert_eq!(newcomer.borrow().calls, ["made"]);
    kept.borrow_mut()[2].write_all(b"hello").unwrap();
    until(&mut event_loop, || newcomer.borrow().data == b"hello");
    assert_eq!(called.borrow().len(), 1);
}

#[test]
fn a_reader_is_called_until_it_is_removed() {
    let mut event_loop = EventLoop::new().unwrap();
    let (mut peer, mut ours) = pair();
    let read = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&read);
    let watched = ours.try_clone().unwrap();
    event_loop
        .add_reader(&watched, move |_| {
            let mut buffer = [0; 2];
            let length = ours.read(&mut buffer).unwrap();
            seen.borrow_mut().extend_from_slice(&buffer[..length]);
        })
        .unwrap();
    peer.write_all(b"abcdef").unwrap();
    until(&mut event_loop, || *read.borrow() == b"abcdef");
    assert!(event_loop.remove_reader(&watched));
    assert!(!event_loop.remove_reader(&watched));
    peer.write_all(b"unheard").unwrap();
    assert_eq!(event_loop.run_once(Some(Duration::ZERO)).unwrap(), 0);
    let stats = event_loop.stats();
    assert!(stats.iterations >= 4 && stats.events == 3, "{stats:?}");
}
