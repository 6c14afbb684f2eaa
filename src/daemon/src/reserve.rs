//! The reserve: disk space kept for the end of what was begun, for the time when there is no other left.
//!
//! Invariants: it is there before a transaction is taken; it is given up only for the record of one that was taken, by
//! the daemon or by a worker (`backstep_worker::journal`); without it nothing new is taken until there is space again.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};

/// Enough for the last events of every open transaction, the log of SQLite that they go through, and journals.
const BYTES: i64 = 8 << 20;

/// The file.
#[derive(Debug, Clone)]
pub struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// The reserve of a state directory.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        Self { path: state_dir.join("reserve") }
    }

    /// Makes it when it is not there.
    pub fn keep(&self) -> io::Result<()> {
        if self.path.exists() {
            return Ok(());
        }
        // CRASH: a draft that was not renamed is made again; its space is not lost twice.
        let draft = self.path.with_extension("new");
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        let made =
            fallocate(&file, FallocateFlags::empty(), 0, BYTES).map_err(io::Error::from).and_then(|()| fs::rename(&draft, &self.path));
        made.inspect_err(|_| drop(fs::remove_file(&draft)))
    }

    /// Gives it up; answers whether there was one.
    #[must_use]
    pub fn give_up(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn it_takes_real_space_and_is_given_up_once() {
        let dir = tempfile::tempdir().expect("tempdir");
        let reserve = Reserve::of(dir.path());
        assert!(!reserve.give_up());
        reserve.keep().expect("keep");
        reserve.keep().expect("again");
        let blocks = fs::metadata(dir.path().join("reserve")).expect("file").blocks();
        assert!(blocks * 512 >= BYTES.unsigned_abs(), "{blocks}");
        assert_eq!(fs::read_dir(dir.path()).expect("folder").count(), 1);
        assert!(reserve.give_up() && !reserve.give_up());
    }
}
