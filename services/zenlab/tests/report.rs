//! `zenlab report` and `zenlab compare`, as a person or a script calls them.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::{Directory, ZENLAB, registry};

fn sample() -> String {
    format!("{}/../report/tests/sample.json", env!("CARGO_MANIFEST_DIR"))
}

fn zenlab(arguments: &[&str]) -> Output {
    Command::new(ZENLAB).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What ends as it should; gives standard output.
fn passes(arguments: &[&str]) -> Vec<u8> {
    let output = zenlab(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "{arguments:?}: {}", text(&output.stderr));
    output.stdout
}

/// What fails with this code; gives the sentence.
fn fails(arguments: &[&str], code: i32) -> String {
    let output = zenlab(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

/// The sample, changed, as a file.
fn variant(directory: &Directory, name: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut document: Value = serde_json::from_str(&fs::read_to_string(sample()).unwrap()).unwrap();
    change(&mut document);
    let path = directory.0.join(name);
    fs::write(&path, document.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// All CPU times multiplied.
fn slower(directory: &Directory, by: f64) -> String {
    variant(directory, &format!("slower-{by}.json"), |document| {
        for row in document["tables"][0]["rows"].as_array_mut().unwrap() {
            let cell = &mut row["cells"][0];
            for path in ["/value", "/interval/low", "/interval/high"] {
                let value = cell.pointer_mut(path).unwrap();
                *value = json!(value.as_f64().unwrap() * by);
            }
        }
    })
}

#[test]
fn a_report_is_shown_in_every_form() {
    let (directory, sample) = (Directory::new(), sample());
    let markdown = text(&passes(&["report", &sample]));
    assert!(markdown.starts_with("# Bench of 18 architectures"), "{markdown}");
    assert!(text(&passes(&["report", &sample, "--format", "html"])).starts_with("<!doctype html>"));
    let json = passes(&["report", &sample, "--format", "json"]);
    let again = variant(&directory, "again.json", |document| *document = serde_json::from_slice(&json).unwrap());
    assert_eq!(passes(&["report", &again, "--format", "json"]), json, "what is written is read as it was");
    assert!(text(&passes(&["report", &sample, "--format", "hlog"])).contains("log format version 1.3"));
    assert!(passes(&["report", &sample, "--format", "png", "--chart", "cpu"]).starts_with(b"\x89PNG"));

    let file = directory.0.join("page.html");
    let path = file.to_str().unwrap();
    assert_eq!(text(&passes(&["report", &sample, "--format", "html", "-o", path])), format!("{path}\n"));
    assert_eq!(fs::read(&file).unwrap(), passes(&["report", &sample, "--format", "html"]));
    let pictures = directory.0.join("pictures");
    passes(&["report", &sample, "--format", "svg", "-o", pictures.to_str().unwrap()]);
    assert_eq!(fs::read_dir(&pictures).unwrap().count(), 8);
}

#[test]
fn a_report_is_written_the_same_every_time() {
    let directory = Directory::new();
    let write = |name: &str| -> Vec<(PathBuf, Vec<u8>)> {
        let place = directory.0.join(name);
        let told = text(&passes(&["report", &sample(), "-o", place.to_str().unwrap()]));
        let files = told.lines().map(PathBuf::from);
        files.map(|path| (path.strip_prefix(&place).unwrap().to_owned(), fs::read(&path).unwrap())).collect()
    };
    let (one, other) = (write("one"), write("other"));
    assert_eq!(one.len(), 20);
    assert!(one == other, "files differ");
}

#[test]
fn what_cannot_be_shown_is_refused_in_a_sentence() {
    let (directory, sample) = (Directory::new(), sample());
    let newer = variant(&directory, "newer.json", |document| document["schema"] = json!(2));
    let error = fails(&["report", &newer], 1);
    assert!(error.contains("newer.json: this report has schema 2; this version of zenlab reads schema 1"), "{error}");
    let strange = variant(&directory, "strange.json", |document| document["charts"][0]["colour"] = json!("red"));
    assert!(fails(&["report", &strange], 1).contains("unknown field `colour`"));
    let lost = directory.0.join("none.json");
    assert!(fails(&["report", lost.to_str().unwrap()], 1).contains("none.json cannot be read"));
    assert!(fails(&["report", &sample, "--format", "png"], 2).contains("-o DIR"));
    assert!(fails(&["report", &sample, "--format", "svg", "--chart", "moon"], 2).contains("cpu, cpu_parts"));
    let error = fails(&["report", &sample, "-o", "/proc/nowhere"], 1);
    assert!(error.contains("/proc/nowhere cannot be written"), "{error}");
    fails(&["report", &sample, "--format", "pdf"], 2);
    for error in [fails(&["report", &newer], 1), fails(&["report", &strange], 1)] {
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_comparison_judges_by_exit_code() {
    let (directory, sample) = (Directory::new(), sample());
    let (a_little, much) = (slower(&directory, 1.005), slower(&directory, 1.5));
    let markdown = text(&passes(&["compare", &sample, &much]));
    assert!(markdown.contains(": CPU for a question is 1.500 times what it was"), "{markdown}");
    passes(&["compare", &sample, &sample, "--fail-if", "cpu>0.1"]);
    passes(&["compare", &sample, &a_little, "--fail-if", "cpu>1.001"]);
    passes(&["compare", &sample, &much, "--fail-if", "cpu>1.6"]);
    let error = fails(&["compare", &sample, &much, "--fail-if", "capacity<0.9", "--fail-if", "summary.cpu>1.4"], 3);
    assert!(error.contains("--fail-if summary.cpu>1.4 holds for epoll: the ratio is 1.500"), "{error}");
    let error = fails(&["compare", &sample, &much, "--fail-if", "moon>1.4"], 2);
    assert!(error.contains("they share summary.capacity, summary.cpu"), "{error}");
    assert!(fails(&["compare", &sample, &much, "--fail-if", "cpu"], 2).contains("no threshold such as cpu_ratio>1.1"));

    for verdict in ["inconclusive", "unreliable"] {
        let doubtful =
            variant(&directory, "doubtful.json", |document| document["validity"]["verdict"] = json!(verdict));
        fails(&["compare", &doubtful, &much, "--fail-if", "cpu>1.4"], 4);
        let error = fails(&["compare", &sample, &doubtful], 4);
        assert!(error.contains("cannot be believed"), "{error}");
    }
}

#[test]
fn a_comparison_is_shown_in_every_form() {
    let (directory, sample) = (Directory::new(), sample());
    let much = slower(&directory, 1.5);
    let place = directory.0.join("compared");
    passes(&["compare", &sample, &much, "-o", place.to_str().unwrap()]);
    assert!(place.join("report.html").is_file() && place.join("summary_cpu.png").is_file());
    let document: Value = serde_json::from_slice(&passes(&["compare", &sample, &much, "--format", "json"])).unwrap();
    assert_eq!(document["charts"][0]["form"], "forest");
    let command = document["run"]["command"].as_str().unwrap();
    assert_eq!(command, format!("zenlab compare {sample} {much}"));
    let odd = directory.0.join("it's slow.json").display().to_string();
    fs::rename(&much, &odd).unwrap();
    let gated = ["compare", &sample, &odd, "--fail-if", "cpu>1.6", "--format", "json"];
    let document: Value = serde_json::from_slice(&passes(&gated)).unwrap();
    let quoted = odd.replace('\'', r"'\''");
    assert_eq!(document["run"]["command"], format!("zenlab compare {sample} '{quoted}' --fail-if 'cpu>1.6'"));
}

#[test]
fn every_architecture_has_a_look_that_the_dashboards_share() {
    let root = format!("{}/../..", env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(format!("{root}/{path}")).unwrap();
    let looks: Value = serde_json::from_str(&read("services/report/src/looks.json")).unwrap();
    for architecture in registry() {
        assert!(looks[&architecture.name].is_array(), "services/report/src/looks.json lacks {}", architecture.name);
    }
    let dashboard = read("grafana/dashboards/zen-compare.json");
    for (name, look) in looks.as_object().unwrap() {
        let colour = look[0].as_str().unwrap();
        let both = dashboard.split(&format!("\"options\": \"{name}\"")).nth(1).unwrap_or_else(|| panic!("no {name}"));
        let own = both.split("\"matcher\"").next().unwrap();
        assert!(own.contains(colour), "{name} has another colour on the dashboards; run grafana/generate");
    }
}

#[test]
fn what_the_documentation_shows_is_what_its_documents_say() {
    let docs = format!("{}/../../docs", env!("CARGO_MANIFEST_DIR"));
    let claims = fs::read_dir(format!("{docs}/claims")).unwrap().flatten().map(|entry| entry.path());
    let directories: Vec<PathBuf> =
        claims.filter(|path| path.is_dir()).chain([PathBuf::from(format!("{docs}/bench"))]).collect();
    assert!(directories.len() > 8, "a document for each claim, and one of a bench: {directories:?}");
    for directory in directories {
        let document = directory.join("report.json");
        let document = document.to_str().unwrap();
        let markdown = fs::read(directory.join("report.md")).unwrap();
        assert_eq!(text(&passes(&["report", document])), text(&markdown), "{document}");
        let report: Value = serde_json::from_str(&fs::read_to_string(document).unwrap()).unwrap();
        for chart in report["charts"].as_array().unwrap() {
            let id = chart["id"].as_str().unwrap();
            let drawn = passes(&["report", document, "--format", "svg", "--chart", id]);
            assert!(drawn == fs::read(directory.join(format!("{id}.svg"))).unwrap(), "{document}: {id}.svg is another");
        }
    }
}

/// The findings of a claim's document, one after the other.
fn findings(claim: &str) -> String {
    let path = format!("{}/../../docs/claims/{claim}/report.json", env!("CARGO_MANIFEST_DIR"));
    let report: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    report["findings"].as_array().unwrap().iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure_and_a_reader_who_left_is_none() {
    for arguments in [&["report", &sample(), "--format", "json"][..], &["list"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = Command::new(ZENLAB).args(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let told = text(&output.stderr);
        assert!(told.starts_with("zenlab: standard output cannot be written: No space left"), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(ZENLAB).args(arguments).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn what_is_said_of_the_claims_is_what_was_found() {
    let read = |path: &str| fs::read_to_string(format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.split_once("](docs/claims/")?.1.split_once("/report.md) | "));
    let mut claims = 0;
    for (claim, row) in rows {
        let found = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(findings(claim).contains(found), "README.md, {claim}: {found}");
        claims += 1;
    }
    assert_eq!(claims, 8);
    let poll = read("services/architectures/src/poll.rs").replace("\n//! ", " ");
    let found = findings("readiness");
    let (_, found) = found.split_once("With 900 silent clients it costs select ").unwrap();
    let times: Vec<_> = found.split(" times").filter_map(|text| text.rsplit(' ').next()).take(3).collect();
    let said =
        format!("with 900 silent ones a question costs {} times as much, on `epoll` {} times", times[1], times[2]);
    assert!(poll.contains(&said), "poll.rs does not say: {said}");
}
