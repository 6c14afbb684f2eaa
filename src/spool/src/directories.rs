//! The spool's directories: private to their owner, made when they are missing.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use backstep_core::TransactionId;

use crate::error::SpoolError;

/// One of the spool's directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Documents being written; its content means nothing.
    Tmp,
    /// Requests that came as files.
    New,
    /// Documents of transactions that have not ended.
    Inflight,
    /// Documents of transactions that have ended.
    Done,
    /// Files that were no requests.
    Invalid,
}

impl Place {
    const ALL: [Self; 5] = [Self::Tmp, Self::New, Self::Inflight, Self::Done, Self::Invalid];

    const fn name(self) -> &'static str {
        match self {
            Self::Tmp => "tmp",
            Self::New => "new",
            Self::Inflight => "inflight",
            Self::Done => "done",
            Self::Invalid => "invalid",
        }
    }
}

/// The spool under one directory.
#[derive(Debug, Clone)]
pub struct Spool {
    root: PathBuf,
}

impl Spool {
    /// Opens the spool; makes `dir` (not its parents) and `tmp`, `new`, `inflight`, `done` and `invalid` in it
    /// with mode 0700, and tightens the mode of those that exist. A link in place of one is refused.
    pub fn open(dir: &Path) -> Result<Self, SpoolError> {
        let spool = Self { root: dir.to_owned() };
        make(dir)?;
        for place in Place::ALL {
            make(&spool.directory(place))?;
        }
        sync_directory(dir)?;
        Ok(spool)
    }

    pub(crate) fn directory(&self, place: Place) -> PathBuf {
        self.root.join(place.name())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn file(&self, place: Place, id: TransactionId) -> PathBuf {
        self.directory(place).join(format!("{id}.json"))
    }
}

fn make(path: &Path) -> Result<(), SpoolError> {
    let error = |source| SpoolError::new(path, source);
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(error(source)),
    }
    let metadata = std::fs::symlink_metadata(path).map_err(error)?;
    if !metadata.is_dir() {
        return Err(SpoolError::NotADirectory(path.to_owned()));
    }
    if metadata.permissions().mode() & 0o777 != 0o700 {
        std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(error)?;
    }
    Ok(())
}

/// Makes a directory's entries durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), SpoolError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|source| SpoolError::new(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_private_and_open_is_repeatable() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path().join("spool");
        Spool::open(&root).expect("open");
        std::fs::set_permissions(root.join("done"), Permissions::from_mode(0o755)).expect("chmod");
        Spool::open(&root).expect("again");
        for name in ["", "tmp", "new", "inflight", "done", "invalid"] {
            let mode = std::fs::metadata(root.join(name)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{name}");
        }
    }

    #[test]
    fn a_link_or_file_in_place_of_a_directory_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        std::os::unix::fs::symlink("/tmp", folder.path().join("done")).expect("link");
        assert!(matches!(Spool::open(folder.path()), Err(SpoolError::NotADirectory(path)) if path.ends_with("done")));
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("write");
        assert!(matches!(Spool::open(&file), Err(SpoolError::NotADirectory(_))));
    }
}
