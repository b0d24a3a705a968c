//! Deployment and documentation follow the registry and the catalogue of metrics.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::large_stack_arrays,
    reason = "a test that fails says where"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use chassis::Capacity;
use chassis::control::catalogue::{Kind, METRICS, Metric};
use chassis::settings::{self, Flags, KEYS, Key};
use serde_json::{Value, json};
use support::{Architecture, registry};

/// The services of compose that are members of the fleet beside the architectures.
const ECHO: [(&str, &str, u16); 2] = [("echo_callbacks", "callbacks", 18), ("echo_coroutines", "coroutines", 19)];

/// What a first lesson compares.
const LESSON: [&str; 5] = ["single_threaded", "thread_pool", "thread_per_connection", "select", "epoll"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of compose's server services, with their blocks of text.
fn server_services() -> Vec<(String, String)> {
    let compose = read("docker-compose.yml");
    let services =
        compose.split_once("\nservices:\n").expect("services").1.split_once("\nnetworks:\n").expect("networks").0;
    let mut found = Vec::new();
    for block in services.split("\n  ").filter(|block| !block.starts_with(' ')) {
        let name = block.trim().split(':').next().unwrap_or_default();
        found.push((name.to_owned(), String::new()));
    }
    for (name, text) in &mut found {
        let start = services.find(&format!("  {name}:\n")).map_or(0, |at| at + name.len() + 4);
        let end = services[start..].find("\n\n").map_or(services.len(), |at| start + at);
        let rest = &services[start..end];
        let next = rest
            .match_indices("\n  ")
            .find(|(at, _)| !rest[at + 3..].starts_with(' '))
            .map_or(rest.len(), |(at, _)| at);
        rest[..next].clone_into(text);
    }
    found.retain(|(_, text)| text.contains("*server\n"));
    found
}

#[test]
fn compose_has_a_service_for_each_architecture() {
    let services = server_services();
    for Architecture { name, offset, transports, .. } in registry() {
        let (_, block) = services
            .iter()
            .find(|(service, _)| *service == name)
            .unwrap_or_else(|| panic!("docker-compose.yml lacks {name}"));
        assert!(block.contains(&format!("[server, {name},")), "{name}: {block}");
        assert!(block.contains(&format!("127.0.0.1:{}:1060/tcp", 1060 + offset)), "{name}: port of its own\n{block}");
        assert!(block.contains(&format!("127.0.0.1:{}:9060", 9060 + offset)), "{name}: admin port of its own\n{block}");
        for transport in transports {
            assert!(block.contains(&format!("\"{transport}://")), "{name} should listen on {transport}\n{block}");
        }
    }
    for (name, architecture, offset) in ECHO {
        let (_, block) = services.iter().find(|(service, _)| *service == name).expect(name);
        assert!(block.contains(&format!("[server, {architecture},")), "{name}: {block}");
        assert!(block.contains(&format!("ZENLAB__DIALOGUE: echo, ZENLAB__NAME: {name}}}")), "{name}: {block}");
        assert!(block.contains(&format!("127.0.0.1:{}:1060/udp", 1060 + offset)), "{name}: port of its own\n{block}");
        assert!(block.contains(&format!("127.0.0.1:{}:9060", 9060 + offset)), "{name}: admin port of its own\n{block}");
        for socket in ["stream", "datagram"] {
            assert!(block.contains(&format!(":///run/zen/{name}.{socket}\"")), "{name}: {block}");
        }
    }
    let known: BTreeSet<_> = registry()
        .into_iter()
        .map(|architecture| architecture.name)
        .chain(ECHO.map(|(name, ..)| name.into()))
        .collect();
    let strange: Vec<_> = services.iter().filter(|(name, _)| !known.contains(name)).collect();
    assert!(strange.is_empty(), "in docker-compose.yml, but not in the registry: {strange:?}");
}

#[test]
fn the_lesson_is_those_services_that_need_no_profile() {
    let plain = server_services().into_iter().filter(|(_, block)| !block.contains("profiles:")).map(|(name, _)| name);
    assert_eq!(plain.collect::<BTreeSet<_>>(), BTreeSet::from(LESSON.map(str::to_owned)));
    assert!(read(".env").contains("\nCOMPOSE_PROFILES=all\n"), "without it only the lesson comes up");
}

#[test]
fn the_limits_of_every_server_can_be_lifted() {
    let big = read("deploy/compose.big.yml");
    let lifted: BTreeSet<_> =
        big.lines().filter_map(|line| line.trim().strip_suffix(": *big")).map(str::to_owned).collect();
    let services: BTreeSet<_> = server_services().into_iter().map(|(name, _)| name).collect();
    assert_eq!(lifted, services);
}

#[test]
fn every_published_port_is_on_loopback() {
    for line in read("docker-compose.yml").lines().filter(|line| line.trim_start().starts_with("ports:")) {
        for port in line.split('"').skip(1).step_by(2) {
            assert!(port.starts_with("127.0.0.1:"), "{line}");
        }
    }
}

#[test]
fn prometheus_asks_for_each_service() {
    let config = read("deploy/prometheus/prometheus.yml");
    let names: BTreeSet<_> =
        config.lines().filter_map(|line| line.strip_prefix("          - ")).map(str::to_owned).collect();
    let services: BTreeSet<_> = server_services().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, services);
}

