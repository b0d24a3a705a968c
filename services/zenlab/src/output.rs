//! Text for people and scripts: results on standard output, everything else on standard error.
//!
//! A reader that has left (`zenlab list | head -1`) hears no more; that is no failure. A full disk is one.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

/// Whether the reader of the result has left.
static HAS_LEFT: AtomicBool = AtomicBool::new(false);

/// Whether a part of the result could not be written.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// Prints a line of the result.
pub fn say(line: &str) {
    say_bytes(format!("{line}\n").as_bytes());
}

/// Prints a result as it is.
pub fn say_bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => HAS_LEFT.store(true, Ordering::Relaxed),
        Err(error) if !IS_LOST.swap(true, Ordering::Relaxed) => {
            complain(&format!("zenlab: standard output cannot be written: {error}"));
        }
        _ => {}
    }
}

/// Whether the reader of the result has left: what would go on for him for ever may end.
pub fn has_left() -> bool {
    HAS_LEFT.load(Ordering::Relaxed)
}

/// Whether a part of the result could not be written though somebody waits for it; that was told then.
pub fn is_lost() -> bool {
    IS_LOST.load(Ordering::Relaxed)
}

/// Prints a line about the work, which is no result.
pub fn complain(line: &str) {
    let _gone = writeln!(io::stderr().lock(), "{line}");
}

/// Prints lines of the result.
pub fn say_all(lines: &[String]) {
    for line in lines {
        say(line);
    }
}

/// Prints what was found under some names as JSON: an object of all by their names, or the only one.
pub fn say_json(mut all: Vec<(String, Value)>, by_name: bool) {
    let value = match all.pop() {
        Some((_, one)) if !by_name => one,
        last => all.into_iter().chain(last).collect(),
    };
    say(&format!("{value:#}"));
}

/// Prints lines about the work.
pub fn complain_all(lines: &[String]) {
    for line in lines {
        complain(line);
    }
}

/// Lines of columns, two spaces apart; the first row holds the heads. Columns of numbers are flush right.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns: Vec<Column> =
        (0..rows.iter().map(Vec::len).max().unwrap_or(0)).map(|at| Column::of(rows, at)).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&columns).map(|(cell, column)| column.pad(cell)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

struct Column {
    width: usize,
    is_numeric: bool,
}

impl Column {
    fn of(rows: &[Vec<String>], at: usize) -> Self {
        let cells = || rows.iter().filter_map(|row| row.get(at));
        let width = cells().map(|cell| cell.chars().count()).max().unwrap_or(0);
        Self { width, is_numeric: cells().skip(1).all(|cell| cell == "-" || cell.parse::<f64>().is_ok()) }
    }

    fn pad(&self, cell: &str) -> String {
        let width = self.width;
        if self.is_numeric { format!("{cell:>width$}") } else { format!("{cell:width$}") }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["NAME", "µs", "X"], ["a", "1000", "1"], ["long", "-", "b"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(super::table(&rows), ["NAME    µs  X", "a     1000  1", "long     -  b"]);
    }
}
