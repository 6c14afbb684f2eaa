//! Finding what changed: before and now of every path, then where renamed things came from, then what others did.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::{Change, FileChange, Side};
use crate::after::{by_parent, open, present_paths};
use crate::compare::is_spoiled;
use crate::content::{self, Sum};
use crate::dir::CaptureDir;
use crate::error::{Context, Result};
use crate::manifest::{How, Manifest, Present};
use crate::node::{Kind, Meta, Node, Time};
use crate::parallel::each;
use crate::root::{Root, absolute};
use crate::state::{is_device, same_description};
use crate::store::Vault;
use crate::walk::{Seen, Walk};

/// Everything that is not as before, sorted by path.
pub(super) fn find(root: &Path, dir: &CaptureDir) -> Result<Vec<FileChange>> {
    let manifest = dir.manifest()?;
    let (opened, vault) = (Root::open(root)?, Vault::open(dir, &manifest.stores)?);
    let paths = present_paths(&opened, &manifest)?;
    let finder = Finder { root: &opened, vault: &vault, manifest: &manifest };
    let jobs = by_parent(&paths);
    let found = each(&jobs, |_| 1, || (), |(), job| finder.directory(job), &mut |_, _| {}, (0, jobs.len() as u64))?;
    let mut found: Vec<Found> = found.into_iter().flatten().collect();
    name_origins(&mut found);
    let mut changes: Vec<FileChange> = found.into_iter().map(|found| found.change).collect();
    if let Some(before) = Walk::load(dir)? {
        changes.extend(finder.by_others(&before.differences(&Walk::take(root, dir)?), &paths)?);
    }
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(changes)
}

/// A change and the inodes before and after.
struct Found {
    change: FileChange,
    was: Option<(u64, Time)>,
    is: Option<(u64, Time)>,
}

struct Finder<'a> {
    root: &'a Root,
    vault: &'a Vault,
    manifest: &'a Manifest,
}

impl Finder<'_> {
    fn directory(&self, (parent, paths): &(PathBuf, Vec<&Path>)) -> Result<Vec<Found>> {
        let fd = self.root.exact(parent)?;
        let mut found = Vec::new();
        for path in paths {
            let before = self.manifest.find(path).and_then(|entry| entry.present.as_ref());
            found.extend(self.path(path, before, open(fd.as_ref(), path)?.as_ref())?);
        }
        Ok(found)
    }

    fn path(&self, path: &Path, before: Option<&Present>, now: Option<&Node>) -> Result<Option<Found>> {
        let is_same = |before: &Present, now: &Node| now.facts.is_still(&before.meta) && now.facts.ctime == before.meta.ctime;
        if before.zip(now).is_some_and(|(before, now)| is_same(before, now)) {
            return Ok(None);
        }
        let meta = now.map(|now| now.meta(path)).transpose()?;
        let Some(rough) = rough_change(before.map(|before| &before.meta), meta.as_ref()) else { return Ok(None) };
        let (old, new) = match (before, now) {
            // The kept inode itself: its content is the same, and not read for that.
            (Some(before), Some(now)) if is_untouched(before, now) => (None, None),
            _ => (self.sum_before(path, before)?, now.map(|now| sum_now(path, now)).transpose()?.flatten()),
        };
        let Some(change) = fine_change(rough, before, meta.as_ref(), (old, new)) else { return Ok(None) };
        let inode = |meta: &Meta| (meta.ino, meta.btime);
        let (was, is) = (before.map(|before| inode(&before.meta)), meta.as_ref().map(inode));
        let (before, after) = (before.map(|before| side(&before.meta, old)), meta.as_ref().map(|meta| side(meta, new)));
        Ok(Some(Found { change: FileChange { path: absolute(path), change, before, after, by_others: false }, was, is }))
    }

    /// The digest before: known, or of what is kept. None when what is kept was written to.
    fn sum_before(&self, path: &Path, before: Option<&Present>) -> Result<Option<Sum>> {
        let Some((present, object)) = before.and_then(|present| present.object.map(|object| (present, object))) else { return Ok(None) };
        if present.digest.is_some() {
            return Ok(present.digest);
        }
        let kept = self.vault.object(object, path)?;
        if is_spoiled(&kept, present) { Ok(None) } else { sum_now(path, &kept) }
    }

    /// What the walk found and the capture does not know.
    fn by_others(&self, differing: &[crate::walk::Differing], ours: &BTreeSet<PathBuf>) -> Result<Vec<FileChange>> {
        let inodes: HashSet<u64> = self.manifest.inodes.iter().map(|inode| inode.meta.ino).collect();
        let mut found = Vec::new();
        for one in differing {
            let Ok(path) = one.path.strip_prefix("/") else { continue };
            if ours.contains(path) || self.manifest.excludes(path) {
                continue;
            }
            let parent = self.root.exact(path.parent().unwrap_or(Path::new("")))?;
            let now = open(parent.as_ref(), path)?;
            let after = now.map(|now| Ok::<_, crate::CaptureError>(side(&now.meta(path)?, None))).transpose()?;
            let change = match one.seen {
                Seen::Created => Change::Created,
                Seen::Vanished => Change::Removed,
                Seen::Content => Change::Written,
                Seen::Metadata => Change::Metadata,
            };
            // Another name of an inode that the run wrote to.
            let by_others = !inodes.contains(&one.ino);
            found.push(FileChange { path: one.path.clone(), change, before: None, after, by_others });
        }
        Ok(found)
    }
}

