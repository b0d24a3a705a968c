//! `zenlab doctor`: the limits of this machine or container, and who can be reached.

mod limits;
mod reach;

use crate::failure::{FAILED, OK};
use crate::output;

/// What `doctor` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print only what is wrong or worth knowing
    #[arg(long)]
    quiet: bool,
}

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    /// As it should be.
    Good,
    /// Something works less well, or is not there.
    Note,
    /// Something will not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    grade: Grade,
    what: &'static str,
    value: String,
    /// What it means, where that is not plain.
    advice: &'static str,
}

impl Finding {
    fn new(grade: Grade, what: &'static str, value: impl Into<String>, advice: &'static str) -> Self {
        Self { grade, what, value: value.into(), advice }
    }

    /// Good when `is_enough`, else a note with `advice`.
    fn judged(is_enough: bool, what: &'static str, value: impl Into<String>, advice: &'static str) -> Self {
        if is_enough { Self::new(Grade::Good, what, value, "") } else { Self::new(Grade::Note, what, value, advice) }
    }

    fn row(&self) -> Vec<String> {
        let grade = match self.grade {
            Grade::Good => "ok",
            Grade::Note => "note",
            Grade::Bad => "BAD",
        };
        vec![grade.to_owned(), self.what.to_owned(), self.value.clone(), self.advice.to_owned()]
    }
}

/// Exits with 1 if something will not work.
pub fn run(args: &Args) -> u8 {
    let findings: Vec<Finding> = limits::all().into_iter().chain(reach::all()).collect();
    let shown = findings.iter().filter(|finding| !args.quiet || finding.grade != Grade::Good);
    let rows: Vec<Vec<String>> = shown.map(Finding::row).collect();
    output::say_all(&output::table(&rows));
    if findings.iter().any(|finding| finding.grade == Grade::Bad) { FAILED } else { OK }
}
