//! The commands that measure: who takes part, how long, and how the report leaves.

mod baseline;
pub mod bench;
mod field;
pub mod race;
pub mod search;
pub mod show;
mod track;
pub mod units;

use std::io::{self, Write};
use std::iter;
use std::sync::atomic::{AtomicBool, Ordering};

use ::bench::{Lab, Session};
use report::{Report, Verdict};
use rustix::termios::isatty;

use crate::failure::{Failure, INCONCLUSIVE, INTERRUPTED, OK};
use crate::output;

/// Ctrl-C was pressed: what is there is printed.
pub static STOP: AtomicBool = AtomicBool::new(false);

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// The whole document.
    Json,
    /// Tables for a README.
    Md,
}

/// How the report leaves, the same for every command that measures.
#[derive(Debug, clap::Args)]
pub struct Output {
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,
    /// A directory for the report: page, pictures, Markdown, JSON and interval log
    #[arg(short = 'o', long = "output", value_name = "DIR")]
    directory: Option<std::path::PathBuf>,
    /// A name for this run in its report
    #[arg(long, default_value = "", value_name = "TEXT")]
    label: String,
    /// Print no progress
    #[arg(short, long)]
    quiet: bool,
}

impl Output {
    /// Makes the directory of the report, if there is to be one. This comes before the measurement: what was measured for a
    /// minute should not be lost for want of a place.
    fn prepare(&self) -> Result<(), Failure> {
        Ok(self.directory.as_deref().map_or(Ok(()), report::make_directory)?)
    }

    /// Prints what belongs to the result and is no part of its report: on standard error, if standard output is for a document.
    fn add(&self, lines: &[String]) {
        match self.format {
            Format::Text => output::say_all(lines),
            Format::Json | Format::Md => output::complain_all(lines),
        }
    }
}

/// A lab whose servers are this program, in a network of their own if that is wanted and allowed.
///
/// This comes before everything that might start a thread.
pub fn open_lab(own_network: bool) -> Result<Lab, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::runtime(format!("this program cannot be found on the disk: {error}")))?;
    Lab::open(&program, own_network).map_err(|error| Failure::runtime(format!("there is no place to measure: {error}")))
}

/// A place for experiments: a network, cores that do not sleep, and one of them for the client, as far as that is allowed.
pub fn open_quiet_lab() -> Result<Lab, Failure> {
    let mut lab = open_lab(true)?;
    // Where one of them is refused the report says so.
    let _ = lab.pin();
    let _ = lab.keep_awake();
    Ok(lab)
}

/// Begins; from now on Ctrl-C ends the run in order, and a second one at once.
fn begin(seed: u64) -> Session {
    watch_for_stop();
    Session::begin(seed)
}

/// The command line that measures anew.
fn command() -> String {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    report::command_line(iter::once("zenlab".to_owned()).chain(words))
}

/// Tells how far a run is, on standard error, if a person may be looking at it.
fn progress(is_quiet: bool) -> impl FnMut(&str) {
    let is_shown = !is_quiet && isatty(io::stderr());
    move |line| {
        if is_shown {
            // Over the last one: a line for each would bury the result.
            overwrite(line);
        }
    }
}

/// Puts a line over the last one of standard error. A terminal that is gone sees nothing, and the run goes on.
fn overwrite(line: &str) {
    let _gone = write!(io::stderr(), "\r\x1b[2K{line}");
}

/// Prints and stores a report; gives the exit code that its validity calls for.
fn publish(report: &Report, output: &Output) -> Result<u8, Failure> {
    if !output.quiet && isatty(io::stderr()) {
        overwrite("");
    }
    match output.format {
        Format::Text => output::say_all(&show::text(report, isatty(io::stdout()).then(crate::live::width))),
        Format::Json => print(report, report::Format::Json)?,
        Format::Md => print(report, report::Format::Markdown)?,
    }
    if let Some(directory) = &output.directory {
        report::write_all(report, directory)?;
    }
    Ok(if STOP.load(Ordering::Relaxed) {
        INTERRUPTED
    } else if report.validity.verdict == Verdict::Valid {
        OK
    } else {
        INCONCLUSIVE
    })
}

fn print(report: &Report, format: report::Format) -> Result<(), Failure> {
    for file in report::render(report, format)? {
        output::say(String::from_utf8_lossy(&file.bytes).trim_end());
    }
    Ok(())
}

/// From now on Ctrl-C ends the run in order, and a second one at once.
pub fn watch_for_stop() {
    extern "C" fn stop(_signal: libc::c_int) {
        STOP.store(true, Ordering::Relaxed);
    }
    // A terminal that was closed ends a run as Ctrl-C does, unless `nohup` was asked for.
    let hang_up = Some(libc::SIGHUP).filter(|&signal| !crate::signals::is_ignored(signal));
    // SAFETY: sigaction is plain data, for which zero is valid; the handler only stores to an atomic, which is allowed in a
    // signal handler. SA_RESETHAND makes the second signal end the program.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = stop as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESETHAND;
        for signal in [libc::SIGINT, libc::SIGTERM].into_iter().chain(hang_up) {
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// From now on Ctrl-C ends the program, as usual: while it waits for somebody's words there is nothing to end in order.
pub fn leave_stop_to_the_kernel() {
    // SAFETY: plain system calls, for signals that exist.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_DFL);
        libc::signal(libc::SIGTERM, libc::SIG_DFL);
    }
}

fn failed(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidInput => Failure::usage(error.to_string()),
        io::ErrorKind::Interrupted => Failure::interrupted(error.to_string()),
        _ => Failure::runtime(error.to_string()),
    }
}
