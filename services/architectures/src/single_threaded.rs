//! One client at a time; the others wait.
//!
//! **Costs**: nothing but the work itself: one thread, no switch between clients. But whoever is being served decides how
//! long the others wait, so one silent client stops the server until its idle timeout.
//! **Choose it** for a tool on your own machine, for tests, and as the code that every other architecture multiplies.
//! **Watch** on the dashboard: the accept queue, and the clients' latency beside the server's own.
//! **Chapter**: "A Single-Threaded Server" (`zens.py`, `zus.py`).

use std::io;

use chassis::{Architecture, Capacity, DatagramSocket, Family, Site, StreamListener, Workers};

pub const ARCHITECTURE: Architecture = Architecture {
    name: "single_threaded",
    summary: "one client at a time; the others wait",
    offset: 0,
    family: Family::Blocking,
    stream: Some(serve_clients),
    datagram: Some(answer_datagrams),
    workers: Workers::Ignored("one thread serves one client at a time"),
    capacity: Capacity::PerWorker,
};

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
