//! All forms of a document as files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process;

use crate::error::Error;
use crate::model::Report;
use crate::{draw, hdr, html, markdown, png, svg};

/// A form of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The document itself.
    Json,
    /// One page that needs nothing else.
    Html,
    /// For READMEs.
    Markdown,
    /// Pictures of lines and words.
    Svg,
    /// Pictures of pixels.
    Png,
    /// Interval logs.
    Hlog,
}

impl Format {
    /// All, in the order in which they are written: who finds the document finds the rest.
    pub const ALL: [Self; 6] = [Self::Svg, Self::Png, Self::Hlog, Self::Markdown, Self::Html, Self::Json];
}

/// A file that shows a document or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name: `report.html`, or a chart's id with an ending.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// The files of one form: one for each chart if it is a form of pictures, none for logs without histograms.
pub fn render(report: &Report, format: Format) -> Result<Vec<File>, Error> {
    report.check()?;
    let text = |name: &str, text: String| File { name: name.to_owned(), bytes: text.into_bytes() };
    Ok(match format {
        Format::Json => vec![text("report.json", report.to_json()?)],
        Format::Html => vec![text("report.html", html::render(report))],
        Format::Markdown => vec![text("report.md", markdown::render(report))],
        Format::Hlog => hdr::render(report).into_iter().map(|log| text("report.hlog", log)).collect(),
        Format::Svg => report
            .charts
            .iter()
            .map(|chart| text(&format!("{}.svg", chart.id), svg::file(&draw::chart(chart))))
            .collect(),
        Format::Png => report
            .charts
            .iter()
            .map(|chart| Ok(File { name: format!("{}.png", chart.id), bytes: png::file(&draw::chart(chart))? }))
            .collect::<Result<_, Error>>()?,
    })
}

/// Writes all forms into a directory, which is made if it is not there; gives the paths. Each file is there wholly or not at
/// all, the document last.
pub fn write_all(report: &Report, directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let forms = Format::ALL.map(|format| render(report, format));
    let files = forms.into_iter().collect::<Result<Vec<_>, _>>()?;
    write_files(&files.concat(), directory)
}

/// Makes a directory for files, if it is not there, and tries whether they can be written there.
pub fn make_directory(directory: &Path) -> Result<(), Error> {
    if directory.exists() && !directory.is_dir() {
        return Err(Error::new(format!("{} is a file; it must be a directory", directory.display())));
    }
    fs::create_dir_all(directory).map_err(|error| Error::file(directory, &error))?;
    let trial = directory.join(format!(".zenlab.{}.part", process::id()));
    fs::File::create(&trial).and_then(|_| fs::remove_file(&trial)).map_err(|error| Error::file(directory, &error))
}

/// Writes files into a directory, which is made if it is not there; gives their paths.
pub fn write_files(files: &[File], directory: &Path) -> Result<Vec<PathBuf>, Error> {
    make_directory(directory)?;
    files.iter().map(|file| write_file(&directory.join(&file.name), &file.bytes)).collect()
}

/// Writes a file beside its place and then moves it there, so that nobody finds half of it; gives its path.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<PathBuf, Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", process::id()));
    let beside = PathBuf::from(beside);
    let write = || {
        let mut file = fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|error| {
        // What is left of it is of no use; the first error is the one to be told.
        let _ = fs::remove_file(&beside);
        Error::file(path, &error)
    })?;
    Ok(path.to_owned())
}
