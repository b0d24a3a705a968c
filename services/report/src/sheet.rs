//! Tables and charts, said shortly.

use crate::model::{Axis, Cell, Chart, Column, Form, Interval, Point, Row, Scale, Series, Table};

/// A table without a note, whose columns are an id, a title and a unit each, and say nothing of what is better.
pub fn table(id: &str, title: &str, columns: &[(&str, &str, &str)], rows: Vec<Row>) -> Table {
    let columns = columns.iter().map(|(id, title, unit)| column(id, title, unit, None));
    Table { id: id.to_owned(), title: title.to_owned(), columns: columns.collect(), rows, note: String::new() }
}

/// A column.
pub fn column(id: &str, title: &str, unit: &str, less_is_better: Option<bool>) -> Column {
    Column { id: id.to_owned(), title: title.to_owned(), unit: unit.to_owned(), less_is_better }
}

/// A row.
pub fn row(subject: &str, cells: Vec<Cell>) -> Row {
    Row { subject: subject.to_owned(), cells }
}

/// A figure; nothing if there is none.
pub fn figure(value: Option<f64>) -> Cell {
    Cell { value, ..Cell::default() }
}

/// A figure with its interval.
pub fn between(value: f64, interval: Interval) -> Cell {
    Cell { value: Some(value), interval: Some(interval), ..Cell::default() }
}

/// A cell that is no figure.
pub fn word(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), ..Cell::default() }
}

/// An axis of figures.
pub fn axis(title: &str, unit: &str, scale: Scale) -> Axis {
    Axis { title: title.to_owned(), unit: unit.to_owned(), scale, names: Vec::new() }
}

/// An axis of names.
pub fn names(title: &str, names: impl IntoIterator<Item = impl ToString>) -> Axis {
    Axis { names: names.into_iter().map(|name| name.to_string()).collect(), ..axis(title, "", Scale::Linear) }
}

/// A chart without a note.
pub fn chart(id: &str, title: &str, form: Form, (x, y): (Axis, Axis), series: Vec<Series>) -> Chart {
    Chart { id: id.to_owned(), title: title.to_owned(), form, x, y, series, note: String::new() }
}

/// A series of points without intervals.
pub fn series(name: &str, points: impl IntoIterator<Item = (f64, Option<f64>)>) -> Series {
    let points = points.into_iter().map(|(x, y)| Point { x, y, interval: None, z: None });
    Series { name: name.to_owned(), points: points.collect() }
}
