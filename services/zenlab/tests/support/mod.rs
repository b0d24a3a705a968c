//! Servers as real processes, and clients as real sockets.
//!
//! Every wait is for a state, with a bound that only a broken server reaches.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::print_stdout, reason = "what ran and what was skipped belongs into the test's output")]
#![allow(
    clippy::unwrap_used,
    clippy::large_stack_arrays,
    clippy::float_cmp,
    clippy::needless_pass_by_value,
    reason = "a test that fails says where"
)]

pub mod client;
pub mod process;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longer than anything takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const ZENLAB: &str = env!("CARGO_BIN_EXE_zenlab");

/// An architecture as `zenlab list --json` tells of it.
#[derive(Debug, Clone)]
pub struct Architecture {
    pub name: String,
    pub offset: u16,
    pub transports: Vec<String>,
    /// `blocking`, `readiness`, …
    pub family: String,
    /// `threads`, `processes` or `ignored`.
    pub workers: String,
    /// Whether a client that holds a connection holds a worker.
    pub per_worker: bool,
}

impl Architecture {
    pub fn serves(&self, transport: &str) -> bool {
        self.transports.iter().any(|known| known == transport)
    }
}

/// The registry.
pub fn registry() -> Vec<Architecture> {
    let output = Command::new(ZENLAB).args(["list", "--json"]).output().expect("the program runs");
    let list: Value = serde_json::from_slice(&output.stdout).expect("a list in JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entry = |entry: &Value| Architecture {
        name: text(&entry["name"]),
        offset: entry["offset"].as_u64().expect("an offset") as u16,
        transports: entry["transports"].as_array().expect("transports").iter().map(text).collect(),
        family: text(&entry["family"]),
        workers: text(&entry["workers"]["kind"]),
        per_worker: entry["capacity"]["kind"] == "per_worker",
    };
    list.as_array().expect("a list").iter().map(entry).collect()
}

/// Does `work` for each architecture, some at a time; collects what failed and fails once.
pub fn for_each(architectures: Vec<Architecture>, work: impl Fn(&Architecture) -> Vec<String> + Sync) {
    for_each_of(architectures, 4, work);
}

/// The same one by one: for what needs most of the machine's descriptors.
pub fn for_each_alone(architectures: Vec<Architecture>, work: impl Fn(&Architecture) -> Vec<String> + Sync) {
    for_each_of(architectures, 1, work);
}

fn for_each_of(architectures: Vec<Architecture>, at_once: usize, work: impl Fn(&Architecture) -> Vec<String> + Sync) {
    let queue = Mutex::new(architectures.into_iter());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some(architecture) = next else { return };
                    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&architecture)))
                        .unwrap_or_else(|_| vec![format!("{}: panicked, see above", architecture.name)]);
                    failures.lock().unwrap().extend(failed);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Waits until `holds` gives something.
