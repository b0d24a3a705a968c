//! A document as Markdown: tables and findings for a README.

use std::fmt::Write;

use crate::cell;
use crate::escape::{fenced, markdown};
use crate::facts;
use crate::model::{Cell, Column, Report, Table};

/// The document. Pictures are beside it, as `<id>.svg`.
pub(crate) fn render(report: &Report) -> String {
    let mut text = format!("# {}\n\n", markdown(&report.title));
    let verdict = report.validity.verdict;
    let _ = writeln!(text, "**{}**: {}.\n", facts::stamp(verdict), facts::meaning(verdict));
    list(&mut text, &report.validity.reasons);
    section(&mut text, "Findings", &report.findings);
    for table in &report.tables {
        write_table(&mut text, table);
    }
    for chart in &report.charts {
        let _ = writeln!(text, "![{}]({}.svg)\n", markdown(&chart.title), chart.id);
    }
    section(&mut text, "What this does not show", &report.does_not_show);
    text.push_str("## How it came about\n\n");
    text.push_str(&fenced(&report.run.command));
    let facts = facts::all(report).into_iter();
    let facts: Vec<String> = facts.map(|(name, value)| format!("{name}: {}", markdown(&value))).collect();
    let _ = writeln!(text, "\n{}", facts.join(" · "));
    text
}

fn section(text: &mut String, title: &str, sentences: &[String]) {
    if !sentences.is_empty() {
        let _ = writeln!(text, "## {title}\n");
        list(text, sentences);
    }
}

fn list(text: &mut String, sentences: &[String]) {
    for sentence in sentences {
        let _ = writeln!(text, "- {}", markdown(sentence));
    }
    if !sentences.is_empty() {
        text.push('\n');
    }
}

fn write_table(text: &mut String, table: &Table) {
    let _ = writeln!(text, "## {}\n", markdown(&table.title));
    let mut heads = vec![String::new()];
    let mut rule = vec!["---".to_owned()];
    for (at, column) in table.columns.iter().enumerate() {
        let head = format!("{} {}", markdown(&cell::heading(column)), cell::direction(column));
        heads.push(head.trim_end().to_owned());
        let is_numeric = cell::is_numeric(table.rows.iter().filter_map(|row| row.cells.get(at)));
        rule.push(if is_numeric { "---:" } else { "---" }.to_owned());
    }
    line(text, &heads);
    line(text, &rule);
    for row in &table.rows {
        let cells = row.cells.iter().zip(&table.columns).map(|(cell, column)| words(cell, column));
        line(text, &std::iter::once(markdown(&row.subject)).chain(cells).collect::<Vec<_>>());
    }
    text.push('\n');
    if !table.note.is_empty() {
        let _ = writeln!(text, "{}\n", markdown(&table.note));
    }
}

fn line(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn words(cell: &Cell, column: &Column) -> String {
    let mark = Some(markdown(&cell.text)).filter(|text| !text.is_empty());
    // Brackets after a figure would be a link only if something followed in parentheses.
    let interval = cell::interval(cell, column).map(|interval| interval.replace('[', "\\[").replace(']', "\\]"));
    let parts: Vec<String> = [cell::figure(cell, column), interval, mark].into_iter().flatten().collect();
    if parts.is_empty() { cell::NONE.to_owned() } else { parts.join(" ") }
}
