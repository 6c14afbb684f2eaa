//! Which paths a capture covers, and which an existing one does.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use crate::changes::recorded_changes;
use crate::dir::CaptureDir;
use crate::error::Result;
use crate::manifest::{Entry, How, Listing, Manifest, Present};
use crate::node::Kind;
use crate::root::{absolute, relative};

/// Paths to capture: absolute, as seen in the root, links in their parents allowed (`/bin/x` may mean
/// `/usr/bin/x`). A path in several sets is kept in the surest way: a copy before a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Single paths that will be replaced or removed by renaming, never written in place. Files are kept as hard
    /// links; a directory is kept by itself, without what it holds. What does not exist is recorded as absent.
    pub link: BTreeSet<PathBuf>,
    /// Whole trees kept like `link`, every name in them known: what appears in them later is removed again.
    pub tree: BTreeSet<PathBuf>,
    /// Whole trees and files that a transaction brought: kept like `tree`, but small files in them that are named neither here
    /// nor in `link` are kept as copies. Programs made those, and some refuse a file that has two names.
    pub brought: BTreeSet<PathBuf>,
    /// Whole trees or files that may be written in place: kept as copies (by reference where the file system
    /// can), every name in them known.
    pub copy: BTreeSet<PathBuf>,
    /// Paths that should not exist yet. Those that do are kept like `link`.
    pub absent: BTreeSet<PathBuf>,
    /// Paths inside the trees that are left alone with everything below: neither kept nor removed nor compared.
    pub exclude: BTreeSet<PathBuf>,
}

/// The paths that an existing capture covers: what a restore of it may change, so what a transaction that
/// restores it has to capture first.
pub fn selection_of(dir: &CaptureDir) -> Result<Selection> {
    let manifest = dir.manifest()?;
    let image = if dir.has_post_image()? { dir.post_image()? } else { Manifest::default() };
    let mut selection = Selection::default();
    selection.exclude.extend(manifest.excluded.iter().map(|path| absolute(path)));
    for entry in &manifest.entries {
        let path = absolute(&entry.path);
        let set = match &entry.present {
            // What was absent is removed with everything in it, so everything in it is kept.
            None => &mut selection.brought,
            Some(present) if became_directory(present, image.find(&entry.path)) => &mut selection.tree,
            Some(present) => match (present.listing, present.object.map(|object| object.how)) {
                (Listing::Copied, _) | (Listing::Open, Some(How::Copied)) => &mut selection.copy,
                (Listing::Linked, _) => &mut selection.tree,
                (Listing::Open, Some(How::Linked) | None) => &mut selection.link,
            },
        };
        set.insert(path);
    }
    selection.copy.extend(written_in_place(dir, &manifest, &image)?);
    Ok(selection)
}

fn became_directory(before: &Present, after: Option<&Entry>) -> bool {
    let is_directory = |present: &Present| present.meta.kind == Kind::Directory;
    !is_directory(before) && after.and_then(|entry| entry.present.as_ref()).is_some_and(is_directory)
}

/// The names that inodes had, when the change was over, which a restore writes in place: a link would not keep them.
fn written_in_place(dir: &CaptureDir, manifest: &Manifest, image: &Manifest) -> Result<Vec<PathBuf>> {
    if manifest.inodes.is_empty() {
        return Ok(Vec::new());
    }
    let inodes: HashSet<_> = manifest.inodes.iter().map(|inode| (inode.meta.ino, inode.meta.btime)).collect();
    let is_one = |entry: &&Entry| entry.present.as_ref().is_some_and(|present| inodes.contains(&(present.meta.ino, present.meta.btime)));
    let mut names: Vec<PathBuf> = image.entries.iter().filter(is_one).map(|entry| absolute(&entry.path)).collect();
    // Names that nobody captured were found by the walk.
    let found = recorded_changes(dir)?.unwrap_or_default().into_iter().filter(|change| !change.by_others).map(|change| change.path);
    names.extend(found.filter(|path| relative(path).is_ok_and(|path| manifest.find(&path).is_none() && image.find(&path).is_none())));
    Ok(names)
}
