//! `zenlab swarm`: the load generator as a service.

use std::path::PathBuf;

use crate::failure::{Failure, Outcome};

/// What `swarm` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the swarm's admin API and metrics are
    #[arg(long, value_name = "HOST:PORT")]
    admin: String,
    /// Load a whole fleet: that of `zenlab up`, or that of compose
    #[arg(long, value_enum, conflicts_with = "target")]
    fleet: Option<Fleet>,
    /// Where the Unix sockets of the local fleet are
    #[arg(long, value_name = "PATH", required_if_eq("fleet", "local"))]
    dir: Option<PathBuf>,
    /// Only these architectures of the fleet
    #[arg(long, value_delimiter = ',', requires = "fleet")]
    only: Vec<String>,
    /// One endpoint to load, with the name of its architecture; may be said often
    #[arg(long, value_name = "NAME=URL", required_unless_present = "fleet")]
    target: Vec<String>,
    /// A plan (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A fleet whose addresses are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Fleet {
    /// The fleet of `zenlab up`.
    Local,
    /// The fleet of compose.
    Compose,
}

/// Runs until it is told to end.
pub fn run(_args: &Args) -> Outcome {
    Err(Failure::runtime("not there yet"))
}
