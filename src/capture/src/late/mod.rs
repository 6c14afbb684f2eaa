//! Late capture, net 2: what nobody foresaw is kept just before a process of the package manager's tree changes it.
//!
//! A supervisor calls one method of [`Late`] before each system call that changes a file, and lets the call go on
//! when the method returned. Whatever the eager capture keeps for that kind of change costs a look into a map.
//!
//! Invariants:
//! - What is kept, and the record of it, is durable before the method returns. Records of names that will be created are
//!   not; those names are told by links, which are there whenever the names are ([`births`]).
//! - The first change wins: the log tells how things were before the run, whatever was done with them since.
//! - Two things are kept apart. A path's entry says what was there, like the manifest's. An inode that is changed in
//!   place is changed under all its names, its kept link included: so its content is copied and the restore writes
//!   it back into the inode, through that link, before any name is put back.
//! - A call that then fails, or never happens, makes a record too many, never one too few.
//! - A directory that is renamed takes its files with it: all of them are kept by links beforehand, and its listing
//!   is closed. So an entry always means the path as it reads, and what is renamed twice needs no special case.
//!
//! Absent on purpose: system calls, processes and symbolic links in parents; they are the supervisor's business.

mod births;
mod keep;
mod known;
pub(crate) mod log;
pub(crate) mod merge;
pub(crate) mod record;

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use crate::dir::CaptureDir;
use crate::error::{Context, Result};
use crate::exclude::is_excluded;
use crate::gaps::{LeftOut, others, unseeable};
use crate::manifest::{Listing, Object};
use crate::node::{Facts, Kind, facts_at};
use crate::root::{Root, absolute, relative};
use crate::store::{Shelf, Stores};
use births::Births;
use keep::Fate;
use known::{BORN, Key, Knowledge, Known};
use log::Log;
use record::Record;

/// What a late capture did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Calls, of whatever kind.
    pub calls: u64,
    /// Files kept as one more hard link.
    pub links: u64,
    /// Files whose content was copied.
    pub copies: u64,
    /// Bytes of content copied.
    pub bytes_copied: u64,
    /// Paths described that were there.
    pub present: u64,
    /// Paths noted as not there before.
    pub created: u64,
    /// Calls for paths that are left alone.
    pub excluded: u64,
    /// What was not kept, because somebody who is not root made it so that it cannot be looked at. The first of them only.
    pub left_out: Vec<LeftOut>,
}

/// More of what was left out is not told of.
const MOST_LEFT_OUT: usize = 100;

/// A late capture that is being made, beside a complete eager one. One at a time.
///
/// Paths are absolute, as seen in the root, with no symbolic link in their parents; the last component is not
/// followed by the caller. Every method may be called more than once for a path, and for paths that do not exist.
/// An error means that the change must not happen: undo material would be missing.
pub struct Late {
    root: Root,
    real: PathBuf,
    stores: Stores,
    told_stores: usize,
    shelf: Shelf,
    log: Log,
    births: Births,
    knowledge: Knowledge,
    excluded: Vec<PathBuf>,
    unsynced: Vec<Object>,
    directories_moved: bool,
    summary: Summary,
}

const MOST_LINKS: u32 = 40;

/// What a capture was told late, in order; nothing when it was not.
pub(crate) fn read(capture: &Path) -> Result<Vec<Record>> {
    let mut records = log::read(capture)?;
    records.extend(births::read(capture)?);
    Ok(records)
}

