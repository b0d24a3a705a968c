//! `zenlab completions`: what a shell needs to complete commands and options.

use std::io::{self, Write};

use clap::Command;
use clap_complete::Shell;

use crate::failure::OK;

/// What `completions` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  source <(zenlab completions bash)
  zenlab completions zsh > ~/.zfunc/_zenlab
  zenlab completions fish > ~/.config/fish/completions/zenlab.fish")]
pub struct Args {
    /// For which shell
    shell: Shell,
}

/// Prints the script for the shell.
pub fn run(args: &Args, mut command: Command) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "zenlab", &mut script);
    // A reader that has left hears no more; that is no failure.
    let _gone = io::stdout().lock().write_all(&script);
    OK
}
