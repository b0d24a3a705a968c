//! A fixed number of threads, each of them a single-threaded server on the same listener.
//!
//! **Costs**: as many clients at once as there are workers, and a context switch for nearly every question. Silent clients
//! use workers up: as many as there are workers stop the server until their idle timeout.
//! **Choose it** for an in-house service with few clients, whose code blocks and shares data.
//! **Watch** on the dashboard: context switches per question, threads and processes, the accept queue when all are taken.
//! **Chapter**: "Threaded and Multiprocess Servers" (`mzts.py`, `mzus.py`). `prefork` is the same with processes.

use std::io;
use std::thread::JoinHandle;

use chassis::{Architecture, Capacity, DatagramSocket, Endpoint, Family, Site, StreamListener, Workers, thread};

pub const ARCHITECTURE: Architecture = Architecture {
    name: "thread_pool",
    summary: "a fixed number of threads, each waiting in accept",
    offset: 1,
    family: Family::Blocking,
    stream: Some(|site| lead(site, serve_clients)),
    datagram: Some(|site| lead(site, answer_datagrams)),
    workers: Workers::Threads(4),
    capacity: Capacity::PerWorker,
};

type Worker = JoinHandle<()>;
type Work<S> = fn(Site<S>) -> io::Result<()>;

/// Keeps as many workers at work as there should be.
fn lead<S: Endpoint + 'static>(mut site: Site<S>, work: Work<S>) -> io::Result<()> {
    let mut team: Vec<Option<Worker>> = Vec::new();
    while site.lead() {
        team.resize_with(team.len().max(site.workers()), || None);
        for (index, worker) in team.iter_mut().enumerate() {
            if worker.take_if(|thread| thread.is_finished()).is_some() {
                site.dismiss(index);
            }
            if worker.is_none() && index < site.workers() {
                *worker = site.hire(|| start(site.for_thread(index)?, work));
            }
        }
        site.report_running(team.iter().flatten().count());
    }
    team.into_iter().flatten().for_each(|thread| drop(thread.join()));
    Ok(())
}

fn start<S: Endpoint + 'static>(site: Site<S>, work: Work<S>) -> io::Result<Worker> {
    thread::spawn(format!("worker {}", site.index()), move || work(site))
}

fn serve_clients(mut site: Site<StreamListener>) -> io::Result<()> {
    while site.proceed() {
        if let Some(visit) = site.accept()? {
            visit.converse();
        }
    }
    Ok(())
}

fn answer_datagrams(mut site: Site<DatagramSocket>) -> io::Result<()> {
    while site.proceed() {
        if let Some(letter) = site.receive()? {
            site.answer(&letter);
        }
    }
    Ok(())
}
