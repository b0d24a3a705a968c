//! `zenlab ask`: the chapter's client.

use crate::failure::{Failure, Outcome};

/// What `ask` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of an architecture, or where it serves: tcp://, udp://, unix:// or unixgram://
    #[arg(value_name = "NAME|URL")]
    place: String,
    /// What to ask [default: the three questions]
    questions: Vec<String>,
    /// So many clients at once
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// Expect what was sent instead of an answer (dialogue = echo)
    #[arg(long)]
    echo: bool,
}

/// Exits with 1 if an answer is missing or wrong.
pub fn run(_args: &Args) -> Outcome {
    Err(Failure::runtime("not there yet"))
}
