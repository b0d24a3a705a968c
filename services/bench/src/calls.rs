//! System calls for each question, counted by strace(1) where it is installed and allowed.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Crowd, Pace};

/// How long it is counted. Tracing makes each call many times dearer, so this is no time for measuring anything else.
const TIME: Duration = Duration::from_millis(200);

/// Counts the calls of a data plane under its crowd's questions at `rate`, or less where tracing makes that too much; none where
/// it cannot be counted.
///
/// # Errors
/// If the crowd cannot ask.
pub(crate) fn count(leader: Option<u32>, crowd: &mut Crowd, rate: f64) -> io::Result<Option<f64>> {
    let Some(leader) = leader else { return Ok(None) };
    let file = std::env::temp_dir().join(format!("zenlab-calls.{}.{leader}", std::process::id()));
    let tracer = Command::new("strace")
        .args(["-f", "-c", "-q", "-o"])
        .arg(&file)
        .args(crate::lab::family(leader).iter().map(|pid| format!("--attach={pid}")))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut tracer) = tracer else { return Ok(None) };
    if !is_traced(leader, &mut tracer) {
        let _ = tracer.kill();
        let _ = tracer.wait();
        // It may have begun it.
        let _ = fs::remove_file(&file);
        return Ok(None);
    }
    let slot = crowd.slot(TIME, Pace::even(rate.min(2000.0)))?;
    if let Some(pid) = Pid::from_raw(tracer.id() as i32) {
        // It detaches, writes its table and ends.
        let _ = kill_process(pid, Signal::INT);
    }
    let _ = tracer.wait();
    let table = fs::read_to_string(&file).unwrap_or_default();
    // A file of temporary files that stays is no trouble for anybody.
    let _ = fs::remove_file(&file);
    Ok(total(&table).filter(|_| slot.ok > 0).map(|calls| calls / slot.ok as f64))
}

fn is_traced(pid: u32, tracer: &mut std::process::Child) -> bool {
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline && matches!(tracer.try_wait(), Ok(None)) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        if crate::lab::field(&status, "TracerPid:").is_some_and(|tracer| tracer != 0) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

/// The sum in strace's table: `100.00    0.000000           0      1234        12 total`.
fn total(table: &str) -> Option<f64> {
    let line = table.lines().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_sum_is_found() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n 60.00 0.1 2 30 epoll_wait\n\
                     ------ ---\n100.00    0.002144           4       485        12 total\n";
        assert_eq!(super::total(table), Some(485.0));
        assert_eq!(super::total(""), None);
    }
}