impl Late {
    /// Opens the late log of a complete capture of `root`; a second time it goes on where the first ended.
    pub fn open(root: &Path, dir: &CaptureDir) -> Result<Self> {
        let root = Root::open(root)?;
        let eager = dir.eager_manifest()?;
        let (log, mut records) = Log::open(dir.path())?;
        let (births, born) = Births::open(dir.path())?;
        records.extend(born);
        let manifest = merge::union(eager, records);
        let stores = Stores::resume(dir, &manifest.stores)?;
        let knowledge = Knowledge::of(&manifest);
        let mut excluded = manifest.excluded;
        let own = dir.path().canonicalize().cannot("find the real path of", dir.path())?;
        excluded.extend(root.inside(&own));
        let real = root.real().to_path_buf();
        let told_stores = manifest.stores.len();
        Ok(Self {
            root,
            real,
            stores,
            told_stores,
            shelf: Shelf::default(),
            log,
            births,
            knowledge,
            excluded,
            unsynced: Vec::new(),
            directories_moved: !manifest.renamings.is_empty(),
            summary: Summary::default(),
        })
    }

    /// Before a file is opened for writing or truncated, or created if it is not there.
    pub fn before_write(&mut self, path: &Path) -> Result<()> {
        self.called()?;
        let path = inner(path)?;
        let kept = self.write(path.as_ref(), 0);
        self.or_leave_out(path.as_ref(), kept).map(drop)
    }

    /// Before a name is made that is not there: file (`O_EXCL`), directory, symbolic or hard link, device. An open that
    /// may as well write to what is there is a [`before_write`](Self::before_write).
    pub fn before_create(&mut self, path: &Path) -> Result<()> {
        self.called()?;
        let path = inner(path)?;
        let kept = self.create(path.as_ref());
        self.or_leave_out(path.as_ref(), kept).map(drop)
    }

    /// Before a name is removed, also that of an empty directory.
    pub fn before_remove(&mut self, path: &Path) -> Result<()> {
        self.called()?;
        let path = inner(path)?;
        let kept = self.remove(path.as_ref(), Fate::Goes);
        self.or_leave_out(path.as_ref(), kept).map(drop)
    }

