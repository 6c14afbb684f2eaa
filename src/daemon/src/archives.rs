//! Archives in our own keeping: copies of what callers hand over, and what earlier transactions kept.
//!
//! Invariants: a caller's file is copied from its descriptor once and named by its content; no caller's path is
//! ever opened; a file here is never changed. The worker keeps archives here too, and names them in `by-name/`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use backstep_core::{ArchiveSource, Digest, ErrorCode, Failure, LocalArchive, PackageId, Version, limits};
use nix::sys::stat::{SFlag, fstat};
use sha2::{Digest as _, Sha256};

/// The folder of archives.
#[derive(Debug, Clone)]
pub struct Archives {
    dir: PathBuf,
}

impl Archives {
    /// The archives below a state directory; makes the folders.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let dir = state_dir.join("archives");
        crate::attempts::make_dir(&dir)?;
        crate::attempts::make_dir(&dir.join("by-name"))?;
        Ok(Self { dir })
    }

    /// Copies a caller's archive. The bytes that are copied here are the ones that are shown, authorised and used.
    pub fn take(&self, descriptor: OwnedFd) -> Result<LocalArchive, Failure> {
        let stat = fstat(&descriptor).map_err(|errno| invalid(&errno.to_string()))?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(invalid("it is no regular file"));
        }
        self.copy(File::from(descriptor)).map_err(|error| match error.raw_os_error() {
            Some(nix::libc::ENOSPC | nix::libc::EDQUOT) => Failure::new(ErrorCode::DiskFull, "no space for a copy of the archive"),
            _ => invalid(&error.to_string()),
        })
    }

    fn copy(&self, file: File) -> io::Result<LocalArchive> {
        use std::os::unix::fs::FileExt;
        let tmp = self.dir.join(format!(".{}.tmp", uuid::Uuid::now_v7()));
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tmp)?;
        let mut hash = Sha256::new();
        let (mut size, mut buffer) = (0_u64, vec![0_u8; 1 << 16]);
        loop {
            // Read by position: the caller shares the descriptor's own.
            let read = file.read_at(&mut buffer, size)?;
            if read == 0 {
                break;
            }
            size += read as u64;
            if size > limits::MAX_ARCHIVE_BYTES {
                fs::remove_file(&tmp)?;
                return Err(io::Error::other("it is too large"));
            }
            hash.update(&buffer[..read]);
            out.write_all(&buffer[..read])?;
        }
        out.sync_all()?;
        let sha256 = Digest(hash.finalize().into());
        fs::rename(&tmp, self.path(&sha256))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(LocalArchive { sha256, size })
    }

    /// Opens archives handed over with a request.
    pub fn open_local(&self, archives: &[LocalArchive]) -> Result<Vec<(ArchiveSource, Digest, u64, File)>, Failure> {
        let open = |archive: &LocalArchive| {
            let file = File::open(self.path(&archive.sha256)).map_err(|error| invalid(&error.to_string()))?;
            Ok((ArchiveSource::Local, archive.sha256, archive.size, file))
        };
        archives.iter().map(open).collect()
    }

    /// Opens those of the wanted archives that earlier transactions kept.
    pub fn open_kept(&self, wanted: &[(PackageId, Version)]) -> Vec<(ArchiveSource, Digest, u64, File)> {
        wanted.iter().filter_map(|(package, version)| self.kept(package, version)).collect()
    }

    fn kept(&self, package: &PackageId, version: &Version) -> Option<(ArchiveSource, Digest, u64, File)> {
        // As apt names archives: a colon would be a device on other file systems, so it is quoted.
        let quoted = version.as_str().replace(':', "%3a");
        let link = self.dir.join("by-name").join(format!("{}_{quoted}_{}.deb", package.name, package.arch));
        let target = fs::read_link(link).ok()?;
        let sha256: Digest = target.file_name()?.to_str()?.strip_suffix(".deb")?.parse().ok()?;
        let file = File::open(self.path(&sha256)).ok()?;
        let size = file.metadata().ok()?.len();
        Some((ArchiveSource::Kept, sha256, size, file))
    }

    fn path(&self, sha256: &Digest) -> PathBuf {
        self.dir.join(format!("{sha256}.deb"))
    }
}

fn invalid(why: &str) -> Failure {
    Failure::new(ErrorCode::ArchiveInvalid, format!("cannot take the archive: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn an_archive_is_named_by_its_content_and_copied_from_its_start() {
        let dir = tempfile::tempdir().expect("tempdir");
        let archives = Archives::open(dir.path()).expect("open");
        let source = dir.path().join("x.deb");
        fs::write(&source, b"content").expect("write");
        let mut file = File::open(&source).expect("open");
        file.read_exact(&mut [0; 3]).expect("read");
        let taken = archives.take(file.into()).expect("take");
        assert_eq!(taken.size, 7);
        assert_eq!(taken.sha256, backstep_wire::digest(b"content"));
        // What the caller does to its file afterwards changes nothing here.
        fs::write(&source, b"changed").expect("write");
        let opened = archives.open_local(&[taken]).expect("open").remove(0).3;
        assert_eq!(io::read_to_string(opened).expect("read"), "content");
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let dir = tempfile::tempdir().expect("tempdir");
        let archives = Archives::open(dir.path()).expect("open");
        for path in ["/dev/zero", "/"] {
            let file = File::open(path).expect("open");
            assert_eq!(archives.take(file.into()).expect_err("refused").code, ErrorCode::ArchiveInvalid, "{path}");
        }
    }
}
