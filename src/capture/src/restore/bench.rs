//! Where new things are made before they get their names: in their folder when nobody but us can change names in it, else in
//! a private folder below it.
//!
//! In a folder that a service's own user, or everybody, may write, a name means nothing between two calls: what we made could
//! be exchanged for another file, and that one would get the owner and the mode of the one that is put back.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::node::{Node, facts, names};

/// How temporary names begin. One that a crash leaves is used again by the next run, because jobs are the same.
pub(super) const TEMPORARY: &str = ".backstep-tmp.";
const PRIVATE: &str = ".backstep-tmp.private.";

/// The place for what goes into one folder.
pub(super) struct Bench<'a> {
    /// The folder.
    pub(super) dir: BorrowedFd<'a>,
    temporary: String,
    is_ours: bool,
    private: OnceCell<(OwnedFd, String)>,
}

impl<'a> Bench<'a> {
    /// A bench beside others: each has a name of its own.
    pub(super) fn open(dir: BorrowedFd<'a>, temporary: &str, path: &Path) -> Result<Self> {
        let is_ours = facts(dir, path)?.is_ours_alone();
        Ok(Self { dir, temporary: format!("{TEMPORARY}{temporary}"), is_ours, private: OnceCell::new() })
    }

    /// Whether nobody but us changes names in the folder.
    pub(super) fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// Where to make something.
    pub(super) fn work(&self, path: &Path) -> Result<BorrowedFd<'_>> {
        if self.is_ours {
            return Ok(self.dir);
        }
        if let Some((private, _)) = self.private.get() {
            return Ok(private.as_fd());
        }
        let made = private(self.dir, path)?;
        Ok(self.private.get_or_init(|| made).0.as_fd())
    }

    /// Under which name.
    pub(super) fn temporary(&self) -> &str {
        &self.temporary
    }

    /// Gives what was made its name.
    pub(super) fn place(&self, name: &OsStr, path: &Path) -> Result<()> {
        renameat(self.work(path)?, self.temporary.as_str(), self.dir, name).cannot("put back", path)
    }

    /// Takes the private folder away.
    pub(super) fn close(self, path: &Path) -> Result<()> {
        let Some((_, name)) = self.private.into_inner() else { return Ok(()) };
        match unlinkat(self.dir, name.as_str(), AtFlags::REMOVEDIR) {
            // Whoever may write the folder can have moved it.
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(error) => Err(error).cannot("remove a private folder in", path),
        }
    }
}

fn private(dir: BorrowedFd<'_>, path: &Path) -> Result<(OwnedFd, String)> {
    // Nobody can be there before us: the name is a random one.
    let name = format!("{PRIVATE}{:016x}", RandomState::new().hash_one(path));
    mkdirat(dir, name.as_str(), Mode::from_raw_mode(0o700)).cannot("create a private folder in", path)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(dir, name.as_str(), flags, Mode::empty()).cannot("open a private folder in", path)?;
    if facts(&made, path)?.is_private() && names(made.as_fd(), ".", path)?.is_empty() {
        return Ok((made, name));
    }
    Err(Errno::PERM).cannot("keep others out of a private folder in", path)
}

/// Removes private folders that a crash left: of what is in them only what has our temporary name. Nobody may be at work.
pub(super) fn clear(dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
    for name in names(dir, ".", path)?.iter().filter(|name| name.as_bytes().starts_with(PRIVATE.as_bytes())) {
        let Some(left) = Node::open(dir, name, path)?.filter(|left| left.facts.is_private()) else { continue };
        for inner in names(left.as_fd(), ".", path)?.iter().filter(|inner| inner.as_bytes().starts_with(TEMPORARY.as_bytes())) {
            let removed = unlinkat(&left, inner, AtFlags::empty()).or_else(|_| unlinkat(&left, inner, AtFlags::REMOVEDIR));
            removed.cannot("remove what a crash left in", path)?;
        }
        match unlinkat(dir, name, AtFlags::REMOVEDIR) {
            // It is not what it was made as: somebody's own folder, moved here.
            Ok(()) | Err(Errno::NOTEMPTY | Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => return Err(error).cannot("remove what a crash left in", path),
        }
    }
    Ok(())
}
