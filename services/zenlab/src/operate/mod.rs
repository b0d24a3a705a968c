//! The operator's hands: commands that ask or order running servers over their admin APIs.

pub mod config;
pub mod crash;
pub mod drain;
pub mod events;
pub mod orders;
pub mod shutdown;
pub mod status;

use std::time::Duration;

use crate::api::{Api, Trouble};
use crate::failure::{Failure, OK, Outcome};
use crate::output;
use crate::target::{self, Target};

/// Long enough for a busy server on this machine or network to say that it is there.
const KNOCK: Duration = Duration::from_secs(1);

/// Those of `text` that can be reached. Who is named alone is taken to be there: the order itself will tell.
///
/// Of `all`, those that cannot be reached are named on standard error; a fleet of which nobody is there is a failure.
pub fn present(text: &str) -> Result<Vec<Target>, Failure> {
    let targets = target::resolve(text)?;
    if text != "all" {
        return Ok(targets);
    }
    let (there, gone): (Vec<Target>, Vec<Target>) = targets.into_iter().partition(is_there);
    let names: Vec<&str> = gone.iter().map(|target| target.name.as_str()).collect();
    if there.is_empty() {
        return Err(Failure::runtime(target::NOBODY));
    }
    if !gone.is_empty() {
        output::complain(&format!("not running: {}", names.join(", ")));
    }
    Ok(there)
}

fn is_there(target: &Target) -> bool {
    !matches!(Api::with_patience(&target.url, KNOCK).get("/livez"), Err(Trouble::Unreachable(_)))
}

/// Does `act` to everyone present in `text`; goes on after a failure, and fails with the worst exit code.
pub fn each(text: &str, act: impl Fn(&Target) -> Result<(), Failure>) -> Outcome {
    let mut code = OK;
    for target in present(text)? {
        if let Err(failure) = act(&target) {
            code = code.max(report(&target, &failure));
        }
    }
    Ok(code)
}

/// Says what went wrong with a target; gives the exit code.
fn report(target: &Target, failure: &Failure) -> u8 {
    let sentence = failure.to_string();
    // Who is known by a URL only is named in the sentence.
    let is_named = sentence.starts_with(&target.name);
    output::complain(&if is_named { sentence } else { format!("{}: {sentence}", target.name) });
    failure.code()
}