#[test]
fn whoever_a_scenario_expects_something_of_takes_part_in_it() {
    let known: BTreeSet<_> = registry().into_iter().map(|architecture| architecture.name).collect();
    let mut wrong = Vec::new();
    for scenario in swarm::Scenario::built_in().unwrap() {
        let text = format!("{} {}", scenario.expectation, scenario.expect.join(" "));
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let named: BTreeSet<_> = words.filter(|word| known.contains(*word)).map(str::to_owned).collect();
        let loaded: BTreeSet<_> = scenario.targets.iter().cloned().collect();
        if !loaded.is_empty() && !named.is_subset(&loaded) {
            wrong.push(format!("{}: {:?}", scenario.name, named.difference(&loaded)));
        }
    }
    assert!(wrong.is_empty(), "expected of, and never loaded: {wrong:?}");
}

#[test]
fn the_readme_has_a_row_for_each_architecture() {
    let readme = read("README.md");
    for Architecture { name, offset, .. } in registry() {
        let row = readme.lines().find(|line| line.starts_with(&format!("| {offset} | {name} |")));
        assert!(
            row.is_some_and(|row| row.contains(&format!("services/architectures/src/{name}.rs"))),
            "README.md lacks a row for {name}"
        );
        assert!(root().join(format!("services/architectures/src/{name}.rs")).exists());
    }
    for (name, architecture, offset) in ECHO {
        let row = readme.lines().find(|line| line.starts_with(&format!("| {offset} | {name} |")));
        assert!(row.is_some_and(|row| row.contains(&format!("{architecture}.rs"))), "README.md lacks a row for {name}");
    }
}

#[test]
fn every_command_is_in_its_reference() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_zenlab")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 20, "{help}");
    let reference = read("docs/COMMANDS.md");
    let missing: Vec<_> = commands.iter().filter(|name| !reference.contains(&format!("`zenlab {name}"))).collect();
    assert!(missing.is_empty(), "docs/COMMANDS.md lacks a row for {missing:?}");
}

/// What the head of an architecture's file says, in this order; before it stands what the architecture is.
const HEADINGS: [&str; 4] = ["**Costs**:", "**Choose it**", "**Watch** on the dashboard:", "**Chapter**:"];

/// The chapter's parts.
const CHAPTER: [&str; 6] = [
    "\"A Single-Threaded Server\"",
    "\"Threaded and Multiprocess Servers\"",
    "\"The SocketServer Framework\"",
    "\"Async Network Servers\"",
    "\"Asyncio framework\"",
    "\"Summary\"",
];

