//! Tables and charts, said shortly.

use report::{Axis, Cell, Chart, Column, Form, Interval, Point, Row, Scale, Series, Table};

pub(crate) fn table(id: &str, title: &str, columns: &[(&str, &str, &str)], rows: Vec<Row>) -> Table {
    let columns = columns.iter().map(|(id, title, unit)| column(id, title, unit, None));
    Table { id: id.to_owned(), title: title.to_owned(), columns: columns.collect(), rows, note: String::new() }
}

pub(crate) fn column(id: &str, title: &str, unit: &str, less_is_better: Option<bool>) -> Column {
    Column { id: id.to_owned(), title: title.to_owned(), unit: unit.to_owned(), less_is_better }
}

pub(crate) fn row(subject: &str, cells: Vec<Cell>) -> Row {
    Row { subject: subject.to_owned(), cells }
}

/// A figure; nothing if there is none.
pub(crate) fn figure(value: Option<f64>) -> Cell {
    Cell { value, ..Cell::default() }
}

pub(crate) fn between(value: f64, interval: Interval) -> Cell {
    Cell { value: Some(value), interval: Some(interval), ..Cell::default() }
}

pub(crate) fn word(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), ..Cell::default() }
}

pub(crate) fn axis(title: &str, unit: &str, scale: Scale) -> Axis {
    Axis { title: title.to_owned(), unit: unit.to_owned(), scale, names: Vec::new() }
}

pub(crate) fn names(title: &str, names: impl IntoIterator<Item = impl ToString>) -> Axis {
    Axis { names: names.into_iter().map(|name| name.to_string()).collect(), ..axis(title, "", Scale::Linear) }
}

pub(crate) fn chart(id: &str, title: &str, form: Form, (x, y): (Axis, Axis), series: Vec<Series>) -> Chart {
    Chart { id: id.to_owned(), title: title.to_owned(), form, x, y, series, note: String::new() }
}

pub(crate) fn series(name: &str, points: impl IntoIterator<Item = (f64, Option<f64>)>) -> Series {
    let points = points.into_iter().map(|(x, y)| Point { x, y, interval: None, z: None });
    Series { name: name.to_owned(), points: points.collect() }
}
