//! Servers to be measured: started for it on loopback, or running already.

mod network;
mod processes;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal, setsid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};
use zen::{Endpoint, Transport};

pub use network::packet_filter;
pub use processes::{Facts, Usage};
pub(crate) use processes::{family, field};

/// A server on loopback is ready within a moment, or it is in trouble.
const BOOT: Duration = Duration::from_secs(20);

/// How long an admin API may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the name of a lab's directory begins, among the temporary files.
const DIRECTORY: &str = "zenlab-bench.";

/// The file in it that is locked while the lab is there.
const LOCK: &str = "lock";

/// A place for servers: a directory for their sockets and logs, and, where that is allowed, a network of their own.
#[derive(Debug)]
pub struct Lab {
    program: PathBuf,
    directory: PathBuf,
    has_own_network: bool,
    /// The cores of the servers, where the client has one of its own.
    cores: Option<CpuSet>,
    /// While it is open, no core sleeps.
    awake: Option<File>,
    /// While it is locked, the directory is somebody's.
    _lock: File,
}

/// A server to be started.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its name in reports.
    pub name: String,
    /// The architecture, as `zenlab server` knows it.
    pub architecture: String,
    /// Where it serves: one endpoint for each.
    pub transports: Vec<Transport>,
    /// Settings, each as `KEY=VALUE`.
    pub settings: Vec<String>,
}

/// A server that is ready.
#[derive(Debug)]
pub struct Server {
    /// Its name in reports.
    pub name: String,
    endpoints: Vec<Endpoint>,
    admin: Option<String>,
    child: Option<Child>,
    /// Leaders of its data planes, for processes of this machine.
    leaders: Vec<(Transport, u32)>,
}

