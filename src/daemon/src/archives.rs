//! Archives in our own keeping: copies of what callers hand over, and what earlier transactions kept.
//!
//! Invariants: a caller's file is copied from its descriptor once and named by its content; no caller's path is
//! ever opened; a file here is never changed; a copy has its name only when its request is on record. The worker keeps
//! archives here too, and names them in `by-name/`; an archive that was rebuilt never gets a name, so that nobody
//! takes it for the package's own.

mod taken;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backstep_core::{ArchiveSource, Digest, ErrorCode, Failure, LocalArchive, PackageId, Version};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statvfs::statvfs;
use sha2::{Digest as _, Sha256};

use taken::Copying;
pub use taken::Taken;

/// How long copying a request's archives may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How the names of copies end that belong to no request yet.
const UNNAMED: &str = ".tmp";

/// The folder of archives.
#[derive(Debug, Clone)]
pub struct Archives {
    dir: PathBuf,
    /// Bytes of all archives of one user's waiting requests at most.
    limit: u64,
    copying: Arc<Copying>,
}

impl Archives {
    /// The archives below a state directory; makes the folders, and removes copies that a crash left without a request.
    /// One user's waiting requests may bring `limit` bytes.
    pub fn open(state_dir: &Path, limit: u64) -> io::Result<Self> {
        let dir = state_dir.join("archives");
        crate::attempts::make_dir(&dir)?;
        crate::attempts::make_dir(&dir.join("by-name"))?;
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(UNNAMED) {
                fs::remove_file(path)?;
            }
        }
        Ok(Self { dir, limit, copying: Arc::default() })
    }

    /// Copies a caller's archives, beside everything else: a descriptor may come from a file system that never answers.
    /// Nothing is copied when it would be too much: with what the user's requests that wait have brought (`waiting`
    /// bytes), or for the file system, of whose free space at most half is taken.
    pub async fn take_all(&self, uid: u32, waiting: u64, descriptors: Vec<OwnedFd>) -> Result<Taken, Failure> {
        let sizes = descriptors.iter().map(size).collect::<Result<Vec<u64>, Failure>>()?;
        let bytes = sizes.iter().fold(0_u64, |sum, size| sum.saturating_add(*size));
        let place = self.copying.begin(uid, bytes)?;
        let all = waiting.saturating_add(place.bytes_of_user());
        if all > self.limit {
            let text = format!("archives of {all} bytes in this user's waiting requests, {} at most", self.limit);
            return Err(Failure::new(ErrorCode::RequestTooLarge, text));
        }
        self.check_space(bytes)?;
        let archives = self.clone();
        let copying = tokio::task::spawn_blocking(move || {
            let mut taken = Taken::new(archives, place);
            for (descriptor, size) in descriptors.into_iter().zip(sizes) {
                taken.copy(descriptor, size)?;
            }
            Ok(taken)
        });
        match tokio::time::timeout(PATIENCE, copying).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(error)) => Err(Failure::new(ErrorCode::Internal, format!("copying the archives failed: {error}"))),
            Err(_) => Err(invalid("its file system does not answer")),
        }
    }

    fn check_space(&self, bytes: u64) -> Result<(), Failure> {
        let room = self.room()?;
        if bytes <= room {
            return Ok(());
        }
        let free = room.saturating_mul(2);
        Err(Failure::new(ErrorCode::DiskFull, format!("no space for copies of archives of {bytes} bytes: {free} bytes are free")))
    }

    /// Copies a caller's archive under a name that means nothing. The bytes that are copied here are the ones that are
    /// shown, authorised and used.
    fn copy(&self, descriptor: OwnedFd, size: u64) -> Result<(PathBuf, LocalArchive), Failure> {
        let tmp = self.dir.join(format!(".{}{UNNAMED}", uuid::Uuid::now_v7()));
        let copied = Self::copy_by(&File::from(descriptor), size, &tmp).inspect_err(|_| drop(fs::remove_file(&tmp)));
        let archive = copied.map_err(|error| match error.raw_os_error() {
            Some(nix::libc::ENOSPC | nix::libc::EDQUOT) => Failure::new(ErrorCode::DiskFull, "no space for a copy of the archive"),
            _ => invalid(&error.to_string()),
        })?;
        Ok((tmp, archive))
    }

    fn copy_by(file: &File, expected: u64, tmp: &Path) -> io::Result<LocalArchive> {
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
            if size > expected {
                break;
            }
            hash.update(&buffer[..read]);
            out.write_all(&buffer[..read])?;
        }
        if size != expected {
            return Err(io::Error::other("its size changed while it was copied"));
        }
        out.sync_all()?;
        Ok(LocalArchive { sha256: Digest(hash.finalize().into()), size })
    }

    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// Keeps an archive that `write` makes, durably, by its content. One that is like it may be there already.
    ///
    /// CRASH: a copy without a name is removed at the next start; one with a name goes when room is needed.
    pub fn make<T>(&self, write: impl FnOnce(&mut File) -> Result<T, Failure>) -> Result<(LocalArchive, T), Failure> {
        let tmp = self.dir.join(format!(".{}{UNNAMED}", uuid::Uuid::now_v7()));
        self.make_by(&tmp, write).inspect_err(|_| drop(fs::remove_file(&tmp)))
    }

    fn make_by<T>(&self, tmp: &Path, write: impl FnOnce(&mut File) -> Result<T, Failure>) -> Result<(LocalArchive, T), Failure> {
        let error = |error: io::Error| crate::attempts::failure(tmp, &error);
        let mut out = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(tmp).map_err(error)?;
        let answer = write(&mut out)?;
        out.sync_all().and_then(|()| out.rewind()).map_err(error)?;
        let mut hash = Sha256::new();
        let size = io::copy(&mut out, &mut HashWriter(&mut hash)).map_err(error)?;
        let sha256 = Digest(hash.finalize().into());
        fs::rename(tmp, self.path(&sha256)).and_then(|()| File::open(&self.dir)?.sync_all()).map_err(error)?;
        Ok((LocalArchive { sha256, size }, answer))
    }

    /// How many bytes may be written: half of what is free.
    pub fn room(&self) -> Result<u64, Failure> {
        let error = |errno: nix::Error| Failure::new(ErrorCode::StoreFailed, format!("cannot see how much space is free: {errno}"));
        let system = statvfs(&self.dir).map_err(error)?;
        Ok(system.blocks_available().saturating_mul(system.fragment_size()) / 2)
    }

    /// Opens archives that were made again from undo material.
    pub fn open_rebuilt(&self, archives: &[LocalArchive]) -> Result<Vec<(ArchiveSource, Digest, u64, File)>, Failure> {
        let opened = |archive: &LocalArchive| {
            let path = self.path(&archive.sha256);
            let file = File::open(&path).map_err(|error| crate::attempts::failure(&path, &error))?;
            Ok((ArchiveSource::Rebuilt, archive.sha256, archive.size, file))
        };
        archives.iter().map(opened).collect()
    }

    /// Whether a version's archive was kept by an earlier transaction.
    #[must_use]
    pub fn has_kept(&self, package: &PackageId, version: &Version) -> bool {
        self.kept(package, version).is_some()
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

/// Hashes what is written to it.
struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn digest_of(path: &Path) -> Option<Digest> {
    path.file_name()?.to_str()?.strip_suffix(".deb")?.parse().ok()
}

/// The size of a regular file. One that has none on record, as those that the kernel makes up, is no archive.
fn size(descriptor: &OwnedFd) -> Result<u64, Failure> {
    let stat = fstat(descriptor).map_err(|errno| invalid(&errno.to_string()))?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(invalid("it is no regular file"));
    }
    match u64::try_from(stat.st_size) {
        Ok(0) | Err(_) => Err(invalid("it is empty")),
        Ok(size) => Ok(size),
    }
}

fn invalid(why: &str) -> Failure {
    Failure::new(ErrorCode::ArchiveInvalid, format!("cannot take the archive: {why}"))
}

#[cfg(test)]
mod tests;
