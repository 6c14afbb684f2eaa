//! Whether a path is ours to put back: three-way, by what was before, what the transaction left and what is now.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use backstep_core::AttemptId;

use super::bench::Bench;
use super::{Item, Kept, Restored, Restorer};
use crate::dir::CaptureDir;
use crate::error::Result;
use crate::manifest::{Entry, Present};
use crate::node::{Kind, Meta, Node};
use crate::root::absolute;
use crate::state::{is_as_recorded, same_description, same_state};

/// What to do with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Put it back.
    Restore,
    /// The transaction did not change it; what others did with it is not our business.
    Leave,
    /// Both the transaction and someone else changed it: theirs stays.
    Keep,
}

const LONGEST_NAME: usize = 255;

/// What a captured file is called beside the one that is kept: the transaction's short name.
pub(super) fn suffix(dir: &CaptureDir) -> String {
    let name = dir.name().to_string_lossy();
    let short = match name.parse::<AttemptId>() {
        Ok(attempt) => attempt.transaction.short(),
        Err(_) => name.chars().filter(char::is_ascii_alphanumeric).take(12).collect(),
    };
    format!(".backstep-{short}")
}

impl Restorer<'_> {
    pub(super) fn verdict(&self, entry: &Entry, node: Option<&Node>) -> Result<Verdict> {
        let Some(after) = self.after else { return Ok(Verdict::Restore) };
        let before = entry.present.as_ref();
        let left = after.find(&entry.path).and_then(|entry| entry.present.as_ref());
        let ours =
            is_as_recorded(node, left, &entry.path)? || self.is_back(entry, left, node)? || self.was_restored_elsewhere(node, left)?;
        Ok(if ours {
            Verdict::Restore
        } else if same_state(before, left) {
            Verdict::Leave
        } else {
            Verdict::Keep
        })
    }

    /// Whether an earlier, interrupted restore put it back already.
    fn is_back(&self, entry: &Entry, left: Option<&Present>, node: Option<&Node>) -> Result<bool> {
        match (node, &entry.present) {
            (None, None) => Ok(true),
            (Some(node), Some(present)) if present.meta.kind == Kind::Directory => {
                let now = node.meta(&entry.path)?;
                Ok(now.kind == Kind::Directory && is_between(&now, &present.meta, left.map_or(&present.meta, |left| &left.meta)))
            }
            (Some(node), Some(present)) => self.holds(node, &Item { entry, present }),
            // A directory and a file cannot be exchanged in one step: nothing is what is between them.
            (None, Some(present)) => {
                let is_directory = |present: &Present| present.meta.kind == Kind::Directory;
                Ok(left.is_some_and(|left| is_directory(left) != is_directory(present)))
            }
            (Some(_), None) => Ok(false),
        }
    }

    /// Whether it is a captured inode to which the transaction gave this name, too: putting it back under its own name
    /// changed what is seen here.
    pub(super) fn was_restored_elsewhere(&self, node: Option<&Node>, left: Option<&Present>) -> Result<bool> {
        let (Some(node), Some(left)) = (node, left) else { return Ok(false) };
        if node.facts.kind != Kind::File || !node.facts.is_still(&left.meta) {
            return Ok(false);
        }
        for (entry, present) in self.present().filter(|(_, present)| node.facts.is_still(&present.meta)) {
            let item = Item { entry, present };
            if same_description(&node.meta(&entry.path)?, &present.meta) && self.holds(node, &item)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Leaves what is there and puts the captured file beside it, when it is a file.
    pub(super) fn keep(&self, bench: &Bench<'_>, item: &Item<'_>, restored: &mut Restored) -> Result<()> {
        let path = &item.entry.path;
        let ours = match item.present.meta.kind {
            Kind::File => {
                let name = beside(path.file_name().unwrap_or_default(), self.suffix);
                self.put_copy(bench, &name, item)?;
                Some(absolute(&path.with_file_name(name)))
            }
            Kind::Directory | Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => None,
        };
        restored.kept.push(Kept { path: absolute(path), ours });
        Ok(())
    }
}

/// Whether every property is as before or as the transaction left it: a restore that was interrupted on its way.
fn is_between(now: &Meta, before: &Meta, left: &Meta) -> bool {
    let owner = |meta: &Meta| (meta.uid, meta.gid);
    (now.mode == before.mode || now.mode == left.mode)
        && (owner(now) == owner(before) || owner(now) == owner(left))
        && now.xattrs.iter().all(|pair| before.xattrs.contains(pair) || left.xattrs.contains(pair))
}

/// The name, shortened where the suffix would make it too long for a file system.
fn beside(name: &OsStr, suffix: &str) -> OsString {
    let mut bytes = name.as_bytes().to_vec();
    bytes.truncate(LONGEST_NAME - suffix.len());
    bytes.extend_from_slice(suffix.as_bytes());
    OsString::from_vec(bytes)
}