impl Lab {
    /// A lab whose servers are `program server NAME`.
    ///
    /// With `own_network` the calling process moves into a network namespace with nothing but loopback, if it may: no packet
    /// filter of the host slows its questions down. That must happen before there are threads, and it is for good.
    ///
    /// # Errors
    /// If the directory for sockets and logs cannot be made.
    pub fn open(program: &Path, own_network: bool) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let has_own_network = own_network && network::isolate().is_ok();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        clear_up();
        let directory = std::env::temp_dir().join(format!("{DIRECTORY}{}.{number}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let lock = lock(&directory)?;
        Ok(Self { program: program.to_owned(), directory, has_own_network, cores: None, awake: None, _lock: lock })
    }

    /// Keeps the calling thread on one core, and every server that is started from now on, on the others. That takes the
    /// scheduler's choice out of the figures, and whatever a server gains from a core more.
    ///
    /// # Errors
    /// If there is only one core, or the kernel refuses.
    pub fn pin(&mut self) -> io::Result<()> {
        let mut others = sched_getaffinity(None)?;
        let first = (0..CpuSet::MAX_CPU).find(|&core| others.is_set(core)).unwrap_or(0);
        if others.count() < 2 {
            return Err(io::Error::other("client and servers cannot have cores of their own: there is only one"));
        }
        others.unset(first);
        let mut own = CpuSet::new();
        own.set(first);
        sched_setaffinity(None, &own)?;
        self.cores = Some(others);
        Ok(())
    }

    /// Keeps all cores of the machine from sleeping, as long as this lab is there: a core without work turns round instead of
    /// halting (`/dev/cpu_dma_latency`, Linux' "PM quality of service interface"; cyclictest does the same). A virtual machine's
    /// core that halts gives its place away, and what it takes to get it back, which is more than a question costs, is booked
    /// as CPU time of whoever sleeps most often.
    ///
    /// # Errors
    /// If the kernel has no such file, or only root may write to it.
    pub fn keep_awake(&mut self) -> io::Result<()> {
        let mut file = File::options().write(true).open("/dev/cpu_dma_latency")?;
        // Microseconds that waking up may take.
        file.write_all(&0_i32.to_ne_bytes())?;
        self.awake = Some(file);
        Ok(())
    }

    /// Whether the servers have a network namespace of their own.
    pub const fn has_own_network(&self) -> bool {
        self.has_own_network
    }

    /// How client and servers share the cores, and whether these sleep, as a sentence.
    pub fn placement(&self) -> String {
        let place = match &self.cores {
            Some(others) => format!("The client had a core of its own, the servers the other {}", others.count()),
            None => "The scheduler placed client and servers on the cores".to_owned(),
        };
        let sleep = if self.awake.is_some() { "no core slept" } else { "cores without work slept" };
        format!("{place}; {sleep}.")
    }

    /// Cores that client and servers have together.
    pub fn cores(&self) -> u32 {
        // A pinned client has one of its own.
        self.server_cores() + u32::from(self.cores.is_some())
    }

    /// Cores that a server may have.
    pub fn server_cores(&self) -> u32 {
        let present = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        self.cores.map_or_else(present, |others| others.count())
    }

    /// The cores that servers are kept on, where the client has one of its own.
    pub(crate) const fn server_place(&self) -> Option<CpuSet> {
        self.cores
    }

    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    /// If it ends or is not ready within 20 s; the error has its last words.
    pub fn start(&self, subject: &Subject) -> io::Result<Server> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let log = self.directory.join(format!("{number}.log"));
        let listen = |transport: &Transport| match transport {
            Transport::Tcp | Transport::Udp => format!("{transport}://127.0.0.1:0"),
            unix => format!("{unix}://{}", self.directory.join(format!("{number}.{unix}")).display()),
        };
        let mut command = Command::new(&self.program);
        command.args(["server", &subject.architecture, "--admin", "127.0.0.1:0", "--set", "lab=true"]);
        command.args(subject.transports.iter().flat_map(|transport| ["--listen".to_owned(), listen(transport)]));
        command.args(subject.settings.iter().flat_map(|setting| ["--set", setting]));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let (parent, cores) = (getpid(), self.cores);
        // SAFETY: between fork and exec only system calls are made, no memory is allocated and no lock is taken.
        unsafe { command.pre_exec(move || prepare(parent, cores.as_ref())) };
        let child = command.spawn().map_err(|error| named(&self.program.display().to_string(), &error))?;
        let mut server = Server {
            name: subject.name.clone(),
            endpoints: Vec::new(),
            admin: None,
            child: Some(child),
            leaders: Vec::new(),
        };
        server.boot(&log, subject.transports.len())?;
        Ok(server)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What is left in the directory of temporary files is no trouble for anybody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Marks a directory as somebody's, for as long as the file is open.
fn lock(directory: &Path) -> io::Result<File> {
    // It gets its name when it is locked: a lock that is free is left over.
    let unnamed = directory.join("unlocked");
    let file = File::create(&unnamed)?;
    file.try_lock()?;
    fs::rename(unnamed, directory.join(LOCK))?;
    Ok(file)
}

/// Removes the directories of those who were killed. Their servers have died with them.
fn clear_up() {
    let all = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for entry in all.filter(|entry| entry.file_name().to_string_lossy().starts_with(DIRECTORY)) {
        let directory = entry.path();
        if File::open(directory.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
            // What belongs to another user is his to remove.
            let _ = fs::remove_dir_all(directory);
        }
    }
}

/// In the child, before it becomes a server: Ctrl-C at our terminal is not for it, and it ends when we end.
fn prepare(parent: Pid, cores: Option<&CpuSet>) -> io::Result<()> {
    setsid()?;
    if let Some(cores) = cores {
        sched_setaffinity(None, cores)?;
    }
    set_parent_process_death_signal(Some(Signal::QUIT))?;
    // A parent that died before the line above will send no signal.
    if getppid() != Some(parent) {
        return Err(ErrorKind::BrokenPipe.into());
    }
    Ok(())
}

impl Server {
    /// A server that runs already, by its endpoints, and its admin URL if it has one.
    ///
    /// # Errors
    /// If the admin API cannot be asked.
    pub fn running(name: &str, endpoints: Vec<Endpoint>, admin: Option<String>) -> io::Result<Self> {
        let mut server = Self { name: name.to_owned(), endpoints, admin, child: None, leaders: Vec::new() };
        if let Some(admin) = &server.admin {
            let admin = admin.trim_end_matches('/').to_owned();
            server.admin = Some(admin.clone());
            let unheard =
                |error: io::Error| io::Error::other(format!("{name}: the admin API {admin} cannot be asked: {error}"));
            server.find_leaders().map_err(unheard)?;
        }
        Ok(server)
    }

    /// Where it serves this transport.
    pub fn endpoint(&self, transport: Transport) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.transport == transport)
    }

