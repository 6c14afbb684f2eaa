//! Archives in our own keeping: copies of what callers hand over, and what earlier transactions kept.
//!
//! Invariants: a caller's file is copied from its descriptor once and named by its content; no caller's path is
//! ever opened; a file here is never changed. The worker keeps archives here too, and names them in `by-name/`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backstep_core::{ArchiveSource, Digest, ErrorCode, Failure, LocalArchive, PackageId, Version};
use nix::sys::stat::{SFlag, fstat};
use sha2::{Digest as _, Sha256};

/// How long copying a request's archives may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The folder of archives.
#[derive(Debug, Clone)]
pub struct Archives {
    dir: PathBuf,
    /// Bytes of all archives of one request at most.
    limit: u64,
}

impl Archives {
    /// The archives below a state directory; makes the folders. One request may bring `limit` bytes.
    pub fn open(state_dir: &Path, limit: u64) -> io::Result<Self> {
        let dir = state_dir.join("archives");
        crate::attempts::make_dir(&dir)?;
        crate::attempts::make_dir(&dir.join("by-name"))?;
        Ok(Self { dir, limit })
    }

    /// Copies callers' archives, beside everything else: a descriptor may come from a file system that never answers.
    pub async fn take_all(&self, descriptors: Vec<OwnedFd>) -> Result<Vec<LocalArchive>, Failure> {
        let archives = self.clone();
        let copying = tokio::task::spawn_blocking(move || {
            let mut taken: Vec<LocalArchive> = Vec::new();
            for descriptor in descriptors {
                taken.push(archives.take(descriptor)?);
                let bytes: u64 = taken.iter().map(|archive| archive.size).sum();
                if bytes > archives.limit {
                    return Err(Failure::new(ErrorCode::RequestTooLarge, format!("archives of {bytes} bytes, {} at most", archives.limit)));
                }
            }
            Ok(taken)
        });
        match tokio::time::timeout(PATIENCE, copying).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(error)) => Err(Failure::new(ErrorCode::Internal, format!("copying the archives failed: {error}"))),
            Err(_) => Err(invalid("its file system does not answer")),
        }
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
        let tmp = self.dir.join(format!(".{}.tmp", uuid::Uuid::now_v7()));
        self.copy_by(&file, &tmp).inspect_err(|_| drop(fs::remove_file(&tmp)))
    }

    fn copy_by(&self, file: &File, tmp: &Path) -> io::Result<LocalArchive> {
        use std::os::unix::fs::FileExt;
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(tmp)?;
        let mut hash = Sha256::new();
        let (mut size, mut buffer) = (0_u64, vec![0_u8; 1 << 16]);
        loop {
            // Read by position: the caller shares the descriptor's own.
            let read = file.read_at(&mut buffer, size)?;
            if read == 0 {
                break;
            }
            size += read as u64;
            if size > self.limit {
                return Err(io::Error::other("it is too large"));
            }
            hash.update(&buffer[..read]);
            out.write_all(&buffer[..read])?;
        }
        out.sync_all()?;
        let sha256 = Digest(hash.finalize().into());
        fs::rename(tmp, self.path(&sha256))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(LocalArchive { sha256, size })
    }

    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.dir
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
        let sha256 = digest_of(&fs::read_link(link).ok()?)?;
        let file = File::open(self.path(&sha256)).ok()?;
        let size = file.metadata().ok()?.len();
        Some((ArchiveSource::Kept, sha256, size, file))
    }

    /// Removes copies that no other request refers to and no transaction has used.
    pub fn forget(&self, archives: &[LocalArchive], wanted: &[LocalArchive]) -> io::Result<()> {
        let named = self.named()?;
        for archive in archives.iter().filter(|archive| !wanted.contains(archive) && !named.contains(&archive.sha256)) {
            match fs::remove_file(self.path(&archive.sha256)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// What the worker has used, it has named.
    fn named(&self) -> io::Result<Vec<Digest>> {
        let target = |entry: fs::DirEntry| digest_of(&fs::read_link(entry.path()).ok()?);
        let entries = fs::read_dir(self.dir.join("by-name"))?.collect::<io::Result<Vec<_>>>()?;
        Ok(entries.into_iter().filter_map(target).collect())
    }

    fn path(&self, sha256: &Digest) -> PathBuf {
        self.dir.join(format!("{sha256}.deb"))
    }
}

fn digest_of(path: &Path) -> Option<Digest> {
    path.file_name()?.to_str()?.strip_suffix(".deb")?.parse().ok()
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
        let archives = Archives::open(dir.path(), 1 << 20).expect("open");
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
        let archives = Archives::open(dir.path(), 1 << 20).expect("open");
        for path in ["/dev/zero", "/"] {
            let file = File::open(path).expect("open");
            assert_eq!(archives.take(file.into()).expect_err("refused").code, ErrorCode::ArchiveInvalid, "{path}");
        }
    }

    #[test]
    fn copies_that_nobody_wants_go_and_used_ones_stay() {
        let dir = tempfile::tempdir().expect("tempdir");
        let archives = Archives::open(dir.path(), 1 << 20).expect("open");
        let source = dir.path().join("x.deb");
        let take = |text: &str| {
            fs::write(&source, text).expect("write");
            archives.take(File::open(&source).expect("open").into()).expect("take")
        };
        let (unwanted, wanted, used) = (take("a"), take("b"), take("c"));
        let link = dir.path().join("archives/by-name/x_1_all.deb");
        std::os::unix::fs::symlink(format!("../{}.deb", used.sha256), link).expect("link");
        archives.forget(&[unwanted.clone(), wanted.clone(), used.clone()], std::slice::from_ref(&wanted)).expect("forget");
        let left = |archive: &LocalArchive| archives.path(&archive.sha256).exists();
        assert_eq!((left(&unwanted), left(&wanted), left(&used)), (false, true, true));
    }
}
