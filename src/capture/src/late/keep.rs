//! Keeping things late: objects first, then their records, then durability, then what is known.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;

use super::Late;
use super::known::{Held, Key, Known};
use super::record::Record;
use crate::content::Sum;
use crate::error::{Context, Result};
use crate::gaps::is_leased;
use crate::manifest::{Entry, Inode, Listing, Object, Present, Renaming};
use crate::node::{Facts, Kind, Node, names};
use crate::store::{OBJECTS, SHARD};
use crate::survey::{SMALL, directory_here};

/// File systems whose journal keeps the order of names: what was made before a durable record is durable. By the
/// number that statfs tells: ext2 to ext4, and xfs.
const ORDERED: [u64; 2] = [0xef53, 0x5846_5342];

/// What is about to happen to a file, and with it how it is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is written: a copy is kept beside the link.
    Written,
    /// Its name goes, and usually the file with it: of a small one a copy is kept and no link. Programs made what nobody
    /// foresaw, and some refuse a file that has two names when it comes back.
    Goes,
    /// It stays, under this name or another: a link.
    Stays,
}

/// What a name in a directory was.
enum Inside {
    /// A directory, still to be looked into.
    Directory,
    /// All that is to be known is.
    Done,
}

/// Records of one call, and what becomes known by them.
#[derive(Default)]
pub(super) struct Batch {
    records: Vec<Record>,
    paths: Vec<(PathBuf, Kind, Listing)>,
    inodes: Vec<(Key, Held)>,
}

impl Late {
    /// Keeps what is at a path that is not known yet.
    pub(super) fn keep_path(&mut self, path: &Path, fate: Fate) -> Result<()> {
        let Some(node) = self.node(path)? else { return Ok(()) };
        let mut batch = Batch::default();
        self.add_parents(path, &mut batch)?;
        self.add_path(path, &node, fate, Listing::Open, &mut batch)?;
        self.seal(batch)
    }

    /// Keeps an inode that is about to be changed in place.
    pub(super) fn keep_inode(&mut self, path: &Path, key: Key, held: Option<Held>, content: bool) -> Result<()> {
        let Some(node) = self.node(path)?.filter(|node| Key::of(&node.facts) == key) else { return Ok(()) };
        let mut batch = Batch::default();
        self.add_inode(path, &node, held, content, &mut batch)?;
        self.seal(batch)
    }

    /// Keeps a directory with everything in it, because another one is about to take its place.
    pub(super) fn keep_tree(&mut self, path: &Path) -> Result<()> {
        let mut batch = Batch::default();
        self.add_whole(path, &mut batch)?;
        self.seal(batch)
    }

    /// Keeps a directory with everything in it, because it is about to go elsewhere.
    pub(super) fn keep_moving_tree(&mut self, from: &Path, to: &Path, facts: &Facts) -> Result<()> {
        let mut batch = Batch::default();
        self.add_whole(from, &mut batch)?;
        let renaming = Renaming { from: from.to_path_buf(), to: to.to_path_buf(), ino: facts.ino, btime: facts.btime };
        batch.records.push(Record::Renaming(renaming));
        self.seal(batch)?;
        self.directories_moved = true;
        Ok(())
    }

    /// Notes where a directory goes that needs nothing else, because its way back begins there.
    pub(super) fn note_move(&mut self, from: &Path, to: &Path) -> Result<()> {
        let Some(facts) = self.look(from)?.filter(|facts| facts.kind == Kind::Directory) else { return Ok(()) };
        let renaming = Renaming { from: from.to_path_buf(), to: to.to_path_buf(), ino: facts.ino, btime: facts.btime };
        self.log.append(&[Record::Renaming(renaming)]).map(drop)
    }

    /// Notes that there is nothing. CRASH: the record may be lost when the name is there; its birth is not.
    pub(super) fn note_absent(&mut self, path: &Path) -> Result<()> {
        let mut batch = Batch::default();
        self.add_parents(path, &mut batch)?;
        batch.records.push(Record::Path(Entry { path: path.to_path_buf(), present: None }));
        let end = self.log.append(&batch.records)?;
        if !self.births.note(path, self.device_of_parent(path)?)? {
            self.log.sync_to(end)?;
        }
        self.learn(batch, end);
        self.knowledge.learn_path(path, Known::Absent);
        self.summary.created += 1;
        Ok(())
    }

    /// Zero, which is none's, when there is no such folder: then nothing can be made in it.
    fn device_of_parent(&self, path: &Path) -> Result<u64> {
        let Some(parent) = self.root.parent_of(path)? else { return Ok(0) };
        rustix::fs::fstat(parent).map(|found| found.st_dev).map_err(std::io::Error::from).cannot("examine the folder of", path)
    }

