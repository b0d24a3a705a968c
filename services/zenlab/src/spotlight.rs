//! `zenlab spotlight`: which architectures the swarm loads harder than the others.

use serde_json::{Value, json};

use crate::failure::{Failure, OK, Outcome};
use crate::output;
use crate::target;

const PATH: &str = "/api/v1/plan";

/// What `spotlight` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Architectures, separated by commas
    #[arg(value_delimiter = ',', required = true)]
    names: Vec<String>,
    /// Questions per second for each of them
    #[arg(long)]
    rate: Option<f64>,
    /// Questions per second for each of the others
    #[arg(long)]
    idle: Option<f64>,
}

/// Changes the swarm's plan.
pub fn run(args: &Args) -> Outcome {
    let names: Vec<&str> = target::architectures(&args.names)?.iter().map(|one| one.name).collect();
    let api = target::single("swarm")?.api();
    let etag = api.get(PATH).map_err(Failure::from)?.etag.unwrap_or_else(|| "*".to_owned());
    let plan = api.patch(PATH, &etag, &patch(&names, args))?.json();
    output::say(&format!("spotlight on {}, plan {}", names.join(", "), plan["generation"]));
    Ok(OK)
}

fn patch(names: &[&str], args: &Args) -> Value {
    let mut patch = json!({"spotlight": names});
    if let Some(rate) = args.rate {
        patch["rate"] = json!(rate);
    }
    if let Some(idle) = args.idle {
        patch["idle"] = json!(idle);
    }
    patch
}
