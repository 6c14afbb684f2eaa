//! A record put together again: from the live one or a backup, as it was at a moment, verified before it is given away.
//!
//! Absent on purpose: putting it in the place of the live one. Root reads what came and does that.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use backstep_core::{ErrorCode, Failure};
use backstep_store::{Reader, StoreError, Until, Verified, VerifyError, adopt_copy};
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use crate::audit;
use crate::outlet::{Outlet, Words, opened};

/// A record that was given away.
#[derive(Debug, PartialEq, Eq)]
pub struct Restored {
    /// What was verified in it.
    pub verified: Verified,
    /// Bytes of the file.
    pub size: u64,
}

/// Writes a record with everything up to a moment to a pipe, from the live one or from the backup.
///
/// It is made and verified in a folder beside the record first, where only root can look; nothing is sent of one that does
/// not verify.
pub fn restore(store: &Path, backup: Option<File>, until: Option<Until>, outlet: Outlet) -> Result<Restored, Failure> {
    let bench = Bench::make(store)?;
    let source = match backup {
        None => store.to_owned(),
        Some(backup) => bench.taken(backup)?,
    };
    let made = bench.0.join("new.db");
    let reader = open(&source)?;
    let told = match until {
        None => reader.back_up(&made),
        Some(until) => reader.back_up_until(until, &made).map(drop),
    };
    told.map_err(|error| Failure::from(&error))?;
    let verified = open(&made)?.verify_file(|_, _| true).map_err(|error| match error {
        VerifyError::Broken(broken) => Failure::new(ErrorCode::AuditBroken, broken.to_string()),
        VerifyError::Store(error) => Failure::from(&error),
    })?;
    Ok(Restored { verified, size: audit::send(&made, outlet)? })
}

/// The descriptor of a backup: a plain file that can be read.
pub fn plain_file(fd: OwnedFd) -> Result<File, Failure> {
    opened(
        fd,
        SFlag::S_IFREG,
        OFlag::O_WRONLY,
        &Words {
            unusable: "the backup's descriptor cannot be used",
            of_another_kind: "the backup is no plain file",
            opened_otherwise: "the backup cannot be read",
        },
    )
}

/// A folder that goes when this goes. CRASH: what is left of it is removed at the daemon's next start.
struct Bench(PathBuf);

impl Bench {
    fn make(store: &Path) -> Result<Self, Failure> {
        let path = store.with_extension(format!("restore-{}", uuid::Uuid::now_v7()));
        DirBuilder::new().mode(0o700).create(&path).map_err(|source| failed(&path, source))?;
        Ok(Self(path))
    }

    /// Copies a backup here, so that its own file is only read, and brings the copy to this program's schema.
    fn taken(&self, mut backup: File) -> Result<PathBuf, Failure> {
        let path = self.0.join("backup.db");
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(|source| failed(&path, source))?;
        io::copy(&mut backup, &mut copy).map_err(|source| failed(&path, source))?;
        adopt_copy(&path).map_err(|error| Failure::from(&error))?;
        Ok(path)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

fn open(path: &Path) -> Result<Reader, Failure> {
    Reader::open(path).map_err(|error| Failure::from(&error))
}

fn failed(path: &Path, source: io::Error) -> Failure {
    Failure::from(&StoreError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_a_plain_file_that_can_be_read() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("file");
        let written = File::create(&path).expect("file");
        assert!(plain_file(File::open(&path).expect("file").into()).is_ok());
        for other in [written, File::open(folder.path()).expect("folder"), File::open("/dev/null").expect("device")] {
            assert_eq!(plain_file(other.into()).expect_err("refused").code, ErrorCode::RequestMalformed);
        }
        let (pipe, _writer) = io::pipe().expect("pipe");
        assert!(plain_file(OwnedFd::from(pipe)).is_err());
    }
}
