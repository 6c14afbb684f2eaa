//! Eager and late as one: what the rest of the crate reads.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::record::Record;
use crate::content::Sum;
use crate::manifest::{Entry, Inode, Listing, Manifest, Object};
use crate::node::Meta;

/// Adds the late log to a manifest. Of two entries for a path the first tells how it was.
pub(crate) fn union(manifest: Manifest, records: Vec<Record>) -> Manifest {
    if records.is_empty() {
        return manifest;
    }
    let first = eager_metadata(&manifest, &records);
    let mut union = Union { eager: manifest.entries.len(), manifest, places: HashMap::new(), first };
    records.into_iter().for_each(|record| union.add(record));
    let mut manifest = union.manifest;
    prefer_copies(&mut manifest);
    manifest.entries.sort_by(|one, other| one.path.cmp(&other.path));
    manifest
}

struct Union {
    manifest: Manifest,
    /// How many entries are the manifest's own, in its order.
    eager: usize,
    places: HashMap<PathBuf, usize>,
    /// What kept inodes were like when the first of their names was met: all their names get that.
    first: HashMap<Object, Meta>,
}

impl Union {
    fn add(&mut self, record: Record) {
        match record {
            Record::Store(point) => self.manifest.stores.push(point),
            Record::Excluded(path) => self.manifest.excluded.push(path),
            Record::Renaming(renaming) => self.manifest.renamings.push(renaming),
            Record::Inode(inode) => self.add_inode(inode),
            Record::Closed(path) => self.close(&path),
            Record::Path(entry) => self.add_entry(entry),
        }
    }

    fn add_entry(&mut self, mut entry: Entry) {
        if self.place(&entry.path).is_some() {
            return;
        }
        if let Some(present) = &mut entry.present
            && let Some(object) = present.object
        {
            present.meta = self.first.entry(object).or_insert_with(|| present.meta.clone()).clone();
        }
        self.places.insert(entry.path.clone(), self.manifest.entries.len());
        self.manifest.entries.push(entry);
    }

    fn add_inode(&mut self, mut inode: Inode) {
        if let Some(known) = self.manifest.inodes.iter_mut().find(|known| known.link == inode.link) {
            known.copy = known.copy.or(inode.copy);
            return;
        }
        let copy = inode.copy.map(|(copy, _)| copy);
        if let Some(meta) = self.first.get(&inode.link).or_else(|| self.first.get(&copy?)) {
            inode.meta = meta.clone();
        }
        for object in copy.into_iter().chain([inode.link]) {
            self.first.entry(object).or_insert_with(|| inode.meta.clone());
        }
        self.manifest.inodes.push(inode);
    }

    fn close(&mut self, path: &Path) {
        let present = self.place(path).and_then(|at| self.manifest.entries[at].present.as_mut());
        if let Some(present) = present.filter(|present| present.listing == Listing::Open) {
            present.listing = Listing::Linked;
        }
    }

    fn place(&self, path: &Path) -> Option<usize> {
        let sorted = &self.manifest.entries[..self.eager];
        sorted.binary_search_by(|known| known.path.as_path().cmp(path)).ok().or_else(|| self.places.get(path).copied())
    }
}

/// Of the eager entries only those whose inodes the log speaks of.
fn eager_metadata(manifest: &Manifest, records: &[Record]) -> HashMap<Object, Meta> {
    let mut wanted = HashSet::new();
    for record in records {
        match record {
            Record::Path(entry) => wanted.extend(entry.present.as_ref().and_then(|present| present.object)),
            Record::Inode(inode) => wanted.extend([Some(inode.link), inode.copy.map(|(copy, _)| copy)].into_iter().flatten()),
            Record::Store(_) | Record::Excluded(_) | Record::Closed(_) | Record::Renaming(_) => {}
        }
    }
    let mut first = HashMap::new();
    for present in manifest.entries.iter().filter_map(|entry| entry.present.as_ref()) {
        if let Some(object) = present.object.filter(|object| wanted.contains(object)) {
            first.entry(object).or_insert_with(|| present.meta.clone());
        }
    }
    first
}

/// A kept link to an inode that was written to has lost the content; the copy made before has it.
fn prefer_copies(manifest: &mut Manifest) {
    let copies: HashMap<Object, (Object, Sum)> =
        manifest.inodes.iter().filter_map(|inode| inode.copy.map(|copy| (inode.link, copy))).collect();
    for present in manifest.entries.iter_mut().filter_map(|entry| entry.present.as_mut()) {
        if let Some((object, sum)) = present.object.and_then(|object| copies.get(&object)) {
            present.object = Some(*object);
            present.digest = Some(*sum);
        }
    }
}
