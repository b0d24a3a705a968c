//! The lean client alone, for comparing what it costs itself: `driver URL CONNECTIONS DEPTH SECONDS [RATE]` prints right answers,
//! its CPU time for each in µs and, at a rate, the median of its own lateness in µs. With 0 seconds the clients are only there,
//! and its memory in bytes is printed.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::error::Error;
use std::fs;
use std::io;
use std::time::Duration;

use bench::{Crowd, Options, Pace};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, connections, depth, seconds, ..] = arguments.as_slice() else {
        return Err("driver URL CONNECTIONS DEPTH SECONDS [RATE]".into());
    };
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let options = Options { depth: depth.parse()?, ..Options::default() };
    let mut crowd = Crowd::connect(&url.parse()?, connections.parse()?, options)?;
    let time = Duration::from_secs_f64(seconds.parse()?);
    if time.is_zero() {
        println!("{}", memory()?);
        return Ok(());
    }
    let pace = arguments.get(4).map_or(Ok(Pace::Closed), |rate| rate.parse().map(Pace::even))?;
    let slot = crowd.slot(time, pace)?;
    let lag = slot.lag.value_at_quantile(0.5) as f64 / 1e3;
    println!("{} {:.3} {lag:.1}", slot.ok, slot.client_us().unwrap_or(f64::NAN));
    Ok(())
}

/// Resident memory of this process.
fn memory() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("the kernel does not tell this process' memory"))
}