pub fn wait_for<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = holds() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A directory that goes with its owner.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Self {
        let name = format!("zenlab-test.{}.{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running server.
pub struct Server {
    pub architecture: String,
    child: Child,
    pub directory: Directory,
    pub admin: String,
    urls: Vec<String>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a server on every transport that the architecture serves.
    pub fn start(architecture: &Architecture, settings: &[&str]) -> Self {
        let transports: Vec<_> = architecture.transports.iter().map(String::as_str).collect();
        Self::start_on(&architecture.name, &transports, settings)
    }

    pub fn start_on(name: &str, transports: &[&str], settings: &[&str]) -> Self {
        Self::start_with(name, transports, settings, |_| {})
    }

    /// A server that is handed its listener, as by systemd: see `LISTEN_FDS` of sd_listen_fds(3).
    pub fn start_with_listener(name: &str, listener: &TcpListener) -> Self {
        let (fd, address) = (listener.as_raw_fd(), listener.local_addr().unwrap());
        let pass = move || {
            // SAFETY: plain system calls between fork and exec; the number goes to the place where the protocol wants it. One
            // that was there already would still be closed by exec.
            match unsafe { (libc::dup2(fd, 3), libc::fcntl(3, libc::F_SETFD, 0)) } {
                (3, 0) => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        Self::start_with(name, &[], &[], |command| {
            // The shell knows its own number, which will be the server's.
            let mut shell = Command::new("sh");
            shell.args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh", ZENLAB]).args(command.get_args());
            shell.args(["--listen", &format!("tcp://{address}")]).env("LISTEN_FDS", "1");
            // SAFETY: see there.
            unsafe { shell.pre_exec(pass) };
            *command = shell;
        })
    }

    /// As [`Self::start_on`], with changes to the command.
    pub fn start_with(name: &str, transports: &[&str], settings: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let directory = Directory::new();
        let mut command = Command::new(ZENLAB);
        command.args(["server", name, "--admin", "127.0.0.1:0"]);
        for transport in transports {
            command.arg("--listen").arg(match *transport {
                "tcp" => "tcp://127.0.0.1:0".to_owned(),
                "udp" => "udp://127.0.0.1:0".to_owned(),
                unix => format!("{unix}://{}", directory.0.join(unix).display()),
            });
        }
        for setting in ["lab=true"].iter().chain(settings) {
            command.arg("--set").arg(setting);
        }
        change(&mut command);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the server starts");
        let log = follow(child.stderr.take().expect("its log"));
        let mut server =
            Self { architecture: name.to_owned(), child, directory, admin: String::new(), urls: Vec::new(), log };
        server.wait_for_event("admin_listening", 1)[0]["url"].as_str().unwrap().clone_into(&mut server.admin);
        let listening = server.wait_for_event("listening", transports.len());
        server.urls = listening.iter().map(|event| event["url"].as_str().unwrap().to_owned()).collect();
        server.wait_until_ready();
        server
    }

    pub fn wait_until_ready(&self) {
        wait_for(&format!("{} ready", self.architecture), || (self.get("/readyz").0 == 200).then_some(()));
    }

    /// The events of this name in the log, once there are so many.
    pub fn wait_for_event(&mut self, name: &str, count: usize) -> Vec<Value> {
        wait_for(&format!("{} to log {name}", self.architecture), || {
            let events = self.events(name);
            if events.len() >= count {
                return Some(events);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{} ended with {status}:\n{}", self.architecture, self.log().join("\n"));
            }
            None
        })
    }

    pub fn events(&self, name: &str) -> Vec<Value> {
        self.log()
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["event"] == name)
            .collect()
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn url(&self, transport: &str) -> &str {
        let scheme = format!("{transport}://");
        let url = self.urls.iter().find(|url| url.starts_with(&scheme));
        url.unwrap_or_else(|| panic!("{} does not serve {transport}", self.architecture))
    }

    /// `HOST:PORT` of a TCP or UDP endpoint.
    pub fn address(&self, transport: &str) -> String {
        self.url(transport).split_once("://").expect("a URL").1.to_owned()
    }

    /// The path of a Unix endpoint.
    pub fn path(&self, transport: &str) -> &Path {
        Path::new(self.url(transport).split_once("://").expect("a URL").1)
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        request("GET", &format!("{}{path}", self.admin), &[], None)
    }

    pub fn post(&self, path: &str, body: Value) -> (u16, Value) {
        request(
            "POST",
            &format!("{}{path}", self.admin),
            &[("Content-Type", "application/json")],
            Some(&body.to_string()),
        )
    }

    pub fn patch(&self, body: Value) -> (u16, Value) {
        let headers = [("Content-Type", "application/merge-patch+json"), ("If-Match", "*")];
        request("PATCH", &format!("{}/api/v1/config", self.admin), &headers, Some(&body.to_string()))
    }

    /// Changes a setting, and waits until every worker has seen it.
    pub fn set(&self, key: &str, value: Value) {
        let (status, answer) = self.patch(json!({key: value}));
        assert_eq!(status, 200, "{}: {key}: {answer}", self.architecture);
        let generation = answer["generation"].as_u64();
        wait_for(&format!("{}: every worker to see {key}", self.architecture), || {
            let (_, config) = self.get("/api/v1/config");
            let seen = config["workers_at"]
                .as_object()?
                .values()
                .flat_map(|seen| seen.as_array().cloned().unwrap_or_default());
            seen.into_iter().all(|seen| seen.as_u64() >= generation).then_some(())
        });
    }

    pub fn status(&self) -> Value {
        self.get("/api/v1/status").1
    }

    /// One endpoint's part of the status.
    pub fn endpoint(&self, transport: &str) -> Value {
        let status = self.status();
        let endpoints = status["endpoints"].as_array().expect("endpoints");
        endpoints.iter().find(|endpoint| endpoint["transport"] == transport).expect("the endpoint").clone()
    }

    pub fn open(&self, transport: &str) -> u64 {
        self.endpoint(transport)["connections"]["open"].as_u64().expect("a number")
    }

    /// The process id of a data plane's leader.
    pub fn leader(&self, transport: &str) -> i32 {
        self.endpoint(transport)["pid"].as_i64().expect("a pid") as i32
    }

    /// The sum of a metric's series whose labels contain all of these.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (_, text) = self.get("/metrics");
        let text = text.as_str().expect("text").to_owned();
        text.lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    pub fn signal(&self, signal: i32) {
        kill(self.pid() as i32, signal);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for(&format!("{} to end", self.architecture), || self.child.try_wait().expect("its status"))
    }

    /// Ends it in order; nothing may be left of it.
    pub fn stop(mut self) {
        self.signal(libc::SIGTERM);
        let family = process::family(self.pid());
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}:\n{}", self.architecture, self.log().join("\n"));
        // A process that was born later than we looked is a child of one that we have seen.
        let left: Vec<_> = family.iter().filter(|process| process.is_alive()).collect();
        assert!(left.is_empty(), "{} leaves {left:?}", self.architecture);
        for url in self.urls.iter().filter(|url| url.starts_with("unix")) {
            let path = url.split_once("://").expect("a URL").1;
            assert!(!Path::new(path).exists(), "{} leaves {path}", self.architecture);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whoever is below dies with the supervisor.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn kill(pid: i32, signal: i32) {
    // SAFETY: a plain system call; the pid is that of a process of this test.
    unsafe { libc::kill(pid, signal) };
}

fn follow(stderr: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = log.clone();
    thread::Builder::new()
        .spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        })
        .expect("a thread");
    log
}

/// One request; the body is JSON, or a string if it is none. Status 0 is no answer.
pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&str>) -> (u16, Value) {
    let (status, _, body) = exchange(method, url, headers, body);
    (status, body)
}

/// As [`request`], with the headers of the answer.
pub fn exchange(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> (u16, Vec<(String, String)>, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into();
    let mut builder = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let response = match body {
        Some(body) => agent.run(builder.body(body.to_owned()).expect("a request")),
        None => agent.run(builder.body(()).expect("a request")),
    };
    let Ok(mut response) = response else { return (0, Vec::new(), Value::Null) };
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let text = response.body_mut().read_to_string().unwrap_or_default();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (response.status().as_u16(), headers, body)
}
