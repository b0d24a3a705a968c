//! The document. Its JSON form is published in `schema.json`; a change of meaning raises [`SCHEMA`].

use serde::{Deserialize, Serialize};

/// The version of the document's form.
pub const SCHEMA: u32 = 1;

/// What one measurement found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`SCHEMA`] of the program that wrote it.
    pub schema: u32,
    /// What was done, as a heading.
    pub title: String,
    /// How it came about.
    pub run: Run,
    /// Whether it may be believed.
    pub validity: Validity,
    /// The result, in sentences; the most important first.
    pub findings: Vec<String>,
    /// What a reader might take from it and should not.
    pub does_not_show: Vec<String>,
    /// The figures.
    pub tables: Vec<Table>,
    /// The pictures; they show figures of this document only.
    pub charts: Vec<Chart>,
    /// Histograms over time.
    pub logs: Vec<IntervalLog>,
}

/// How a report came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The command line that makes it anew.
    pub command: String,
    /// Version of the program.
    pub version: String,
    /// What chose the random order.
    pub seed: u64,
    /// When it began, as RFC 3339 in UTC.
    pub began: String,
    /// How long it took, in seconds.
    pub took_seconds: f64,
    /// Where it ran.
    pub machine: Machine,
    /// A name given by whoever ran it; may be empty.
    pub label: String,
}

/// The machine, as far as it matters for the figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Release of the kernel.
    pub kernel: String,
    /// Cores that the run could use.
    pub cores: u32,
    /// The processor's name; empty if unknown.
    pub processor: String,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Descriptors that a process may have.
    pub open_files: u64,
    /// The kernel's clock source.
    pub clock_source: String,
    /// Part of the run in which something waited for a CPU (0 to 1); none where the kernel does not say.
    pub cpu_pressure: Option<f64>,
    /// Part of the run's CPU time that a hypervisor took away (0 to 1).
    pub steal: f64,
    /// Whether the run had a network namespace of its own, which a packet filter of the host does not slow.
    pub own_network: bool,
    /// Whether a packet filter was in the path; none where that cannot be seen.
    pub packet_filter: Option<bool>,
}

/// Whether a report may be believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validity {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in sentences; also what was left out and how many slots were void.
    pub reasons: Vec<String>,
}

/// What a run's own checks say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All checks passed.
    Valid,
    /// A check failed: a twin differed from itself, the load generator was the limit, books did not balance.
    Unreliable,
    /// Too much noise to say anything.
    Inconclusive,
}

/// Figures: a row for each subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// By which two reports find each other's tables: lower case, digits, underscores.
    pub id: String,
    /// A heading.
    pub title: String,
    /// What the cells are, in their order.
    pub columns: Vec<Column>,
    /// The subjects.
    pub rows: Vec<Row>,
    /// What a reader must know; may be empty.
    pub note: String,
}

/// What the cells of a column are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// By which two reports find each other's columns.
    pub id: String,
    /// A heading.
    pub title: String,
    /// Of the values: `us`, `ms`, `s`, `/s`, `B`, `x` (a ratio), `%`; empty for counts and words.
    pub unit: String,
    /// Whether less is better; none where neither is.
    pub less_is_better: Option<bool>,
}

/// One subject's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Whose: an architecture, a rate, a scenario.
    pub subject: String,
    /// One for each column.
    pub cells: Vec<Cell>,
}

/// A figure, or a word.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cell {
    /// The figure, if it is one.
    pub value: Option<f64>,
    /// Its confidence interval, if it has one.
    pub interval: Option<Interval>,
    /// The word, if it is one; beside a figure, a mark such as a tie group.
    pub text: String,
}

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Its confidence, such as 0.95; 0 where none is claimed.
    pub confidence: f64,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chart {
    /// Also the name of its file: lower case, digits, underscores.
    pub id: String,
    /// A heading that says what is seen.
    pub title: String,
    /// How it is drawn.
    pub form: Form,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn.
    pub series: Vec<Series>,
    /// What a reader must know; may be empty.
    pub note: String,
}

/// How a chart is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A line through each series' points, in the order of x.
    Lines,
    /// A bar for each point; `x` counts the bars, their names are `x.names`.
    Bars,
    /// A dot with its interval for each point, one line each, around 1; `y` counts the lines, their names are `y.names`.
    Forest,
    /// Percentiles: x is the quantile (0 to 1), drawn on 1/(1-q).
    Spectrum,
    /// A field for each point, coloured by its `z`.
    Heat,
    /// Lines over time, with marks for what was changed: series without y values are the marks.
    Timeline,
}

/// An axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// What it is.
    pub title: String,
    /// Unit, as in [`Column::unit`].
    pub unit: String,
    /// Its scale.
    pub scale: Scale,
    /// Names of the places 0, 1, 2, ... where the axis has names instead of figures.
    pub names: Vec<String>,
}

/// The scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Equal distances are equal differences; begins at 0.
    Linear,
    /// Equal distances are equal ratios; 0 is drawn at the lower edge.
    Logarithmic,
}

/// What belongs together in a chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Its name. An architecture's name has that architecture's colour and line, the same in every picture.
    pub name: String,
    /// Its points.
    pub points: Vec<Point>,
}

/// A point of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Along the horizontal axis.
    pub x: f64,
    /// Along the vertical axis; none is a gap, or a mark in a timeline.
    pub y: Option<f64>,
    /// Its confidence interval, along y (along x in a forest).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// The colour in a heat map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub z: Option<f64>,
}

/// Histograms of one kind over time, each an HdrHistogram (V2, compressed, base64) in nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntervalLog {
    /// Whose and what, such as `epoll/tcp/response`.
    pub tag: String,
    /// Begin in seconds since the run began, length in seconds, longest duration in ns, the histogram.
    pub intervals: Vec<(f64, f64, u64, String)>,
}
