//! Baselines: runs of `bench` that are kept under a name, for later ones to be compared with.
//!
//! A baseline is a report like any other: `zenlab report` shows it, and `zenlab compare` compares it.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use ::bench::bench::Setting;
use report::compare::{Comparison, Difference, Ratio, compare};
use report::{Column, Machine, Report, Verdict, write_file};

use crate::failure::{Failure, INCONCLUSIVE, LIMIT, OK};
use crate::output;

/// The environment variable that holds another directory.
const VARIABLE: &str = "ZENLAB_BASELINES";

/// Letters of a name.
const LONGEST: usize = 100;

/// What to keep, and what to compare with.
#[derive(Debug, clap::Args)]
pub struct Baselines {
    /// Keep this run's report under this name; an earlier one of that name is replaced
    #[arg(long, value_name = "NAME", value_parser = name)]
    save_baseline: Option<String>,
    /// Compare with the run of this name, and exit with 3 if a ratio got worse beyond both intervals
    #[arg(long, value_name = "NAME", value_parser = name)]
    baseline: Option<String>,
    /// Where they are kept [default: ~/.local/share/zenlab/baselines]
    #[arg(long = "baselines", value_name = "DIR", env = VARIABLE)]
    place: Option<PathBuf>,
}

fn name(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_plain) && !text.starts_with('.') {
        return Ok(text.to_owned());
    }
    Err(format!("a name has 1 to {LONGEST} letters, digits, hyphens, underscores and dots, and begins with no dot"))
}

impl Baselines {
    /// The run to compare with, if one was named. It is read before anything is measured.
    pub fn load(&self) -> Result<Option<Baseline>, Failure> {
        let Some(name) = &self.baseline else { return Ok(None) };
        let path = self.path(name)?;
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failure::usage(format!(
                "there is no baseline {name:?} at {}: --save-baseline {name} makes one",
                path.display()
            )),
            _ => Failure::runtime(format!("the baseline {} cannot be read: {error}", path.display())),
        })?;
        let report = Report::from_json(&text)
            .map_err(|error| Failure::runtime(format!("the baseline {}: {error}", path.display())))?;
        Ok(Some(Baseline { name: name.clone(), report }))
    }

    /// Keeps the run, if that was asked for and it may be believed.
    pub fn save(&self, report: &Report) -> Result<(), Failure> {
        let Some(name) = &self.save_baseline else { return Ok(()) };
        if report.validity.verdict != Verdict::Valid {
            output::complain(&format!("zenlab: this run cannot be believed, so it is no baseline {name:?}"));
            return Ok(());
        }
        let path = self.path(name)?;
        if let Some(directory) = path.parent() {
            let failed = |error| Failure::runtime(format!("{} cannot be made: {error}", directory.display()));
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let path = write_file(&path, report.to_json()?.as_bytes())?;
        output::complain(&format!("The baseline {name:?} is {}.", path.display()));
        Ok(())
    }

    fn path(&self, name: &str) -> Result<PathBuf, Failure> {
        let given = self.place.clone().filter(|path| !path.as_os_str().is_empty());
        let directory = given.or_else(usual).ok_or_else(|| {
            Failure::usage(format!("where baselines are kept cannot be guessed without HOME: set {VARIABLE}"))
        })?;
        Ok(directory.join(format!("{name}.json")))
    }
}

/// Where a user's programs keep what they made.
fn usual() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.or_else(|| std::env::home_dir().map(|home| home.join(".local/share")));
    data.map(|data| data.join("zenlab/baselines"))
}

/// A run to compare with.
#[derive(Debug)]
pub struct Baseline {
    name: String,
    report: Report,
}

impl Baseline {
    /// Refuses a run under other settings: its ratios would be those of something else.
    pub fn must_have(&self, settings: &[Setting]) -> Result<(), Failure> {
        let table = self.report.tables.iter().find(|table| table.id == ::bench::bench::SETTINGS);
        let of = |name: &str| {
            let row = table?.rows.iter().find(|row| row.subject == name)?;
            row.cells.first().map(|cell| cell.text.as_str())
        };
        let others: Vec<String> = settings
            .iter()
            .filter_map(|(name, now)| {
                of(name).filter(|then| then != now).map(|then| format!("{name} was {then:?}, now {now:?}"))
            })
            .collect();
        if others.is_empty() {
            return Ok(());
        }
        Err(Failure::usage(format!("the baseline {:?} was made with other settings: {}", self.name, others.join("; "))))
    }

    /// Compares a run with it. Gives what to tell, and the exit code: 3 for what got worse, 4 if nothing can be judged.
    pub fn judge(&self, report: &Report) -> Result<(Vec<String>, u8), Failure> {
        let name = &self.name;
        let comparison = compare(&self.report, report, &report.run.command, env!("CARGO_PKG_VERSION"))?;
        let mut lines =
            vec![String::new(), format!("Compared with the baseline {name:?} of {}:", self.report.run.began)];
        lines.extend(comparison.report.findings.iter().map(|finding| format!("- {finding}")));
        if let Some(difference) = other_machine(&self.report.run.machine, &report.run.machine) {
            lines.push(format!("The baseline {name:?} was made on another machine ({difference}): nothing is judged."));
            return Ok((lines, INCONCLUSIVE));
        }
        if comparison.report.validity.verdict != Verdict::Valid {
            lines.push("One of the two runs cannot be believed: nothing is judged.".to_owned());
            return Ok((lines, INCONCLUSIVE));
        }
        let worse: Vec<String> = worse(&comparison, report).collect();
        let code = if worse.is_empty() { OK } else { LIMIT };
        if worse.is_empty() {
            lines.push("No ratio got worse beyond both intervals.".to_owned());
        }
        lines.extend(worse);
        Ok((lines, code))
    }
}

fn other_machine(then: &Machine, now: &Machine) -> Option<String> {
    let of = |machine: &Machine| {
        let gibibytes = machine.memory_bytes as f64 / f64::from(1 << 30);
        format!("{}, {} cores, {gibibytes:.1} GiB", machine.processor, machine.cores)
    };
    (of(then) != of(now)).then(|| format!("{}; this is {}", of(then), of(now)))
}

/// Ratios to the reference that got worse. Only they are judged: absolute figures of two runs differ with the machine's other
/// load. The twin is no subject.
fn worse<'all>(comparison: &'all Comparison, report: &'all Report) -> impl Iterator<Item = String> + 'all {
    let column = |ratio: &Ratio| -> Option<&'all Column> {
        let table = report.tables.iter().find(|table| table.id == ratio.table)?;
        table.columns.iter().find(|column| column.id == ratio.column && column.unit == "x")
    };
    comparison.ratios.iter().filter_map(move |ratio| {
        let column = column(ratio)?;
        let is_worse = if column.less_is_better? { ratio.value > 1.0 } else { ratio.value < 1.0 };
        let is_told = ratio.difference() == Difference::Found && !::bench::bench::is_twin(&ratio.subject);
        (is_worse && is_told)
            .then(|| format!("Worse: {}: {} is {:.3} times what it was.", ratio.subject, column.title, ratio.value))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_names_of_files() {
        for right in ["main", "v1.2_a-b"] {
            assert_eq!(super::name(right).as_deref(), Ok(right));
        }
        for wrong in ["", "../up", "a/b", ".hidden", "a b", &"x".repeat(101)] {
            assert!(super::name(wrong).is_err(), "{wrong}");
        }
    }
}
