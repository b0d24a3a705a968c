//! `zenlab crash`: asks a server for a fault, and says what came of it.

use serde_json::json;

use super::each;
use crate::failure::Outcome;
use crate::output;
use crate::target;

/// What `crash` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(help = target::HELP)]
    target: String,
    /// How it fails
    #[arg(long, value_enum, default_value = "panic")]
    kind: Kind,
    /// What fails: whoever asks the next question, the next worker that looks for orders, or the data plane
    #[arg(long, value_enum, default_value = "conversation")]
    what: What,
    /// On which endpoint [default: the first]
    #[arg(long, value_name = "tcp|udp|unix|unixgram")]
    transport: Option<String>,
}

/// How something fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// It panics; Rust unwinds the stack.
    Panic,
    /// Its process is ended by SIGABRT.
    Abort,
    /// It never comes back.
    Hang,
}

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// One client's conversation.
    Conversation,
    /// One worker.
    Worker,
    /// The whole data plane.
    Data,
}

/// Asks for it. It happens when somebody comes by whom it can happen to.
pub fn run(args: &Args) -> Outcome {
    let kind = format!("{:?}", args.kind).to_lowercase();
    let what = format!("{:?}", args.what).to_lowercase();
    each(&args.target, |target| {
        let mut order = json!({"kind": kind, "target": what});
        if let Some(transport) = &args.transport {
            order["transport"] = transport.as_str().into();
        }
        let answer = target.api().post("/api/v1/faults", Some(&order))?.json();
        let transport = answer["transport"].as_str().unwrap_or_default();
        output::say(&format!(
            "{}: the next {what} over {transport} will {kind}; `zenlab status` shows what is restarted",
            target.name
        ));
        Ok(())
    })
}
