//! The post-image: how everything was right after the transaction, so that later changes by others can be told.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::content::{self, Sum};
use crate::dir::{CaptureDir, ELSEWHERE};
use crate::error::{Context, Result};
use crate::gaps::{Gaps, is_leased};
use crate::manifest::{Entry, Listing, Manifest, Picture, Present, save};
use crate::node::{Kind, Node, names};
use crate::parallel::each;
use crate::root::{Root, absolute};
use crate::state::is_as_recorded;

/// Records how every captured path is now, and every path that appeared in listed directories or where nothing
/// was before. Durable when it returns; calling it again replaces the record.
pub fn record_after(root: &Path, dir: &CaptureDir) -> Result<()> {
    let root = Root::open(root)?;
    let manifest = dir.manifest()?;
    let copied = copied_parents(&manifest);
    let gaps = Gaps::new(&root);
    let paths = present_paths(&root, &manifest, &gaps)?;
    let jobs = by_parent(&paths);
    let describe = |_: &mut (), job: &(PathBuf, Vec<&Path>)| picture(&root, &manifest, (&copied, &gaps), job);
    let kept = each(&jobs, |_| 1, || (), describe, &mut |_, _| {}, (0, jobs.len() as u64))?;
    let mut entries: Vec<Entry> = kept.into_iter().flatten().collect();
    entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    save(dir.path(), Picture::After, &Manifest { excluded: manifest.excluded, entries, ..Manifest::default() })
}

/// Paths that are not as the post-image says, absolute and sorted: changed, gone or new since the transaction.
pub fn drifted(root: &Path, dir: &CaptureDir) -> Result<Vec<PathBuf>> {
    let root = Root::open(root)?;
    let (manifest, image) = (dir.manifest()?, dir.post_image()?);
    let gaps = Gaps::new(&root);
    let paths = present_paths(&root, &manifest, &gaps)?;
    let mut all: BTreeSet<&Path> = paths.iter().map(PathBuf::as_path).collect();
    all.extend(image.entries.iter().map(|entry| entry.path.as_path()));
    let jobs = by_parent(all);
    let check = |_: &mut (), (parent, paths): &(PathBuf, Vec<&Path>)| {
        let fd = gaps.or_leave_out(parent, root.exact(parent))?;
        let mut found = Vec::new();
        for path in paths {
            let recorded = image.find(path).and_then(|entry| entry.present.as_ref());
            let same = fd.as_ref().map(|fd| open(fd.as_ref(), path).and_then(|node| is_as_recorded(node.as_ref(), recorded, path)));
            // What cannot be looked at any more is somebody's who is not root, and theirs to keep.
            if same.map(|same| gaps.or_leave_out(path, same)).transpose()?.flatten() != Some(true) {
                found.push(absolute(path));
            }
        }
        Ok(found)
    };
    let mut found: Vec<PathBuf> = each(&jobs, |_| 1, || (), check, &mut |_, _| {}, (0, jobs.len() as u64))?.into_iter().flatten().collect();
    found.sort();
    Ok(found)
}

pub(crate) fn open(parent: Option<&std::os::fd::OwnedFd>, path: &Path) -> Result<Option<Node>> {
    match (parent, path.file_name()) {
        (Some(parent), Some(name)) => Node::open(parent.as_fd(), name, path),
        (None, _) | (_, None) => Ok(None),
    }
}

/// Groups paths by the directory that holds them.
pub(crate) fn by_parent<'a, P: AsRef<Path> + ?Sized + 'a>(paths: impl IntoIterator<Item = &'a P>) -> Vec<(PathBuf, Vec<&'a Path>)> {
    let mut groups: HashMap<&Path, Vec<&Path>> = HashMap::new();
    for path in paths {
        let path = path.as_ref();
        groups.entry(path.parent().unwrap_or(Path::new(""))).or_default().push(path);
    }
    let mut groups: Vec<_> = groups.into_iter().map(|(parent, paths)| (parent.to_path_buf(), paths)).collect();
    groups.sort();
    groups
}

