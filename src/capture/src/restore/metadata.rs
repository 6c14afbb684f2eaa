//! Owner, mode, extended attributes and time, in that order: a change of owner drops set-id bits and capabilities,
//! a change of mode edits the access list. What may not be changed (`chattr +i`) is freed first, and frozen again last, under
//! its name.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, IFlags, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, utimensat};

use crate::error::{Context, Result};
use crate::fuse::Fuse;
use crate::node::{Kind, Meta, Node, Time, Xattr, frozen, is_attribute};
use crate::state::same_description;

/// Whether the modification time is put back too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    Restore,
    Leave,
}

/// Makes an inode carry what was recorded, but for [`freeze`]; says whether anything had to change.
pub(super) fn apply(node: &mut Node, want: &Meta, times: Times, fuse: &Fuse, path: &Path) -> Result<bool> {
    let freed = if is_good(node, want, times, path)? { false } else { thaw(node, fuse, path)? };
    let moved = owner(node, want, path)?;
    let mut changed = freed | moved;
    if moved {
        fuse.burn()?;
        node.refresh(path)?;
    }
    changed |= mode(node, want, path)?;
    changed |= xattrs(node, want, fuse, path)?;
    if times == Times::Restore && node.facts.mtime != want.mtime {
        time(node, want.mtime, path)?;
        changed = true;
    }
    if changed {
        fuse.burn()?;
    }
    Ok(changed)
}

/// Whether a frozen inode needs no change; of others nobody has to know.
fn is_good(node: &Node, want: &Meta, times: Times, path: &Path) -> Result<bool> {
    let is_frozen = !node.facts.frozen.is_empty();
    let in_time = times == Times::Leave || node.facts.mtime == want.mtime;
    Ok(is_frozen && in_time && same_description(&node.meta(path)?, want))
}

/// Makes an inode one that can be changed; says whether it was none.
pub(super) fn thaw(node: &mut Node, fuse: &Fuse, path: &Path) -> Result<bool> {
    if node.facts.frozen.is_empty() {
        return Ok(false);
    }
    node.freeze(IFlags::empty(), path)?;
    fuse.burn().map(|()| true)
}

/// Makes an inode one that nobody can change, if it was one; the last that is done to it.
pub(super) fn freeze(node: &mut Node, want: &Meta, fuse: &Fuse, path: &Path) -> Result<bool> {
    let wanted = frozen(&want.xattrs);
    if node.facts.frozen == wanted {
        return Ok(false);
    }
    node.freeze(wanted, path)?;
    fuse.burn().map(|()| true)
}

fn owner(node: &Node, want: &Meta, path: &Path) -> Result<bool> {
    if (node.facts.uid, node.facts.gid) == (want.uid, want.gid) {
        return Ok(false);
    }
    let (uid, gid) = (Uid::from_raw(want.uid), Gid::from_raw(want.gid));
    chownat(node, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH).cannot("set the owner of", path)?;
    Ok(true)
}

fn mode(node: &Node, want: &Meta, path: &Path) -> Result<bool> {
    if want.kind == Kind::Symlink || node.facts.mode == want.mode {
        return Ok(false);
    }
    chmodat(CWD, node.proc_path(), Mode::from_raw_mode(want.mode), AtFlags::empty()).cannot("set the mode of", path)?;
    Ok(true)
}

fn xattrs(node: &Node, want: &Meta, fuse: &Fuse, path: &Path) -> Result<bool> {
    let have: Vec<Xattr> = node.xattrs(path)?.into_iter().filter(|pair| is_attribute(&pair)).collect();
    let wanted: Vec<&Xattr> = want.xattrs.iter().filter(is_attribute).collect();
    if have.iter().eq(wanted.iter().copied()) {
        return Ok(false);
    }
    let link = node.proc_path();
    for (name, _) in have.iter().filter(|(name, _)| wanted.iter().all(|(wanted, _)| wanted != name)) {
        rustix::fs::removexattr(link.as_str(), name.as_slice()).cannot("remove an extended attribute of", path)?;
        fuse.burn()?;
    }
    for pair in wanted.into_iter().filter(|pair| !have.contains(pair)) {
        let (name, value) = pair;
        rustix::fs::setxattr(link.as_str(), name.as_slice(), value, XattrFlags::empty()).cannot("set an extended attribute of", path)?;
        fuse.burn()?;
    }
    Ok(true)
}

fn time(node: &Node, Time(seconds, nanos): Time, path: &Path) -> Result<()> {
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access: omit, last_modification: Timespec { tv_sec: seconds, tv_nsec: i64::from(nanos) } };
    utimensat(CWD, node.proc_path(), &times, AtFlags::empty()).cannot("set the time of", path)
}
