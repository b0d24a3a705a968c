//! `zenlab health URL`: a health check for images that have no shell.

use std::time::Duration;

use crate::api::{Api, Trouble};
use crate::failure::{FAILED, Failure, OK, Outcome};
use crate::output;

/// Shorter than any health check's own timeout in the deployment, so that the reason is heard.
const PATIENCE: Duration = Duration::from_secs(2);

/// What `health` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is asked, such as `http://127.0.0.1:9060/readyz`
    url: String,
}

/// Says nothing when all is well, else why not.
pub fn run(args: &Args) -> Outcome {
    if !args.url.starts_with("http://") {
        return Err(Failure::usage(format!("{:?} is no URL that can be asked: it must begin with http://", args.url)));
    }
    match Api::with_patience(&args.url, PATIENCE).get("") {
        Ok(_) => Ok(OK),
        Err(Trouble::Unreachable(sentence) | Trouble::Refused(_, sentence)) => {
            output::complain(&sentence);
            Ok(FAILED)
        }
    }
}
