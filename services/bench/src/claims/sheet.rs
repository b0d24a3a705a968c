//! Tables and charts, said shortly.

use report::{Axis, Cell, Chart, Column, Form, Interval, Point, Row, Scale, Series, Table};

pub(super) fn table(id: &str, title: &str, columns: &[(&str, &str, &str)], rows: Vec<Row>) -> Table {
    let columns = columns.iter().map(|(id, title, unit)| Column {
        id: (*id).to_owned(),
        title: (*title).to_owned(),
        unit: (*unit).to_owned(),
        less_is_better: None,
    });
    Table { id: id.to_owned(), title: title.to_owned(), columns: columns.collect(), rows, note: String::new() }
}

pub(super) fn row(subject: &str, cells: Vec<Cell>) -> Row {
    Row { subject: subject.to_owned(), cells }
}

/// A figure; nothing if there is none.
pub(super) fn figure(value: Option<f64>) -> Cell {
    Cell { value, ..Cell::default() }
}

pub(super) fn between(value: f64, interval: Interval) -> Cell {
    Cell { value: Some(value), interval: Some(interval), ..Cell::default() }
}

pub(super) fn word(text: &str) -> Cell {
    Cell { text: text.to_owned(), ..Cell::default() }
}

pub(super) fn axis(title: &str, unit: &str, scale: Scale) -> Axis {
    Axis { title: title.to_owned(), unit: unit.to_owned(), scale, names: Vec::new() }
}

pub(super) fn names(title: &str, names: &[&str]) -> Axis {
    Axis { names: names.iter().map(ToString::to_string).collect(), ..axis(title, "", Scale::Linear) }
}

pub(super) fn chart(id: &str, title: &str, form: Form, (x, y): (Axis, Axis), series: Vec<Series>) -> Chart {
    Chart { id: id.to_owned(), title: title.to_owned(), form, x, y, series, note: String::new() }
}

pub(super) fn series(name: &str, points: impl IntoIterator<Item = (f64, Option<f64>)>) -> Series {
    let points = points.into_iter().map(|(x, y)| Point { x, y, interval: None, z: None });
    Series { name: name.to_owned(), points: points.collect() }
}