/// What there is to watch, and the panel that shows it.
const WATCHED: [(&str, &str); 10] = [
    ("accept queue", "Clients in the accept queue"),
    ("context switches per question", "Context switches per question"),
    ("CPU per question", "CPU per question"),
    ("CPU above one core", "CPU of the data planes"),
    ("memory per connection", "Memory of the data planes per open connection"),
    ("threads", "Threads"),
    ("processes", "Processes"),
    ("events per turn", "Events for each turn of the loop"),
    ("failures by outcome", "Failures by outcome"),
    ("turned away", "Clients turned away, by why"),
];

/// The head of a file, as one line of text.
fn head(text: &str) -> String {
    let lines: Vec<_> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    lines.join(" ")
}

#[test]
fn an_architectures_file_is_short_and_says_what_it_is() {
    for Architecture { name, .. } in registry() {
        let path = format!("services/architectures/src/{name}.rs");
        let text = read(&path);
        let lines = text.lines().count();
        assert!(lines <= 150, "{path} has {lines} lines");
        let (mut rest, mut parts) = (head(&text), Vec::new());
        for heading in HEADINGS {
            let (part, after) =
                rest.split_once(heading).unwrap_or_else(|| panic!("{path} lacks {heading} in its place"));
            parts.push(part.trim().to_owned());
            rest = after.to_owned();
        }
        parts.push(rest.trim().to_owned());
        for (part, title) in parts.iter().zip(["what it is"].iter().chain(&HEADINGS)) {
            assert!(part.len() > 20 && part.ends_with('.'), "{path}: {title}: {part:?}");
        }
        let [.., watch, chapter] = parts.as_slice() else { unreachable!() };
        assert!(WATCHED.iter().any(|(word, _)| watch.contains(word)), "{path}: no panel shows {watch:?}");
        assert!(CHAPTER.iter().any(|part| chapter.contains(part)), "{path}: {chapter:?} names no part of the chapter");
    }
}

#[test]
fn what_there_is_to_watch_is_on_the_dashboards() {
    let dashboards = dashboards();
    let panels: Vec<_> = dashboards.iter().flat_map(|(_, dashboard)| panels(dashboard)).collect();
    for (word, panel) in WATCHED {
        assert!(panels.iter().any(|it| it["title"] == panel), "no panel {panel:?} on any dashboard, for {word}");
    }
}

#[test]
fn threads_and_processes_differ_in_few_lines() {
    let (one, other) =
        (read("services/architectures/src/thread_pool.rs"), read("services/architectures/src/prefork.rs"));
    let (one, other): (Vec<_>, Vec<_>) = (one.lines().collect(), other.lines().collect());
    let changed = one.iter().filter(|line| !other.contains(line)).count()
        + other.iter().filter(|line| !one.contains(line)).count();
    assert!(changed <= 30, "{changed} lines differ");
}

fn dashboards() -> Vec<(PathBuf, Value)> {
    let files = fs::read_dir(root().join("grafana/dashboards")).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap())).collect()
}

/// Every panel, those in collapsed rows as well.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    panels.flat_map(|panel| std::iter::once(panel).chain(panel["panels"].as_array().into_iter().flatten())).collect()
}

#[test]
fn dashboards_ask_for_metrics_that_exist_and_say_what_they_mean() {
    let mut uids = BTreeSet::new();
    for (path, dashboard) in dashboards() {
        let path = path.display();
        assert!(uids.insert(dashboard["uid"].as_str().expect("a uid").to_owned()), "{path}: its uid is taken");
        assert!(dashboard["schemaVersion"].as_u64() >= Some(41), "{path}");
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap_or_default();
            if matches!(panel["type"].as_str(), Some("row" | "text")) {
                continue;
            }
            assert!(
                !title.is_empty() && panel["description"].as_str().is_some_and(|text| text.contains("Good:")),
                "{path}: {title:?}"
            );
            for target in panel["targets"].as_array().expect("targets") {
                let expression = target["expr"].as_str().unwrap_or_default();
                for name in metric_names(expression) {
                    assert!(labels_of(&name).is_some(), "{path}: {title:?} asks for {name}, which there is not");
                }
                for range in expression.split('[').skip(1) {
                    let fixed = range.starts_with("$__rate_interval]")
                        || range.starts_with("$__interval]")
                        || range.starts_with("1m]")
                        || range.starts_with("5m]");
                    assert!(fixed, "{path}: {title:?}: {expression}");
                }
            }
        }
    }
}

