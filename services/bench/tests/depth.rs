//! A client has at most as many questions on the way as it was told to, whatever became of earlier ones.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bench::{Crowd, Options, Pace};
use support::{answer_to, endpoint, start};
use zen::Transport;

/// Answers two questions of each connection and closes it in the face of the third. Gives also the most questions that ever came
/// together.
fn closing() -> (zen::Endpoint, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let most = Arc::new(AtomicUsize::new(0));
    let deepest = most.clone();
    start(move || {
        for client in listener.incoming().flatten() {
            let deepest = deepest.clone();
            start(move || converse(client, &deepest));
        }
    });
    (endpoint(Transport::Tcp, address), most)
}

fn converse(mut client: TcpStream, deepest: &AtomicUsize) {
    let mut buffer = [0; 256];
    for _ in 0..3 {
        let Ok(count @ 1..) = client.read(&mut buffer) else { return };
        let questions = buffer[..count].split_inclusive(|&byte| byte == b'?').count();
        deepest.fetch_max(questions, Ordering::Relaxed);
        let _ = client.write_all(answer_to(&buffer[..count]).as_bytes());
    }
}

#[test]
fn failures_of_one_slot_are_not_asked_again_in_the_next() {
    let (server, deepest) = closing();
    let mut crowd = Crowd::connect(&server, 4, Options::default()).unwrap();
    let mut failed = 0;
    // Slots of one and a half sweeps: most failures come when nobody is let ask again any more.
    for _ in 0..60 {
        let slot = crowd.slot(Duration::from_millis(15), Pace::Closed).unwrap();
        assert!(slot.balances(), "{slot:?}");
        failed += slot.failed();
    }
    assert!(failed > 0);
    assert_eq!(deepest.load(Ordering::Relaxed), 1);
}
