//! The post-image: how everything was right after the transaction, so that later changes by others can be told.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::content;
use crate::dir::{CaptureDir, ELSEWHERE};
use crate::error::{Context, Result};
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
    let paths = present_paths(&root, &manifest)?;
    let jobs = by_parent(&paths);
    let describe = |_: &mut (), job: &(PathBuf, Vec<&Path>)| picture(&root, &manifest, &copied, job);
    let kept = each(&jobs, |_| 1, || (), describe, &mut |_, _| {}, (0, jobs.len() as u64))?;
    let mut entries: Vec<Entry> = kept.into_iter().flatten().collect();
    entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    save(dir.path(), Picture::After, &Manifest { excluded: manifest.excluded, entries, ..Manifest::default() })
}

/// Paths that are not as the post-image says, absolute and sorted: changed, gone or new since the transaction.
pub fn drifted(root: &Path, dir: &CaptureDir) -> Result<Vec<PathBuf>> {
    let root = Root::open(root)?;
    let (manifest, image) = (dir.manifest()?, dir.post_image()?);
    let paths = present_paths(&root, &manifest)?;
    let mut all: BTreeSet<&Path> = paths.iter().map(PathBuf::as_path).collect();
    all.extend(image.entries.iter().map(|entry| entry.path.as_path()));
    let jobs = by_parent(all);
    let check = |_: &mut (), (parent, paths): &(PathBuf, Vec<&Path>)| {
        let fd = root.exact(parent)?;
        let mut found = Vec::new();
        for path in paths {
            let node = open(fd.as_ref(), path)?;
            let recorded = image.find(path).and_then(|entry| entry.present.as_ref());
            if !is_as_recorded(node.as_ref(), recorded, path)? {
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
pub(crate) fn present_paths(root: &Root, manifest: &Manifest) -> Result<BTreeSet<PathBuf>> {
    let mut all: BTreeSet<PathBuf> = manifest.entries.iter().map(|entry| entry.path.clone()).collect();
    for entry in &manifest.entries {
        let whole = entry.present.as_ref().is_none_or(|present| present.listing != Listing::Open || present.meta.kind != Kind::Directory);
        if whole && let Some(fd) = root.exact(&entry.path)? {
            gather(fd.as_fd(), &entry.path, manifest, &mut all)?;
        }
    }
    Ok(all)
}

/// Adds what is below an open directory; a directory that has an entry of its own is gathered for itself.
fn gather(dir: std::os::fd::BorrowedFd<'_>, path: &Path, manifest: &Manifest, all: &mut BTreeSet<PathBuf>) -> Result<()> {
    for name in names(dir, ".", path)? {
        let below = path.join(&name);
        if name == ELSEWHERE || manifest.excludes(&below) {
            continue;
        }
        let fresh = manifest.find(&below).is_none();
        if fresh && let Some(fd) = crate::survey::directory_here(dir, &name, &below)? {
            gather(fd.as_fd(), &below, manifest, all)?;
        }
        all.insert(below);
    }
    Ok(())
}

fn picture(root: &Root, manifest: &Manifest, copied: &BTreeSet<PathBuf>, (parent, paths): &(PathBuf, Vec<&Path>)) -> Result<Vec<Entry>> {
    let fd = root.exact(parent)?;
    let in_copied = parent.ancestors().any(|ancestor| copied.contains(ancestor));
    let mut entries = Vec::with_capacity(paths.len());
    for path in paths {
        let before = manifest.find(path).and_then(|entry| entry.present.as_ref());
        let hashed = in_copied || before.is_some_and(|present| present.digest.is_some());
        let node = open(fd.as_ref(), path)?;
        let present = node.map(|node| present(&node, before, hashed, path)).transpose()?;
        entries.push(Entry { path: path.to_path_buf(), present });
    }
    Ok(entries)
}

/// What is untouched since the capture is not read again.
pub(crate) fn present(node: &Node, before: Option<&Present>, hashed: bool, path: &Path) -> Result<Present> {
    let meta = node.meta(path)?;
    let same = before.filter(|before| node.facts.is_still(&before.meta) && node.facts.ctime == before.meta.ctime);
    let digest = match same.and_then(|before| before.digest) {
        Some(digest) => Some(digest),
        None if hashed && meta.kind == Kind::File => Some(content::sum(&node.read(path)?).cannot("read", path)?),
        None => None,
    };
    Ok(Present { meta, listing: Listing::Open, digest, object: None })
}
