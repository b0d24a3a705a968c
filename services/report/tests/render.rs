//! A document is shown the same every time, whole, and without harm.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that fails says where")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use report::{Format, Report, render, write_all, write_file};

const SAMPLE: &str = include_str!("sample.json");

fn sample() -> Report {
    Report::from_json(SAMPLE).unwrap()
}

/// The only file of a form, as text.
fn text(report: &Report, format: Format) -> String {
    let mut files = render(report, format).unwrap();
    assert_eq!(files.len(), 1);
    String::from_utf8(files.remove(0).bytes).unwrap()
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("report-test-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_shown_is_the_same_every_time() {
    let again = Report::from_json(&sample().to_json().unwrap()).unwrap();
    for format in Format::ALL {
        assert!(render(&sample(), format).unwrap() == render(&again, format).unwrap(), "{format:?} differs");
    }
}

/// Figures that a quick reader of JSON takes for their neighbours.
#[test]
fn what_is_read_is_what_was_written_to_the_last_digit() {
    let mut report = sample();
    let figures = [0.218_318_695_106_649_95, 14.313_028_503_562_945, 11.469_970_873_786_407, 1.095_238_095_238_095_3];
    for (row, figure) in report.tables[0].rows.iter_mut().zip(figures) {
        row.cells[0].value = Some(figure);
        row.cells[0].interval = None;
    }
    let again = Report::from_json(&report.to_json().unwrap()).unwrap();
    assert_eq!(again.tables[0].rows, report.tables[0].rows);
    assert!(render(&report, Format::Html).unwrap() == render(&again, Format::Html).unwrap());
}

#[test]
fn every_form_has_what_its_readers_look_for() {
    let report = sample();
    let page = text(&report, Format::Html);
    let order = [
        "<strong>Valid</strong>",
        "<h2>Findings</h2>",
        "<svg viewBox",
        "<table id=\"table-summary\"",
        "<h2>What this does not show</h2>",
        "zenlab bench --all",
        "<dt>seed</dt><dd>42</dd>",
        "Example Processor 3000",
    ];
    let places: Vec<usize> = order.iter().map(|part| page.find(part).unwrap_or_else(|| panic!("{part}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(page.matches("<figure").count(), report.charts.len());
    for remote in ["http://", "https://", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(remote), "the page asks the network: {remote}");
    }

    let readme = text(&report, Format::Markdown);
    assert!(readme.contains("| CPU for a question (µs) ↓ | capacity (/s) ↑ |"), "{readme}");
    assert!(readme.contains("| single_threaded | 9.10 \\[9.00, 9.20\\] B |"), "{readme}");
    assert!(readme.lines().any(|line| line.contains("| single_threaded |") && line.contains("| — |")), "{readme}");

    for file in render(&report, Format::Svg).unwrap() {
        let svg = String::from_utf8(file.bytes).unwrap();
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 "), "{}", file.name);
        assert!(svg.ends_with("</svg>\n"), "{}", file.name);
    }
    for file in render(&report, Format::Png).unwrap() {
        assert!(file.bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "{}", file.name);
        assert_eq!(u32::from_be_bytes(file.bytes[16..20].try_into().unwrap()), 1920, "{}", file.name);
        assert!(file.bytes.len() > 20_000, "{} is empty", file.name);
    }
}

#[test]
fn the_interval_log_is_read_by_the_formats_own_reader() {
    let log = text(&sample(), Format::Hlog);
    assert!(log.contains("#[Histogram log format version 1.3]\n#[StartTime: 1769860800.000 "), "{log}");
    let entries: Vec<LogEntry> = IntervalLogIterator::new(log.as_bytes()).map(Result::unwrap).collect();
    let mut begins = Vec::new();
    for entry in &entries {
        let LogEntry::Interval(interval) = entry else { continue };
        assert_eq!(interval.tag().map(|tag| tag.as_str()), Some("epoll/tcp/response"));
        assert_eq!(interval.duration(), Duration::from_secs(1));
        let bytes = base64(interval.encoded_histogram());
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        assert_eq!(histogram.len(), 2000);
        begins.push(interval.start_timestamp());
    }
    assert_eq!(begins, [Duration::ZERO, Duration::from_secs(1)]);
}

fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        held = held << 6 | LETTERS.iter().position(|known| *known == letter).unwrap() as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}

/// What a hostile server, or a hostile document, might be called.
const HOSTILE: &str = "</title></svg><script>alert(1)</script><img src=x onerror=alert(1)>\"'&|`]]>\u{0}\u{202E}\n# x";

/// The sample with every word replaced.
fn hostile() -> Report {
    let mut report = sample();
    let words = || HOSTILE.to_owned();
    report.title = words();
    report.run.command = format!("```\n{HOSTILE}");
    report.run.version = words();
    report.run.label = words();
    report.run.machine.kernel = words();
    report.run.machine.processor = words();
    report.run.machine.clock_source = words();
    report.validity.reasons = vec![words()];
    report.findings = vec![words()];
    report.does_not_show = vec![words()];
    for table in &mut report.tables {
        table.title = words();
        table.note = words();
        for column in &mut table.columns {
            column.title = words();
            "<b>\"&|".clone_into(&mut column.unit);
        }
        for row in &mut table.rows {
            row.subject = words();
            row.cells.iter_mut().for_each(|cell| cell.text = words());
        }
    }
    for chart in &mut report.charts {
        chart.title = words();
        chart.note = words();
        for axis in [&mut chart.x, &mut chart.y] {
            axis.title = words();
            "<b>\"&|".clone_into(&mut axis.unit);
            axis.names.iter_mut().for_each(|name| *name = words());
        }
        chart.series.iter_mut().for_each(|series| series.name = words());
    }
    report.logs.iter_mut().for_each(|log| log.tag = format!("{HOSTILE}, 1"));
    report
}

/// The names of all elements, if their tags match as XML demands.
fn elements(svg: &str) -> Vec<&str> {
    let (mut open, mut names) = (Vec::new(), Vec::new());
    for tag in svg.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "<{tag}>");
        } else {
            names.push(name);
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
    names
}

#[test]
fn words_of_others_are_words_and_nothing_else() {
    let report = hostile();
    let page = text(&report, Format::Html);
    assert_eq!(page.matches("<script>").count(), 1, "the page's own");
    assert_eq!(page.matches("</title>").count() - page.matches("<title>").count(), 0);
    assert!(!page.contains("<img") && !page.contains('\u{202E}') && !page.contains('\u{0}'));

    for file in render(&report, Format::Svg).unwrap() {
        let svg = String::from_utf8(file.bytes).unwrap();
        let strange: Vec<&str> = elements(&svg)
            .into_iter()
            .filter(|name| !["svg", "path", "circle", "text", "title"].contains(name))
            .collect();
        assert!(strange.is_empty(), "{}: {strange:?}", file.name);
        assert!(!svg.contains(|letter: char| letter.is_control() && letter != '\n'), "{}", file.name);
    }

    let readme = text(&report, Format::Markdown);
    let (fence, _) = readme.split_once("sh\n").map(|(before, rest)| (before.lines().last().unwrap(), rest)).unwrap();
    assert!(fence.len() > 3 && fence.bytes().all(|letter| letter == b'`'), "{fence}");
    let prose = readme.split(fence).next().unwrap();
    assert!(!prose.contains("<script") && !prose.contains("<img"), "{prose}");
    let rows: Vec<&str> = prose.lines().filter(|line| line.starts_with("| ")).collect();
    let columns = |row: &str| row.replace("\\|", "").matches('|').count();
    assert!(rows.iter().all(|row| columns(row) == 8), "{rows:?}");

    let log = text(&report, Format::Hlog);
    assert!(log.lines().filter(|line| line.starts_with("Tag=")).all(|line| line.split(',').count() == 5), "{log}");
    assert!(render(&report, Format::Png).is_ok());
}

#[test]
fn all_forms_are_written_and_nothing_else_is_left() {
    let directory = Directory::new("all");
    let place = directory.0.join("new");
    let report = sample();
    for _ in 0..2 {
        let written = write_all(&report, &place).unwrap();
        let mut names: Vec<String> =
            fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let mut told: Vec<String> =
            written.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        told.sort();
        assert_eq!(names, told);
        assert_eq!(names.len(), report.charts.len() * 2 + 4);
        assert_eq!(written.last(), Some(&place.join("report.json")), "the document comes last");
    }
    let read = Report::from_json(&fs::read_to_string(place.join("report.json")).unwrap()).unwrap();
    assert_eq!(read, report);
}

#[test]
fn what_cannot_be_written_is_named_and_leaves_nothing() {
    let directory = Directory::new("fails");
    let taken = directory.0.join("taken");
    fs::create_dir(&taken).unwrap();
    let error = write_file(&taken, b"text").unwrap_err().to_string();
    assert!(error.starts_with(&format!("{} cannot be written: ", taken.display())), "{error}");
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1, "no part is left");
    let file = directory.0.join("file");
    fs::write(&file, "").unwrap();
    let error = write_all(&sample(), &file).unwrap_err().to_string();
    assert!(error.contains(&file.display().to_string()), "{error}");
}

#[test]
fn an_empty_report_can_be_shown() {
    let mut report = sample();
    report.tables.clear();
    report.charts.clear();
    report.logs.clear();
    report.findings.clear();
    assert!(render(&report, Format::Hlog).unwrap().is_empty());
    assert!(text(&report, Format::Html).contains("<strong>Valid</strong>"));
    assert!(!text(&report, Format::Markdown).contains("## Findings"));
}
