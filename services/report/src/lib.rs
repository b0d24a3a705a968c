//! What a measurement found, and how it is shown.
//!
//! A [`Report`] is one document: everything that is shown is in it, and the same document is always shown the same, byte for
//! byte. This crate measures nothing and asks nobody.

mod model;

pub use model::{
    Axis, Cell, Chart, Column, Form, Interval, IntervalLog, Machine, Point, Report, Row, Run, SCHEMA, Scale, Series,
    Table, Validity, Verdict,
};
