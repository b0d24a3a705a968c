//! Text for people and scripts: results on standard output, everything else on standard error.
//!
//! A reader that has left (`zenlab list | head -1`) hears no more; that is no failure.

use std::io::{self, Write};

/// Prints a line of the result.
pub fn say(line: &str) {
    let _gone = writeln!(io::stdout().lock(), "{line}");
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

/// Prints lines about the work.
pub fn complain_all(lines: &[String]) {
    for line in lines {
        complain(line);
    }
}

/// Pads each column of `rows` to its widest cell, two spaces apart.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "µs".to_owned()], vec!["long".to_owned(), "1".to_owned()]];
        assert_eq!(super::table(&rows), ["a     µs", "long  1"]);
    }
}
