//! Whether two states of a path are the same: now, before, after.

use std::path::Path;

use crate::content;
use crate::error::{Context, Result};
use crate::manifest::Present;
use crate::node::{Kind, Meta, Node};

/// Whether a path is now as it was recorded. Times of files count only where no digest was recorded; of
/// directories never.
pub(crate) fn is_as_recorded(node: Option<&Node>, recorded: Option<&Present>, path: &Path) -> Result<bool> {
    let (Some(node), Some(recorded)) = (node, recorded) else { return Ok(node.is_none() && recorded.is_none()) };
    if node.facts.is_still(&recorded.meta) && node.facts.ctime == recorded.meta.ctime {
        return Ok(true);
    }
    if node.facts.kind != recorded.meta.kind || !same_description(&node.meta(path)?, &recorded.meta) {
        return Ok(false);
    }
    if node.facts.kind != Kind::File {
        return Ok(true);
    }
    has_content(node, recorded, path)
}

/// Whether two recorded states are the same by the same rules.
pub(crate) fn same_state(one: Option<&Present>, other: Option<&Present>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one.is_none() && other.is_none() };
    if !same_description(&one.meta, &other.meta) {
        return false;
    }
    match (one.digest, other.digest) {
        _ if one.meta.kind != Kind::File => true,
        (Some(one), Some(other)) => one == other,
        _ => {
            (one.meta.ino, one.meta.btime, one.meta.size, one.meta.mtime)
                == (other.meta.ino, other.meta.btime, other.meta.size, other.meta.mtime)
        }
    }
}

/// Everything but content, times and which inode it is.
pub(crate) fn same_description(one: &Meta, other: &Meta) -> bool {
    one.kind == other.kind
        && (one.kind == Kind::Symlink || one.mode == other.mode)
        && (one.uid, one.gid) == (other.uid, other.gid)
        && (one.kind == Kind::Directory || one.target == other.target)
        && (!is_device(one.kind) || one.rdev == other.rdev)
        && one.xattrs == other.xattrs
}

pub(crate) const fn is_device(kind: Kind) -> bool {
    matches!(kind, Kind::CharDevice | Kind::BlockDevice)
}

fn has_content(node: &Node, recorded: &Present, path: &Path) -> Result<bool> {
    if node.facts.size != recorded.meta.size {
        return Ok(false);
    }
    match recorded.digest {
        Some(digest) => has_digest(node, digest, path),
        None => Ok(node.facts.is_still(&recorded.meta) && node.facts.mtime == recorded.meta.mtime),
    }
}

/// Whether a regular file's content has this digest.
pub(crate) fn has_digest(node: &Node, digest: content::Sum, path: &Path) -> Result<bool> {
    let file = node.read(path)?;
    Ok(content::sum(&file).cannot("read", path)? == digest)
}
