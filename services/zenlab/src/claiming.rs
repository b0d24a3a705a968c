//! `zenlab claim`: sentences of the chapter as live experiments.

use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use bench::Lab;
use bench::claims::{CLAIMS, Claim, How};
use report::{Report, Verdict};

use crate::failure::{Failure, INCONCLUSIVE, OK, Outcome};
use crate::measure::{self, STOP};
use crate::output;

/// What `claim` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Number or name of the claim, or `all`; without one the claims are listed
    claim: Option<String>,
    /// Where the report and its pictures go: a directory for each claim is made in it
    #[arg(short, long, value_name = "DIR", default_value = "claims")]
    output: PathBuf,
    /// Do not ask what you expect
    #[arg(long)]
    no_prediction: bool,
    /// The part of the usual time to take, such as 0.3: less time, wider intervals
    #[arg(long, value_name = "PART", default_value_t = 1.0, value_parser = part, allow_hyphen_values = true)]
    pace: f64,
    /// What chooses the order in which servers are visited
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = measure::units::seed, allow_hyphen_values = true)]
    seed: u64,
    /// A name for the run
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
}

fn part(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|part| *part > 0.0 && *part <= 1.0)
        .ok_or_else(|| format!("{text:?} is no part above 0 and up to 1, such as 0.3"))
}

/// Lists the claims, or tries some.
pub fn run(args: &Args) -> Outcome {
    let Some(wanted) = &args.claim else {
        list();
        return Ok(OK);
    };
    let claims = find(wanted)?;
    for claim in &claims {
        report::make_directory(&args.output.join(claim.name))?;
    }
    let lab = measure::open_quiet_lab()?;
    let mut code = OK;
    for claim in claims {
        code = code.max(attempt(claim, args, &lab)?);
    }
    Ok(code)
}

fn list() {
    let rows = CLAIMS
        .iter()
        .enumerate()
        .map(|(at, claim)| vec![(at + 1).to_string(), claim.name.to_owned(), claim.sentence.to_owned()]);
    let head = ["N", "NAME", "CLAIM"].map(str::to_owned).to_vec();
    output::say_all(&output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
    output::say("zenlab claim N tries one, zenlab claim all tries them all.");
}

fn find(wanted: &str) -> Result<Vec<&'static Claim>, Failure> {
    if wanted == "all" {
        return Ok(CLAIMS.iter().collect());
    }
    let claim = Claim::find(wanted).ok_or_else(|| {
        let names: Vec<&str> = CLAIMS.iter().map(|claim| claim.name).collect();
        Failure::usage(format!("{wanted:?} is no claim: there are 1 to {}, {} and all", names.len(), names.join(", ")))
    })?;
    Ok(vec![claim])
}

/// Tries a claim; gives the exit code that the validity of its run calls for.
fn attempt(claim: &Claim, args: &Args, lab: &Lab) -> Outcome {
    output::say(&format!("Claim: {}.", claim.sentence));
    output::say(claim.experiment);
    let prediction = predict(claim, args);
    let how = How {
        command: format!("zenlab claim {} --seed {} --pace {}", claim.name, args.seed, args.pace),
        seed: args.seed,
        pace: args.pace,
        label: args.label.clone(),
        stop: &STOP,
    };
    measure::watch_for_stop();
    let report = claim
        .run(lab, &how, &mut |what| output::complain(&format!("  {what}")))
        .map_err(|error| failed(claim, &error))?;
    measure::leave_stop_to_the_kernel();
    show(&report, prediction.as_deref());
    let directory = args.output.join(claim.name);
    report::write_all(&report, &directory)?;
    output::say(&picture(&directory, &report));
    Ok(if report.validity.verdict == Verdict::Valid { OK } else { INCONCLUSIVE })
}

fn failed(claim: &Claim, error: &io::Error) -> Failure {
    if STOP.load(Ordering::Relaxed) {
        let why = "it was ended early, and a part of an experiment has no verdict: there is no report of it";
        return Failure::interrupted(format!("claim {}: {why}", claim.name));
    }
    Failure::runtime(format!("claim {}: {error}", claim.name))
}

/// What the reader expects, if he says so.
fn predict(claim: &Claim, args: &Args) -> Option<String> {
    output::say(claim.question);
    if args.no_prediction || !io::stdin().is_terminal() {
        return None;
    }
    output::complain("What do you expect? (one line; Enter skips)");
    let mut line = String::new();
    // Whoever closes standard input skips as well.
    let _ = io::stdin().lock().read_line(&mut line);
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}

fn show(report: &Report, prediction: Option<&str>) {
    output::say("");
    // The first finding is the verdict itself.
    if let Some((verdict, because)) = report.findings.split_first() {
        output::say(verdict);
        output::say_all(&because.iter().map(|line| format!("- {line}")).collect::<Vec<_>>());
    }
    output::say(&format!("{}: {}", measure::show::verdict(report), report.validity.reasons.join(" ")));
    output::say_all(&report.does_not_show.iter().map(|line| format!("  But: {line}")).collect::<Vec<_>>());
    if let Some(prediction) = prediction {
        output::say(&format!("You expected: {prediction}"));
    }
}

fn picture(directory: &Path, report: &Report) -> String {
    let page = directory.join("report.html");
    match report.charts.first() {
        Some(chart) => {
            format!("Picture: {}; all of it: {}", directory.join(format!("{}.png", chart.id)).display(), page.display())
        }
        None => format!("All of it: {}", page.display()),
    }
}