pub(crate) fn copied_parents(manifest: &Manifest) -> BTreeSet<PathBuf> {
    let copied = |entry: &&Entry| entry.present.as_ref().is_some_and(|present| present.listing == Listing::Copied);
    manifest.entries.iter().filter(copied).map(|entry| entry.path.clone()).collect()
}

/// Every path of the manifest, and everything that is now in listed directories or below what was no directory.
pub(crate) fn present_paths(root: &Root, manifest: &Manifest, gaps: &Gaps<'_>) -> Result<BTreeSet<PathBuf>> {
    let mut all: BTreeSet<PathBuf> = manifest.entries.iter().map(|entry| entry.path.clone()).collect();
    for entry in &manifest.entries {
        let whole = entry.present.as_ref().is_none_or(|present| present.listing != Listing::Open || present.meta.kind != Kind::Directory);
        if whole {
            gather(root, &entry.path, manifest, gaps, &mut all)?;
        }
    }
    Ok(all)
}

/// Adds what is below a directory; a directory that has an entry of its own is gathered for itself.
fn gather(root: &Root, path: &Path, manifest: &Manifest, gaps: &Gaps<'_>, all: &mut BTreeSet<PathBuf>) -> Result<()> {
    let mut ahead = vec![path.to_path_buf()];
    while let Some(path) = ahead.pop() {
        let below = fresh(root, &path, manifest, all);
        ahead.extend(gaps.or_leave_out(&path, below)?.unwrap_or_default());
    }
    Ok(())
}

/// Adds what is in a directory; answers the directories in it that have no entry.
fn fresh(root: &Root, path: &Path, manifest: &Manifest, all: &mut BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut inside = Vec::new();
    let Some(dir) = root.exact(path)? else { return Ok(inside) };
    for name in names(dir.as_fd(), ".", path)? {
        let below = path.join(&name);
        if name == ELSEWHERE || manifest.excludes(&below) {
            continue;
        }
        if manifest.find(&below).is_none() && crate::survey::directory_here(dir.as_fd(), &name, &below)?.is_some() {
            inside.push(below.clone());
        }
        all.insert(below);
    }
    Ok(inside)
}

fn picture(
    root: &Root,
    manifest: &Manifest,
    (copied, gaps): (&BTreeSet<PathBuf>, &Gaps<'_>),
    job: &(PathBuf, Vec<&Path>),
) -> Result<Vec<Entry>> {
    let (parent, paths) = job;
    let Some(fd) = gaps.or_leave_out(parent, root.exact(parent))? else { return Ok(Vec::new()) };
    let in_copied = parent.ancestors().any(|ancestor| copied.contains(ancestor));
    let mut entries = Vec::with_capacity(paths.len());
    for path in paths {
        let before = manifest.find(path).and_then(|entry| entry.present.as_ref());
        let hashed = in_copied || before.is_some_and(|present| present.digest.is_some());
        let look = open(fd.as_ref(), path).and_then(|node| node.map(|node| present(&node, before, hashed, path)).transpose());
        entries.extend(gaps.or_leave_out(path, look)?.map(|present| Entry { path: path.to_path_buf(), present }));
    }
    Ok(entries)
}

/// What is untouched since the capture is not read again.
pub(crate) fn present(node: &Node, before: Option<&Present>, hashed: bool, path: &Path) -> Result<Present> {
    let meta = node.meta(path)?;
    let same = before.filter(|before| node.facts.is_still(&before.meta) && node.facts.ctime == before.meta.ctime);
    let digest = match same.and_then(|before| before.digest) {
        Some(digest) => Some(digest),
        None if hashed && meta.kind == Kind::File => sum_unless_leased(node, path)?,
        None => None,
    };
    Ok(Present { meta, listing: Listing::Open, digest, object: None })
}

/// Of a file that its owner has a lease on inode, size and time must do.
fn sum_unless_leased(node: &Node, path: &Path) -> Result<Option<Sum>> {
    match node.read(path) {
        Ok(file) => content::sum(&file).cannot("read", path).map(Some),
        Err(error) if is_leased(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
