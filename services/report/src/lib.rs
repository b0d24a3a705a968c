//! What a measurement found, and how it is shown.
//!
//! A [`Report`] is one document: everything that is shown is in it, and the same document is always shown the same, byte for
//! byte. This crate measures nothing and asks nobody.
//!
//! ```text
//! Report ─▶ read      rules beyond the form: Report::check
//!        ─▶ draw      a chart becomes a scene: lines, fields, words at places, measured with the font that is built in
//!              ├─▶ svg      for pages
//!              └─▶ png      for everything else; the same scene, pixel for pixel the same everywhere
//!        ─▶ html, markdown, hdr
//!        ─▶ compare   two reports become a third one
//!        ─▶ write     files, each wholly or not at all
//! ```

mod cell;
mod colour;
mod command;
pub mod compare;
mod draw;
mod error;
mod escape;
mod facts;
mod font;
pub mod hdr;
mod html;
mod looks;
mod markdown;
mod model;
mod png;
mod read;
mod scene;
pub mod sheet;
mod svg;
mod units;
mod write;

pub use command::command_line;
pub use error::Error;
pub use model::{
    Axis, Cell, Chart, Column, Form, Interval, IntervalLog, Machine, Point, Report, Row, Run, SCHEMA, Scale, Series,
    Table, Validity, Verdict,
};
pub use write::{File, Format, make_directory, render, write_all, write_file, write_files};
