//! The record of files changed: what the run did to every captured path, and what others changed meanwhile.
//!
//! Told by comparing before and now, so a file that was written and put back by the run is not in it. A file that has
//! another time of modification and nothing else is not, either.
//!
//! Absent on purpose: the reason of a change, and undoing anything. What others changed is told, never touched.

mod file;
mod find;

use std::path::{Path, PathBuf};

use crate::dir::CaptureDir;
use crate::error::Result;
use crate::gaps::LeftOut;
use crate::manifest::{Manifest, Picture, save};
use crate::node::Kind;

#[cfg(feature = "hostile")]
pub(crate) use file::{HEADER, parse};

/// What a path is.
pub type FileKind = Kind;

/// How a path changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Created,
    /// It was not there before, and what is there was at this path, where it is no more.
    RenamedFrom(PathBuf),
    /// Something else is there: another file, another link, another type.
    Replaced,
    /// The file has another content.
    Written,
    /// It is not there any more.
    Removed,
    /// Its mode, its owner or its extended attributes changed, and nothing else.
    Metadata,
}

/// A path before or after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of a file's content; none of what is no file, or where the content before is not kept.
    pub sha256: Option<[u8; 32]>,
    /// Where a symbolic link points.
    pub target: Option<PathBuf>,
}

/// One path that is not as before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Which, absolute, as seen in the root.
    pub path: PathBuf,
    /// How.
    pub change: Change,
    /// How it was; none when it was not there, and for what others changed without a capture.
    pub before: Option<Side>,
    /// How it is; none when it is not there.
    pub after: Option<Side>,
    /// Whether it was changed by someone else while the run went on: it is not in the capture and will not be undone.
    pub by_others: bool,
}

/// How a change left the system, found in one look at every path: the post-image, as of
/// [`record_after`](crate::record_after), and what changed. Nothing is written before it is saved.
#[must_use]
pub struct Aftermath {
    image: Manifest,
    changes: Result<Vec<FileChange>>,
    left_out: Vec<LeftOut>,
}

impl Aftermath {
    /// Looks. Changes by others are told if a [`Walk`](crate::Walk) was saved with the capture.
    pub fn look(root: &Path, dir: &CaptureDir) -> Result<Self> {
        find::find(root, dir)
    }

    /// What could not be looked at, and could be before: what others than root made so of what was captured, and what is
    /// missing in the picture of the whole system.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Writes the post-image durably; done again it replaces the one before.
    pub fn save_image(&self, dir: &CaptureDir) -> Result<()> {
        save(dir.path(), Picture::After, &self.image)
    }

    /// Writes what changed durably into the capture, and answers it, sorted by path. Errors: also that it could not be
    /// told, for example because what was kept cannot be read.
    pub fn save_changes(self, dir: &CaptureDir) -> Result<Vec<FileChange>> {
        let found = self.changes?;
        file::save(dir.path(), &found)?;
        Ok(found)
    }
}

/// What [`Aftermath::save_changes`] wrote into a capture; none when nothing did.
pub fn recorded_changes(dir: &CaptureDir) -> Result<Option<Vec<FileChange>>> {
    file::load(dir.path())
}
