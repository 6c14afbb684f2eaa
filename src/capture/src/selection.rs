//! Which paths a capture covers, and which an existing one does.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::dir::CaptureDir;
use crate::error::Result;
use crate::manifest::{How, Listing};
use crate::root::absolute;

/// Paths to capture: absolute, as seen in the root, links in their parents allowed (`/bin/x` may mean
/// `/usr/bin/x`). A path in several sets is kept in the surest way: a copy before a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Single paths that will be replaced or removed by renaming, never written in place. Files are kept as hard
    /// links; a directory is kept by itself, without what it holds. What does not exist is recorded as absent.
    pub link: BTreeSet<PathBuf>,
    /// Whole trees kept like `link`, every name in them known: what appears in them later is removed again.
    pub tree: BTreeSet<PathBuf>,
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
    let mut selection = Selection::default();
    selection.exclude.extend(manifest.excluded.iter().map(|path| absolute(path)));
    for entry in &manifest.entries {
        let path = absolute(&entry.path);
        let set = match &entry.present {
            // What was absent is removed with everything in it, so everything in it is kept.
            None => &mut selection.tree,
            Some(present) => match (present.listing, present.object.map(|object| object.how)) {
                (Listing::Copied, _) | (Listing::Open, Some(How::Copied)) => &mut selection.copy,
                (Listing::Linked, _) => &mut selection.tree,
                (Listing::Open, Some(How::Linked) | None) => &mut selection.link,
            },
        };
        set.insert(path);
    }
    Ok(selection)
}
