//! `zenlab report` and `zenlab compare`: documents of measurements, shown and compared.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use report::compare::{Comparison, Gate, compare};
use report::{File, Verdict, command_line, render, write_all, write_file, write_files};

use crate::failure::{Failure, INCONCLUSIVE, LIMIT, OK, Outcome};
use crate::output;

/// What `report` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  zenlab report bench.json                        Markdown on standard output
  zenlab report bench.json -o bench/              every form, into a directory
  zenlab report bench.json --format html -o bench.html
  zenlab report bench.json --format png --chart cpu -o cpu.png")]
pub struct Report {
    /// The document; - reads standard input
    file: PathBuf,
    #[command(flatten)]
    target: Target,
}

/// What `compare` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  zenlab compare before.json after.json
  zenlab compare before.json after.json --fail-if 'cpu_ratio>1.1' --fail-if 'cost.capacity_ratio<0.9'

Exit codes: 0 compared, 1 failure, 2 usage, 3 a --fail-if holds, 4 one of the reports cannot be believed.
A difference within the intervals is no difference, whatever --fail-if says.")]
pub struct Compare {
    /// The earlier document
    first: PathBuf,
    /// The later document
    second: PathBuf,
    #[command(flatten)]
    target: Target,
    /// Exit with 3 if a ratio (later over earlier) in a column is beyond this, such as cpu_ratio>1.1; may be repeated
    #[arg(long, value_name = "THRESHOLD")]
    fail_if: Vec<Gate>,
}

/// In which form, and where to.
#[derive(Debug, clap::Args)]
struct Target {
    /// Form [default: md on standard output, all with -o]
    #[arg(long)]
    format: Option<Format>,
    /// Only this picture, by its id
    #[arg(long, value_name = "ID")]
    chart: Option<String>,
    /// A file for one form, or a directory for pictures and all forms [default: standard output]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Html,
    Md,
    Json,
    Png,
    Svg,
    Hlog,
}

impl From<Format> for report::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Html => Self::Html,
            Format::Md => Self::Markdown,
            Format::Json => Self::Json,
            Format::Png => Self::Png,
            Format::Svg => Self::Svg,
            Format::Hlog => Self::Hlog,
        }
    }
}

impl Report {
    /// Shows the document.
    pub fn run(&self) -> Outcome {
        self.target.show(read(&self.file)?)
    }
}

impl Compare {
    /// Shows the comparison and judges it.
    pub fn run(&self) -> Outcome {
        let (first, second) = (read(&self.first)?, read(&self.second)?);
        let comparison = compare(&first, &second, &self.command(), env!("CARGO_PKG_VERSION"));
        let comparison = comparison.map_err(|error| Failure::runtime(error.to_string()))?;
        for gate in &self.fail_if {
            if !gate.applies(&comparison) {
                return Err(Failure::usage(format!(
                    "--fail-if {gate}: the reports share no such column; they share {}",
                    columns(&comparison)
                )));
            }
        }
        self.target.show(comparison.report.clone())?;
        Ok(self.judge(&comparison))
    }

    fn judge(&self, comparison: &Comparison) -> u8 {
        if comparison.report.validity.verdict != Verdict::Valid {
            output::complain("zenlab: one of the reports cannot be believed, so nothing is judged");
            return INCONCLUSIVE;
        }
        let mut code = OK;
        for gate in &self.fail_if {
            for ratio in gate.passed_by(comparison) {
                let (subject, value) = (&ratio.subject, ratio.value);
                output::complain(&format!("zenlab: --fail-if {gate} holds for {subject}: the ratio is {value:.3}"));
                code = LIMIT;
            }
        }
        code
    }

    /// The command line that makes the comparison anew.
    fn command(&self) -> String {
        let documents = [&self.first, &self.second].map(|path| path.display().to_string());
        let gates = self.fail_if.iter().flat_map(|gate| ["--fail-if".to_owned(), gate.to_string()]);
        command_line(["zenlab", "compare"].map(str::to_owned).into_iter().chain(documents).chain(gates))
    }
}

fn columns(comparison: &Comparison) -> String {
    let mut names: Vec<String> =
        comparison.ratios.iter().map(|ratio| format!("{}.{}", ratio.table, ratio.column)).collect();
    names.sort();
    names.dedup();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn read(path: &Path) -> Result<report::Report, Failure> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    let text = text.map_err(|error| Failure::runtime(format!("{} cannot be read: {error}", path.display())))?;
    report::Report::from_json(&text).map_err(|error| Failure::runtime(format!("{}: {error}", path.display())))
}

impl Target {
    fn show(&self, mut document: report::Report) -> Outcome {
        self.select(&mut document)?;
        match (&self.output, self.format) {
            (Some(path), None) => written(write_all(&document, path)),
            (Some(path), Some(format)) => self.save(&files(&document, format)?, path),
            (None, format) => self.print(&files(&document, format.unwrap_or(Format::Md))?),
        }
    }

    /// Leaves the one picture that was asked for.
    fn select(&self, document: &mut report::Report) -> Result<(), Failure> {
        let Some(id) = &self.chart else { return Ok(()) };
        if !document.charts.iter().any(|chart| chart.id == *id) {
            let known: Vec<&str> = document.charts.iter().map(|chart| chart.id.as_str()).collect();
            let known = if known.is_empty() { "no picture".to_owned() } else { known.join(", ") };
            return Err(Failure::usage(format!("--chart {id}: the report has {known}")));
        }
        document.charts.retain(|chart| chart.id == *id);
        Ok(())
    }

    fn save(&self, files: &[File], path: &Path) -> Outcome {
        let is_directory = path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
        match files {
            [file] if !is_directory && !self.is_for_many() => {
                written(write_file(path, &file.bytes).map(|path| vec![path]))
            }
            files => written(write_files(files, path)),
        }
    }

    /// Whether a form may have many files, so that a path means a directory however many there are.
    fn is_for_many(&self) -> bool {
        matches!(self.format, Some(Format::Svg | Format::Png)) && self.chart.is_none()
    }

    fn print(&self, files: &[File]) -> Outcome {
        match files {
            [file] if !self.is_for_many() => {
                output::say_bytes(&file.bytes);
                Ok(OK)
            }
            _ => Err(Failure::usage(
                "a report has many pictures: say where to with -o DIR, or choose one with --chart ID",
            )),
        }
    }
}

fn files(document: &report::Report, format: Format) -> Result<Vec<File>, Failure> {
    let files = render(document, format.into())?;
    match (files.is_empty(), format) {
        (true, Format::Hlog) => Err(Failure::runtime("the report has no interval logs")),
        (true, _) => Err(Failure::runtime("the report has no pictures")),
        _ => Ok(files),
    }
}

/// Prints what was written.
fn written(paths: Result<Vec<PathBuf>, report::Error>) -> Outcome {
    let paths = paths?;
    output::say_all(&paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>());
    Ok(OK)
}
