//! `/etc/apt/preferences.d/backstep.pref`: what is ignored, for apt and for our own planner, which reads what apt reads.
//!
//! Invariants: the record is the truth and the file a view of it, written whole and only when it differs; it is there
//! exactly while something is ignored. Whoever comes to the daemon brings it up to date; a timer comes every hour while
//! the file is there, so that an end is honoured although no daemon runs.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use backstep_core::{ErrorCode, Failure};

use crate::service::Service;

/// Where the file is on a system.
pub const PATH: &str = "/etc/apt/preferences.d/backstep.pref";

/// The file.
#[derive(Debug, Clone)]
pub struct PreferencesFile {
    path: Option<PathBuf>,
}

impl PreferencesFile {
    /// The file at this path; `None` writes nothing.
    #[must_use]
    pub const fn new(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// Makes the file say this; without a text there is none.
    pub fn write(&self, text: &str) -> Result<(), Failure> {
        let Some(path) = &self.path else { return Ok(()) };
        let done = if text.is_empty() { remove(path) } else { replace(path, text) };
        done.map_err(|error| {
            let code = match error.kind() {
                ErrorKind::StorageFull => ErrorCode::DiskFull,
                ErrorKind::ReadOnlyFilesystem => ErrorCode::DiskReadOnly,
                _ => ErrorCode::StoreFailed,
            };
            Failure::new(code, format!("cannot tell apt what is ignored: cannot write {}: {error}", path.display()))
        })
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(missing) if missing.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Written beside and renamed: apt reads the old file or the new one. apt passes over names that begin with a dot.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    let beside = path.with_file_name(".backstep.pref.new");
    let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o644).open(&beside)?;
    // The daemon's umask lets nobody else read; this file is for everybody.
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Brings the file up to date with the record and the time.
pub fn refresh(service: &Service) -> Result<(), Failure> {
    let preferences = service.read(backstep_engine::Manager::preferences)?;
    service.preferences.write(&preferences.text)
}

/// The same where nobody waits for the answer; apt may be told late, but nothing else fails for it.
pub fn refresh_or_log(service: &Service) {
    if let Err(failure) = refresh(service) {
        tracing::error!("{failure}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_there_while_it_says_something_and_for_everybody() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("backstep.pref");
        let file = PreferencesFile::new(Some(path.clone()));
        file.write("").expect("nothing to do");
        file.write("one\n").expect("write");
        let first = fs::metadata(&path).expect("file");
        assert_eq!(first.permissions().mode() & 0o777, 0o644);
        file.write("one\n").expect("the same");
        let inode = |meta: &fs::Metadata| std::os::unix::fs::MetadataExt::ino(meta);
        assert_eq!(inode(&fs::metadata(&path).expect("file")), inode(&first), "the same text is not written again");
        file.write("two\n").expect("write");
        assert_eq!(fs::read_to_string(&path).expect("read"), "two\n");
        file.write("").expect("remove");
        assert_eq!(fs::read_dir(folder.path()).expect("list").count(), 0, "nothing is left beside it");
        let nowhere = PreferencesFile::new(Some(folder.path().join("no/such.pref")));
        assert!(nowhere.write("x").expect_err("no folder").text.starts_with("cannot tell apt"));
    }
}
