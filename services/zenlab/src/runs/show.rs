//! Runs and scenarios as lines of text.

use serde_json::Value;

use crate::output;

/// A text of the API; empty if it is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Such as `run 3 of one_trickler`.
pub fn title(run: &Value) -> String {
    format!("run {} of {}", run["id"], text(&run["scenario"]))
}

/// How a run has ended, or how far it is.
pub fn end(run: &Value) -> String {
    let (elapsed, whole) = (number(&run["elapsed_seconds"]), number(&run["duration_seconds"]));
    let state = if run["ended"].is_string() { text(&run["ended"]) } else { text(&run["state"]) };
    format!("{state} after {elapsed:.1} of {whole} s")
}

/// All runs, the latest first.
pub fn runs(runs: &Value) -> Vec<String> {
    let mut rows = vec![heads(&["ID", "SCENARIO", "STATE", "SECONDS", "QUESTIONS", "RIGHT%", "AS EXPECTED"])];
    for run in runs.as_array().into_iter().flatten() {
        rows.push(vec![
            run["id"].to_string(),
            text(&run["scenario"]).to_owned(),
            if run["ended"].is_string() { text(&run["ended"]) } else { text(&run["state"]) }.to_owned(),
            format!("{:.1}", number(&run["elapsed_seconds"])),
            run["ledger"]["planned"].to_string(),
            percent(&run["ledger"]),
            run["as_expected"].as_bool().map_or("-", |is| if is { "yes" } else { "no" }).to_owned(),
        ]);
    }
    output::table(&rows)
}

/// All scenarios with what they do.
pub fn scenarios(scenarios: &Value) -> Vec<String> {
    let mut rows = vec![heads(&["NAME", "SECONDS", "TARGETS", "SUMMARY"])];
    for scenario in scenarios.as_array().into_iter().flatten() {
        let targets: Vec<&str> = scenario["targets"].as_array().into_iter().flatten().map(text).collect();
        rows.push(vec![
            text(&scenario["name"]).to_owned(),
            scenario["seconds"].to_string(),
            if targets.is_empty() { "all".to_owned() } else { targets.join(",") },
            text(&scenario["summary"]).to_owned(),
        ]);
    }
    output::table(&rows)
}

/// One run: what it should show, and what it has seen.
pub fn run(run: &Value) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", title(run), end(run)), text(&run["summary"]).to_owned()];
    lines.push(format!("Expected: {}", text(&run["expectation"])));
    lines.extend(targets(run));
    lines.extend(expectations(run));
    for reason in run["validity"]["reasons"].as_array().into_iter().flatten() {
        lines.push(text(reason).to_owned());
    }
    lines
}

/// A row for each target.
fn targets(run: &Value) -> Vec<String> {
    let mut rows =
        vec![heads(&["TARGET", "OVER", "QUESTIONS", "RIGHT%", "RIGHT/S", "P50µs", "P99µs", "UNSENT", "FAILED"])];
    for seen in run["targets"].as_array().into_iter().flatten() {
        let rounded = |value: &Value| value.as_f64().map_or("-".to_owned(), |value| format!("{value:.0}"));
        rows.push(vec![
            text(&seen["target"]).to_owned(),
            text(&seen["transport"]).to_owned(),
            seen["planned"].to_string(),
            percent(seen),
            rounded(&seen["rate"]),
            rounded(&seen["p50_us"]),
            rounded(&seen["p99_us"]),
            (count(&seen["unsent"]) + count(&seen["dropped"])).to_string(),
            failed(seen).to_string(),
        ]);
    }
    output::table(&rows)
}

/// What became of each expectation.
pub fn expectations(run: &Value) -> Vec<String> {
    let line = |finding: &Value| {
        let verdict = if finding["holds"] == true { "as expected" } else { "NOT as expected" };
        let found =
            finding["found"].as_f64().map_or("nothing is known".to_owned(), |found| format!("it is {found:.2}"));
        format!("{verdict}: {}; {found}", text(&finding["expected"]))
    };
    run["expectations"].as_array().into_iter().flatten().map(line).collect()
}

/// One line of a run that goes on.
pub fn progress(run: &Value) -> String {
    const WIDTH: usize = 20;
    let done = (number(&run["progress"]) * WIDTH as f64).round() as usize;
    let books = &run["ledger"];
    format!(
        "[{}{}] {:>5.1} of {} s  {} questions, {} % right, {} failed",
        "#".repeat(done.min(WIDTH)),
        ".".repeat(WIDTH - done.min(WIDTH)),
        number(&run["elapsed_seconds"]),
        number(&run["duration_seconds"]),
        books["planned"],
        percent(books),
        failed(books)
    )
}

/// Right answers of the questions that should have been asked.
fn percent(books: &Value) -> String {
    let planned = count(&books["planned"]);
    if planned == 0 {
        return "-".to_owned();
    }
    format!("{:.1}", 100.0 * count(&books["outcomes"]["ok"]) as f64 / planned as f64)
}

/// Questions that were asked and got no right answer, but for those that clients broke off themselves.
fn failed(books: &Value) -> u64 {
    let outcomes = books["outcomes"].as_object().into_iter().flatten();
    outcomes.filter(|(outcome, _)| !matches!(outcome.as_str(), "ok" | "aborted")).map(|(_, number)| count(number)).sum()
}

fn heads(heads: &[&str]) -> Vec<String> {
    heads.iter().map(|&head| head.to_owned()).collect()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}
