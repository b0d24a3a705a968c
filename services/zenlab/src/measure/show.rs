//! A report for the terminal, and as Markdown.

use report::{Cell, Report, Table, Verdict};

use crate::output;

/// Columns that stand beside each other on a terminal.
const ABREAST: usize = 8;

/// The report for people: what may be believed, the figures, the result. Tables are no wider than `width`, if it is known, and if
/// one column is not wider.
pub fn text(report: &Report, width: Option<usize>) -> Vec<String> {
    let mut lines = vec![report.title.clone(), format!("{}: {}", verdict(report), report.validity.reasons.join(" "))];
    for table in &report.tables {
        lines.push(String::new());
        lines.push(table.title.clone());
        for (at, columns) in parts(table, width).iter().enumerate() {
            if at > 0 {
                lines.push(String::new());
            }
            lines.extend(output::table(&rows(table, columns)));
        }
        if !table.note.is_empty() {
            lines.extend([String::new(), table.note.clone()]);
        }
    }
    if !report.findings.is_empty() {
        lines.push(String::new());
        lines.extend(report.findings.iter().map(|finding| format!("- {finding}")));
    }
    lines
}

/// Whether the report may be believed, in a word.
pub const fn verdict(report: &Report) -> &'static str {
    match report.validity.verdict {
        Verdict::Valid => "Valid",
        Verdict::Unreliable => "Unreliable",
        Verdict::Inconclusive => "Inconclusive",
    }
}

/// The columns that say anything, in handfuls for which there is room.
fn parts(table: &Table, width: Option<usize>) -> Vec<Vec<usize>> {
    let says =
        |column: &usize| table.rows.iter().any(|row| row.cells.get(*column).is_some_and(|cell| cell.text != "—"));
    let spoken: Vec<usize> = (0..table.columns.len()).filter(says).collect();
    let mut parts: Vec<Vec<usize>> = Vec::new();
    for column in spoken {
        match parts.last_mut().filter(|part| part.len() < ABREAST) {
            Some(part) if fits(table, &[&part[..], &[column]].concat(), width) => part.push(column),
            _ => parts.push(vec![column]),
        }
    }
    parts
}

fn fits(table: &Table, columns: &[usize], width: Option<usize>) -> bool {
    let is_short = |line: &String| width.is_none_or(|width| line.chars().count() <= width);
    output::table(&rows(table, columns)).iter().all(is_short)
}

fn rows(table: &Table, columns: &[usize]) -> Vec<Vec<String>> {
    let head = columns.iter().map(|&at| {
        let column = &table.columns[at];
        match column.unit.as_str() {
            "" => column.title.clone(),
            "us" => format!("{} [µs]", column.title),
            unit => format!("{} [{unit}]", column.title),
        }
    });
    let head: Vec<String> = std::iter::once(String::new()).chain(head).collect();
    let body = table.rows.iter().map(|row| {
        let cells = columns.iter().map(|&at| row.cells.get(at).map_or(String::new(), cell));
        std::iter::once(row.subject.clone()).chain(cells).collect()
    });
    std::iter::once(head).chain(body).collect()
}

fn cell(cell: &Cell) -> String {
    let Some(value) = cell.value else { return cell.text.clone() };
    let interval = cell.interval.map(|interval| format!("({}-{})", figure(interval.low), figure(interval.high)));
    let parts = [Some(figure(value)), interval, Some(cell.text.clone()).filter(|text| !text.is_empty())];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Three significant digits, whole numbers whole.
fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        100.0.. => format!("{value:.0}"),
        10.0.. if value.fract() != 0.0 => format!("{value:.1}"),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use report::{Cell, Interval};

    #[test]
    fn figures_have_the_digits_that_matter() {
        let shown = |value| super::figure(value);
        assert_eq!([0.0, 2.0, 16.0].map(shown), ["0", "2", "16"]);
        assert_eq!([0.12345, 1.2345, 12.345, 123.45, 12345.6].map(shown), ["0.123", "1.23", "12.3", "123", "12346"]);
        let interval = Some(Interval { low: 1.1, high: 1.3, confidence: 0.95 });
        assert_eq!(super::cell(&Cell { value: Some(1.2), interval, text: "B".into() }), "1.20 (1.10-1.30) B");
        assert_eq!(super::cell(&Cell { text: "—".into(), ..Cell::default() }), "—");
    }
}
