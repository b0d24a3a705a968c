//! Cells and headings of tables in words.

use crate::model::{Cell, Column, Interval};
use crate::units;

/// What stands where there is nothing.
pub(crate) const NONE: &str = "—";

/// A heading with its unit.
pub(crate) fn heading(column: &Column) -> String {
    match units::sign(&column.unit) {
        "" => column.title.clone(),
        unit => format!("{} ({unit})", column.title),
    }
}

/// Which direction is better, in a sign; empty where neither is.
pub(crate) const fn direction(column: &Column) -> &'static str {
    match column.less_is_better {
        Some(true) => "↓",
        Some(false) => "↑",
        None => "",
    }
}

/// The figure; none if the cell has only a word, or nothing.
pub(crate) fn figure(cell: &Cell, column: &Column) -> Option<String> {
    cell.value.map(|value| units::plain(value, &column.unit))
}

/// The interval; none if there is none.
pub(crate) fn interval(cell: &Cell, column: &Column) -> Option<String> {
    let Interval { low, high, .. } = cell.interval?;
    Some(format!("[{}, {}]", units::plain(low, &column.unit), units::plain(high, &column.unit)))
}

/// Whether a column has figures, which are flush right.
pub(crate) fn is_numeric<'a>(mut cells: impl Iterator<Item = &'a Cell>) -> bool {
    cells.any(|cell| cell.value.is_some())
}
