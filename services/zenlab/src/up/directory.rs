//! The run directory: Unix sockets and the logs of the children.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A directory of our own; removed with all that is in it when this value goes.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Makes a new one below the system's place for temporary files.
    pub fn create() -> Result<Self, Failure> {
        let base = std::env::temp_dir();
        // A directory of an earlier process with our number may have stayed behind.
        for attempt in 0..100 {
            let path = base.join(format!("zenlab-{}-{attempt}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(Failure::runtime(format!("the directory {} cannot be made: {error}", path.display())));
                }
            }
        }
        Err(Failure::runtime(format!("{} is full of old run directories, zenlab-*: remove them", base.display())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nobody is left to be told; the system cleans its temporary files itself.
        let _best_effort = fs::remove_dir_all(&self.0);
    }
}
