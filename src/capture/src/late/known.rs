//! What is known already, by path and by inode: the answer to nearly every call.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::content::Sum;
use crate::manifest::{Entry, How, Inode, Listing, Manifest, Object};
use crate::node::{Facts, Kind, Meta, Time};

/// What was at a path before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing: the undo removes what is there.
    Absent,
    /// Something that is kept.
    Present { kind: Kind, listing: Listing, end: u64 },
}

/// What is kept of an inode. `end` is where the log tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// It was made during this run: nothing of it is needed.
    pub(super) born: bool,
    pub(super) link: Option<Object>,
    pub(super) copy: Option<(Object, Sum)>,
    pub(super) end: u64,
}

pub(super) const BORN: Held = Held { born: true, link: None, copy: None, end: 0 };

/// An inode, across names and restarts: numbers are used again, birth times are not. Where there are none the
/// device tells it apart from others of this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    ino: u64,
    btime: Time,
    dev: (u32, u32),
}

impl Key {
    pub(super) fn of(facts: &Facts) -> Self {
        let nameless = facts.btime == Time::default();
        Self { ino: facts.ino, btime: facts.btime, dev: if nameless { facts.dev } else { (0, 0) } }
    }

    /// Whether it cannot be mistaken for a recorded one.
    pub(super) fn is_certain(&self) -> bool {
        self.btime != Time::default()
    }

    /// None without a birth time: the record does not say on which device it was.
    fn recorded(meta: &Meta) -> Option<Self> {
        (meta.btime != Time::default()).then_some(Self { ino: meta.ino, btime: meta.btime, dev: (0, 0) })
    }
}

/// Both maps.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    paths: HashMap<PathBuf, Known>,
    inodes: HashMap<Key, Held>,
}

impl Knowledge {
    /// All that a capture knows, early and late.
    pub(super) fn of(manifest: &Manifest) -> Self {
        let mut knowledge = Self::default();
        knowledge.paths.reserve(manifest.entries.len() * 2);
        knowledge.inodes.reserve(manifest.entries.len() * 2);
        for entry in &manifest.entries {
            knowledge.learn_entry(entry, 0);
        }
        for inode in &manifest.inodes {
            knowledge.learn_inode(inode, Key::recorded(&inode.meta), 0);
        }
        knowledge
    }

    fn learn_entry(&mut self, entry: &Entry, end: u64) {
        let Some(present) = &entry.present else {
            self.paths.insert(entry.path.clone(), Known::Absent);
            return;
        };
        self.paths.insert(entry.path.clone(), Known::Present { kind: present.meta.kind, listing: present.listing, end });
        if let (Some(object), Some(key)) = (present.object, Key::recorded(&present.meta)) {
            let held = self.inodes.entry(key).or_insert(Held { born: false, link: None, copy: None, end });
            match object.how {
                How::Linked => held.link = Some(object),
                How::Copied => held.copy = present.digest.map(|sum| (object, sum)),
            }
        }
    }

    pub(super) fn learn_inode(&mut self, inode: &Inode, key: Option<Key>, end: u64) {
        if let Some(key) = key {
            self.inodes.insert(key, Held { born: false, link: Some(inode.link), copy: inode.copy, end });
        }
    }

    pub(super) fn learn_path(&mut self, path: &Path, known: Known) {
        self.paths.insert(path.to_path_buf(), known);
    }

    pub(super) fn hold(&mut self, key: Key, held: Held) {
        self.inodes.insert(key, held);
    }

    pub(super) fn held(&self, key: Key) -> Option<Held> {
        self.inodes.get(&key).copied()
    }

    /// What was at a path, if that is known from itself.
    pub(super) fn known(&self, path: &Path) -> Option<Known> {
        self.paths.get(path).copied()
    }

    /// What was at a path, if that is known from itself or from the directories it is in.
    pub(super) fn path(&mut self, path: &Path) -> Option<Known> {
        if let Some(known) = self.paths.get(path) {
            return Some(*known);
        }
        let absent = self.was_absent(path);
        // The next call for the path is likely, and finds it at once.
        absent.then(|| self.paths.insert(path.to_path_buf(), Known::Absent));
        absent.then_some(Known::Absent)
    }

    /// Whether the first known directory above says that there can have been nothing.
    fn was_absent(&self, path: &Path) -> bool {
        match path.ancestors().skip(1).find_map(|ancestor| self.paths.get(ancestor)) {
            None => false,
            Some(Known::Absent) => true,
            Some(Known::Present { kind: Kind::Directory, listing, .. }) => *listing != Listing::Open,
            Some(Known::Present { .. }) => true,
        }
    }
}
