//! A child process: this program again, with another subcommand.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal, setsid};

use crate::failure::Failure;
use crate::signals::Signals;

/// How many of a dead child's last lines are shown.
const LAST_LINES: usize = 8;

/// A running child.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts `zenlab ARGUMENTS…` in a session of its own, so that Ctrl-C at our terminal is not heard by it, with its
    /// standard error in `directory/NAME.log`. When this process dies, the child is told to end.
    pub fn start(name: &str, arguments: &[String], directory: &Path) -> Result<Self, Failure> {
        let log = directory.join(format!("{name}.log"));
        let process = spawn(arguments, &log)
            .map_err(|error| Failure::runtime(format!("{name} cannot be started as a process: {error}")))?;
        Ok(Self { process, log })
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// Sends a signal. A child that is no more hears nothing.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.process.id() as i32) {
            let _gone = kill_process(pid, signal);
        }
    }

    /// The last lines of its standard error.
    pub fn last_lines(&self) -> Vec<String> {
        let log = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|&line| line.to_owned()).collect()
    }

    /// All that it wrote to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn spawn(arguments: &[String], log: &Path) -> io::Result<std::process::Child> {
    let parent = getpid();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(log)?);
    // SAFETY: between fork and exec only system calls are made, no memory is allocated and no lock is taken.
    unsafe { command.pre_exec(move || prepare(parent)) };
    command.spawn()
}

/// In the child, before it becomes another program.
fn prepare(parent: Pid) -> io::Result<()> {
    setsid()?;
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // A parent that died before the line above will send no signal.
    if getppid() != Some(parent) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Signals::unblock_all()
}

/// How a process ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}
