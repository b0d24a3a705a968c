//! Who can be reached.

use std::time::Duration;

use super::{Finding, Grade};
use crate::api::{Api, Trouble};
use crate::target::{self, Target};

/// A refusal comes at once; only a machine that drops packets makes us wait.
const PATIENCE: Duration = Duration::from_millis(500);

/// Everyone who could be there.
pub fn all() -> Vec<Finding> {
    vec![
        servers(),
        one("swarm", &target::swarm().url, "/readyz"),
        tool("prometheus", 9090, "/-/ready"),
        tool("grafana", 3000, "/api/health"),
    ]
}

fn servers() -> Finding {
    let fleet = target::fleet();
    let ready = fleet.iter().filter(|server| is_ready(server)).count();
    let value = format!("{ready} of {} ready", fleet.len());
    Finding::judged(ready == fleet.len(), "servers", value, "start them with `zenlab up` or `docker compose up`")
}

fn is_ready(server: &Target) -> bool {
    Api::with_patience(&server.url, PATIENCE).get("/readyz").is_ok()
}

/// A service of the compose project with its usual port.
fn tool(name: &'static str, port: u16, path: &str) -> Finding {
    let host = if target::in_compose() { name } else { "127.0.0.1" };
    one(name, &format!("http://{host}:{port}"), path)
}

fn one(name: &'static str, url: &str, path: &str) -> Finding {
    match Api::with_patience(url, PATIENCE).get(path) {
        Ok(_) => Finding::new(Grade::Good, name, url, ""),
        Err(Trouble::Unreachable(sentence) | Trouble::Refused(_, sentence)) => {
            Finding::new(Grade::Note, name, sentence, "")
        }
    }
}
