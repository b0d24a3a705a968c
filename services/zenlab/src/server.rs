//! `zenlab server NAME`: one server.

use std::path::PathBuf;

use chassis::settings::{self, Flags};

use crate::failure::{Failure, OK, Outcome};
use crate::output;
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
    let architecture = target::architecture(&args.name)?;
    let start = settings::load(architecture, &args.flags()).map_err(|error| Failure::usage(error.to_string()))?;
    if args.print_config {
        output::say(settings::print(&start).trim_end());
    }
    if args.print_config || args.check {
        return Ok(OK);
    }
    // Exit codes of a server are 0 to 3.
    Ok(chassis::run(architecture, start) as u8)
}

impl Args {
    fn flags(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            set: self.set.clone(),
            listen: self.listen.clone(),
            admin: self.admin.clone(),
        }
    }
}
