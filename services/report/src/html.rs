//! A document as one HTML file that needs nothing else: no network, no scripts to be read, by day and by night.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::cell;
use crate::draw;
use crate::escape::xml;
use crate::facts;
use crate::looks;
use crate::model::{Cell, Chart, Column, Report, Row, Table, Verdict};
use crate::scene::{Ink, Scene};
use crate::svg;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Findings after the first that do not push the pictures off the screen.
const MOST_FINDINGS: usize = 12;

/// Reasons of a good verdict that take no room.
const FEW_REASONS: usize = 2;

/// The file.
pub(crate) fn render(report: &Report) -> String {
    let scenes: Vec<Scene> = report.charts.iter().map(draw::chart).collect();
    let mut text = head(report, &scenes);
    stamp(&mut text, report);
    findings(&mut text, &report.findings);
    for (chart, scene) in report.charts.iter().zip(&scenes) {
        picture(&mut text, chart, scene);
    }
    for table in &report.tables {
        write_table(&mut text, table);
    }
    list(&mut text, "What this does not show", "not", &report.does_not_show);
    origin(&mut text, report);
    let _ = write!(text, "</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    text
}

fn head(report: &Report, scenes: &[Scene]) -> String {
    let title = xml(&report.title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n<title>{title}</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n",
        night(report, scenes)
    )
}

/// The shades of all that is drawn, for pages that are read in the dark.
fn night(report: &Report, scenes: &[Scene]) -> String {
    let subjects = report.tables.iter().flat_map(|table| &table.rows).map(|row| row.subject.as_str());
    let keys = subjects.filter_map(looks::architecture).map(|look| Ink::Key(look.colour));
    let inks: BTreeSet<Ink> = scenes.iter().flat_map(Scene::inks).chain(keys).collect();
    let mut rules = String::new();
    for (class, colour) in inks.into_iter().filter_map(|ink| Some((svg::class(ink)?, ink.at_night()))) {
        let _ = writeln!(rules, "  .f{class} {{ fill: {colour}; }}\n  .s{class} {{ stroke: {colour}; }}");
    }
    format!("@media (prefers-color-scheme: dark) {{\n{rules}}}\n")
}

fn stamp(text: &mut String, report: &Report) {
    let verdict = report.validity.verdict;
    let class = match verdict {
        Verdict::Valid => "valid",
        Verdict::Unreliable => "unreliable",
        Verdict::Inconclusive => "inconclusive",
    };
    let (stamp, meaning) = (facts::stamp(verdict), facts::meaning(verdict));
    // Whoever may believe the figures wants to see them; whoever may not must see why.
    let is_open = verdict != Verdict::Valid || report.validity.reasons.len() <= FEW_REASONS;
    let open = if is_open { " open" } else { "" };
    let _ = write!(
        text,
        "<section class=\"stamp {class}\">\n<details{open}>\n<summary><strong>{stamp}</strong> {meaning}.</summary>\n"
    );
    items(text, &report.validity.reasons);
    text.push_str("</details>\n</section>\n");
}

/// The most important finding stands out.
fn findings(text: &mut String, findings: &[String]) {
    let Some((first, others)) = findings.split_first() else { return };
    let first = xml(first);
    let _ = write!(text, "<section class=\"findings\">\n<h2>Findings</h2>\n<p class=\"first\">{first}</p>\n");
    if others.len() > MOST_FINDINGS {
        let _ = write!(text, "<details>\n<summary>and {} more</summary>\n", others.len());
        items(text, others);
        text.push_str("</details>\n");
    } else {
        items(text, others);
    }
    text.push_str("</section>\n");
}

fn list(text: &mut String, title: &str, class: &str, sentences: &[String]) {
    if !sentences.is_empty() {
        let _ = write!(text, "<section class=\"{class}\">\n<h2>{title}</h2>\n");
        items(text, sentences);
        text.push_str("</section>\n");
    }
}

fn items(text: &mut String, sentences: &[String]) {
    if !sentences.is_empty() {
        text.push_str("<ul>\n");
        for sentence in sentences {
            let _ = writeln!(text, "<li>{}</li>", xml(sentence));
        }
        text.push_str("</ul>\n");
    }
}

fn picture(text: &mut String, chart: &Chart, scene: &Scene) {
    let _ = write!(text, "<figure id=\"chart-{}\">\n{}\n</figure>\n", xml(&chart.id), svg::inline(scene));
}

fn write_table(text: &mut String, table: &Table) {
    let _ = write!(
        text,
        "<section>\n<h2>{}</h2>\n<div class=\"wide\">\n<table id=\"table-{}\" style=\"--columns: {}\">\n<thead><tr>\
         <th scope=\"col\"></th>",
        xml(&table.title),
        xml(&table.id),
        table.columns.len()
    );
    let numeric: Vec<bool> = (0..table.columns.len())
        .map(|at| cell::is_numeric(table.rows.iter().filter_map(|row| row.cells.get(at))))
        .collect();
    for (column, is_numeric) in table.columns.iter().zip(&numeric) {
        let class = if *is_numeric { " class=\"figure\"" } else { "" };
        let _ = write!(text, "<th scope=\"col\"{class}>{}{}</th>", xml(&cell::heading(column)), direction(column));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        write_row(text, row, &table.columns, &numeric);
    }
    text.push_str("</tbody>\n</table>\n</div>\n");
    if !table.note.is_empty() {
        let _ = writeln!(text, "<p class=\"note\">{}</p>", xml(&table.note));
    }
    text.push_str("</section>\n");
}

fn direction(column: &Column) -> String {
    let words = match column.less_is_better {
        Some(true) => "less is better",
        Some(false) => "more is better",
        None => return String::new(),
    };
    format!("\u{a0}<abbr title=\"{words}\">{}</abbr>", cell::direction(column))
}

fn write_row(text: &mut String, Row { subject, cells }: &Row, columns: &[Column], numeric: &[bool]) {
    let key = looks::architecture(subject).map_or(String::new(), |look| {
        let ink = Ink::Key(look.colour);
        let class = svg::class(ink).unwrap_or_default();
        format!(
            "<svg class=\"key\" viewBox=\"0 0 10 10\"><rect width=\"10\" height=\"10\" fill=\"{}\" class=\"f{class}\"/></svg>",
            ink.on_paper()
        )
    });
    // A long name may break at its underscores, where there is no room for it.
    let _ = write!(text, "<tr><th scope=\"row\">{key}{}</th>", xml(subject).replace('_', "_<wbr>"));
    for ((cell, column), is_numeric) in cells.iter().zip(columns).zip(numeric) {
        write_cell(text, cell, column, *is_numeric);
    }
    text.push_str("</tr>\n");
}

fn write_cell(text: &mut String, cell: &Cell, column: &Column, is_numeric: bool) {
    let figure = cell::figure(cell, column);
    let class = if is_numeric { " class=\"figure\"" } else { "" };
    let sort = cell.value.map_or(String::new(), |value| format!(" data-sort=\"{value}\""));
    let _ = write!(text, "<td{class}{sort}>");
    text.push_str(figure.as_deref().unwrap_or(""));
    if let (Some(interval), Some(Some(confidence))) =
        (cell::interval(cell, column), cell.interval.map(|interval| Some(interval.confidence)))
    {
        let title = match confidence {
            0.0 => String::new(),
            some => format!(" title=\"{} % confidence\"", some * 100.0),
        };
        let _ = write!(text, " <small{title}>{interval}</small>");
    }
    match (figure.is_some(), cell.text.is_empty()) {
        (false, true) => text.push_str(cell::NONE),
        (true, false) => drop(write!(text, " <b>{}</b>", xml(&cell.text))),
        (_, _) => text.push_str(&xml(&cell.text)),
    }
    text.push_str("</td>");
}

fn origin(text: &mut String, report: &Report) {
    let _ = write!(
        text,
        "<section>\n<h2>How it came about</h2>\n<pre><code>{}</code></pre>\n<dl>\n",
        xml(&report.run.command)
    );
    for (name, value) in facts::all(report) {
        let _ = writeln!(text, "<div><dt>{name}</dt><dd>{}</dd></div>", xml(&value));
    }
    text.push_str("</dl>\n</section>\n");
}
