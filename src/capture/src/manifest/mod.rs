//! What was there before (and, in the post-image, after): one entry a path, sorted, closed by a checksum.
//!
//! The manifest is the authority for metadata; a captured inode is never trusted for its own. The file is lines
//! of tab-separated fields, bytes outside printable ASCII written as `%xx`; the last line holds the number of
//! entries and the SHA-256 of all before it. Without that line the capture is incomplete.

mod code;
mod read;
mod write;

use std::path::{Path, PathBuf};

use crate::content::Sum;
use crate::node::{Meta, Time};

#[cfg(feature = "hostile")]
pub(crate) use code::HEADER;
pub(crate) use code::{escape, hex, unescape, unhex};
#[cfg(feature = "hostile")]
pub(crate) use read::parse;
pub(crate) use read::{checked_body, entry, kind_of, load, object};
pub(crate) use write::{Summed, field, kind_letter, push_entry, push_object, save};

/// Which of the two pictures a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Picture {
    Before,
    After,
}

impl Picture {
    pub(crate) const fn file_name(self) -> &'static str {
        match self {
            Self::Before => "manifest",
            Self::After => "post-image",
        }
    }
}

/// Whether the names in a directory are all known, so that others are intruders; and how its files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Listing {
    /// Only the directory itself was captured.
    #[default]
    Open,
    /// Every name is known, files are kept as links.
    Linked,
    /// Every name is known, files are kept as copies.
    Copied,
}

/// How the content of a file is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum How {
    /// The inode itself, by one more name.
    Linked,
    /// Its content in another inode.
    Copied,
}

/// The kept content of a file. Entries with the same object are hard links of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Object {
    pub(crate) how: How,
    pub(crate) store: usize,
    pub(crate) number: u64,
}

/// Something that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) meta: Meta,
    pub(crate) listing: Listing,
    pub(crate) digest: Option<Sum>,
    pub(crate) object: Option<Object>,
}

/// One path and what is there; nothing when it is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) present: Option<Present>,
}

/// What an inode was like before it was first changed without losing its name: its kept link was changed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inode {
    /// The inode itself, by one more name.
    pub(crate) link: Object,
    /// Its content before, if it was written to.
    pub(crate) copy: Option<(Object, Sum)>,
    pub(crate) meta: Meta,
}

/// A directory that was to be renamed, and which inode it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Renaming {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    pub(crate) ino: u64,
    pub(crate) btime: Time,
}

/// A picture of all captured paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Manifest {
    /// Mount points whose undo directory holds objects; the first is the capture's own directory, written empty.
    pub(crate) stores: Vec<PathBuf>,
    /// Paths that are left alone with everything below, even in listed directories.
    pub(crate) excluded: Vec<PathBuf>,
    /// Sorted by path, so that a directory comes before what it holds.
    pub(crate) entries: Vec<Entry>,
    /// From the late log: inodes that were changed in place, in that order. Not part of the file.
    pub(crate) inodes: Vec<Inode>,
    /// From the late log: directories that were to be renamed, in that order. Not part of the file.
    pub(crate) renamings: Vec<Renaming>,
}

impl Manifest {
    /// The entry of a path.
    pub(crate) fn find(&self, path: &Path) -> Option<&Entry> {
        self.entries.binary_search_by(|entry| entry.path.as_path().cmp(path)).ok().map(|at| &self.entries[at])
    }

    /// Whether a path is left alone.
    pub(crate) fn excludes(&self, path: &Path) -> bool {
        self.excluded.iter().any(|excluded| path.starts_with(excluded))
    }
}
