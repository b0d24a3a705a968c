//! Who takes part.

use std::collections::BTreeSet;

use ::bench::bench::Contestant;
use ::bench::{Lab, Subject};
use chassis::settings::{self, Flags};
use zen::{Endpoint, Transport};

use crate::failure::Failure;
use crate::lab::{Architecture, Workers};
use crate::target;

/// Workers that a pool gets at most.
const MOST_WORKERS: usize = 128;

/// Who is measured.
#[derive(Debug, clap::Args)]
pub struct Field {
    /// Architectures to start and measure, or `all` [default: lesson, one of each kind]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
    /// Servers that run already, such as tcp://127.0.0.1:1071; NAME=URL gives one a name, URL@ADMIN-URL lets see what it uses
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// The same, once for each
    #[arg(long, value_name = "NAME=URL")]
    target: Vec<String>,
    /// How questions travel: tcp, udp, unix or unixgram
    #[arg(long, default_value = "tcp", value_name = "NAME")]
    pub transport: Transport,
    /// Connections, for servers that serve so many at once
    #[arg(short, long, default_value = "16", value_parser = super::units::connections, allow_hyphen_values = true, value_name = "N")]
    pub connections: usize,
    /// A setting for every server that is started, such as trace_one_in=0
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Stay in this machine's own network, whose packet filter may make each question dearer
    #[arg(long)]
    host_network: bool,
    /// Let the scheduler place client and servers; else the client has a core of its own, and the servers have the others
    #[arg(long)]
    unpinned: bool,
    /// Let cores without work sleep; else they are kept awake where that is allowed (to root), because waking up may cost more than
    /// a question does
    #[arg(long)]
    may_sleep: bool,
}

impl Field {
    /// Where they are measured: in a network of their own, if they are started for it and nobody objects.
    ///
    /// This comes before everything that might start a thread.
    pub fn lab(&self) -> Result<Lab, Failure> {
        super::open_lab(self.starts_all() && !self.host_network)
    }

    /// The same, with cores of their own for client and servers that do not sleep, if that is possible and nobody objects.
    pub fn quiet_lab(&self) -> Result<Lab, Failure> {
        let mut lab = self.lab()?;
        if self.starts_all() && !self.unpinned {
            // Where that is refused the report says so.
            let _ = lab.pin();
        }
        if self.starts_all() && !self.may_sleep {
            // The same holds for this.
            let _ = lab.keep_awake();
        }
        Ok(lab)
    }

    /// Whether nobody takes part who runs already.
    const fn starts_all(&self) -> bool {
        self.urls.is_empty() && self.target.is_empty()
    }

    /// Everybody that was named, in the registry's order, then the servers that run already.
    pub fn contestants(&self) -> Result<Vec<Contestant>, Failure> {
        let mut all: Vec<Contestant> =
            self.architectures()?.into_iter().map(|architecture| self.start(architecture)).collect::<Result<_, _>>()?;
        for target in self.urls.iter().chain(&self.target) {
            all.push(self.running(target)?);
        }
        let mut names = BTreeSet::new();
        if let Some(one) = all.iter().find(|one| !names.insert(&one.subject.name)) {
            return Err(Failure::usage(format!("two are called {:?}: give each a name of its own", one.subject.name)));
        }
        if all.is_empty() {
            return Err(Failure::usage(format!("nobody serves {}", self.transport)));
        }
        Ok(all)
    }

    fn architectures(&self) -> Result<Vec<&'static Architecture>, Failure> {
        if self.only.is_empty() && !self.starts_all() {
            return Ok(Vec::new());
        }
        let lesson = ["lesson".to_owned()];
        let names = if self.only.is_empty() { &lesson[..] } else { &self.only };
        let (serving, other): (Vec<_>, Vec<_>) =
            target::architectures(names)?.into_iter().partition(|one| one.supports(self.transport));
        // Whoever is named must serve; of a group, those take part who do.
        match other.iter().find(|one| names.iter().any(|name| name == one.name)) {
            Some(one) => Err(Failure::usage(format!("{} does not serve {}", one.name, self.transport))),
            None => Ok(serving),
        }
    }

    fn start(&self, architecture: &Architecture) -> Result<Contestant, Failure> {
        // Contestants wait for their turn; that is no idleness.
        let mut settings = vec!["idle_timeout=1h".to_owned()];
        let at_once = match (architecture.capacity.connections(), architecture.workers) {
            (Some(most), _) => most,
            (None, Workers::Ignored(_)) => 1,
            (None, _) => {
                let workers = self.connections.min(MOST_WORKERS);
                settings.push(format!("workers={workers}"));
                workers
            }
        };
        settings.extend(self.set.iter().cloned());
        let subject = Subject {
            name: architecture.name.to_owned(),
            architecture: architecture.name.to_owned(),
            transports: vec![self.transport],
            settings,
        };
        self.check(architecture, &subject.settings)?;
        Ok(Contestant { subject, at_once: Some(at_once), running: None })
    }

    /// Says at once what the server would say of these settings when it is started.
    fn check(&self, architecture: &Architecture, set: &[String]) -> Result<(), Failure> {
        let listen = match self.transport {
            Transport::Tcp | Transport::Udp => format!("{}://127.0.0.1:0", self.transport),
            Transport::Unix | Transport::Unixgram => format!("{}:///zenlab", self.transport),
        };
        let flags = Flags {
            set: set.to_vec(),
            listen: vec![listen],
            admin: Some("127.0.0.1:0".to_owned()),
            ..Flags::default()
        };
        settings::load(architecture, &flags)
            .map(drop)
            .map_err(|error| Failure::usage(format!("{}: {error}", architecture.name)))
    }

    fn running(&self, text: &str) -> Result<Contestant, Failure> {
        let named = text.split_once('=').filter(|(name, _)| !name.contains("://"));
        let (name, place) = match named {
            Some((name, place)) if !name.is_empty() => (Some(name), place),
            None if text.contains("://") => (None, text),
            _ => return Err(no_target(text)),
        };
        let (url, admin) = place.split_once('@').map_or((place, None), |(url, admin)| (url, Some(admin.to_owned())));
        let name = name.unwrap_or(url);
        let endpoint: Endpoint = url.parse().map_err(|error: zen::EndpointError| Failure::usage(error.to_string()))?;
        if let Some(admin) = admin.as_deref().filter(|admin| !is_admin(admin)) {
            return Err(Failure::usage(format!("{admin:?} is no admin URL such as http://127.0.0.1:9071")));
        }
        if endpoint.transport != self.transport {
            let why = format!("{url} is no {} endpoint; say --transport {}", self.transport, endpoint.transport);
            return Err(Failure::usage(why));
        }
        let subject = Subject {
            name: name.to_owned(),
            architecture: name.to_owned(),
            transports: vec![self.transport],
            settings: Vec::new(),
        };
        Ok(Contestant { subject, at_once: None, running: Some((vec![endpoint], admin)) })
    }
}

fn no_target(text: &str) -> Failure {
    let hint =
        target::architectures(&[text.to_owned()]).map_or(String::new(), |_| format!("; --only {text} starts it"));
    Failure::usage(format!(
        "{text:?} is no target such as tcp://HOST:PORT or NAME=tcp://HOST:PORT@http://HOST:PORT{hint}"
    ))
}

/// Whether this may be where an admin API is: a host of `http://`, and no path.
fn is_admin(url: &str) -> bool {
    let host = url.trim_end_matches('/').strip_prefix("http://");
    host.is_some_and(|host| !host.is_empty() && !host.contains('/'))
}