    /// The URL of its admin API.
    pub fn admin(&self) -> Option<&str> {
        self.admin.as_deref()
    }

    /// The leader of the data plane that serves this transport, if it is a process of this machine.
    pub fn leader(&self, transport: Transport) -> Option<u32> {
        self.leaders.iter().find(|(known, _)| *known == transport).map(|&(_, pid)| pid)
    }

    /// What the data plane of this transport has used up to now; none if its processes cannot be seen.
    pub fn usage(&self, transport: Transport) -> Option<Usage> {
        Usage::of(self.leader(transport)?)
    }

    /// What the data plane of this transport holds; none if its processes cannot be seen.
    pub fn facts(&self, transport: Transport) -> Option<Facts> {
        Facts::of(self.leader(transport)?)
    }

    /// Changes a setting while it runs.
    ///
    /// # Errors
    /// If there is no admin API, or it refuses.
    pub fn set(&self, key: &str, value: &Value) -> io::Result<()> {
        let request = agent()
            .patch(self.url("/api/v1/config")?)
            .header("if-match", "*")
            .content_type("application/merge-patch+json");
        request.send(json!({key: value}).to_string()).map(drop).map_err(|error| named(&self.name, &error))
    }

    /// Gives an order to the admin API.
    ///
    /// # Errors
    /// If there is none, or it refuses.
    pub fn order(&self, path: &str, order: &Value) -> io::Result<()> {
        let request = agent().post(self.url(path)?).content_type("application/json");
        request.send(order.to_string()).map(drop).map_err(|error| named(&self.name, &error))
    }

    /// Reads from the admin API.
    ///
    /// # Errors
    /// If there is none, or it refuses.
    pub fn get(&self, path: &str) -> io::Result<String> {
        let mut response = agent().get(self.url(path)?).call().map_err(|error| named(&self.name, &error))?;
        response.body_mut().read_to_string().map_err(|error| named(&self.name, &error))
    }

    fn url(&self, path: &str) -> io::Result<String> {
        let admin = self.admin.as_ref().ok_or_else(|| named(&self.name, &"it has no admin API that is known"))?;
        Ok(format!("{admin}{path}"))
    }

    fn boot(&mut self, log: &Path, endpoints: usize) -> io::Result<()> {
        let deadline = Instant::now() + BOOT;
        loop {
            if self.has_begun(log, endpoints) && self.get("/readyz").is_ok() {
                return self.find_leaders();
            }
            let has_ended = self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if has_ended || Instant::now() > deadline {
                let words = fs::read_to_string(log).unwrap_or_default();
                let last = words.lines().last().unwrap_or("it said nothing").to_owned();
                return Err(named(&self.name, &format!("the server does not get ready: {last}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Reads in the server's log where it listens; says whether all is known.
    fn has_begun(&mut self, log: &Path, endpoints: usize) -> bool {
        let text = fs::read_to_string(log).unwrap_or_default();
        let events: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let urls = |name: &'static str| {
            events.iter().filter(move |event| event["event"] == name).filter_map(|event| event["url"].as_str())
        };
        self.admin = urls("admin_listening").next().map(str::to_owned);
        self.endpoints = urls("listening").filter_map(|url| url.parse().ok()).collect();
        self.admin.is_some() && self.endpoints.len() == endpoints
    }

    fn find_leaders(&mut self) -> io::Result<()> {
        let status: Value = serde_json::from_str(&self.get("/api/v1/status")?)?;
        let leader = |endpoint: &Value| {
            let transport = endpoint["transport"].as_str()?.parse().ok()?;
            let pid = u32::try_from(endpoint["pid"].as_u64()?).ok()?;
            // A server in a container has other numbers for its processes.
            (processes::command(pid)? == "zenlab").then_some((transport, pid))
        };
        self.leaders = status["endpoints"].as_array().into_iter().flatten().filter_map(leader).collect();
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody is served any more, so nothing has to be finished; whoever is below dies with the supervisor.
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build().into()
}

fn named(name: &str, why: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{name}: {why}"))
}