/// Metrics that neither a panel nor a rule asks for, and why not.
const EXPLORE_ONLY: [(&str, &str); 22] = [
    ("process_cpu_seconds_total", "the usual name for what zen_cpu_seconds_total tells by role"),
    ("process_resident_memory_bytes", "the usual name; zen_memory_pss_bytes counts shared pages once"),
    ("process_open_fds", "the usual name; near the clients that are served"),
    ("process_max_fds", "the usual name; a constant"),
    ("process_threads", "the usual name for what zen_threads tells by role"),
    ("process_start_time_seconds", "the usual name; a constant"),
    ("zen_build_info", "a constant"),
    ("zen_swarm_build_info", "a constant"),
    ("zen_workers_limit", "a constant"),
    ("zen_cgroup_cpu_limit_cores", "a constant"),
    ("zen_runtime_parks_total", "says no more than the busy part of a runtime"),
    ("zen_config_changes_total", "the generation of the settings is marked on every panel"),
    ("zen_faults_total", "happens only when it is asked for"),
    ("zen_drain_forced_total", "how conversations ended tells it, as `forced`"),
    ("zen_log_lines_dropped_total", "about the log, not the server"),
    ("zen_trace_spans_total", "about the traces, not the server"),
    ("zen_swarm_spans_dropped_total", "about the traces, not the swarm"),
    ("zen_admin_http_request_duration_seconds", "the control plane's; how many there were is on a panel"),
    ("zen_swarm_planned_total", "sent, unsent, dropped and waiting are on panels"),
    ("zen_swarm_paused", "nothing is asked then, which every panel shows"),
    ("zen_swarm_worker_target_rate", "what is offered is on a panel, by architecture"),
    ("zen_swarm_runs_total", "the scenario under way is on a panel, and each run has its report"),
];

#[test]
fn every_metric_is_on_a_panel_or_in_a_rule_or_said_to_be_neither() {
    let mut asked = metric_names(&lines_after(&read("deploy/prometheus/rules.yml"), "expr: ").join(" "));
    for (_, dashboard) in dashboards() {
        asked.extend(metric_names(&dashboard.to_string()));
    }
    let is_asked =
        |name: &str| ["", "_bucket", "_sum", "_count"].iter().any(|suffix| asked.contains(&format!("{name}{suffix}")));
    for metric in metrics() {
        let explore_only = EXPLORE_ONLY.iter().any(|(name, _)| *name == metric.name);
        assert!(
            is_asked(metric.name) != explore_only,
            "{}: it belongs on a panel, in a rule, or in EXPLORE_ONLY, and in one of these only",
            metric.name
        );
    }
    for (name, _) in EXPLORE_ONLY {
        assert!(labels_of(name).is_some(), "{name} in EXPLORE_ONLY is no metric");
    }
}

/// The lines of a file of rules or of their tests that begin with this, without it.
fn lines_after(text: &str, start: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.trim().strip_prefix(start)).map(str::to_owned).collect()
}

#[test]
fn alerts_ask_for_metrics_that_exist_and_say_what_they_mean() {
    let rules = read("deploy/prometheus/rules.yml");
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 8, "{rules}");
    for alert in alerts {
        let (name, text) = alert.split_once('\n').expect("a name");
        for (key, end) in [("summary: ", ".\""), ("description: ", ".\""), ("labels: {severity: ", "}"), ("expr: ", "")]
        {
            let values = lines_after(text, key);
            assert!(matches!(values.as_slice(), [value] if value.ends_with(end)), "{name}: {key}{values:?}");
        }
        let expression = lines_after(text, "expr: ").concat();
        for metric in metric_names(&expression) {
            let labels = labels_of(&metric).unwrap_or_else(|| panic!("{name} asks for {metric}, which there is not"));
            for label in labels_asked(&expression, &metric) {
                assert!(labels.contains(&label.as_str()), "{name}: {metric} has no label {label}");
            }
        }
    }
}

