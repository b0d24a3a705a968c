//! A thread for each request.

use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};

use crate::handler::{Failure, Work};
use crate::mix_in::MixIn;
use crate::requests::Requests;

/// Handles each request in a thread of its own (`ThreadingMixIn`).
#[derive(Debug)]
pub struct ThreadingMixIn {
    /// Whether closing the server leaves its threads alone; they end with the process.
    pub daemon_threads: bool,
    /// Whether closing the server waits for its threads.
    pub block_on_close: bool,
    /// The stack of a thread, in bytes.
    pub stack_size: usize,
    threads: Vec<JoinHandle<()>>,
}

impl Default for ThreadingMixIn {
    fn default() -> Self {
        Self { daemon_threads: false, block_on_close: true, stack_size: 256 * 1024, threads: Vec::new() }
    }
}

impl<S: Requests> MixIn<S> for ThreadingMixIn {
    fn process_request(&mut self, requests: &mut S, request: S::Request, work: &Work<S::Request>) {
        // The request follows when the thread is there: if there is none, it is still ours to refuse.
        let (give, take) = sync_channel::<S::Request>(1);
        let threads_work = work.clone();
        let handle_it = move || {
            if let Ok(request) = take.recv() {
                threads_work.run(request);
            }
        };
        let builder = Builder::new().name("request".into()).stack_size(self.stack_size);
        match requests.start_thread(|| builder.spawn(handle_it)) {
            Ok(thread) => {
                self.threads.push(thread);
                // The thread waits for it.
                let _ = give.send(request);
            }
            Err(error) => {
                requests.refuse_request(request);
                work.failed(&Failure::Spawn(error));
            }
        }
    }

    fn service_actions(&mut self, _: &mut S) {
        self.threads.retain(|thread| !thread.is_finished());
    }

    fn active(&self) -> usize {
        self.threads.len()
    }

    fn server_close(&mut self, _: &mut S) {
        if self.block_on_close && !self.daemon_threads {
            for thread in self.threads.drain(..) {
                // A handler's panic was caught before.
                let _ = thread.join();
            }
        }
    }
}