    fn node(&self, path: &Path) -> Result<Option<Node>> {
        let Some(parent) = self.root.parent_of(path)? else { return Ok(None) };
        path.file_name().map_or(Ok(None), |name| Node::open(parent.as_fd(), name, path))
    }

    /// A change in a directory changes the directory's time; and it may itself go, which its parents must outlive.
    fn add_parents(&mut self, path: &Path, batch: &mut Batch) -> Result<()> {
        for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            if self.knowledge.path(parent).is_some() {
                return Ok(());
            }
            if let Some(node) = self.node(parent)? {
                self.add_path(parent, &node, Fate::Stays, Listing::Open, batch)?;
            }
        }
        Ok(())
    }

    fn add_path(&mut self, path: &Path, node: &Node, fate: Fate, listing: Listing, batch: &mut Batch) -> Result<()> {
        let meta = node.meta(path)?;
        let (object, digest) = if meta.kind == Kind::File { self.add_file(path, node, fate, batch)? } else { (None, None) };
        batch.paths.push((path.to_path_buf(), meta.kind, listing));
        batch.records.push(Record::Path(Entry { path: path.to_path_buf(), present: Some(Present { meta, listing, digest, object }) }));
        Ok(())
    }

    /// Keeps what is in a file: by a link, or by a copy where a copy is cheaper or there are no links.
    fn add_file(&mut self, path: &Path, node: &Node, fate: Fate, batch: &mut Batch) -> Result<(Option<Object>, Option<Sum>)> {
        let key = Key::of(&node.facts);
        let held = batch.inodes.iter().rev().find(|(known, _)| *known == key).map(|(_, held)| *held).or_else(|| self.knowledge.held(key));
        let held = held.filter(|held| !held.born);
        let link = match held.and_then(|held| held.link) {
            Some(link) => Some(link),
            None if fate == Fate::Goes && node.facts.nlink == 1 && node.facts.size < SMALL => None,
            None => self.link(path, node)?,
        };
        let Some(link) = link else {
            let (object, sum) = match held.and_then(|held| held.copy) {
                Some(copy) => copy,
                None => match self.copy(path, node) {
                    Ok(copy) => copy,
                    // A link needs no open, and what goes is not written to any more.
                    Err(error) if is_leased(&error) => {
                        let link = self.link(path, node)?.ok_or(error)?;
                        batch.inodes.push((key, Held { born: false, link: Some(link), copy: None, end: 0 }));
                        return Ok((Some(link), None));
                    }
                    Err(error) => return Err(error),
                },
            };
            batch.inodes.push((key, Held { born: false, link: None, copy: Some((object, sum)), end: 0 }));
            return Ok((Some(object), Some(sum)));
        };
        let copy = held.and_then(|held| held.copy);
        let known = Held { born: false, link: Some(link), copy, end: 0 };
        batch.inodes.push((key, known));
        // A copy that was made for another name, before there was a link: that it is the link's, too, must be told.
        let untold = copy.is_some() && held.is_some_and(|held| held.link.is_none());
        let content = fate == Fate::Written;
        if untold || (content && copy.is_none()) {
            self.add_inode(path, node, Some(known), content, batch)?;
        }
        Ok((Some(link), None))
    }

    fn add_inode(&mut self, path: &Path, node: &Node, held: Option<Held>, content: bool, batch: &mut Batch) -> Result<()> {
        let link = match held.and_then(|held| held.link) {
            Some(link) => Some(link),
            None => self.link(path, node)?,
        };
        let copy = match held.and_then(|held| held.copy) {
            None if content => Some(self.copy(path, node)?),
            known => known,
        };
        batch.inodes.push((Key::of(&node.facts), Held { born: false, link, copy, end: 0 }));
        if let Some(link) = link {
            batch.records.push(Record::Inode(Inode { link, copy, meta: node.meta(path)? }));
        }
        Ok(())
    }

    fn add_whole(&mut self, path: &Path, batch: &mut Batch) -> Result<()> {
        self.add_parents(path, batch)?;
        match (self.node(path)?, self.knowledge.known(path)) {
            (Some(node), _) if node.facts.kind == Kind::Directory => self.add_tree(path, batch),
            // It is gone, and what was in it went before it: all of that is known.
            (_, Some(Known::Present { kind: Kind::Directory, .. })) => {
                add_closed(path, batch);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// However deep it is, a few directories are open at a time.
    fn add_tree(&mut self, path: &Path, batch: &mut Batch) -> Result<()> {
        let mut ahead = vec![path.to_path_buf()];
        while let Some(path) = ahead.pop() {
            if let Some(node) = self.node(&path)?.filter(|node| node.facts.kind == Kind::Directory) {
                self.add_directory(&path, &node, batch, &mut ahead)?;
            }
        }
        Ok(())
    }

    fn add_directory(&mut self, path: &Path, node: &Node, batch: &mut Batch, ahead: &mut Vec<PathBuf>) -> Result<()> {
        match self.knowledge.known(path) {
            Some(_) => add_closed(path, batch),
            None => self.add_path(path, node, Fate::Stays, Listing::Linked, batch)?,
        }
        for name in names(node.as_fd(), ".", path)? {
            let below = path.join(&name);
            if self.excludes(&below) {
                batch.records.push(Record::Excluded(below));
                continue;
            }
            let inside = self.add_name(node, &name, &below, batch);
            match inside {
                Ok(Inside::Directory) => ahead.push(below),
                Ok(Inside::Done) => {}
                Err(error) => {
                    if !self.or_leave_out(&below, Err(error))? {
                        batch.records.push(Record::Excluded(below));
                    }
                }
            }
        }
        Ok(())
    }

    fn add_name(&mut self, node: &Node, name: &OsString, below: &Path, batch: &mut Batch) -> Result<Inside> {
        let known = self.knowledge.known(below);
        let stays = match known {
            Some(Known::Absent) => true,
            Some(Known::Present { kind, listing, .. }) => kind != Kind::Directory || listing != Listing::Open,
            None => false,
        };
        let Some(inside) = Node::open(node.as_fd(), name, below)?.filter(|_| !stays) else { return Ok(Inside::Done) };
        if inside.facts.kind == Kind::Directory && directory_here(node.as_fd(), name, below)?.is_some() {
            return Ok(Inside::Directory);
        }
        if known.is_none() {
            self.add_path(below, &inside, Fate::Stays, Listing::Open, batch)?;
        }
        Ok(Inside::Done)
    }

    fn link(&mut self, path: &Path, node: &Node) -> Result<Option<Object>> {
        let linked = self.shelf.link(&self.stores, node, path)?;
        self.summary.links += u64::from(linked.is_some());
        self.unsynced.extend(linked);
        Ok(linked)
    }

    fn copy(&mut self, path: &Path, node: &Node) -> Result<(Object, Sum)> {
        let (object, file, sum) = self.shelf.copy_open(&self.stores, node, path)?;
        file.sync_data().cannot("sync the copy of", path)?;
        self.summary.copies += 1;
        self.summary.bytes_copied += node.facts.size;
        self.unsynced.push(object);
        Ok((object, sum))
    }

    /// Objects, records, durability, knowledge, in this order.
    fn seal(&mut self, batch: Batch) -> Result<()> {
        self.sync_objects()?;
        let points = self.stores.points();
        let mut records: Vec<Record> = points.iter().skip(self.told_stores).cloned().map(Record::Store).collect();
        records.extend(batch.records.iter().cloned());
        // CRASH: objects without a record; nothing was changed, and they go with the capture.
        let end = self.log.append(&records)?;
        self.told_stores = points.len();
        self.log.sync_to(end)?;
        self.learn(batch, end);
        Ok(())
    }

    fn learn(&mut self, batch: Batch, end: u64) {
        self.summary.present += batch.paths.len() as u64;
        for (path, kind, listing) in batch.paths {
            self.knowledge.learn_path(&path, Known::Present { kind, listing, end });
        }
        for (key, held) in batch.inodes {
            self.knowledge.hold(key, Held { end, ..held });
        }
    }

    /// The log's own sync carries the names in the first store where the journal keeps the order.
    fn sync_objects(&mut self) -> Result<()> {
        let mut shards: Vec<(usize, u64)> = self.unsynced.drain(..).map(|object| (object.store, object.number / SHARD)).collect();
        shards.dedup();
        for (store, shard) in shards {
            let store_path = self.stores.path(store);
            let objects = store_path.join(OBJECTS);
            let shard = objects.join(shard.to_string());
            let kind = statfs(&shard).cannot("examine the file system of", &shard)?.f_type;
            if store == 0 && ORDERED.contains(&u64::try_from(kind).unwrap_or_default()) {
                continue;
            }
            for dir in [&shard, &objects, &store_path] {
                std::fs::File::open(dir).and_then(|dir| dir.sync_all()).cannot("sync", dir)?;
            }
        }
        Ok(())
    }
}

fn add_closed(path: &Path, batch: &mut Batch) {
    batch.records.push(Record::Closed(path.to_path_buf()));
    batch.paths.push((path.to_path_buf(), Kind::Directory, Listing::Linked));
}
