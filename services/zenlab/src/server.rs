//! `zenlab server NAME`: one server.

use std::path::PathBuf;

use crate::failure::{Failure, Outcome};
use crate::target;

/// What `server` is told. Flags win over the environment, that over the file, that over the defaults.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The architecture
    name: String,
    /// Where to serve: `tcp://HOST:PORT`, `udp://HOST:PORT`, `unix:///PATH` or `unixgram:///PATH`; once for each transport
    #[arg(long, value_name = "URL")]
    listen: Vec<String>,
    /// Where the admin API and the metrics are
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// A settings file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting, such as workers=8
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print every setting with its source and exit
    #[arg(long)]
    print_config: bool,
    /// Only check the settings
    #[arg(long)]
    check: bool,
}

/// Serves until it is told to end.
pub fn run(args: &Args) -> Outcome {
    let _architecture = target::architecture(&args.name)?;
    Err(Failure::runtime("not there yet"))
}
