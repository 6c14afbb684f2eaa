//! Removing what was not there before, deepest first, never through a link and never across a mount.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2, unlinkat};
use rustix::io::Errno;

use super::bench::{self, TEMPORARY};
use super::metadata::thaw;
use super::{Kept, Restored, Restorer, Strangers, is_listed};
use crate::compare::intruders;
use crate::dir::ELSEWHERE;
use crate::error::{Context, Result};
use crate::node::{Kind, Node, facts, names};
use crate::root::{Parents, absolute};
use crate::state::is_as_recorded;

impl Restorer<'_> {
    /// Removes paths that were absent and names that appeared in listed directories.
    pub(super) fn remove_created(&self, restored: &mut Restored) -> Result<()> {
        let mut parents = Parents::new(self.root);
        for entry in self.manifest.entries.iter().rev() {
            let result = match (&entry.present, parents.of(&entry.path)) {
                (_, Err(error)) => Err(error),
                (_, Ok(None)) => Ok(()),
                (None, Ok(Some(dir))) => self.remove_absent(dir, &entry.path, restored),
                (Some(present), Ok(Some(dir))) if is_listed(present) && self.strangers == Strangers::Go => {
                    self.remove_intruders(dir, &entry.path, restored)
                }
                (Some(_), Ok(Some(_))) => Ok(()),
            };
            restored.note(&entry.path, result)?;
        }
        Ok(())
    }

    /// Removes what restores left under their temporary names beside captured paths: also one of another capture that
    /// this one undoes, interrupted between making a file and giving it its name, and never to be run again.
    ///
    /// Only when everything is put back. A name that was captured is no such thing.
    pub(super) fn remove_temporaries(&self, restored: &mut Restored) -> Result<()> {
        if self.after.is_some() {
            return Ok(());
        }
        for parent in self.parents() {
            let result = self.remove_temporaries_in(parent, restored);
            restored.note(parent, result)?;
        }
        Ok(())
    }

    /// Removes what a crash left in folders that others may write.
    pub(super) fn clear_benches(&self, restored: &mut Restored) -> Result<()> {
        for parent in self.parents() {
            let result = self.clear_bench(parent);
            restored.note(parent, result)?;
        }
        Ok(())
    }

    fn clear_bench(&self, parent: &Path) -> Result<()> {
        match self.root.exact(parent)? {
            Some(dir) if !facts(&dir, parent)?.is_ours_alone() => bench::clear(dir.as_fd(), parent),
            Some(_) | None => Ok(()),
        }
    }

    fn parents(&self) -> BTreeSet<&Path> {
        self.manifest.entries.iter().filter_map(|entry| entry.path.parent()).collect()
    }

    fn remove_temporaries_in(&self, parent: &Path, restored: &mut Restored) -> Result<()> {
        let Some(dir) = self.root.exact(parent)? else { return Ok(()) };
        // What has such a name there can be anybody's: ours is in private folders.
        if !facts(&dir, parent)?.is_ours_alone() {
            return bench::clear(dir.as_fd(), parent);
        }
        for name in names(dir.as_fd(), ".", parent)? {
            let path = parent.join(&name);
            if name.as_bytes().starts_with(TEMPORARY.as_bytes()) && self.manifest.find(&path).is_none() {
                self.remove_name(dir.as_fd(), &name, &path, restored)?;
            }
        }
        Ok(())
    }

    fn remove_absent(&self, dir: BorrowedFd<'_>, path: &Path, restored: &mut Restored) -> Result<()> {
        let Some(name) = path.file_name() else { return Ok(()) };
        if Node::open(dir, name, path)?.is_some() {
            self.remove_name(dir, name, path, restored)?;
        }
        Ok(())
    }

    fn remove_intruders(&self, dir: BorrowedFd<'_>, path: &Path, restored: &mut Restored) -> Result<()> {
        let Some(name) = path.file_name() else { return Ok(()) };
        let Some(node) = Node::open(dir, name, path)?.filter(|node| node.facts.kind == Kind::Directory) else { return Ok(()) };
        for name in intruders(self.manifest, path, &node)? {
            let below = path.join(&name);
            let result = self.remove_name(node.as_fd(), &name, &below, restored).map(|_| ());
            restored.note(&below, result)?;
        }
        Ok(())
    }

    /// Removes a name and everything below it; says whether it is gone. What someone else changed, or what is
    /// left alone, stays, and so do the directories it is in.
    pub(super) fn remove_name(&self, dir: BorrowedFd<'_>, name: &OsStr, path: &Path, restored: &mut Restored) -> Result<bool> {
        if name == ELSEWHERE || self.manifest.excludes(path) || self.is_beside(name) {
            return Ok(false);
        }
        let Some(mut node) = Node::open(dir, name, path)? else { return Ok(true) };
        if node.facts.kind == Kind::Directory {
            if !node.facts.frozen.is_empty() && self.may_remove(&node, path)? {
                thaw(&mut node, self.fuse, path)?;
            }
            let below = enter(dir, name, path)?;
            if !self.empty(&below, path, restored)? {
                return Ok(false);
            }
        } else if !self.may_remove(&node, path)? {
            restored.kept.push(Kept { path: absolute(path), ours: None });
            return Ok(false);
        }
        self.touched.note(dir, path)?;
        thaw(&mut node, self.fuse, path)?;
        let flags = if node.facts.kind == Kind::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        unlinkat(dir, name, flags).cannot("remove", path)?;
        restored.removed += 1;
        self.fuse.burn()?;
        Ok(true)
    }

    fn empty(&self, dir: &OwnedFd, path: &Path, restored: &mut Restored) -> Result<bool> {
        let mut empty = true;
        for name in names(dir.as_fd(), ".", path)? {
            empty &= self.remove_name(dir.as_fd(), &name, &path.join(&name), restored)?;
        }
        Ok(empty)
    }

    /// Whether it is a captured file that was put beside one that is kept.
    fn is_beside(&self, name: &OsStr) -> bool {
        self.after.is_some() && name.as_bytes().ends_with(self.suffix.as_bytes())
    }

    /// Without a post-image everything that was not there before goes.
    fn may_remove(&self, node: &Node, path: &Path) -> Result<bool> {
        let Some(after) = self.after else { return Ok(true) };
        if self.own.is_some_and(|own| own.contains(&absolute(path))) {
            return Ok(true);
        }
        match after.find(path).and_then(|entry| entry.present.as_ref()) {
            Some(left) => Ok(is_as_recorded(Some(node), Some(left), path)? || self.was_restored_elsewhere(Some(node), Some(left))?),
            None => Ok(false),
        }
    }
}

/// Opens a directory to empty it; one that is another file system is refused.
fn enter(dir: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let how = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match openat2(dir, name, flags, Mode::empty(), how) {
        Ok(fd) => Ok(fd),
        Err(Errno::XDEV) => Err(Errno::BUSY).cannot("remove the mount point", path),
        Err(error) => Err(error).cannot("open", path),
    }
}
