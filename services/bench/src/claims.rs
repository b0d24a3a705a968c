//! Sentences of the chapter as experiments: each says what it found, and may find that the sentence does not hold.
//!
//! An experiment takes some 15 to 80 seconds, visits its subjects in turn and in random order, and ends in a verdict with the figures
//! behind it. What it cannot show on this machine it says so.

mod checks;
mod cores;
mod datagrams;
mod experiment;
mod forks;
mod one_thread;
mod readiness;
mod silent_client;
mod switches;
mod threads;

use std::fmt;
use std::io;
use std::sync::atomic::AtomicBool;

use report::{Chart, Report, SCHEMA, Table, Verdict as Trust};

use crate::lab::Lab;
use crate::session::Session;
use experiment::Experiment;

/// A sentence of the chapter, and how it is tried.
#[derive(Debug)]
pub struct Claim {
    /// Its name, as in `zenlab claim NAME` and in names of files.
    pub name: &'static str,
    /// The sentence.
    pub sentence: &'static str,
    /// What is done, in a sentence or two.
    pub experiment: &'static str,
    /// What a reader should think of before the experiment runs.
    pub question: &'static str,
    /// What a reader might take from it and should not.
    does_not_show: &'static str,
    /// What noise may take before the verdict could be another: of the time for other things, and of the questions of an even
    /// rate those that are not asked when they are due, each as a part (0 to 1).
    margin: f64,
    run: fn(&mut Experiment<'_>) -> io::Result<Finding>,
}

/// Every claim. Their numbers count from 1 and never change.
pub static CLAIMS: [Claim; 8] = [
    silent_client::CLAIM,
    threads::CLAIM,
    forks::CLAIM,
    readiness::CLAIM,
    switches::CLAIM,
    one_thread::CLAIM,
    datagrams::CLAIM,
    cores::CLAIM,
];

/// What an experiment says of its sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is so.
    Holds,
    /// It is not so.
    Fails,
    /// It is so under conditions that the sentence does not name.
    Depends,
    /// This machine cannot tell.
    CannotBeShown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Depends => "depends",
            Self::CannotBeShown => "cannot be shown here",
        })
    }
}

/// What an experiment found.
struct Finding {
    verdict: Verdict,
    /// Why, in sentences with figures; the most important first.
    because: Vec<String>,
    tables: Vec<Table>,
    /// The first one is the picture of the claim.
    charts: Vec<Chart>,
}

impl Finding {
    fn cannot_be_shown(because: String) -> Self {
        Self { verdict: Verdict::CannotBeShown, because: vec![because], tables: Vec::new(), charts: Vec::new() }
    }
}

impl Claim {
    /// The claim with this number (from 1) or name.
    pub fn find(text: &str) -> Option<&'static Self> {
        let number = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        number.map_or_else(|| CLAIMS.iter().find(|claim| claim.name == text), |at| CLAIMS.get(at))
    }

    /// Tries it in `lab`; `tell` hears what is being done. `pace` is the part of the usual time that it may take (0 to 1): less
    /// time, wider intervals.
    ///
    /// # Errors
    /// If a server does not start, or the kernel refuses what no server has to do with; [`io::ErrorKind::Interrupted`] if it was
    /// ended early: a part of an experiment has no verdict.
    pub fn run(&self, lab: &Lab, how: &How, tell: &mut dyn FnMut(&str)) -> io::Result<Report> {
        let session = Session::begin(how.seed);
        let mut experiment = Experiment::new(lab, how, tell);
        let mut finding = (self.run)(&mut experiment)?;
        let validity = experiment.checks.validity(self.margin, lab.placement());
        let mut findings = vec![headline(finding.verdict, validity.verdict)];
        findings.extend(finding.because);
        match finding.tables.first_mut() {
            Some(table) => self.experiment.clone_into(&mut table.note),
            None => findings.push(format!("What would be done: {}", self.experiment)),
        }
        Ok(Report {
            schema: SCHEMA,
            title: self.sentence.to_owned(),
            run: session.end(lab, &how.command, &how.label),
            validity,
            findings,
            does_not_show: vec![self.does_not_show.to_owned()],
            tables: finding.tables,
            charts: finding.charts,
            logs: Vec::new(),
        })
    }
}

/// The verdict in a sentence, with what the run's own checks say of it.
fn headline(verdict: Verdict, trust: Trust) -> String {
    match (verdict, trust) {
        (Verdict::CannotBeShown, _) | (_, Trust::Valid) => format!("The claim {verdict}."),
        (_, Trust::Unreliable) => format!("The claim {verdict}, but a check of the run failed."),
        (_, Trust::Inconclusive) => format!("The claim {verdict}, but the machine was too busy to be sure."),
    }
}

/// How a claim is tried.
#[derive(Debug, Clone)]
pub struct How {
    /// The command line that does it again.
    pub command: String,
    /// What chooses the random order.
    pub seed: u64,
    /// The part of the usual time that it takes, above 0 up to 1.
    pub pace: f64,
    /// A name for the run; may be empty.
    pub label: String,
    /// Ends it early, without a verdict.
    pub stop: &'static AtomicBool,
}
