//! Finding what changed: before and now of every path, then where renamed things came from, then what others did.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::{Aftermath, Change, FileChange, Side};
use crate::after::{by_parent, copied_parents, open, present, present_paths};
use crate::compare::is_spoiled;
use crate::content::{self, Sum};
use crate::dir::CaptureDir;
use crate::error::{Context, Result};
use crate::gaps::{Gaps, LeftOut, told};
use crate::manifest::{Entry, How, Manifest, Present};
use crate::node::{Kind, Meta, Node, Time};
use crate::parallel::each;
use crate::root::{Root, absolute};
use crate::state::{is_device, same_description};
use crate::store::Vault;
use crate::walk::{Differing, Seen, Walk};

/// A path's place in the post-image and how it changed, if that could be told.
type Look = (Entry, Result<Option<Found>>);

/// Looks at every path once, and at the whole system meanwhile: the post-image, and everything that is not as before,
/// sorted by path.
pub(super) fn find(root: &Path, dir: &CaptureDir) -> Result<Aftermath> {
    let manifest = dir.manifest()?;
    let (opened, vault) = (Root::open(root)?, Vault::open(dir, &manifest.stores)?);
    let gaps = Gaps::new(&opened);
    let finder = Finder { root: &opened, gaps: &gaps, vault: &vault, copied: copied_parents(&manifest), manifest: &manifest };
    let (looks, walked) = std::thread::scope(|scope| {
        let walked = scope.spawn(|| walk(root, dir));
        let paths = present_paths(&opened, &manifest, &gaps)?;
        let jobs = by_parent(&paths);
        let looks = each(&jobs, |_| 1, || (), |(), job| finder.directory(job), &mut |_, _| {}, (0, jobs.len() as u64))?;
        let walked = walked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<(Vec<Look>, _), crate::CaptureError>((looks.into_iter().flatten().collect(), walked))
    })?;
    let (mut entries, found): (Vec<Entry>, Vec<_>) = looks.into_iter().unzip();
    entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    let changes = found.into_iter().filter_map(Result::transpose).collect::<Result<Vec<Found>>>();
    let (differing, mut left_out) = walked.map_or_else(|error| (Err(error), Vec::new()), |(found, gaps)| (Ok(found), gaps));
    let changes = changes.and_then(|found| finder.all(found, &differing?, &entries));
    left_out.extend(told(&gaps.into_found()));
    Ok(Aftermath { image: Manifest { excluded: manifest.excluded.clone(), entries, ..Manifest::default() }, changes, left_out })
}

/// What the pictures of the whole system before and now differ in, and what only the one of now leaves out; nothing without
/// a picture before.
fn walk(root: &Path, dir: &CaptureDir) -> Result<(Vec<Differing>, Vec<LeftOut>)> {
    let Some(before) = Walk::load(dir)? else { return Ok((Vec::new(), Vec::new())) };
    let now = Walk::take(root, dir)?;
    let (known, mut left_out) = (before.left_out(), now.left_out());
    left_out.retain(|gap| !known.contains(gap));
    Ok((before.differences(&now), left_out))
}

/// A change and the inodes before and after.
struct Found {
    change: FileChange,
    was: Option<(u64, Time)>,
    is: Option<(u64, Time)>,
}

struct Finder<'a> {
    root: &'a Root,
    gaps: &'a Gaps<'a>,
    vault: &'a Vault,
    manifest: &'a Manifest,
    copied: BTreeSet<PathBuf>,
}

impl Finder<'_> {
    fn directory(&self, (parent, paths): &(PathBuf, Vec<&Path>)) -> Result<Vec<Look>> {
        let Some(fd) = self.gaps.or_leave_out(parent, self.root.exact(parent))? else { return Ok(Vec::new()) };
        let in_copied = parent.ancestors().any(|ancestor| self.copied.contains(ancestor));
        let mut looks = Vec::with_capacity(paths.len());
        for path in paths {
            let before = self.manifest.find(path).and_then(|entry| entry.present.as_ref());
            let hashed = in_copied || before.is_some_and(|present| present.digest.is_some());
            let look = open(fd.as_ref(), path).and_then(|node| match node {
                Some(node) => present(&node, before, hashed, path).map(|after| (Some(node), Some(after))),
                None => Ok((None, None)),
            });
            let Some((node, after)) = self.gaps.or_leave_out(path, look)? else { continue };
            let found = self.path(path, before, node.as_ref().zip(after.as_ref()));
            looks.push((Entry { path: path.to_path_buf(), present: after }, found));
        }
        Ok(looks)
    }

    fn path(&self, path: &Path, before: Option<&Present>, now: Option<(&Node, &Present)>) -> Result<Option<Found>> {
        let is_same = |before: &Present, now: &Node| now.facts.is_still(&before.meta) && now.facts.ctime == before.meta.ctime;
        if before.zip(now).is_some_and(|(before, (now, _))| is_same(before, now)) {
            return Ok(None);
        }
        let meta = now.map(|(_, present)| &present.meta);
        let Some(rough) = rough_change(before.map(|before| &before.meta), meta) else { return Ok(None) };
        let (old, new) = match (before, now) {
            // The kept inode itself: its content is the same, and not read for that.
            (Some(before), Some((now, _))) if is_untouched(before, now) => (None, None),
            _ => (self.sum_before(path, before)?, now.map(|(now, present)| sum_known(path, now, present)).transpose()?.flatten()),
        };
        let Some(change) = fine_change(rough, before, meta, (old, new)) else { return Ok(None) };
        let inode = |meta: &Meta| (meta.ino, meta.btime);
        let (was, is) = (before.map(|before| inode(&before.meta)), meta.map(inode));
        let (before, after) = (before.map(|before| side(&before.meta, old)), meta.map(|meta| side(meta, new)));
        Ok(Some(Found { change: FileChange { path: absolute(path), change, before, after, by_others: false }, was, is }))
    }

    /// With what others changed, sorted by path.
    fn all(&self, mut found: Vec<Found>, walked: &[Differing], known: &[Entry]) -> Result<Vec<FileChange>> {
        name_origins(&mut found);
        let mut changes: Vec<FileChange> = found.into_iter().map(|found| found.change).collect();
        changes.extend(self.by_others(walked, known)?);
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(changes)
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
    fn by_others(&self, differing: &[Differing], known: &[Entry]) -> Result<Vec<FileChange>> {
        let inodes: HashSet<u64> = self.manifest.inodes.iter().map(|inode| inode.meta.ino).collect();
        let mut found = Vec::new();
        for one in differing {
            let Ok(path) = one.path.strip_prefix("/") else { continue };
            if known.binary_search_by(|entry| entry.path.as_path().cmp(path)).is_ok() || self.manifest.excludes(path) {
                continue;
            }
            let parent = self.root.parent_of(path);
            let now = parent.and_then(|parent| open(parent.as_ref(), path));
            let after = now.and_then(|now| now.map(|now| Ok(side(&now.meta(path)?, None))).transpose());
            let Some(after) = self.gaps.or_leave_out(path, after)? else { continue };
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

/// The digest now, read only if the post-image does not have it.
fn sum_known(path: &Path, node: &Node, present: &Present) -> Result<Option<Sum>> {
    if present.digest.is_some() { Ok(present.digest) } else { sum_now(path, node) }
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
