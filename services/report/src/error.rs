//! Why a document cannot be read, drawn or written: one sentence each.

use std::fmt;
use std::io;
use std::path::Path;

/// One sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// With this sentence.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// A file could not be written.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self(format!("{} cannot be written: {error}", path.display()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