#[test]
fn every_alert_is_seen_to_fire_and_not_to_fire() {
    let alerts = lines_after(&read("deploy/prometheus/rules.yml"), "- alert: ");
    let tests = read("deploy/prometheus/rules_test.yml");
    assert_eq!(lines_after(&tests, "- name: "), alerts);
    for (name, test) in alerts.iter().zip(tests.split("- name: ").skip(1)) {
        let asked = format!("alertname=\"{name}\"");
        assert_eq!(test.matches(&asked).count(), 2, "{name}: once while all is well, once when it is not");
        assert_eq!(test.matches("exp_samples:").count(), 1, "{name}");
    }
}

/// The labels by which an expression selects series of a metric.
fn labels_asked(expression: &str, metric: &str) -> Vec<String> {
    let selector = format!("{metric}{{");
    let selectors = expression.split(&selector).skip(1).filter_map(|rest| rest.split_once('}'));
    let pairs = selectors.flat_map(|(pairs, _)| pairs.split(','));
    pairs
        .filter_map(|pair| pair.split_once('=').map(|(label, _)| label.trim_end_matches('!').trim().to_owned()))
        .collect()
}

/// The labels of a metric of a server or of the swarm; a histogram's parts have those of the whole.
fn labels_of(name: &str) -> Option<&'static [&'static str]> {
    let is_it = |metric: &&Metric| metric.name == name || metric.kind == Kind::Histogram && metric.name == base(name);
    metrics().find(is_it).map(|metric| metric.labels)
}

/// The name of a histogram whose part this is.
fn base(name: &str) -> &str {
    ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// Every metric there is.
fn metrics() -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().chain(swarm::METRICS)
}