/// The same inode with the size and time it had.
fn is_untouched(before: &Present, now: &Node) -> bool {
    let linked = before.object.is_some_and(|object| object.how == How::Linked);
    linked && now.facts.is_still(&before.meta) && (now.facts.size, now.facts.mtime) == (before.meta.size, before.meta.mtime)
}

fn sum_now(path: &Path, node: &Node) -> Result<Option<Sum>> {
    if node.facts.kind != Kind::File {
        return Ok(None);
    }
    content::sum(&node.read(path)?).cannot("read", path).map(Some)
}

/// By types alone; none when there was and is nothing.
fn rough_change(before: Option<&Meta>, now: Option<&Meta>) -> Option<Change> {
    match (before, now) {
        (None, None) => None,
        (None, Some(_)) => Some(Change::Created),
        (Some(_), None) => Some(Change::Removed),
        (Some(before), Some(now)) if before.kind != now.kind => Some(Change::Replaced),
        (Some(before), Some(now)) if (before.ino, before.btime) == (now.ino, now.btime) => Some(Change::Written),
        (Some(_), Some(_)) => Some(Change::Replaced),
    }
}

/// By content and metadata; none when all is the same.
fn fine_change(rough: Change, before: Option<&Present>, now: Option<&Meta>, sums: (Option<Sum>, Option<Sum>)) -> Option<Change> {
    let (Some(before), Some(now)) = (before.map(|before| &before.meta), now) else { return Some(rough) };
    let content = before.kind != now.kind
        || match before.kind {
            Kind::File => sums.0 != sums.1,
            Kind::Symlink => before.target != now.target,
            kind => is_device(kind) && before.rdev != now.rdev,
        };
    match (content, same_description(before, now)) {
        (true, _) => Some(rough),
        (false, false) => Some(Change::Metadata),
        (false, true) => None,
    }
}

/// What appeared at one path and went from another was renamed.
fn name_origins(found: &mut [Found]) {
    let mut gone: HashMap<(u64, Time), PathBuf> = HashMap::new();
    for one in found.iter().filter(|one| one.was.is_some() && one.was != one.is) {
        gone.extend(one.was.filter(|(_, born)| *born != Time::default()).map(|inode| (inode, one.change.path.clone())));
    }
    for one in found.iter_mut().filter(|one| one.change.change == Change::Created) {
        if let Some(from) = one.is.and_then(|inode| gone.get(&inode)) {
            one.change.change = Change::RenamedFrom(from.clone());
        }
    }
}

fn side(meta: &Meta, sha256: Option<Sum>) -> Side {
    let target = (meta.kind == Kind::Symlink).then(|| PathBuf::from(OsString::from_vec(meta.target.clone())));
    Side { kind: meta.kind, mode: meta.mode, uid: meta.uid, gid: meta.gid, size: meta.size, sha256, target }
}
