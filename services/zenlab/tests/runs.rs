//! `zenlab runs`: scenarios from the command line, against a real swarm and a real server.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use support::{Server, ZENLAB, wait_for};

/// What holds however slow the machine is.
const SURE: &str = "expect = [\"each failed_percent < 101\"]";

/// A swarm that loads one server, and what it needs.
struct Swarm {
    child: Child,
    url: String,
    directory: PathBuf,
    _server: Server,
}

impl Swarm {
    fn start(name: &str, more: &[&str]) -> Self {
        let server = Server::start_on("epoll", &["tcp"], &[]);
        let target = format!("epoll=tcp://{}", server.address("tcp"));
        let mut child = Command::new(ZENLAB)
            .args(["swarm", "--admin", "127.0.0.1:0", "--target", &target])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut events = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        let listening = events.find(|event| event["event"] == "admin_listening").unwrap();
        let directory = std::env::temp_dir().join(format!("zenlab-runs-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self { child, url: listening["url"].as_str().unwrap().to_owned(), directory, _server: server }
    }

    /// `zenlab runs …` with nobody's token.
    fn runs(&self, args: &[&str]) -> Output {
        let mut command = Command::new(ZENLAB);
        command.arg("runs").args(args).args(["--swarm", &self.url]).env_remove("ZENLAB_TOKEN_FILE");
        command.env("HOME", &self.directory).output().unwrap()
    }

    fn show(&self, id: u64) -> Value {
        serde_json::from_slice(&self.runs(&["show", &id.to_string(), "--json"]).stdout).unwrap()
    }

    fn scenarios(&self) -> Vec<Value> {
        serde_json::from_slice(&self.runs(&["scenarios", "--json"]).stdout).unwrap()
    }

    /// What the run is like that the admin API begins for this body.
    fn ask(&self, body: &Value) -> Value {
        let mut reply = ureq::post(format!("{}/api/v1/runs", self.url)).send_json(body).unwrap();
        reply.body_mut().read_json().unwrap()
    }

    /// The whole scenario of a file, as a run of it that is over has it.
    fn loaded(&self, file: &str) -> Value {
        let begun = self.runs(&["start", file]);
        let id = text(&begun.stdout).trim().parse().unwrap();
        code(&self.runs(&["cancel", text(&begun.stdout).trim()]), 0);
        wait_for("the end of the run", || Some(self.show(id)).filter(|run| run["state"] == "ended"))["load"].clone()
    }

    /// A run that has ended, after its code was looked at: the one that is expected, or 4 if the machine was too busy for the
    /// swarm to be believed.
    #[track_caller]
    fn ended(&self, id: u64, followed: &Output, expected: i32) -> Value {
        let run = self.show(id);
        code(followed, if run["validity"]["verdict"] == "valid" { expected } else { 4 });
        run
    }

    /// A file of a scenario with these lines.
    fn scenario(&self, lines: &str) -> String {
        let path = self.directory.join("mine.toml");
        let text = format!(
            "name = \"mine\"\nsummary = \"Some visit.\"\nexpectation = \"They are answered.\"\nrate = 90\n{lines}\n\
             [population]\nchurner = 1\n"
        );
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn a_scenario_is_run_followed_and_reported() {
    let swarm = Swarm::start("report", &[]);
    let file = swarm.scenario(&format!("duration_seconds = 1.5\n{SURE}"));
    let followed = swarm.runs(&["start", &file, "--follow"]);
    let run = swarm.ended(1, &followed, 0);
    assert!(run["elapsed_seconds"].as_f64().unwrap() >= 1.5, "{run}");
    assert_eq!(run["as_expected"], true);
    let (out, error) = (text(&followed.stdout), text(&followed.stderr));
    assert!(out.starts_with("run 1 of mine: finished after "), "{out}");
    assert!(out.lines().next().unwrap().ends_with(" of 1.5 s"), "{out}");
    assert!(out.contains("\nepoll ") && out.contains("\nas expected: epoll failed_percent < 101; it is "), "{out}");
    assert!(error.contains("Expected: They are answered.\n"), "{error}");
    assert!(error.lines().any(|line| line.starts_with('[') && line.contains(" of 1.5 s  ")), "{error}");

    let listed = swarm.runs(&[]);
    code(&listed, 0);
    assert!(text(&listed.stdout).lines().any(|line| line.contains("mine") && line.ends_with("yes")), "{listed:?}");
    let shown = swarm.runs(&["show", "1"]);
    assert_eq!(text(&shown.stdout), out, "what is followed is shown again");

    let to = swarm.directory.join("report");
    let written = swarm.runs(&["report", "1", "--out", to.to_str().unwrap()]);
    code(&written, 0);
    for name in ["rate.svg", "rate.png", "spectrum.png", "report.html", "report.md", "report.json", "report.hlog"] {
        assert!(text(&written.stdout).contains(name) && fs::metadata(to.join(name)).unwrap().len() > 0, "{name}");
    }
    let again = Command::new(ZENLAB).arg("report").arg(to.join("report.json")).output().unwrap();
    assert_eq!(again.stdout, fs::read(to.join("report.md")).unwrap(), "it is a report like any other");
}

/// The command in a run's report, pasted into a shell whose `zenlab` is this one and whose swarm is that one; what the run is
/// that it makes.
#[track_caller]
fn run_again(swarm: &Swarm, id: u64) -> Value {
    let to = swarm.directory.join(format!("report-{id}"));
    code(&swarm.runs(&["report", &id.to_string(), "-o", to.to_str().unwrap()]), 0);
    let report: Value = serde_json::from_slice(&fs::read(to.join("report.json")).unwrap()).unwrap();
    let command = report["run"]["command"].as_str().unwrap();
    let path = format!("{}:{}", PathBuf::from(ZENLAB).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("PATH", path).env("ZENLAB_ADMIN", &swarm.url).env("HOME", &swarm.directory);
    let pasted = shell.env_remove("ZENLAB_TOKEN_FILE").output().unwrap();
    assert!(text(&pasted.stdout).starts_with(&format!("run {} of ", id + 1)), "{command}: {pasted:?}");
    swarm.show(id + 1)
}

#[test]
fn the_command_of_a_report_does_the_same_run_again() {
    let swarm = Swarm::start("again", &[]);
    let file = swarm.scenario(&format!("duration_seconds = 0.75\npipeline = 3\n{SURE}"));
    let mut sent = swarm.scenarios().into_iter().find(|one| one["name"] == "churn").unwrap();
    sent.as_object_mut().unwrap().remove("seconds");
    // Of a name that the swarm knows, and with words for a shell to stumble over.
    for (member, value) in [
        ("summary", json!("It's \\n $HOME \"%s\".")),
        ("targets", json!([])),
        ("expect", json!(["each p99_ms < 1e4"])),
        ("stages", json!("300ms@50,300ms@50..90")),
        ("duration_seconds", json!(0)),
    ] {
        sent[member] = value;
    }
    let named = json!({"scenario": "churn", "targets": ["epoll"], "rate": 40, "duration_seconds": 0.5});
    let with = |member: &str, value: Value| {
        let mut body = named.clone();
        body[member] = value;
        body
    };
    for body in [
        named.clone(),
        with("connections", json!(3)),
        with("idle", json!(2)),
        with("seed", json!(7)),
        with("rate", json!(0)),
        json!({"load": sent, "idle": 1}),
        json!({"load": swarm.loaded(&file), "connections": 5}),
    ] {
        let first = swarm.ask(&body);
        let id = first["id"].as_u64().unwrap();
        swarm.runs(&["follow", &id.to_string()]);
        let again = run_again(&swarm, id);
        let load = |run: &Value| {
            let mut load = run["load"].clone();
            // Everybody is one here; the command names whom the run has loaded.
            load["targets"] = json!(["epoll"]);
            load
        };
        assert_eq!(load(&again), load(&first), "{body}");
        assert_eq!(again["targets"].as_array().map(Vec::len), Some(1), "{body}");
    }
}

#[test]
fn exit_codes_say_how_a_run_ended() {
    let swarm = Swarm::start("codes", &[]);
    let impossible = swarm.scenario("duration_seconds = 1\nexpect = [\"epoll right_percent > 101\"]");
    let failed = swarm.runs(&["start", &impossible, "--follow"]);
    swarm.ended(1, &failed, 3);
    assert!(text(&failed.stdout).contains("NOT as expected: epoll right_percent > 101"), "{failed:?}");

    let begun = swarm.runs(&["start", "churn", "--targets", "epoll", "-R", "0.1k", "-d", "10m"]);
    code(&begun, 0);
    assert_eq!(text(&begun.stdout), "2\n");
    let busy = swarm.runs(&["start", "churn", "--targets", "epoll"]);
    code(&busy, 1);
    assert!(text(&busy.stderr).contains("409") && text(&busy.stderr).contains("run 2 of churn"), "{busy:?}");
    let early = swarm.runs(&["report", "2", "-o", "/nowhere"]);
    code(&early, 1);
    assert!(text(&early.stderr).contains("its report is made when it has ended"), "{early:?}");
    let follower = Command::new(ZENLAB)
        .args(["runs", "follow", "2", "--swarm", &swarm.url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let cancelled = swarm.runs(&["cancel", "2"]);
    code(&cancelled, 0);
    assert!(text(&cancelled.stdout).starts_with("run 2 of churn: cancelled after "), "{cancelled:?}");
    code(&follower.wait_with_output().unwrap(), 1);

    for (args, said) in [
        (&["start", "no_such"][..], "`scenario` = \"no_such\" is none; there is "),
        (&["start", "./no_such.toml"], "./no_such.toml"),
        (&["start", "churn", "--targets", "nobody"], "`nobody` is no target of this swarm"),
        (&["start", "churn", "-R", "fast"], "\"fast\" is no rate"),
        (&["show", "first"], "invalid value 'first'"),
    ] {
        let wrong = swarm.runs(args);
        code(&wrong, 2);
        assert!(text(&wrong.stderr).contains(said), "{wrong:?}");
    }
    let unknown = swarm.runs(&["show", "99"]);
    code(&unknown, 1);
    assert!(text(&unknown.stderr).contains("there is no run \"99\""), "{unknown:?}");
}

#[test]
fn a_run_needs_the_token_where_there_is_one() {
    let file = std::env::temp_dir().join(format!("zenlab-runs-secret-{}", std::process::id()));
    fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
    let swarm = Swarm::start("token", &["--token-file", file.to_str().unwrap()]);
    let refused = swarm.runs(&["start", "churn", "--targets", "epoll", "-d", "1s"]);
    code(&refused, 1);
    assert!(
        text(&refused.stderr).contains("401") && text(&refused.stderr).contains("ZENLAB_TOKEN_FILE"),
        "{refused:?}"
    );
    code(&swarm.runs(&["list"]), 0);
    let mut allowed = Command::new(ZENLAB);
    allowed.args(["runs", "start", "churn", "--targets", "epoll", "-d", "1s", "--swarm", &swarm.url]);
    code(&allowed.env("ZENLAB_TOKEN_FILE", &file).output().unwrap(), 0);
    fs::remove_file(file).unwrap();
}

#[test]
fn whoever_follows_a_swarm_that_goes_is_told_so() {
    let mut swarm = Swarm::start("gone", &[]);
    code(&swarm.runs(&["start", "churn", "--targets", "epoll", "-d", "10m"]), 0);
    let mut follower = Command::new(ZENLAB)
        .args(["runs", "follow", "1", "--swarm", &swarm.url])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It follows once it has shown something.
    let mut lines = BufReader::new(follower.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.next().unwrap().starts_with('['));
    swarm.child.kill().unwrap();
    let status = wait_for("the follower to end", || follower.try_wait().unwrap());
    assert_eq!(status.code(), Some(1), "{:?}", lines.collect::<Vec<_>>());
}

#[test]
fn a_swarm_has_as_many_workers_as_processors_and_no_more() {
    let most = std::thread::available_parallelism().unwrap().get();
    let swarm = Swarm::start("workers", &["--workers", &most.to_string()]);
    let file = swarm.scenario(&format!("duration_seconds = 1\n{SURE}"));
    swarm.ended(1, &swarm.runs(&["start", &file, "--follow"]), 0);
    let more = (most + 1).to_string();
    let refused = ["swarm", "--admin", "127.0.0.1:0", "--target", "epoll=tcp://127.0.0.1:1", "--workers", &more];
    let refused = Command::new(ZENLAB).args(refused).output().unwrap();
    code(&refused, 2);
    let error = text(&refused.stderr);
    assert!(error.contains(&format!("`workers` = {more} must be in 1..={most}")), "{error}");
}

#[test]
fn a_swarm_that_was_away_does_not_blame_the_server() {
    let swarm = Swarm::start("away", &[]);
    let path = swarm.directory.join("held.toml");
    let text = "name = \"held\"\nsummary = \"Two stay.\"\nexpectation = \"They are answered.\"\nrate = 300\nconnections = 2\n\
                duration_seconds = 4\n[population]\nsteady = 1\n";
    fs::write(&path, text).unwrap();
    code(&swarm.runs(&["start", path.to_str().unwrap()]), 0);
    let run = || -> Value { serde_json::from_slice(&swarm.runs(&["show", "1", "--json"]).stdout).unwrap() };
    wait_for("answers", || (run()["ledger"]["outcomes"]["ok"].as_u64() >= Some(50)).then_some(()));
    let signal = |signal| {
        // SAFETY: the child is ours and has not been waited for.
        assert_eq!(unsafe { libc::kill(swarm.child.id() as i32, signal) }, 0);
    };
    // The instants of half a second come meanwhile: more than its two connections can be asked at once.
    signal(libc::SIGSTOP);
    std::thread::sleep(std::time::Duration::from_millis(500));
    signal(libc::SIGCONT);
    let ended = wait_for("the run's end", || Some(run()).filter(|run| run["state"] == "ended"));
    assert_eq!(ended["validity"]["verdict"], "unreliable", "{ended}");
    let reasons = ended["validity"]["reasons"].as_array().unwrap();
    assert!(reasons.iter().any(|why| why.as_str().unwrap().contains("late by itself")), "{reasons:?}");
}

#[test]
fn every_shell_that_is_known_can_complete() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Command::new(ZENLAB).args(["completions", shell]).output().unwrap();
        code(&script, 0);
        for word in ["zenlab", "runs", "spotlight", "completions"] {
            assert!(text(&script.stdout).contains(word), "{shell}: {word}");
        }
    }
    // bash is where the tests run: it must understand its script, and complete by it.
    let script = "source <(\"$0\" completions bash); COMP_WORDS=(zenlab spot); COMP_CWORD=1; _zenlab zenlab spot zenlab; echo \"${COMPREPLY[*]}\"";
    let completed = Command::new("bash").args(["-c", script, ZENLAB]).output().unwrap();
    assert_eq!(text(&completed.stdout), "spotlight\n", "{}", text(&completed.stderr));
    code(&Command::new(ZENLAB).args(["completions", "tcsh"]).output().unwrap(), 2);
}
