//! The directory of one capture: manifest, late log, post-image, objects.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::{CaptureError, Context, Result};
use crate::late::{self, merge::union};
use crate::manifest::{self, Manifest, Picture};

/// Where the undo directories of other file systems lie, below their mount points.
pub(crate) const ELSEWHERE: &str = ".backstep";

/// One capture's directory, private to its owner. Its last component names the capture (the attempt) and the
/// undo directories on other file systems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureDir {
    path: PathBuf,
}

impl CaptureDir {
    /// Makes the directory for a new capture. What an interrupted capture left there is removed: nothing was
    /// changed after it. A complete capture is never overwritten.
    pub fn create(path: &Path) -> Result<Self> {
        let dir = Self { path: path.to_path_buf() };
        if path.try_exists().cannot("examine", path)? {
            if dir.is_complete()? {
                return Err(CaptureError::Exists { dir: dir.path });
            }
            crate::prune::prune(&dir)?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(path).cannot("create", path)?;
        check_private(path)?;
        Ok(dir)
    }

    /// Opens the directory of a complete capture.
    pub fn open(path: &Path) -> Result<Self> {
        let dir = Self { path: path.to_path_buf() };
        if dir.is_complete()? { Ok(dir) } else { Err(CaptureError::Incomplete { dir: dir.path }) }
    }

    /// Names a capture's directory without looking at it: for [`prune`](crate::prune()) and for asking whether it is
    /// complete.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    /// Whether the capture was finished: its manifest is there. It is written under this name only after
    /// everything it speaks of. Whether the manifest is intact is checked whenever it is read.
    pub fn is_complete(&self) -> Result<bool> {
        let manifest = self.path.join(Picture::Before.file_name());
        manifest.try_exists().cannot("examine", &manifest)
    }

    /// Whether the state after the transaction was recorded.
    pub fn has_post_image(&self) -> Result<bool> {
        let image = self.path.join(Picture::After.file_name());
        image.try_exists().cannot("examine", &image)
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or(OsStr::new("capture"))
    }

    /// Everything that was captured, early and late.
    pub(crate) fn manifest(&self) -> Result<Manifest> {
        Ok(union(self.eager_manifest()?, late::read(&self.path)?))
    }

    /// What was captured before anything was changed.
    pub(crate) fn eager_manifest(&self) -> Result<Manifest> {
        manifest::load(&self.path, Picture::Before)?.ok_or_else(|| CaptureError::Incomplete { dir: self.path.clone() })
    }

    pub(crate) fn post_image(&self) -> Result<Manifest> {
        manifest::load(&self.path, Picture::After)?.ok_or_else(|| CaptureError::NoPostImage { dir: self.path.clone() })
    }
}

/// Makes a private directory; one that is there must be ours and private.
pub(crate) fn make_private(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_private(path),
        Err(error) => Err(error).cannot("create", path),
    }
}

fn check_private(path: &Path) -> Result<()> {
    let found = fs::symlink_metadata(path).cannot("examine", path)?;
    let ours = found.uid() == rustix::process::geteuid().as_raw();
    if found.is_dir() && ours && found.mode() & 0o077 == 0 { Ok(()) } else { Err(CaptureError::NotPrivate { path: path.to_path_buf() }) }
}
