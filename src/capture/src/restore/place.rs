//! Putting one file, link or special file back: built complete under a temporary name, then renamed into place;
//! or written into the inode that is still the one from before.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, makedev, mknodat, openat, symlinkat, unlinkat};
use rustix::io::Errno;

use super::bench::Bench;
use super::metadata::{Times, apply, freeze, thaw};
use super::verdict::Verdict;
use super::{Item, Restored, Restorer, is_dressed};
use crate::compare::is_spoiled;
use crate::content;
use crate::error::{CaptureError, Context, Result};
use crate::manifest::{How, Inode, Object};
use crate::node::{Kind, Node};
use crate::root::absolute;
use crate::state::{has_digest, is_device};

impl Restorer<'_> {
    /// Makes one name what it was.
    pub(super) fn put(&self, bench: &Bench<'_>, item: &Item<'_>, restored: &mut Restored) -> Result<()> {
        let (path, dir) = (&item.entry.path, bench.dir);
        let Some(name) = path.file_name() else { return Ok(()) };
        let node = Node::open(dir, name, path)?;
        match self.verdict(item.entry, node.as_ref())? {
            Verdict::Restore => {}
            Verdict::Leave => return Ok(()),
            Verdict::Keep => return self.keep(bench, item, restored),
        }
        if let Some(mut node) = node {
            if self.holds(&node, item)? && self.may_dress(bench, &node, item)? {
                return self.touch_up(&mut node, item, restored);
            }
            thaw(&mut node, self.fuse, path)?;
            if self.writes_in_place(&node, item) && self.write_in_place(&mut node, item)? {
                restored.copied += 1;
                return Ok(());
            }
            if node.facts.kind == Kind::Directory && !self.remove_name(dir, name, path, restored)? {
                return self.keep(bench, item, restored);
            }
        }
        self.replace(bench, name, item, restored)
    }

    /// Whether the content (or target, or device) is back already.
    pub(super) fn holds(&self, node: &Node, item: &Item<'_>) -> Result<bool> {
        let (path, before) = (&item.entry.path, &item.present.meta);
        if node.facts.kind != before.kind {
            return Ok(false);
        }
        match before.kind {
            Kind::File => self.holds_content(node, item),
            Kind::Symlink => Ok(node.target(path)? == before.target),
            Kind::Directory | Kind::Fifo | Kind::Socket => Ok(true),
            Kind::CharDevice | Kind::BlockDevice => Ok(node.facts.rdev == before.rdev),
        }
    }

    fn holds_content(&self, node: &Node, item: &Item<'_>) -> Result<bool> {
        let (path, present) = (&item.entry.path, item.present);
        if let Some(link) = self.mended_link(item) {
            return Ok(self.vault.object(link, path)?.facts.same_inode(&node.facts));
        }
        match (present.object, present.digest) {
            (Some(object), None) => Ok(self.vault.object(object, path)?.facts.same_inode(&node.facts)),
            (_, Some(_)) if node.facts.is_still(&present.meta) && node.facts.ctime == present.meta.ctime => Ok(true),
            (_, Some(_)) if !node.facts.is_still(&present.meta) && self.linked.contains(&(node.facts.ino, node.facts.btime)) => Ok(false),
            (_, Some(_)) if self.is_shared(node, item) => Ok(false),
            (_, Some(digest)) => Ok(node.facts.size == present.meta.size && has_digest(node, digest, path)?),
            (None, None) => Ok(false),
        }
    }

    /// Whether it is another inode than the captured one, with other names than those that come back together: what is done to
    /// its owner, mode and times would be done to them, too, and they may be somebody else's.
    fn is_shared(&self, node: &Node, item: &Item<'_>) -> bool {
        if node.facts.nlink == 1 || node.facts.is_still(&item.present.meta) {
            return false;
        }
        let object = item.present.object.filter(|object| object.how == How::Copied);
        let family = self.present().filter(|(_, present)| object.is_some() && present.object == object).count();
        usize::try_from(node.facts.nlink).unwrap_or(usize::MAX) > family.max(1)
    }

    /// The inode that the file was, if it was written in place and has its content back.
    fn mended_link(&self, item: &Item<'_>) -> Option<Object> {
        item.present.object.and_then(|object| self.mended.get(&object)).copied()
    }

    /// Whether an inode with the right content may have the owner and mode that were recorded: not one that somebody who may
    /// write the folder could have put there, and may hold open for writing.
    fn may_dress(&self, bench: &Bench<'_>, node: &Node, item: &Item<'_>) -> Result<bool> {
        let (path, before) = (&item.entry.path, &item.present.meta);
        if bench.is_ours() || is_dressed(&node.facts, before) || node.facts.is_still(before) {
            return Ok(true);
        }
        match self.mended_link(item).or(item.present.object).filter(|object| object.how == How::Linked) {
            Some(link) => Ok(self.vault.object(link, path)?.facts.same_inode(&node.facts)),
            None => Ok(false),
        }
    }

    fn touch_up(&self, node: &mut Node, item: &Item<'_>, restored: &mut Restored) -> Result<()> {
        let times = self.times(node, item, restored);
        let (before, path) = (&item.present.meta, &item.entry.path);
        if apply(node, before, times, self.fuse, path)? | freeze(node, before, self.fuse, path)? {
            restored.metadata += 1;
        }
        Ok(())
    }

    /// A linked inode that was written to keeps its new time: that is how everyone can see it.
    fn times(&self, node: &Node, item: &Item<'_>, restored: &mut Restored) -> Times {
        let linked = item.present.object.is_some_and(|object| object.how == How::Linked);
        if linked && is_spoiled(node, item.present) && item.present.meta.kind == Kind::File {
            restored.spoiled.push(absolute(&item.entry.path));
            Times::Leave
        } else {
            Times::Restore
        }
    }

    /// Whether the inode from before is still there, so that its other names and its readers keep it. A restore
    /// that spares drifted files must not leave a half-written one, which would look like drift: there only for
    /// an inode that has other names.
    fn writes_in_place(&self, node: &Node, item: &Item<'_>) -> bool {
        let copied = item.present.object.is_some_and(|object| object.how == How::Copied);
        copied && node.facts.is_still(&item.present.meta) && (self.after.is_none() || node.facts.nlink > self.own_links(node))
    }

    /// How many names an inode has that nobody else uses: its own, and that of our kept link.
    fn own_links(&self, node: &Node) -> u32 {
        let ours = |inode: &&Inode| inode.meta.ino == node.facts.ino && node.facts.is_still(&inode.meta);
        1 + u32::from(self.manifest.inodes.iter().any(|inode| ours(&inode)))
    }

    /// Says false when the file cannot be opened for writing because it is being executed.
    pub(super) fn write_in_place(&self, node: &mut Node, item: &Item<'_>) -> Result<bool> {
        let path = &item.entry.path;
        let to = match node.reopen(OFlags::RDWR, path) {
            Ok(to) => to,
            Err(CaptureError::Io { source, .. }) if source.raw_os_error() == Some(Errno::TXTBSY.raw_os_error()) => return Ok(false),
            Err(error) => return Err(error),
        };
        self.fill_from_object(&to, item)?;
        self.fuse.burn()?;
        node.refresh(path)?;
        apply(node, &item.present.meta, Times::Restore, self.fuse, path)?;
        freeze(node, &item.present.meta, self.fuse, path)?;
        Ok(true)
    }

    /// Copies the kept content into an open file; kept content that is not what was kept is an error.
    fn fill_from_object(&self, to: &File, item: &Item<'_>) -> Result<()> {
        let path = &item.entry.path;
        let object = item.present.object.ok_or(Errno::NOENT).cannot("find the object of", path)?;
        let kept = self.vault.object(object, path)?;
        let sum = content::copy(&kept.read(path)?, to).cannot("write", path)?;
        match item.present.digest {
            Some(digest) if digest != sum => {
                Err(CaptureError::Damaged { file: absolute(path), reason: "its kept copy does not have the recorded digest" })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn replace(&self, bench: &Bench<'_>, name: &OsStr, item: &Item<'_>, restored: &mut Restored) -> Result<()> {
        let relinked = match self.mended_link(item).or(item.present.object) {
            Some(object) if object.how == How::Linked => self.relink(bench, name, item, object, restored)?,
            Some(_) | None => false,
        };
        if relinked {
            restored.relinked += 1;
        } else {
            self.put_copy(bench, name, item)?;
            restored.copied += 1;
        }
        Ok(())
    }

    /// Gives the kept inode its name back; false when it cannot have one there.
    fn relink(&self, bench: &Bench<'_>, name: &OsStr, item: &Item<'_>, object: Object, restored: &mut Restored) -> Result<bool> {
        let path = &item.entry.path;
        let mut kept = self.vault.object(object, path)?;
        let times = self.times(&kept, item, restored);
        apply(&mut kept, &item.present.meta, times, self.fuse, path)?;
        // In the same directory where that is safe: a rename between two takes a lock of the whole file system.
        let (work, temporary) = (bench.work(path)?, bench.temporary());
        match fresh(|| linkat(CWD, kept.proc_path(), work, temporary, AtFlags::SYMLINK_FOLLOW), work, temporary) {
            Ok(()) => {}
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP) => return Ok(false),
            Err(error) => return Err(error).cannot("link back", path),
        }
        self.fuse.burn()?;
        self.settle(bench, name, path).map(|()| true)
    }

    /// Makes a new inode like the one from before and renames it to `name`.
    pub(super) fn put_copy(&self, bench: &Bench<'_>, name: &OsStr, item: &Item<'_>) -> Result<()> {
        let path = &item.entry.path;
        let (work, temporary) = (bench.work(path)?, bench.temporary());
        self.fuse.burn()?;
        self.make(work, temporary, item)?;
        self.fuse.burn()?;
        let mut made = Node::open(work, temporary, path)?.ok_or(Errno::NOENT).cannot("open the new", path)?;
        apply(&mut made, &item.present.meta, Times::Restore, self.fuse, path)?;
        self.settle(bench, name, path)?;
        // CRASH: it can be changed; the next run makes it so again.
        freeze(&mut made, &item.present.meta, self.fuse, path).map(|_| ())
    }

    pub(super) fn settle(&self, bench: &Bench<'_>, name: &OsStr, path: &Path) -> Result<()> {
        bench.place(name, path)?;
        self.fuse.burn()
    }

    fn make(&self, dir: BorrowedFd<'_>, temporary: &str, item: &Item<'_>) -> Result<()> {
        let (path, before) = (&item.entry.path, &item.present.meta);
        let private = Mode::from_raw_mode(0o600);
        match before.kind {
            Kind::File => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let made = fresh(|| openat(dir, temporary, flags, private), dir, temporary).cannot("create", path)?;
                self.fuse.burn()?;
                self.fill_from_object(&File::from(made), item)
            }
            Kind::Symlink => fresh(|| symlinkat(before.target.as_slice(), dir, temporary), dir, temporary).cannot("create the link", path),
            kind @ (Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice) => {
                let device = if is_device(kind) { makedev(before.rdev.0, before.rdev.1) } else { 0 };
                fresh(|| mknodat(dir, temporary, kind.file_type(), private, device), dir, temporary).cannot("create", path)
            }
            Kind::Directory => Err(Errno::ISDIR).cannot("put back as a file", path),
        }
    }
}

/// Makes something under a name that a crash may have left taken.
pub(super) fn fresh<T>(
    make: impl Fn() -> rustix::io::Result<T>,
    dir: BorrowedFd<'_>,
    name: impl rustix::path::Arg + Copy,
) -> rustix::io::Result<T> {
    match make() {
        Err(Errno::EXIST) => {
            unlinkat(dir, name, AtFlags::empty())?;
            make()
        }
        other => other,
    }
}
