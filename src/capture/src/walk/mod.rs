//! Net 3: a picture of the metadata of the whole system, and what differs between two of them.
//!
//! Invariants: only the root's and other local, writable file systems are looked at, each once; symbolic links are
//! not followed; the named exclusions are left out. A picture costs one call to list a directory and one to look
//! at each name. What cannot be looked at is left out alone, and told: a picture of all the rest is better than none.
//!
//! Absent on purpose: extended attributes, which would double the cost. Whatever sets one also sets the time of
//! change, so a changed one is seen, if not told apart. Device numbers of file systems, which another start of the
//! system may give out anew.

mod collect;
mod difference;
mod file;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::dir::CaptureDir;
use crate::error::Result;
use crate::gaps::{LeftOut, told};

#[cfg(feature = "hostile")]
pub(crate) use file::{HEADER, decode, encode};

pub use difference::{Differing, Seen};

/// What `lstat` says of one name, and where the name is among its picture's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fact {
    ino: u64,
    /// Of a device the device numbers: it has no size.
    size: u64,
    /// Nanoseconds.
    mtime: i64,
    ctime: i64,
    mode: u32,
    uid: u32,
    gid: u32,
    nlink: u32,
    name: u32,
    name_length: u16,
}

/// Some directories with all their names, as one thread met them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Part {
    directories: Vec<Directory>,
    facts: Vec<Fact>,
    names: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
struct Directory {
    path: PathBuf,
    start: usize,
    end: usize,
}

impl Part {
    fn name(&self, fact: &Fact) -> &OsStr {
        let start = fact.name as usize;
        OsStr::from_bytes(&self.names[start..start + usize::from(fact.name_length)])
    }

    fn facts(&self, directory: &Directory) -> &[Fact] {
        &self.facts[directory.start..directory.end]
    }
}

/// A picture of the metadata of a system.
#[derive(Debug, Default)]
pub struct Walk {
    parts: Vec<Part>,
    /// Part and place of every directory, by path.
    order: Vec<(usize, usize)>,
    /// What could not be looked at, with everything below, and why, sorted by path.
    gaps: BTreeMap<PathBuf, String>,
}

impl Walk {
    /// Takes the picture of everything below `root`. The capture's own directory is left out.
    ///
    /// Taken after [`secure`](crate::secure()) and before anything is changed: keeping a link changes a file's time of
    /// change and its number of links.
    pub fn take(root: &Path, dir: &CaptureDir) -> Result<Self> {
        collect::collect(root, dir).map(|(parts, gaps)| Self::of(parts, gaps))
    }

    /// Puts the picture into a capture's directory, durably.
    pub fn save(&self, dir: &CaptureDir) -> Result<()> {
        file::save(self, dir.path())
    }

    /// The picture that was put into a capture's directory; none when there is none.
    pub fn load(dir: &CaptureDir) -> Result<Option<Self>> {
        file::load(dir.path())
    }

    /// What could not be looked at, because it is unreadable or too deep: nothing is known of what is below.
    #[must_use]
    pub fn left_out(&self) -> Vec<LeftOut> {
        told(&self.gaps)
    }

    /// What is not in `later` as it is here, sorted by path. What one of both left out is no difference.
    #[must_use]
    pub fn differences(&self, later: &Self) -> Vec<Differing> {
        difference::differences(self, later)
    }

    /// How many names there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.parts.iter().map(|part| part.facts.len()).sum()
    }

    fn of(parts: Vec<Part>, gaps: BTreeMap<PathBuf, String>) -> Self {
        let mut order: Vec<(usize, usize)> =
            parts.iter().enumerate().flat_map(|(at, part)| (0..part.directories.len()).map(move |directory| (at, directory))).collect();
        order.sort_unstable_by(|one, other| {
            let path = |(part, directory): &(usize, usize)| parts[*part].directories[*directory].path.as_os_str();
            path(one).cmp(path(other))
        });
        Self { parts, order, gaps }
    }

    fn directories(&self) -> impl Iterator<Item = (&Part, &Directory)> {
        self.order.iter().map(|(part, directory)| (&self.parts[*part], &self.parts[*part].directories[*directory]))
    }
}

#[cfg(test)]
mod tests;
