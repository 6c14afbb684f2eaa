//! Archives handed over as descriptors, given the names that libapt wants to see.
//!
//! libapt only takes files whose names end in `.deb`, and resolves links before it opens them, so that neither a
//! descriptor nor a link to one will do: the daemon's copies are root's. The bytes are copied to the private
//! temporary folder; of large archives only the beginning, where the control data is, with a hole for the rest.
//! The digests were made by the daemon when it took the bytes in, and are not made again.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use backstep_apt::container;
use backstep_core::{ArchiveSource, Digest, ErrorCode, Failure};
use tempfile::TempDir;

use crate::Outcome;

/// Bytes copied of one archive: more than the control data of any package.
const HEAD: u64 = 64 << 20;

/// One archive under a name of its own.
pub(crate) struct LocalArchive {
    /// Where libapt finds it; UTF-8 without colons.
    pub(crate) path: String,
    /// Handed over, kept or rebuilt.
    pub(crate) source: ArchiveSource,
    /// Of its bytes.
    pub(crate) sha256: Digest,
    /// Bytes.
    pub(crate) size: u64,
}

/// All of them; their names go with the value.
pub(crate) struct LocalArchives {
    /// In the question's order, then apt's own; what was rebuilt comes last.
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
            let copy = place(File::from(descriptor), &path).map_err(|e| cannot_place(&e))?;
            if source == ArchiveSource::Local {
                check(&copy, size)?;
            }
            files.push(LocalArchive { path: path.to_string_lossy().into_owned(), source, sha256, size });
        }
        Ok(Self { files, _folder: Some(folder) })
    }

    /// Adds an archive that lies in apt's own folder; nobody but root writes there.
    pub(crate) fn add_cached(&mut self, path: &Path, sha256: Digest, size: u64) {
        let path = path.to_string_lossy().into_owned();
        self.files.push(LocalArchive { path, source: ArchiveSource::Kept, sha256, size });
    }

    /// Puts what was rebuilt behind what is a package's own: the first archive of a version is taken.
    pub(crate) fn prefer_originals(&mut self) {
        self.files.sort_by_key(|file| file.source == ArchiveSource::Rebuilt);
    }

    /// The names, for libapt.
    pub(crate) fn paths(&self) -> Vec<&str> {
        self.files.iter().map(|file| file.path.as_str()).collect()
    }
}

fn place(mut file: File, path: &Path) -> io::Result<File> {
    let size = file.metadata()?.len();
    let mut copy = File::options().create_new(true).read(true).write(true).open(path)?;
    file.rewind()?;
    io::copy(&mut file.take(HEAD), &mut copy)?;
    copy.set_len(size)?;
    Ok(copy)
}

/// What a caller brought is a package to libapt and dpkg alike, or it is refused.
fn check(copy: &File, size: u64) -> Outcome<()> {
    let found = container::fault(size, |at, buffer| copy.read_exact_at(buffer, at)).map_err(|e| cannot_place(&e))?;
    let refused = |fault| Failure::new(ErrorCode::ArchiveInvalid, format!("a local archive is not a Debian package: {fault}"));
    found.map_or(Ok(()), |fault| Err(refused(fault)))
}

fn cannot_place(error: &io::Error) -> Failure {
    Failure::new(ErrorCode::PlanFailed, format!("cannot read an archive: {error}"))
}
