//! Every way to say something wrong, and what a right layer does to those below.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

use super::load::{Variables, load_with};
use super::room::Room;
use super::{Changes, Flags, KEYS, Kind, Refusal, Refused, Source, Start, patch, print, schema, sources, values};
use crate::page::{LiveValue, Page};
use crate::{Architecture, Capacity, Family, Workers};

const POOL: Architecture = Architecture {
    name: "pool",
    summary: "",
    offset: 0,
    family: Family::Blocking,
    stream: Some(|_| Ok(())),
    datagram: Some(|_| Ok(())),
    workers: Workers::Threads(8),
    capacity: Capacity::PerWorker,
};

const LOOP: Architecture = Architecture {
    name: "loop",
    datagram: None,
    workers: Workers::Ignored("one loop serves all"),
    capacity: Capacity::Connections(10_000),
    ..POOL
};

/// A file that is gone at the end of the test.
struct Toml(PathBuf);

impl Toml {
    fn new(text: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("chassis-{}-{}.toml", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let file = Self(std::env::temp_dir().join(name));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }
}

impl Drop for Toml {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn flags(set: &[&str]) -> Flags {
    let listen = vec!["tcp://127.0.0.1:1060".to_owned()];
    Flags { set: set.iter().map(ToString::to_string).collect(), listen, ..Flags::default() }
}

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn loaded(architecture: &Architecture, flags: &Flags) -> Start {
    load_with(architecture, flags, &Variables::default()).unwrap()
}

fn refused(architecture: &Architecture, flags: &Flags, variables: &Variables) -> String {
    load_with(architecture, flags, variables).map(|start| print(&start)).unwrap_err().to_string()
}

fn live(start: &Start, wanted: LiveValue) -> (u64, Source) {
    start.live.iter().find(|(which, ..)| *which == wanted).map(|(_, value, source)| (*value, *source)).unwrap()
}

fn seconds(number: u64) -> u64 {
    number * 1_000_000_000
}

#[test]
fn a_wrong_flag_is_named_with_its_value_its_place_and_what_is_allowed() {
    let cases: &[(&str, &[&str])] = &[
        ("workers=0", &["`workers`", "\"0\"", "1..=4095"]),
        ("workers=4096", &["`workers`", "\"4096\"", "1..=4095"]),
        ("workers=-1", &["`workers`", "\"-1\"", "whole number"]),
        ("workers=2.5", &["`workers`", "\"2.5\"", "whole number"]),
        ("workers=many", &["`workers`", "\"many\"", "whole number"]),
        ("workers=", &["`workers`", "\"\"", "whole number"]),
        ("workers=99999999999999999999", &["`workers`", "1..=4095"]),
        ("max_connections=0", &["`max_connections`", "1..=100000"]),
        ("max_connections=100001", &["`max_connections`", "100001", "1..=100000"]),
        ("idle_timeout=99ms", &["`idle_timeout`", "99ms", "100ms..=1h"]),
        ("idle_timeout=61m", &["`idle_timeout`", "61m", "100ms..=1h"]),
        ("idle_timeout=30", &["`idle_timeout`", "\"30\"", "duration", "\"30s\""]),
        ("idle_timeout=soon", &["`idle_timeout`", "soon", "duration"]),
        ("idle_timeout=-1s", &["`idle_timeout`", "-1s"]),
        ("question_deadline=49ms", &["`question_deadline`", "50ms..=1m"]),
        ("question_deadline=61s", &["`question_deadline`", "50ms..=1m"]),
        ("write_stall=0s", &["`write_stall`", "100ms..=1m"]),
        ("write_stall=2m", &["`write_stall`", "100ms..=1m"]),
        ("dialogue=tao", &["`dialogue`", "tao", "zen, echo"]),
        ("dialogue=Zen", &["`dialogue`", "Zen", "zen, echo"]),
        ("answer_delay=6s", &["`answer_delay`", "0ms..=5s"]),
        ("answer_delay=1ms", &["`answer_delay`", "lab = true", "command line"]),
        ("answer_work=sleep", &["`answer_work`", "spin, block, wait"]),
        ("trace_one_in=1000001", &["`trace_one_in`", "0..=1000000"]),
        ("drain_timeout=500ms", &["`drain_timeout`", "1s..=1m"]),
        ("drain_timeout=2m", &["`drain_timeout`", "1s..=1m"]),
        ("udp_replies_per_prefix=1000001", &["`udp_replies_per_prefix`", "0..=1000000"]),
        ("log_filter=verbose", &["`log_filter`", "error, warn, info, debug, trace"]),
        ("backlog=0", &["`backlog`", "1..=65535"]),
        ("backlog=65536", &["`backlog`", "1..=65535"]),
        ("max_question_bytes=31", &["`max_question_bytes`", "32..=4096"]),
        ("max_question_bytes=4097", &["`max_question_bytes`", "32..=4096"]),
        ("receive_buffer=1024", &["`receive_buffer`", "4096..=16777216"]),
        ("receive_buffer=1MiB", &["`receive_buffer`", "1MiB", "whole number"]),
        ("lab=yes", &["`lab`", "yes", "true or false"]),
        ("lab=1", &["`lab`", "true or false"]),
        ("otlp_endpoint=tempo:4318", &["`otlp_endpoint`", "tempo:4318", "http://", "command line"]),
        ("otlp_endpoint=https://tempo:4318", &["`otlp_endpoint`", "http://"]),
        ("admin.listen=9060", &["`admin.listen`", "9060", "IP:PORT", "command line"]),
        ("admin.listen=127.0.0.1", &["`admin.listen`", "IP:PORT"]),
        ("admin.listen=0.0.0.0:9060", &["`admin.listen`", "0.0.0.0:9060", "admin.token_file", "loopback"]),
        ("admin.listen=[::]:9060", &["`admin.listen`", "admin.token_file"]),
        ("worker=8", &["`worker`", "command line", "workers"]),
        ("admin.port=1", &["`admin.port`", "command line", "admin.listen"]),
        ("admin=1", &["`admin`", "there are"]),
        ("workers", &["--set", "\"workers\"", "KEY=VALUE"]),
        ("=8", &["there is no setting ``"]),
    ];
    assert!(cases.len() >= 40);
    for (set, parts) in cases {
        let why = refused(&POOL, &flags(&[set]), &Variables::default());
        assert!(parts.iter().all(|part| why.contains(part)), "{set}: {why}");
        assert!(!why.contains('\n'), "{set}: {why}");
    }
}

#[test]
fn a_wrong_file_is_refused() {
    let cases: &[(&str, &[&str])] = &[
        ("workers = 0", &["`workers`", "from the file"]),
        ("workers = true", &["`workers`", "from the file", "whole number"]),
        ("workers = [1]", &["`workers`", "from the file", "whole number"]),
        ("idle_timeout = 30", &["`idle_timeout`", "duration"]),
        ("lab = \"perhaps\"", &["`lab`", "true or false"]),
        ("listen = 5", &["`listen`", "list of texts"]),
        ("colour = \"red\"", &["`colour`", "from the file", "workers"]),
        ("[admin]\nport = 1", &["`admin.port`", "from the file"]),
        ("[colour]", &["`colour`", "from the file"]),
        ("[admin.listen]\nport = 1", &["`admin.listen.port`"]),
        ("workers 8", &["no TOML"]),
        ("workers = 1\nworkers = 2", &["no TOML"]),
    ];
    for (text, parts) in cases {
        let file = Toml::new(text);
        let flags = Flags { config: Some(file.0.clone()), ..flags(&[]) };
        let why = refused(&POOL, &flags, &Variables::default());
        assert!(parts.iter().all(|part| why.contains(part)), "{text}: {why}");
        assert!(!why.contains('\n'), "{text}: {why}");
    }
    let absent = Flags { config: Some("/nowhere/zen.toml".into()), ..flags(&[]) };
    assert!(refused(&POOL, &absent, &Variables::default()).contains("/nowhere/zen.toml cannot be read"));
}

#[test]
fn endpoints_must_fit() {
    let cases: &[(&[&str], &[&str])] = &[
        (&[], &["`listen`", "at least one"]),
        (&["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"], &["`listen`", "127.0.0.1:2", "one endpoint of each transport"]),
        (&["udp://127.0.0.1:1"], &["`listen`", "loop does not serve udp", "command line"]),
        (&["http://127.0.0.1:1"], &["`listen`", "http://127.0.0.1:1"]),
        (&["tcp://127.0.0.1"], &["`listen`", "tcp://127.0.0.1"]),
    ];
    for (listen, parts) in cases {
        let flags = Flags { listen: listen.iter().map(ToString::to_string).collect(), ..Flags::default() };
        let why = refused(&LOOP, &flags, &Variables::default());
        assert!(parts.iter().all(|part| why.contains(part)), "{listen:?}: {why}");
    }
}

#[test]
fn workers_of_an_architecture_that_has_none_are_refused() {
    assert!(refused(&LOOP, &flags(&["workers=2"]), &Variables::default()).contains("one loop serves all"));
    assert_eq!(live(&loaded(&LOOP, &flags(&["workers=1"])), LiveValue::Workers), (1, Source::Flag));
}

#[test]
fn a_limit_beyond_the_container_says_so() {
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let most = hard.saturating_sub(64);
    if most < 100_000 {
        let why = refused(&POOL, &flags(&[&format!("max_connections={}", most + 1)]), &Variables::default());
        assert!(why.contains("nofile") && why.contains(&hard.to_string()), "{why}");
        assert!(live(&loaded(&LOOP, &flags(&[])), LiveValue::MaxConnections).0 <= most);
    }
}

#[test]
fn a_client_needs_a_descriptor_memory_and_where_it_is_served_apart_a_seat() {
    let room = Room { nofile: Some(20_000), pids: Some(1000), memory: Some(128 << 20) };
    let cases = [
        (Capacity::Connections(1), room, Some((19_936, "(nofile) is 20000"))),
        (
            Capacity::Connections(1),
            Room { memory: Some(16 << 20), ..room },
            Some((4096, "limit of memory is 16777216")),
        ),
        (Capacity::PerWorker, Room { pids: Some(70), ..room }, Some((19_936, "nofile"))),
        (Capacity::Threads(1), room, Some((936, "(pids) is 1000"))),
        (Capacity::Threads(1), Room { pids: None, memory: None, ..room }, Some((4095, "no more slots"))),
        (Capacity::Processes(1), Room { pids: None, ..room }, Some((1365, "each takes 98304"))),
        (Capacity::Processes(1), Room { pids: Some(64), ..room }, Some((1, "(pids) is 64"))),
        (Capacity::Connections(1), Room::default(), None),
    ];
    for (capacity, room, expected) in cases {
        let bound = room.connections(capacity);
        assert_eq!(bound.as_ref().map(|bound| bound.most), expected.map(|(most, _)| most), "{capacity:?} {room:?}");
        let since = bound.map(|bound| bound.since).unwrap_or_default();
        assert!(since.contains(expected.map_or("", |(_, since)| since)), "{capacity:?} {room:?}: {since}");
    }
    assert_eq!(room.workers().map(|bound| bound.most), Some(936));
    assert_eq!(Room::default().workers(), None);
}

#[test]
fn defaults_follow_the_architecture() {
    let pool = loaded(&POOL, &flags(&[]));
    assert_eq!(live(&pool, LiveValue::Workers), (8, Source::Default));
    assert_eq!(live(&pool, LiveValue::IdleTimeout).0, seconds(2));
    assert_eq!(live(&pool, LiveValue::QuestionDeadline).0, seconds(2));
    let one_loop = loaded(&LOOP, &flags(&[]));
    assert_eq!(live(&one_loop, LiveValue::Workers).0, 1);
    assert_eq!(live(&one_loop, LiveValue::IdleTimeout).0, seconds(30));
    assert_eq!(live(&one_loop, LiveValue::QuestionDeadline).0, seconds(5));
    assert_eq!(one_loop.live.len(), LiveValue::ALL.len());
    assert_eq!((one_loop.backlog, one_loop.max_question_bytes, one_loop.receive_buffer), (4096, 64, 1 << 20));
    assert!(one_loop.admin_listen.ip().is_loopback() && !one_loop.lab);
}

#[test]
fn later_layers_win() {
    let file = Toml::new(
        "workers = 2\nidle_timeout = \"3s\"\nquestion_deadline = \"4s\"\nlisten = [\"tcp://127.0.0.1:5\"]\n[admin]\nhosts = [\"a\"]",
    );
    let environment = variables(&[
        ("ZENLAB__WORKERS", "3"),
        ("ZENLAB__IDLE_TIMEOUT", "5s"),
        ("ZENLAB__ADMIN__HOSTS", "b, c"),
        ("ZENLAB_TOKEN_FILE", "not a setting"),
        ("ZENLAB_ADMIN", "http://127.0.0.1:9060"),
    ]);
    let flags = Flags { config: Some(file.0.clone()), listen: vec![], ..flags(&["workers=4"]) };
    let start = load_with(&POOL, &flags, &environment).unwrap();
    assert_eq!(live(&start, LiveValue::Workers), (4, Source::Flag));
    assert_eq!(live(&start, LiveValue::IdleTimeout), (seconds(5), Source::Environment));
    assert_eq!(live(&start, LiveValue::QuestionDeadline), (seconds(4), Source::File));
    assert_eq!(start.admin_hosts, ["b", "c"]);
    assert_eq!(start.listen.iter().map(ToString::to_string).collect::<Vec<_>>(), ["tcp://127.0.0.1:5"]);
}

#[test]
fn the_environment_is_checked_and_the_standard_variable_is_weak() {
    let standard = variables(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://tempo:4318/")]);
    assert_eq!(load_with(&POOL, &flags(&[]), &standard).unwrap().otlp_endpoint, "http://tempo:4318");
    assert_eq!(load_with(&POOL, &flags(&["otlp_endpoint="]), &standard).unwrap().otlp_endpoint, "");
    let unknown = refused(&POOL, &flags(&[]), &variables(&[("ZENLAB__WORKER", "8")]));
    assert!(unknown.contains("`worker`") && unknown.contains("environment"), "{unknown}");
    let wrong = refused(&POOL, &flags(&[]), &variables(&[("ZENLAB__WORKERS", "none")]));
    assert!(wrong.contains("`workers`") && wrong.contains("environment"), "{wrong}");
}

#[test]
fn off_loopback_needs_a_token_file() {
    let start = loaded(&POOL, &flags(&["admin.listen=0.0.0.0:9060", "admin.token_file=/run/zen/token"]));
    assert_eq!(start.token_file, Some("/run/zen/token".into()));
    // An empty section is no setting, but no mistake either.
    let file = Toml::new("[admin]");
    loaded(&POOL, &Flags { config: Some(file.0.clone()), ..flags(&[]) });
}

#[test]
fn printed_settings_name_their_sources() {
    let text = print(&loaded(&POOL, &flags(&["backlog=7", "idle_timeout=1s 500ms"])));
    assert_eq!(text.lines().count(), KEYS.len());
    assert!(text.contains("backlog = 7  # command line\n"), "{text}");
    assert!(text.contains("idle_timeout = \"1s500ms\"  # command line\n"), "{text}");
    assert!(text.contains("workers = 8  # defaults\n"), "{text}");
    assert!(text.contains("admin.token_file = \"\"  # defaults\n"), "{text}");
}

/// A server's page after its start.
fn page(start: &Start) -> &'static Page {
    let page = Page::map().unwrap();
    page.settings.write(&start.live);
    page
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("{value} is no object") };
    object
}

fn ask(architecture: &Architecture, set: &[&str], document: Value) -> Result<Changes, Refusal> {
    let start = loaded(architecture, &flags(set));
    patch(architecture, page(&start), &start, &object(document))
}

#[test]
fn a_patch_changes_what_is_live() {
    let changes = ask(&POOL, &[], json!({"workers": 3, "idle_timeout": "250ms", "dialogue": "echo"})).unwrap();
    assert!(changes.contains(&(LiveValue::Workers, 3, Source::Patch)));
    assert!(changes.contains(&(LiveValue::IdleTimeout, 250_000_000, Source::Patch)));
    assert!(changes.contains(&(LiveValue::Dialogue, 1, Source::Patch)));
    assert_eq!(ask(&POOL, &["lab=true"], json!({"answer_delay": "1ms"})).unwrap().len(), 1);
}

#[test]
fn null_brings_back_the_start_and_what_is_so_already_is_no_change() {
    let start = loaded(&POOL, &flags(&["workers=4"]));
    let page = page(&start);
    let ask = |document| patch(&POOL, page, &start, &object(document)).unwrap();
    assert!(ask(json!({})).is_empty());
    assert!(ask(json!({"workers": null})).is_empty());
    page.settings.write(&ask(json!({"workers": 9})));
    assert!(ask(json!({"workers": 9})).is_empty());
    assert_eq!(ask(json!({"workers": null})), [(LiveValue::Workers, 4, Source::Flag)]);
}

#[test]
fn a_wrong_patch_says_where_and_why() {
    use Refused::{Conflict, Invalid};
    let cases = [
        (&POOL, json!({"workers": 0}), Invalid, "/workers", "1..=4095"),
        (&POOL, json!({"workers": "8"}), Invalid, "/workers", "whole number"),
        (&POOL, json!({"workers": 1.5}), Invalid, "/workers", "whole number"),
        (&POOL, json!({"workers": true}), Invalid, "/workers", "whole number"),
        (&POOL, json!({"workers": {"a": 1}}), Invalid, "/workers", "whole number"),
        (&POOL, json!({"idle_timeout": 30}), Invalid, "/idle_timeout", "duration"),
        (&POOL, json!({"idle_timeout": "1ms"}), Invalid, "/idle_timeout", "100ms..=1h"),
        (&POOL, json!({"answer_delay": "1ms"}), Invalid, "/answer_delay", "lab = true"),
        (&POOL, json!({"log_filter": "loud"}), Invalid, "/log_filter", "error, warn"),
        (&POOL, json!({"colour": 1}), Invalid, "/colour", "no setting `colour`"),
        (&POOL, json!({"a/b~c": 1}), Invalid, "/a~1b~0c", "no setting"),
        (&POOL, json!({"admin": {"port": 1}}), Invalid, "/admin/port", "no setting `admin.port`"),
        (&POOL, json!({"admin": 1}), Invalid, "/admin", "no setting `admin`"),
        (&POOL, json!({"backlog": 5}), Conflict, "/backlog", "needs a restart"),
        (&POOL, json!({"lab": true}), Conflict, "/lab", "needs a restart"),
        (&POOL, json!({"admin": {"hosts": ["a"]}}), Conflict, "/admin/hosts", "needs a restart"),
        (&LOOP, json!({"workers": 2}), Conflict, "/workers", "one loop serves all"),
        // What is wrong altogether comes before what is only wrong now.
        (&POOL, json!({"backlog": 5, "workers": 0}), Invalid, "/workers", "1..=4095"),
    ];
    for (architecture, document, kind, pointer, detail) in cases {
        let refusal = ask(architecture, &[], document.clone()).unwrap_err();
        assert_eq!(refusal.kind, kind, "{document}");
        assert_eq!(refusal.errors.len(), 1, "{document}: {refusal:?}");
        assert_eq!(refusal.errors[0].0, pointer, "{document}");
        assert!(refusal.errors[0].1.contains(detail), "{document}: {refusal:?}");
    }
    let both = ask(&POOL, &[], json!({"workers": 0, "idle_timeout": 1})).unwrap_err();
    assert_eq!(both.errors.len(), 2, "{both:?}");
}

fn reload(page: &Page, start: &Start) -> Result<Changes, String> {
    super::reload(&POOL, page, start)
}

#[test]
fn a_file_that_is_read_again_moves_only_what_nothing_above_it_decides() {
    let file = Toml::new("workers = 2\nidle_timeout = \"3s\"");
    // These flags decide things that a reload must neither lose nor take for changes of the file.
    let set = ["workers=4", "backlog=100", "lab=true", "admin.listen=0.0.0.0:0", "admin.token_file=/run/zen/token"];
    let start = loaded(&POOL, &Flags { config: Some(file.0.clone()), ..flags(&set) });
    let page = page(&start);
    assert_eq!(reload(page, &start), Ok(vec![]));
    page.settings.write(&[(LiveValue::WriteStall, seconds(9), Source::Patch)]);
    file.write("workers = 3\nidle_timeout = \"4s\"\nwrite_stall = \"8s\"\nanswer_delay = \"5ms\"");
    let wanted =
        vec![(LiveValue::IdleTimeout, seconds(4), Source::File), (LiveValue::AnswerDelay, 5_000_000, Source::File)];
    assert_eq!(reload(page, &start), Ok(wanted.clone()));
    page.settings.write(&wanted);
    file.write("");
    let back =
        vec![(LiveValue::IdleTimeout, seconds(2), Source::Default), (LiveValue::AnswerDelay, 0, Source::Default)];
    assert_eq!(reload(page, &start), Ok(back));
}

#[test]
fn a_file_that_cannot_hold_now_is_refused_whole() {
    let file = Toml::new("workers = 2");
    let start = loaded(&POOL, &Flags { config: Some(file.0.clone()), ..flags(&[]) });
    let page = page(&start);
    for (text, parts) in [
        ("workers = 0", ["`workers`", "from the file"]),
        ("workers = 3\nbacklog = 5\nlab = true", ["`backlog`, `lab`", "restart"]),
        ("workers = 3\n[admin]\nhosts = [\"a\"]", ["`admin.hosts`", "restart"]),
        ("workers", ["no TOML", ""]),
    ] {
        file.write(text);
        let why = reload(page, &start).unwrap_err();
        assert!(parts.iter().all(|part| why.contains(part)), "{text}: {why}");
    }
    fs::remove_file(&file.0).unwrap();
    assert!(reload(page, &start).unwrap_err().contains("cannot be read"));
    assert!(reload(page, &loaded(&POOL, &flags(&[]))).unwrap_err().contains("without a settings file"));
}

#[test]
fn values_sources_and_schema_speak_of_the_same_keys() {
    let start = loaded(&POOL, &flags(&["backlog=7", "workers=4"]));
    let page = page(&start);
    page.settings.write(&[(LiveValue::DrainTimeout, seconds(3), Source::Patch)]);
    let (values, sources, schema) = (values(page, &start), sources(page, &start), schema());
    let properties = schema["properties"].as_object().unwrap();
    for key in &KEYS {
        let property = &properties[key.name];
        assert_eq!(property["x-live"], key.live.is_some(), "{}", key.name);
        let value = &values[key.name];
        let fits = match property["type"].as_str().unwrap() {
            "integer" => value.is_u64(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            _ => value.is_string(),
        };
        assert!(fits, "{} = {value} is not {}", key.name, property["type"]);
    }
    assert_eq!((values.len(), sources.len(), properties.len()), (KEYS.len(), KEYS.len(), KEYS.len()));
    assert_eq!((&values["drain_timeout"], &sources["drain_timeout"]), (&json!("3s"), &json!("patch")));
    assert_eq!((&values["backlog"], &sources["backlog"]), (&json!(7), &json!("flag")));
    assert_eq!(sources["workers"], "flag");
    assert_eq!(sources["lab"], "default");
}

#[test]
fn what_is_shown_can_be_said_again() {
    let start = loaded(&POOL, &flags(&["idle_timeout=1500ms", "lab=true", "answer_delay=2ms"]));
    for (which, value, _) in &start.live {
        let key = super::table::find(which.key()).unwrap();
        let shown = key.kind.show(*value);
        let text = shown.as_str().map_or_else(|| shown.to_string(), str::to_owned);
        assert_eq!(key.kind.parse(&text), Ok(*value), "{}", key.name);
    }
    assert_eq!(Kind::Switch.show(1), json!(true));
}
