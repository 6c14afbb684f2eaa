//! Directories that were renamed go back by a rename, in reverse order: the same inode, and nothing in it has to be
//! linked again.
//!
//! Only a shortcut, and only when everything is put back: what is in them was captured by path, and what is not
//! back after this is put back like the rest. So a rename that never happened, or that somebody undid, is no case.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{RenameFlags, renameat_with};

use super::{Restored, Restorer};
use crate::error::{Context, Result};
use crate::manifest::Renaming;
use crate::node::{Kind, Node};

impl Restorer<'_> {
    pub(super) fn rename_back(&self, restored: &mut Restored) -> Result<()> {
        if self.after.is_some() {
            return Ok(());
        }
        for renaming in self.manifest.renamings.iter().rev() {
            let result = self.back(renaming, restored);
            restored.note(&renaming.from, result)?;
        }
        Ok(())
    }

    fn back(&self, renaming: &Renaming, restored: &mut Restored) -> Result<()> {
        let (Some((from, old)), Some((to, new))) = (self.place(&renaming.from)?, self.place(&renaming.to)?) else { return Ok(()) };
        let moved = Node::open(to.as_fd(), new, &renaming.to)?
            .filter(|node| node.facts.kind == Kind::Directory && (node.facts.ino, node.facts.btime) == (renaming.ino, renaming.btime));
        // It went into what took its place: its files come back without it.
        if renaming.to.starts_with(&renaming.from) {
            return Ok(());
        }
        // What took its place is gone first, so that no other way to bring the directory back is ever begun.
        if moved.is_none() || !self.remove_name(from.as_fd(), old, &renaming.from, restored)? {
            return Ok(());
        }
        self.touched.note(from.as_fd(), &renaming.from)?;
        renameat_with(&to, new, &from, old, RenameFlags::NOREPLACE).cannot("rename back", &renaming.from)?;
        restored.renamed += 1;
        self.fuse.burn()
    }

    fn place<'p>(&self, path: &'p Path) -> Result<Option<(OwnedFd, &'p OsStr)>> {
        let parent = self.root.parent_of(path)?;
        Ok(parent.zip(path.file_name()))
    }
}
