//! Interval logs in HdrHistogram's log format 1.3, which its public tools read.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use hdrhistogram::{Counter, Histogram};

use crate::error::Error;
use crate::escape;
use crate::model::Report;

/// Longest durations are told in milliseconds, as the format's own writers do.
const NANOSECONDS_OF_MAX: f64 = 1e6;

/// An interval and its tag.
type Tagged<'all> = (&'all str, &'all (f64, f64, u64, String));

/// A histogram as [`IntervalLog`](crate::IntervalLog) holds it: HdrHistogram V2, compressed, in base64.
///
/// # Errors
/// If a count is too large for the format, 2^63 or more.
pub fn encode<C: Counter>(histogram: &Histogram<C>) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let encoded = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    encoded.map_err(|why| Error::new(format!("the histogram cannot be encoded: {why}")))?;
    Ok(BASE64_STANDARD.encode(bytes))
}

/// The log of all tags, in the order of time; none if the document has no histograms.
pub(crate) fn render(report: &Report) -> Option<String> {
    let mut intervals: Vec<Tagged> = Vec::new();
    for log in &report.logs {
        intervals.extend(log.intervals.iter().map(|interval| (log.tag.as_str(), interval)));
    }
    intervals.sort_by(|(_, one), (_, other)| one.0.total_cmp(&other.0));
    (!intervals.is_empty()).then(|| head(report) + &intervals.into_iter().map(line).collect::<String>())
}

fn head(report: &Report) -> String {
    let began = humantime::parse_rfc3339(&report.run.began).ok();
    let seconds = began.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default().as_secs_f64();
    let mut text = format!("#[{}]\n", escape::line(&report.title));
    text.push_str("#[Histogram log format version 1.3]\n");
    // A writer to a string does not fail.
    let _ = writeln!(text, "#[StartTime: {seconds:.3} (seconds since epoch), {}]", escape::line(&report.run.began));
    text.push_str("\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n");
    text
}

fn line((tag, (begin, length, longest, histogram)): Tagged) -> String {
    let longest = *longest as f64 / NANOSECONDS_OF_MAX;
    format!("Tag={},{begin:.3},{length:.3},{longest:.3},{}\n", word(tag), word(histogram))
}

/// The format separates by commas, blanks and lines.
fn word(text: &str) -> String {
    let is_apart = |letter: char| letter == ',' || letter.is_whitespace() || letter.is_control();
    text.chars().map(|letter| if is_apart(letter) { '_' } else { letter }).collect()
}
