//! `zenlab token`: the bearer token that changes over the admin API need.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, OK, Outcome};
use crate::output;

/// The environment variable that holds the path of the token file.
pub const VARIABLE: &str = "ZENLAB_TOKEN_FILE";

/// Random bytes in a token; it is written as twice as many hexadecimal digits.
const BYTES: usize = 32;

/// What `token` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the token is [default: `$ZENLAB_TOKEN_FILE`, else `~/.config/zenlab/token`]
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Print the token instead of making one
    #[arg(long)]
    show: bool,
}

/// Makes the token if there is none and prints its path, or prints the token.
pub fn run(args: &Args) -> Outcome {
    let path = args.file.clone().or_else(default_path).ok_or_else(|| {
        Failure::usage(format!("where the token is cannot be guessed without HOME: say --file PATH or set {VARIABLE}"))
    })?;
    if args.show {
        output::say(&read(&path)?);
    } else if create(&path)? {
        output::say(&path.display().to_string());
    } else {
        read(&path)?;
    }
    Ok(OK)
}

/// The token for the admin API, if this user has one. A file that was named and cannot be read is a failure.
pub fn of_user() -> Result<Option<String>, Failure> {
    match (std::env::var_os(VARIABLE), default_path()) {
        (Some(_), Some(path)) => read(&path).map(Some),
        (None, Some(path)) if path.exists() => read(&path).map(Some),
        _ => Ok(None),
    }
}

fn default_path() -> Option<PathBuf> {
    let in_home = || std::env::home_dir().map(|home| home.join(".config/zenlab/token"));
    std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from).or_else(in_home)
}

/// Reads a token; a file that holds none is a failure.
fn read(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::runtime(format!("there is no token at {}: `zenlab token` makes one", path.display()))
        }
        _ => Failure::runtime(format!("the token file {} cannot be read: {error}", path.display())),
    })?;
    let token = text.trim();
    if token.len() < BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let sentence = format!("{} holds no token of at least {BYTES} printable characters", path.display());
        return Err(Failure::runtime(sentence));
    }
    Ok(token.to_owned())
}

/// Whether a token had to be made.
fn create(path: &Path) -> Result<bool, Failure> {
    let failed = |error: io::Error| Failure::runtime(format!("the token {} cannot be made: {error}", path.display()));
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    }
    let token = random_hex().map_err(failed)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o400).open(path) {
        Ok(mut file) => {
            writeln!(file, "{token}").map_err(|error| {
                // Half a token would stay for ever, since an existing file is never written.
                let _already_failing = fs::remove_file(path);
                failed(error)
            })?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn random_hex() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    Ok(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}
