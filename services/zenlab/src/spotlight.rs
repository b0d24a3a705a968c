//! `zenlab spotlight`: which architectures the swarm loads harder than the others.

use serde_json::{Value, json};

use crate::failure::{Failure, OK, Outcome};
use crate::measure::units;
use crate::output;
use crate::target;

const PATH: &str = "/api/v1/plan";

/// What `spotlight` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Architectures, separated by commas [default: everyone, one after the other]
    #[arg(value_delimiter = ',')]
    names: Vec<String>,
    /// One after the other instead of all the time
    #[arg(long)]
    turn: bool,
    /// Nobody
    #[arg(long, conflicts_with_all = ["names", "turn"])]
    off: bool,
    /// Questions a second for each that is loaded
    #[arg(long, value_name = "N", value_parser = units::load, allow_hyphen_values = true)]
    rate: Option<f64>,
    /// Silent connections held open beside, for each that is loaded
    #[arg(long, value_name = "N", value_parser = units::crowd, allow_hyphen_values = true)]
    idle: Option<u32>,
}

/// Changes the swarm's plan.
pub fn run(args: &Args) -> Outcome {
    let wanted = if args.names.is_empty() { Vec::new() } else { target::members(&args.names)? };
    let names: Vec<&str> = wanted.iter().map(|member| member.name).collect();
    let api = target::single("swarm")?.api();
    let etag = api.get(PATH).map_err(Failure::from)?.etag.unwrap_or_else(|| "*".to_owned());
    api.patch(PATH, &etag, &patch(&names, args))?;
    output::say(&format!("spotlight: {}", describe(&names, mode(&names, args))));
    Ok(OK)
}

/// The mode as the plan names it.
const fn mode(names: &[&str], args: &Args) -> &'static str {
    match (args.off, args.turn || names.is_empty()) {
        (true, _) => "off",
        (false, true) => "turn",
        (false, false) => "fixed",
    }
}

fn describe(names: &[&str], mode: &str) -> String {
    let who = if names.is_empty() { "everyone".to_owned() } else { names.join(", ") };
    match mode {
        "off" => "nobody".to_owned(),
        "turn" => format!("{who}, one after the other"),
        _ => who,
    }
}

fn patch(names: &[&str], args: &Args) -> Value {
    let mut spotlight = json!({"targets": names, "mode": mode(names, args)});
    if let Some(rate) = args.rate {
        spotlight["rate"] = json!(rate);
    }
    if let Some(idle) = args.idle {
        spotlight["idle"] = json!(idle);
    }
    json!({"spotlight": spotlight})
}
