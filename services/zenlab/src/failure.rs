//! How a command fails: one sentence and an exit code.

use std::fmt;

/// The exit code of a command that did its work, or why it could not.
pub type Outcome = Result<u8, Failure>;

/// Exit code: done.
pub const OK: u8 = 0;
/// Exit code: something went wrong at run time.
pub const FAILED: u8 = 1;
/// Exit code: what was asked for makes no sense.
pub const USAGE: u8 = 2;

/// Exit code: a limit that was asked for is not kept.
pub const LIMIT: u8 = 3;
/// Exit code: too much noise to say anything, or a check of the run itself failed.
pub const INCONCLUSIVE: u8 = 4;
/// Exit code: ended by Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// One sentence for the person at the terminal, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    code: u8,
    sentence: String,
}

impl Failure {
    /// Something that was right to ask for did not work.
    pub fn runtime(sentence: impl Into<String>) -> Self {
        Self { code: FAILED, sentence: sentence.into() }
    }

    /// The settings or the command line are wrong.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self { code: USAGE, sentence: sentence.into() }
    }

    /// Ctrl-C came before there was anything to show.
    pub fn interrupted(sentence: impl Into<String>) -> Self {
        Self { code: INTERRUPTED, sentence: sentence.into() }
    }

    /// What the program exits with.
    pub const fn code(&self) -> u8 {
        self.code
    }
}

impl From<report::Error> for Failure {
    fn from(error: report::Error) -> Self {
        Self::runtime(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}
