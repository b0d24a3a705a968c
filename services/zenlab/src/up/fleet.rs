//! The children of `up`, and what became of them.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use super::child::{Child, describe};
use super::member;
use crate::api::Api;
use crate::failure::Failure;
use crate::lab::Member;
use crate::live::Sight;
use crate::output;
use crate::places;

/// A server on loopback answers at once, or it is in trouble.
const PATIENCE: Duration = Duration::from_millis(500);

/// A server of the fleet.
pub struct Server {
    /// What it is.
    pub member: Member,
    /// A client of its admin API.
    pub api: Api,
    child: Child,
    end: Option<ExitStatus>,
    is_ready: bool,
}

impl Server {
    /// Whether its process is there.
    pub const fn is_alive(&self) -> bool {
        self.end.is_none()
    }

    fn sight(&self) -> Sight<'_> {
        Sight { member: self.member, api: self.is_alive().then_some(&self.api) }
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        self.child.log()
    }
}

/// Every child.
pub struct Fleet {
    /// In the fleet's order.
    pub servers: Vec<Server>,
    swarm: Option<Child>,
    is_stopping: bool,
    had_accidents: bool,
}

impl Fleet {
    /// Starts every member.
    pub fn start(members: Vec<Member>, directory: &Path) -> Result<Self, Failure> {
        let start = |member: Member| {
            let child = Child::start(member.name, &member::arguments(&member, directory), directory)?;
            let api = Api::with_patience(&places::local_admin(&member), PATIENCE);
            Ok(Server { member, api, child, end: None, is_ready: false })
        };
        let servers = members.into_iter().map(start).collect::<Result<_, Failure>>()?;
        Ok(Self { servers, swarm: None, is_stopping: false, had_accidents: false })
    }

    /// Starts the swarm for the servers that are there. Without it they are still worth having.
    pub fn start_swarm(&mut self, directory: &Path) {
        let arguments = member::swarm_arguments(&self.members(), directory);
        match Child::start("swarm", &arguments, directory) {
            Ok(swarm) => self.swarm = Some(swarm),
            Err(failure) => {
                output::complain(&failure.to_string());
                self.had_accidents = true;
            }
        }
    }

    /// Every server as it is looked at.
    pub fn sights(&self) -> Vec<Sight<'_>> {
        self.servers.iter().map(Server::sight).collect()
    }

    /// The members whose processes are there.
    pub fn members(&self) -> Vec<Member> {
        self.servers.iter().filter(|server| server.is_alive()).map(|server| server.member).collect()
    }

    /// Whether any server's process is there.
    pub fn is_alive(&self) -> bool {
        self.servers.iter().any(Server::is_alive)
    }

    /// Whether the swarm's process is there.
    pub const fn has_swarm(&self) -> bool {
        self.swarm.is_some()
    }

    /// Whether nobody is left.
    pub fn is_over(&self) -> bool {
        !self.is_alive() && !self.has_swarm()
    }

    /// Whether something ended that was not told to.
    pub const fn had_accidents(&self) -> bool {
        self.had_accidents
    }

    /// Whether every server that lives is ready. Asks those that were not.
    pub fn is_ready(&mut self) -> bool {
        for server in self.servers.iter_mut().filter(|server| server.end.is_none() && !server.is_ready) {
            server.is_ready = server.api.get("/readyz").is_ok();
        }
        self.servers.iter().all(|server| server.is_ready || !server.is_alive())
    }

    /// From now on an end is no accident.
    pub const fn expect_ends(&mut self) {
        self.is_stopping = true;
    }

    /// Sends `signal` to every server.
    pub fn signal_servers(&self, signal: Signal) {
        self.servers.iter().filter(|server| server.is_alive()).for_each(|server| server.child.signal(signal));
    }

    /// Sends `signal` to the swarm.
    pub fn signal_swarm(&self, signal: Signal) {
        self.swarm.iter().for_each(|swarm| swarm.signal(signal));
    }

    /// Takes note of children that ended; gives what there is to say about it.
    pub fn bury(&mut self) -> Vec<String> {
        let mut news = Vec::new();
        for server in self.servers.iter_mut().filter(|server| server.end.is_none()) {
            server.end = server.child.ended();
            if let Some(status) = server.end.filter(|status| !(self.is_stopping && status.success())) {
                news.extend(obituary(server.member.name, status, &server.child));
                self.had_accidents |= !status.success();
            }
        }
        if let Some((status, swarm)) = self.swarm.as_mut().and_then(|swarm| Some((swarm.ended()?, swarm))) {
            if !(self.is_stopping && status.success()) {
                news.extend(obituary("swarm", status, swarm));
                self.had_accidents = true;
            }
            self.swarm = None;
        }
        news
    }

    /// What there is to say about servers that are there, but not ready.
    pub fn note_unready(&mut self, after: Duration) -> Vec<String> {
        let mut news = Vec::new();
        for server in self.servers.iter().filter(|server| server.is_alive() && !server.is_ready) {
            news.push(format!("{} is not ready after {} s", server.member.name, after.as_secs()));
            news.extend(last_lines(&server.child));
            self.had_accidents = true;
        }
        news
    }
}

fn obituary(name: &str, status: ExitStatus, child: &Child) -> Vec<String> {
    if status.success() {
        return vec![format!(
            "{name} has ended as it was told; bring it back with: zenlab up --only {name} --no-swarm"
        )];
    }
    let mut lines = vec![format!("{name} died ({}); its last lines:", describe(status))];
    lines.extend(last_lines(child));
    lines
}

fn last_lines(child: &Child) -> impl Iterator<Item = String> {
    child.last_lines().into_iter().map(|line| format!("  {line}"))
}