fn metric_names(expression: &str) -> BTreeSet<String> {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    expression
        .split(|character| !is_word(character))
        .filter(|word| word.starts_with("zen_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_architecture_has_a_colour_and_a_line_of_its_own() {
    let (_, dashboard) =
        dashboards().into_iter().find(|(_, dashboard)| dashboard["uid"] == "zen-compare").expect("the home dashboard");
    let panels = panels(&dashboard);
    let chart = panels.iter().find(|panel| panel["title"] == "Right answers a second").expect("a chart");
    let overrides = chart["fieldConfig"]["overrides"].as_array().expect("overrides");
    let mut looks = BTreeSet::new();
    for Architecture { name, .. } in registry() {
        let own = overrides
            .iter()
            .find(|own| own["matcher"]["options"] == name)
            .unwrap_or_else(|| panic!("zen-compare.json has no colour for {name}"));
        assert!(looks.insert(own["properties"].to_string()), "{name} looks like another one");
    }
}

#[test]
fn every_metric_is_described_and_named_as_the_field_does() {
    let mut names = BTreeSet::new();
    for metric in metrics() {
        assert!(names.insert(metric.name), "{} is there twice", metric.name);
        assert!(metric.help.ends_with('.'), "{}", metric.name);
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
    }
}

/// What the reference of the settings says before its table.
const SETTINGS_HEAD: &str = "\
# Settings of a server

Made from the table that servers check settings by; `WRITE_REFERENCES=1 cargo test -p zenlab --test deploy` writes this page anew.

Later ones win: the default, a TOML file (`--config FILE`), the environment, flags (`--set KEY=VALUE`, `--listen`, `--admin`), a change
over the admin API. In the environment a setting is `ZENLAB__KEY`, or `ZENLAB__SECTION__KEY` for one with a dot: `ZENLAB__IDLE_TIMEOUT=60s`,
`ZENLAB__ADMIN__LISTEN=0.0.0.0:9060`. Lists have commas there. In a file a dot is a section: `[admin]`, then `listen = \"0.0.0.0:9060\"`.
`zenlab server NAME --listen URL --print-config` prints every setting with where its value comes from; unknown keys are errors.

*Live* ones change while the server serves: `zenlab config set NAME KEY=VALUE`, or `PATCH /api/v1/config`. The others need a restart.
The default of `max_connections` is lowered to what the machine allows.

| setting | default | may be | live | meaning |
|---|---|---|---|---|
";

/// What that of the metrics says.
const METRICS_HEAD: &str = "\
# Metrics

Made from the tables that servers and swarm are scraped by; `WRITE_REFERENCES=1 cargo test -p zenlab --test deploy` writes this page anew.

Durations are in seconds and sizes in bytes. Each metric of a server has the label `architecture` too, and Prometheus adds `service`, its
name in compose. What a kernel does not tell has no series. The last column says which panel asks for it, and which alert.
";

/// What that of the swarm's plan says.
const PLAN_HEAD: &str = "\
# The swarm's plan

Made from the tables that plans are checked by; `WRITE_REFERENCES=1 cargo test -p zenlab --test deploy` writes this page anew.

`GET /api/v1/plan` of the swarm gives the whole plan, with its generation as ETag. `PATCH` changes what the body says (a merge patch;
`null` brings back the default), `PUT` replaces all of it; both need `If-Match`. `?dry_run=true` only checks, and with `?ttl=60s` the plan of
before comes back by itself. The first thing that is wrong is named with its place, and then nothing is changed:

```sh
curl -X PATCH http://127.0.0.1:9080/api/v1/plan -H 'if-match: *' -H 'content-type: application/json' \\
  -d '{\"steady_rate\": 60, \"spotlight\": {\"mode\": \"fixed\", \"targets\": [\"epoll\"], \"shape\": \"sine\", \"swing\": 1}}'
```

All that can be on at once, each load at its peak, comes to 200,000 questions a second and 20,000 kept connections at the most: the steady
load and the spotlight, or a run and the steady load of the others. Where a default is two values, the first is that of `steady`.
";

#[test]
fn the_references_are_up_to_date() {
    for (path, text) in [
        ("docs/SETTINGS.md", settings_reference()),
        ("docs/METRICS.md", metrics_reference()),
        ("docs/PLAN.md", plan_reference()),
    ] {
        if std::env::var_os("WRITE_REFERENCES").is_some() {
            fs::write(root().join(path), &text).unwrap();
        }
        let known = fs::read_to_string(root().join(path)).unwrap_or_default();
        let stale = known.lines().zip(text.lines()).find(|(known, made)| known != made);
        assert!(
            known == text,
            "{path} is not what the tables say, first in {stale:?}; WRITE_REFERENCES=1 writes it anew"
        );
    }
}

fn settings_reference() -> String {
    let row = |key: &Key| {
        let may_be = key.kind.range().replacen("must be ", "", 1).replace('"', "`");
        let live = if key.live.is_some() { "yes" } else { "no" };
        format!("| `{}` | {} | {may_be} | {live} | {} |\n", key.name, default_of(key.name), key.doc)
    };
    SETTINGS_HEAD.to_owned() + &KEYS.iter().map(row).collect::<String>()
}

/// The default of a setting: the usual one, then the others with who has them.
fn default_of(setting: &str) -> String {
    let mut values: Vec<(String, Vec<&str>)> = Vec::new();
    for architecture in architectures::REGISTRY {
        let value = default_for(architecture, setting);
        match values.iter_mut().find(|(known, _)| *known == value) {
            Some((_, names)) => names.push(architecture.name),
            None => values.push((value, vec![architecture.name])),
        }
    }
    values.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    let (usual, others) = values.split_first().expect("there are architectures");
    let others = others.iter().map(|(value, names)| format!("; {value} ({})", names.join(", ")));
    usual.0.clone() + &others.collect::<String>()
}

fn default_for(architecture: &chassis::Architecture, setting: &str) -> String {
    // Not asked of a server: its environment and the machine have a say in these.
    match (setting, architecture.capacity) {
        ("max_connections", Capacity::Connections(most)) => return format!("`{most}`"),
        ("max_connections", Capacity::PerWorker) => return "one for each worker".into(),
        ("otlp_endpoint", _) => return "`OTEL_EXPORTER_OTLP_ENDPOINT`, or empty".into(),
        ("name", _) => return "the architecture's".into(),
        _ => (),
    }
    let flags = Flags { listen: vec!["tcp://127.0.0.1:1060".into()], ..Flags::default() };
    let printed = settings::print(&settings::load(architecture, &flags).unwrap());
    let line = printed.lines().find_map(|line| line.strip_prefix(&format!("{setting} = "))).unwrap();
    match line.strip_suffix("  # defaults").map(|value| value.trim_matches('"')) {
        None => "none; one is needed".into(),
        Some("" | "[]") => "empty".into(),
        Some(value) => format!("`{value}`"),
    }
}

fn plan_reference() -> String {
    let plan = json!(swarm::Plan::default());
    let (steady, light) = (&plan["steady"], &plan["spotlight"]);
    let table = |heading: &str, fields: &[swarm::Field], defaults: &[&Value]| {
        let row = |field: &swarm::Field| {
            let mut values: Vec<_> = defaults.iter().map(|of| plan_default(&of[field.name])).collect();
            values.dedup();
            format!("| `{}` | {} | {} | {} |\n", field.name, values.join(", "), field.range(), field.meaning)
        };
        let rows: String = fields.iter().map(row).collect();
        format!("\n## {heading}\n\n| member | default | may be | meaning |\n|---|---|---|---|\n{rows}")
    };
    PLAN_HEAD.to_owned()
        + &table("The plan", swarm::PLAN_FIELDS, &[&plan])
        + &table("`spotlight`: the harder load on some", swarm::SPOTLIGHT_FIELDS, &[light])
        + &table("`steady` and `spotlight`, and every scenario: who asks", swarm::CLIENTS_FIELDS, &[steady, light])
}

/// A default as the page has it; of weights and rates those that are not 0.
fn plan_default(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => format!("`{text}`"),
        Value::Number(number) => format!("`{}`", number.as_f64().unwrap()),
        Value::Object(members) => {
            let some = members.iter().filter(|(_, value)| value.as_f64() != Some(0.0));
            let some: Vec<_> = some.map(|(name, value)| format!("`{name}` = {value}")).collect();
            if some.is_empty() { "empty".into() } else { some.join(", ") }
        }
        _ => "empty".into(),
    }
}

fn metrics_reference() -> String {
    let (dashboards, rules) = (dashboards(), read("deploy/prometheus/rules.yml"));
    let mut uses: Vec<(String, String)> = Vec::new();
    for (_, dashboard) in &dashboards {
        for panel in panels(dashboard) {
            let title = panel["title"].as_str().unwrap_or_default().to_owned();
            let targets = panel["targets"].as_array().into_iter().flatten();
            uses.extend(targets.map(|target| (target["expr"].as_str().unwrap_or_default().to_owned(), title.clone())));
        }
    }
    uses.sort();
    for alert in rules.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap_or_default();
        uses.push((lines_after(alert, "expr: ").concat(), format!("alert {name}")));
    }
    let row = |metric: &Metric| {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let (labels, seen) = (metric.labels.join(", "), seen_in(metric, &uses));
        format!("| `{}` | {kind} | {labels} | {} | {seen} |\n", metric.name, metric.help)
    };
    let table = |owner: &str, metrics: &[Metric]| {
        let head =
            format!("\n## Of {owner}\n\n| metric | kind | labels | meaning | seen in |\n|---|---|---|---|---|\n");
        head + &metrics.iter().map(row).collect::<String>()
    };
    METRICS_HEAD.to_owned() + &table("a server", METRICS) + &table("the swarm", swarm::METRICS)
}

/// Which panels and alerts ask for a metric, or why none does.
fn seen_in(metric: &Metric, uses: &[(String, String)]) -> String {
    let mut titles = Vec::new();
    for (expression, title) in uses {
        if metric_names(expression).iter().any(|name| base(name) == base(metric.name))
            && !titles.contains(&title.as_str())
        {
            titles.push(title);
        }
    }
    match EXPLORE_ONLY.iter().find(|(name, _)| *name == metric.name) {
        Some((_, why)) => format!("(none: {why})"),
        None => titles.join("; "),
    }
}