    /// Before a name becomes another one, which may be there.
    pub fn before_rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        self.called()?;
        let (from, to) = (inner(from)?, inner(to)?);
        self.rename(from.as_ref(), to.as_ref())
    }

    /// Before two names change places.
    pub fn before_exchange(&mut self, one: &Path, other: &Path) -> Result<()> {
        self.called()?;
        let (one, other) = (inner(one)?, inner(other)?);
        let (one, other) = (one.as_ref(), other.as_ref());
        if !self.leaves(one, other)? || !self.leaves(other, one)? {
            return Ok(());
        }
        let kept = self.arrive(one, other);
        self.or_leave_out(other, kept)?;
        let kept = self.arrive(other, one);
        self.or_leave_out(one, kept).map(drop)
    }

    /// Before owner, mode or extended attributes are changed, of a link or of what it leads to.
    pub fn before_meta(&mut self, path: &Path) -> Result<()> {
        self.called()?;
        let path = inner(path)?;
        let kept = self.meta(path.as_ref(), 0);
        self.or_leave_out(path.as_ref(), kept).map(drop)
    }

    /// Makes everything durable.
    pub fn finish(mut self) -> Result<Summary> {
        self.log.sync()?;
        self.births.end()?;
        Ok(self.summary)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        if !self.leaves(from, to)? {
            return Ok(());
        }
        let kept = self.arrive(from, to);
        self.or_leave_out(to, kept).map(drop)
    }

    /// What could not be kept at its old name is left alone at its new one, too.
    fn leaves(&mut self, from: &Path, to: &Path) -> Result<bool> {
        let kept = self.move_away(from, to);
        let is_kept = self.or_leave_out(from, kept)?;
        if !is_kept {
            self.leave_alone(to)?;
        }
        Ok(is_kept)
    }

    /// A change goes on although what is there cannot be kept, if somebody who is not root can have made it so: then the path
    /// is left alone, and told of. Answers whether it was kept.
    fn or_leave_out(&mut self, path: &Path, kept: Result<()>) -> Result<bool> {
        let Err(error) = kept else { return Ok(true) };
        let why = unseeable(&error).filter(|_| others(&self.root, path).is_some());
        let Some(why) = why else { return Err(error) };
        if self.summary.left_out.len() < MOST_LEFT_OUT {
            self.summary.left_out.push(LeftOut { path: absolute(path), why: why.to_string() });
        }
        self.leave_alone(path).map(|()| false)
    }

    /// What is known of a path already stays of use.
    fn leave_alone(&mut self, path: &Path) -> Result<()> {
        if self.knowledge.path(path).is_some() {
            return Ok(());
        }
        let end = self.log.append(&[Record::Excluded(path.to_path_buf())])?;
        self.excluded.push(path.to_path_buf());
        self.log.sync_to(end)
    }

    fn called(&mut self) -> Result<()> {
        self.summary.calls += 1;
        self.log.sync_lazily()
    }

    fn write(&mut self, path: &Path, links: u32) -> Result<()> {
        let Some(facts) = self.look(path)? else { return self.create(path) };
        match facts.kind {
            Kind::File => self.keep_content(path, &facts),
            Kind::Symlink => match self.beyond(path, links)? {
                Some(target) => {
                    let kept = self.write(&target, links + 1);
                    self.or_leave_out(&target, kept).map(drop)
                }
                None => Ok(()),
            },
            // What is written to the others goes elsewhere than into the file system.
            Kind::Directory | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => Ok(()),
        }
    }

    fn keep_content(&mut self, path: &Path, facts: &Facts) -> Result<()> {
        let key = Key::of(facts);
        let held = self.knowledge.held(key);
        if let Some(held) = held.filter(|held| held.born || (held.copy.is_some() && (held.link.is_some() || facts.nlink == 1))) {
            return self.log.sync_to(held.end);
        }
        match (held, self.knowledge.path(path)) {
            (Some(held), _) => self.keep_inode(path, key, Some(held), true),
            (None, None) if self.excludes(path) => self.skip(),
            (None, None) => self.keep_path(path, Fate::Written),
            // It came by its only name during this run.
            (None, Some(_)) if facts.nlink == 1 && key.is_certain() => {
                self.knowledge.hold(key, BORN);
                Ok(())
            }
            (None, Some(_)) => self.keep_inode(path, key, None, true),
        }
    }

    fn create(&mut self, path: &Path) -> Result<()> {
        if self.knowledge.path(path) == Some(Known::Absent) {
            return Ok(());
        }
        match self.look(path)? {
            // An open that may create: whatever is there may be written to.
            Some(facts) if facts.kind == Kind::File => self.keep_content(path, &facts),
            Some(_) => Ok(()),
            None if self.knowledge.path(path).is_some() => Ok(()),
            None if self.excludes(path) => self.skip(),
            None => self.note_absent(path),
        }
    }

    fn remove(&mut self, path: &Path, fate: Fate) -> Result<()> {
        match self.knowledge.path(path) {
            Some(Known::Present { end, .. }) => self.log.sync_to(end),
            Some(Known::Absent) => Ok(()),
            None if self.excludes(path) => self.skip(),
            None => self.keep_path(path, fate),
        }
    }

    /// What is at the new name goes. A directory that arrives there brings names that were not there before.
    fn arrive(&mut self, from: &Path, to: &Path) -> Result<()> {
        match self.knowledge.path(to) {
            Some(Known::Present { kind: Kind::Directory, listing: Listing::Open, end }) => {
                let directory = self.look(from)?.is_some_and(|facts| facts.kind == Kind::Directory);
                if directory { self.keep_tree(to) } else { self.log.sync_to(end) }
            }
            Some(Known::Present { end, .. }) => self.log.sync_to(end),
            Some(Known::Absent) => Ok(()),
            None if self.excludes(to) => self.skip(),
            None => match self.look(to)? {
                Some(facts) if facts.kind == Kind::Directory => self.keep_tree(to),
                Some(_) => self.keep_path(to, Fate::Goes),
                None => self.note_absent(to),
            },
        }
    }

    /// A file only loses this name; a directory takes along whatever is in it.
    fn move_away(&mut self, from: &Path, to: &Path) -> Result<()> {
        match self.knowledge.path(from) {
            Some(Known::Present { kind: Kind::Directory, listing: Listing::Open, .. }) => {}
            Some(known) => {
                let end = if let Known::Present { end, .. } = known { end } else { 0 };
                self.log.sync_to(end)?;
                // Only among directories that moved can one that is known be an old one.
                return if self.directories_moved { self.note_move(from, to) } else { Ok(()) };
            }
            None if self.excludes(from) => return self.skip(),
            None => {}
        }
        match self.look(from)? {
            Some(facts) if facts.kind == Kind::Directory => self.keep_moving_tree(from, to, &facts),
            Some(_) | None => self.remove(from, Fate::Stays),
        }
    }

    fn meta(&mut self, path: &Path, links: u32) -> Result<()> {
        let Some(facts) = self.look(path)? else { return Ok(()) };
        match self.knowledge.path(path) {
            Some(known) => self.keep_known_meta(path, known, &facts)?,
            None if self.excludes(path) => self.skip()?,
            None => self.keep_path(path, Fate::Stays)?,
        }
        if facts.kind == Kind::Symlink
            && let Some(target) = self.beyond(path, links)?
        {
            let kept = self.meta(&target, links + 1);
            return self.or_leave_out(&target, kept).map(drop);
        }
        Ok(())
    }

    /// The path's entry tells the metadata, unless the path now leads to an inode that has other names too.
    fn keep_known_meta(&mut self, path: &Path, known: Known, facts: &Facts) -> Result<()> {
        if let Known::Present { end, .. } = known {
            self.log.sync_to(end)?;
        }
        if facts.kind != Kind::File || facts.nlink == 1 {
            return Ok(());
        }
        let key = Key::of(facts);
        match self.knowledge.held(key) {
            Some(held) if held.born || held.link.is_some() => self.log.sync_to(held.end),
            held => self.keep_inode(path, key, held, false),
        }
    }

    fn skip(&mut self) -> Result<()> {
        self.summary.excluded += 1;
        Ok(())
    }

    fn excludes(&self, path: &Path) -> bool {
        is_excluded(path) || self.excluded.iter().any(|excluded| path.starts_with(excluded))
    }

    fn look(&self, path: &Path) -> Result<Option<Facts>> {
        facts_at(CWD, self.real.join(path), AtFlags::SYMLINK_NOFOLLOW, path)
    }

    /// Where a symbolic link leads, with its parents resolved; none when to nowhere that a file could be.
    fn beyond(&self, path: &Path, links: u32) -> Result<Option<PathBuf>> {
        if links >= MOST_LINKS {
            return Ok(None);
        }
        let target = match rustix::fs::readlink(self.real.join(path), Vec::new()) {
            Ok(target) => PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(target.into_bytes())),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error).cannot("read the link", path),
        };
        let whole = path.parent().unwrap_or(Path::new("")).join(target);
        let Some(name) = whole.file_name() else { return Ok(None) };
        let parent = whole.parent().unwrap_or(Path::new(""));
        // As a path of the root, whatever it begins with.
        let parent = parent.strip_prefix("/").unwrap_or(parent);
        Ok(self.root.follow(parent)?.map(|(_, canonical)| canonical.join(name)))
    }
}

/// The path as the crate knows it; almost always without a copy.
fn inner(path: &Path) -> Result<std::borrow::Cow<'_, Path>> {
    use std::os::unix::ffi::OsStrExt;
    let plain = path.as_os_str().as_bytes();
    let dots = plain.windows(2).any(|two| two == b"/.") && path.components().any(|part| matches!(part, std::path::Component::ParentDir));
    match path.strip_prefix("/") {
        Ok(inner) if !dots && !inner.as_os_str().is_empty() => Ok(std::borrow::Cow::Borrowed(inner)),
        Ok(_) | Err(_) => relative(path).map(std::borrow::Cow::Owned),
    }
}
