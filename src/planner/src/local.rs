//! Archives handed over as descriptors, given the names that libapt wants to see.
//!
//! libapt only takes files whose names end in `.deb`. A link to the descriptor costs nothing; where it cannot be
//! opened again (the daemon's copies are root's), the bytes are copied to the private temporary folder. The
//! digests were made by the daemon when it took the bytes in, and are not made again.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use backstep_core::{ArchiveSource, Digest, ErrorCode, Failure};
use tempfile::TempDir;

use crate::Outcome;

/// One archive under a name of its own.
pub(crate) struct LocalArchive {
    /// Where libapt finds it; UTF-8 without colons.
    pub(crate) path: String,
    /// Handed over or kept.
    pub(crate) source: ArchiveSource,
    /// Of its bytes.
    pub(crate) sha256: Digest,
    /// Bytes.
    pub(crate) size: u64,
    /// Keeps a linked descriptor open; none after a copy, or for a file of apt's own.
    _descriptor: Option<File>,
}

/// All of them; their names go with the value.
pub(crate) struct LocalArchives {
    /// In the question's order, then apt's own.
    pub(crate) files: Vec<LocalArchive>,
    _folder: Option<TempDir>,
}

impl LocalArchives {
    /// Names them.
    pub(crate) fn place(listed: &[(ArchiveSource, Digest, u64)], descriptors: Vec<OwnedFd>) -> Outcome<Self> {
        if listed.len() != descriptors.len() {
            let text = format!("{} archives announced, {} descriptors came", listed.len(), descriptors.len());
            return Err(Failure::new(ErrorCode::Internal, text));
        }
        if listed.is_empty() {
            return Ok(Self { files: Vec::new(), _folder: None });
        }
        let folder = tempfile::tempdir().map_err(|e| cannot_place(&e))?;
        let mut files = Vec::new();
        for (number, (&(source, sha256, size), descriptor)) in listed.iter().zip(descriptors).enumerate() {
            let path = folder.path().join(format!("{number}.deb"));
            let descriptor = place(File::from(descriptor), &path).map_err(|e| cannot_place(&e))?;
            files.push(LocalArchive { path: path.to_string_lossy().into_owned(), source, sha256, size, _descriptor: descriptor });
        }
        Ok(Self { files, _folder: Some(folder) })
    }

    /// Adds an archive that lies in apt's own folder; nobody but root writes there.
    pub(crate) fn add_cached(&mut self, path: &Path, sha256: Digest, size: u64) {
        let path = path.to_string_lossy().into_owned();
        self.files.push(LocalArchive { path, source: ArchiveSource::Kept, sha256, size, _descriptor: None });
    }

    /// The names, for libapt.
    pub(crate) fn paths(&self) -> Vec<&str> {
        self.files.iter().map(|file| file.path.as_str()).collect()
    }
}

fn place(mut file: File, path: &Path) -> io::Result<Option<File>> {
    let again = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
    symlink(&again, path)?;
    if File::open(path).is_ok() {
        return Ok(Some(file));
    }
    std::fs::remove_file(path)?;
    file.rewind()?;
    io::copy(&mut file, &mut File::create_new(path)?)?;
    Ok(None)
}

fn cannot_place(error: &io::Error) -> Failure {
    Failure::new(ErrorCode::PlanFailed, format!("cannot read an archive: {error}"))
}
