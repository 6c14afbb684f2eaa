//! Hard links of each other: several names of one copied content become one inode again.
//!
//! Linked content needs none of this: every name that is linked back to the same object shares its inode.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, linkat};
use rustix::io::Errno;

use super::bench::Bench;
use super::place::fresh;
use super::verdict::Verdict;
use super::{Item, Restored, Restorer, is_dressed};
use crate::after::open;
use crate::error::{Context, Result};
use crate::manifest::{Entry, How, Manifest, Object};
use crate::node::{Kind, Node};

/// The name of the bench: there is one at a time.
const FAMILY: &str = "family";

/// Entries by the copy they share.
pub(super) type Families<'a> = BTreeMap<Object, Vec<&'a Entry>>;

/// All copied content with its names; most have one.
pub(super) fn families(manifest: &Manifest) -> Families<'_> {
    let mut families = Families::new();
    for entry in &manifest.entries {
        let object = entry.present.as_ref().and_then(|present| present.object);
        if let Some(object) = object.filter(|object| object.how == How::Copied) {
            families.entry(object).or_default().push(entry);
        }
    }
    families
}

impl Restorer<'_> {
    /// Restores one name, by preference one that still is the inode from before, and links the others to it.
    pub(super) fn reunite(&self, members: &[&Entry], restored: &mut Restored) -> Result<()> {
        let leader = match self.leader(members) {
            Ok(leader) => leader,
            Err(error) => return restored.note(&members[0].path, Err(error)),
        };
        let result = self.lead(leader, restored);
        let led = result.is_ok();
        restored.note(&leader.path, result)?;
        for member in members.iter().filter(|member| led && member.path != leader.path) {
            let result = self.join(member, leader, restored);
            restored.note(&member.path, result)?;
        }
        Ok(())
    }

    fn leader<'m>(&self, members: &[&'m Entry]) -> Result<&'m Entry> {
        for member in members {
            let still = |node: Node| member.present.as_ref().is_some_and(|present| node.facts.is_still(&present.meta));
            if self.node(&member.path)?.is_some_and(still) {
                return Ok(member);
            }
        }
        Ok(members[0])
    }

    fn node(&self, path: &Path) -> Result<Option<Node>> {
        let parent = self.root.parent_of(path)?;
        open(parent.as_ref(), path)
    }

    fn lead(&self, entry: &Entry, restored: &mut Restored) -> Result<()> {
        let Some(item) = item(entry) else { return Ok(()) };
        let Some(dir) = self.root.parent_of(&entry.path)? else { return self.homeless(&item, restored) };
        self.touched.note(dir.as_fd(), &entry.path)?;
        let bench = Bench::open(dir.as_fd(), FAMILY, &entry.path)?;
        self.put(&bench, &item, restored)?;
        bench.close(&entry.path)
    }

    fn join(&self, entry: &Entry, leader: &Entry, restored: &mut Restored) -> Result<()> {
        let path = &entry.path;
        let (Some(item), Some(name)) = (item(entry), path.file_name()) else { return Ok(()) };
        let Some(dir) = self.root.parent_of(path)? else { return self.homeless(&item, restored) };
        let bench = Bench::open(dir.as_fd(), FAMILY, path)?;
        if !self.link_to(leader, &bench, name, &item, restored)? {
            self.put(&bench, &item, restored)?;
        }
        bench.close(path)
    }

    /// Makes a name one more of the leader's; says false when it has to be put back by itself.
    fn link_to(&self, leader: &Entry, bench: &Bench<'_>, name: &OsStr, item: &Item<'_>, restored: &mut Restored) -> Result<bool> {
        let path = &item.entry.path;
        let node = Node::open(bench.dir, name, path)?;
        let first = self.node(&leader.path)?.filter(|first| first.facts.kind == Kind::File && is_dressed(&first.facts, &item.present.meta));
        let Some(first) = first.filter(|first| self.holds(first, item).unwrap_or(false)) else { return Ok(false) };
        if node.as_ref().is_some_and(|node| node.facts.same_inode(&first.facts)) {
            return Ok(true);
        }
        if self.verdict(item.entry, node.as_ref())? != Verdict::Restore {
            return Ok(false);
        }
        if node.is_some_and(|node| node.facts.kind == Kind::Directory) && !self.remove_name(bench.dir, name, path, restored)? {
            return self.keep(bench, item, restored).map(|()| true);
        }
        self.touched.note(bench.dir, path)?;
        let (work, temporary) = (bench.work(path)?, bench.temporary());
        match fresh(|| linkat(CWD, first.proc_path(), work, temporary, AtFlags::SYMLINK_FOLLOW), work, temporary) {
            Ok(()) => {}
            // Where it can have no second name, an equal file is the next best.
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM) => return Ok(false),
            Err(error) => return Err(error).cannot("link back", path),
        }
        self.fuse.burn()?;
        self.settle(bench, name, path)?;
        restored.relinked += 1;
        Ok(true)
    }
}

fn item(entry: &Entry) -> Option<Item<'_>> {
    entry.present.as_ref().map(|present| Item { entry, present })
}
