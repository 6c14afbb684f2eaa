//! Putting everything back: directories that were renamed, then all directories, then what they hold, then the removal of what was not there, then the
//! directories' own metadata, then the barrier.
//!
//! Every change is made so that a restore interrupted between any two of them, and started again, ends the same.
//! A path that cannot be put back does not keep the others from it: it is reported.

mod bench;
mod family;
mod inode;
mod metadata;
mod place;
mod remove;
mod rename;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, mkdirat};
use rustix::io::Errno;

use crate::dir::CaptureDir;
use crate::error::{CaptureError, Context, Result};
use crate::fuse::Fuse;
use crate::manifest::{Entry, How, Listing, Manifest, Object, Present};
use crate::mounts::Touched;
use crate::node::{Facts, Kind, Meta, Node, Time, facts};
use crate::parallel::each;
use crate::root::{Parents, Root, absolute};
use crate::store::Vault;
use bench::Bench;
use metadata::Times;
use verdict::Verdict;

/// What to do with paths that others changed since the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreMode<'a> {
    /// Everything captured is put back, whatever is there now.
    Everything,
    /// The same, but names that appeared in known directories stay: whose they are is judged later.
    Early,
    /// A path is put back only while it is as the transaction left it; needs a post-image.
    KeepDrifted,
    /// The same, but what was not there before goes also at these paths, absolute, although it is not as the transaction
    /// left it: nobody but the transaction's own services wrote it.
    KeepDriftedBut(&'a BTreeSet<PathBuf>),
}

/// A path that was left as it is, because someone changed it since the transaction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// The path, absolute, as seen in the root.
    pub path: PathBuf,
    /// Where the captured file was put instead; none when there was no file, or no directory to put it in.
    pub ours: Option<PathBuf>,
}

/// A path that could not be put back.
#[derive(Debug)]
pub struct Failed {
    /// The path, absolute, as seen in the root.
    pub path: PathBuf,
    /// Why not.
    pub error: CaptureError,
}

/// What a restore did. Counts are of this run: a repeated restore finds most things done.
#[derive(Debug, Default)]
#[must_use = "`failed` and `kept` name the paths that are not as before"]
pub struct Restored {
    /// Files put back as the inode they were.
    pub relinked: u64,
    /// Inodes that had been written in place and have their content back, under whatever names they have.
    pub mended: u64,
    /// Directories renamed back.
    pub renamed: u64,
    /// Files, links and special files put back by content or made again.
    pub copied: u64,
    /// Directories made again.
    pub directories: u64,
    /// Names removed because they were not there before, or were of another type.
    pub removed: u64,
    /// Paths whose owner, mode, attributes or time were put back, and nothing else.
    pub metadata: u64,
    /// Paths left to those who changed them, sorted.
    pub kept: Vec<Kept>,
    /// Paths that could not be put back, sorted. [`compare`](crate::compare()) tells how they differ.
    pub failed: Vec<Failed>,
    /// Linked files whose inode was itself written to: the name is back, the content before is lost.
    pub spoiled: Vec<PathBuf>,
}

impl Restored {
    fn absorb(&mut self, other: Self) {
        self.relinked += other.relinked;
        self.mended += other.mended;
        self.renamed += other.renamed;
        self.copied += other.copied;
        self.directories += other.directories;
        self.removed += other.removed;
        self.metadata += other.metadata;
        self.kept.extend(other.kept);
        self.failed.extend(other.failed);
        self.spoiled.extend(other.spoiled);
    }

    /// Notes a failure of one path; only an interruption ends the whole.
    fn note(&mut self, path: &Path, result: Result<()>) -> Result<()> {
        match result {
            Err(CaptureError::Interrupted) => Err(CaptureError::Interrupted),
            Err(error) => {
                self.failed.push(Failed { path: absolute(path), error });
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn sort(&mut self) {
        self.kept.sort();
        self.kept.dedup();
        self.failed.sort_by(|one, other| one.path.cmp(&other.path));
        // A directory that cannot be looked at is met more than once.
        self.failed.dedup_by(|one, other| one.path == other.path && one.error.to_string() == other.error.to_string());
        self.spoiled.sort();
    }
}

/// Puts a capture back below `root`. Repeatable; durable when it returns. Progress is in paths.
///
/// An error means that nothing is known to be complete and the restore has to be run again; single paths that
/// the system refuses are in [`Restored::failed`] instead.
pub fn restore(root: &Path, dir: &CaptureDir, mode: RestoreMode<'_>, on_progress: &mut dyn FnMut(u64, u64)) -> Result<Restored> {
    restore_until(root, dir, mode, &Fuse::endless(), on_progress)
}

fn restore_until(
    root: &Path,
    dir: &CaptureDir,
    mode: RestoreMode<'_>,
    fuse: &Fuse,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored> {
    let root = Root::open(root)?;
    let manifest = dir.manifest()?;
    let (after, own) = match mode {
        RestoreMode::Everything | RestoreMode::Early => (None, None),
        RestoreMode::KeepDrifted => (Some(dir.post_image()?), None),
        RestoreMode::KeepDriftedBut(own) => (Some(dir.post_image()?), Some(own)),
    };
    let vault = Vault::open(dir, &manifest.stores)?;
    let touched = Touched::default();
    let suffix = verdict::suffix(dir);
    let (mended, linked) = (HashMap::new(), linked_inodes(&manifest));
    let (root, manifest, after, vault, touched, suffix) = (&root, &manifest, after.as_ref(), &vault, &touched, suffix.as_str());
    let strangers = if mode == RestoreMode::Early { Strangers::Stay } else { Strangers::Go };
    let mut restorer = Restorer { root, manifest, after, own, strangers, vault, touched, fuse, suffix, mended, linked };
    let mut restored = restorer.run(on_progress)?;
    touched.sync()?;
    restored.sort();
    Ok(restored)
}

fn linked_inodes(manifest: &Manifest) -> HashSet<(u64, Time)> {
    let present = manifest.entries.iter().filter_map(|entry| entry.present.as_ref());
    let linked = present.filter(|present| present.object.is_some_and(|object| object.how == How::Linked)).map(|present| &present.meta);
    linked.chain(manifest.inodes.iter().map(|inode| &inode.meta)).map(|meta| (meta.ino, meta.btime)).collect()
}

/// What becomes of names that appeared in directories of which every name was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strangers {
    Go,
    Stay,
}

struct Restorer<'a> {
    root: &'a Root,
    manifest: &'a Manifest,
    after: Option<&'a Manifest>,
    /// What is removed in spite of it.
    own: Option<&'a BTreeSet<PathBuf>>,
    strangers: Strangers,
    vault: &'a Vault,
    touched: &'a Touched,
    fuse: &'a Fuse,
    suffix: &'a str,
    /// By the copy of its content: an inode that was changed in place and is as before again.
    mended: HashMap<Object, Object>,
    /// Inodes that go back to names of their own: one that is found under another name is not good there, even with
    /// the right content.
    linked: HashSet<(u64, Time)>,
}

/// An entry that exists, and the kept content it shares with others or not.
struct Item<'a> {
    entry: &'a Entry,
    present: &'a Present,
}

/// Some names of one directory that one thread takes at once.
struct Job<'a> {
    parent: &'a Path,
    items: Vec<Item<'a>>,
    temporary: String,
}

/// Names of one directory that one thread takes at once.
const CHUNK: usize = 512;

impl<'a> Restorer<'a> {
    fn run(&mut self, on_progress: &mut dyn FnMut(u64, u64)) -> Result<Restored> {
        let mut restored = Restored::default();
        let inodes = self.inodes_to_mend()?;
        if self.after.is_none() {
            self.mend_inodes(&inodes, &mut restored)?;
        }
        self.rename_back(&mut restored)?;
        let mut restored = self.put_all(on_progress, restored)?;
        if self.after.is_some() {
            self.mend_inodes(&inodes, &mut restored)?;
        }
        Ok(restored)
    }

    fn put_all(&self, on_progress: &mut dyn FnMut(u64, u64), mut restored: Restored) -> Result<Restored> {
        let total = self.manifest.entries.len() as u64;
        self.clear_benches(&mut restored)?;
        self.make_directories(&mut restored)?;
        let families = family::families(self.manifest);
        let jobs = self.jobs(&families);
        let weigh = |job: &Job<'_>| job.items.len() as u64;
        let files: u64 = jobs.iter().map(weigh).sum();
        let parts = each(&jobs, weigh, || (), |(), job| self.fill(job), on_progress, (0, total))?;
        parts.into_iter().for_each(|part| restored.absorb(part));
        for members in families.values().filter(|members| members.len() > 1) {
            self.reunite(members, &mut restored)?;
        }
        self.remove_created(&mut restored)?;
        self.remove_temporaries(&mut restored)?;
        on_progress(files, total);
        self.finish_directories(&mut restored)?;
        on_progress(total, total);
        Ok(restored)
    }

    /// Parents before what they hold, so that everything has a place to return to.
    fn make_directories(&self, restored: &mut Restored) -> Result<()> {
        let mut parents = Parents::new(self.root);
        for (entry, present) in self.present().filter(|(_, present)| present.meta.kind == Kind::Directory) {
            let made = match parents.of(&entry.path) {
                Ok(Some(dir)) => self.make_directory(dir, entry, present, restored),
                Ok(None) => self.homeless(&Item { entry, present }, restored).map(|()| false),
                Err(error) => Err(error),
            };
            if let Ok(true) = made {
                parents.forget();
            }
            restored.note(&entry.path, made.map(|_| ()))?;
        }
        Ok(())
    }

    fn make_directory(&self, dir: BorrowedFd<'_>, entry: &Entry, present: &Present, restored: &mut Restored) -> Result<bool> {
        let Some(name) = entry.path.file_name() else { return Ok(false) };
        let mut node = Node::open(dir, name, &entry.path)?;
        if let Some(mut node) = node.take_if(|node| node.facts.kind == Kind::Directory) {
            if !node.facts.frozen.is_empty() && self.verdict(entry, Some(&node))? == Verdict::Restore {
                metadata::thaw(&mut node, self.fuse, &entry.path)?;
            }
            return Ok(false);
        }
        match self.verdict(entry, node.as_ref())? {
            Verdict::Restore => {}
            Verdict::Leave => return Ok(false),
            Verdict::Keep => {
                restored.kept.push(Kept { path: absolute(&entry.path), ours: None });
                return Ok(false);
            }
        }
        if node.is_some() && !self.remove_name(dir, name, &entry.path, restored)? {
            return Ok(false);
        }
        self.touched.note(dir, &entry.path)?;
        let bench = Bench::open(dir, "directory", &entry.path)?;
        self.make_complete(&bench, name, entry, present)?;
        bench.close(&entry.path)?;
        restored.directories += 1;
        Ok(true)
    }

    /// A directory appears under its name with its owner and mode, so that a half-made one never looks like drift.
    fn make_complete(&self, bench: &Bench<'_>, name: &OsStr, entry: &Entry, present: &Present) -> Result<()> {
        let (path, work) = (&entry.path, bench.work(&entry.path)?);
        self.fuse.burn()?;
        match mkdirat(work, bench.temporary(), Mode::from_raw_mode(0o700)) {
            // A crash left it.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).cannot("create the directory", path),
        }
        self.fuse.burn()?;
        let mut made = Node::open(work, bench.temporary(), path)?.ok_or(Errno::NOENT).cannot("open", path)?;
        metadata::apply(&mut made, &present.meta, Times::Leave, self.fuse, path)?;
        self.settle(bench, name, path)
    }

    fn present(&self) -> impl DoubleEndedIterator<Item = (&'a Entry, &'a Present)> {
        self.manifest.entries.iter().filter_map(|entry| entry.present.as_ref().map(|present| (entry, present)))
    }

    /// Files and the like by directory; those that are hard links of each other are left for the family.
    fn jobs(&self, families: &family::Families<'a>) -> Vec<Job<'a>> {
        let mut jobs: Vec<Job<'a>> = Vec::new();
        let mut open: HashMap<&Path, usize> = HashMap::new();
        for (entry, present) in self.present().filter(|(_, present)| present.meta.kind != Kind::Directory) {
            if present.object.is_some_and(|object| shared(families, object)) {
                continue;
            }
            let parent = entry.path.parent().unwrap_or(Path::new(""));
            let at = open.get(parent).copied().filter(|at| jobs[*at].items.len() < CHUNK).unwrap_or_else(|| {
                jobs.push(Job { parent, items: Vec::new(), temporary: jobs.len().to_string() });
                jobs.len() - 1
            });
            open.insert(parent, at);
            jobs[at].items.push(Item { entry, present });
        }
        jobs
    }

    fn fill(&self, job: &Job<'_>) -> Result<Restored> {
        let mut restored = Restored::default();
        let result = self.fill_directory(job, &mut restored);
        restored.note(job.parent, result)?;
        Ok(restored)
    }

    fn fill_directory(&self, job: &Job<'_>, restored: &mut Restored) -> Result<()> {
        let Some(fd) = self.root.exact(job.parent)? else {
            return job.items.iter().try_for_each(|item| self.homeless(item, restored));
        };
        self.touched.note(fd.as_fd(), job.parent)?;
        let bench = Bench::open(fd.as_fd(), &job.temporary, job.parent)?;
        for item in &job.items {
            let result = self.put(&bench, item, restored);
            restored.note(&item.entry.path, result)?;
        }
        bench.close(job.parent)
    }

    /// The directory was taken away or replaced by someone, and that is kept; or it could not be made again.
    fn homeless(&self, item: &Item<'_>, restored: &mut Restored) -> Result<()> {
        let result = match self.verdict(item.entry, None) {
            Ok(Verdict::Leave) => Ok(()),
            Ok(Verdict::Keep) => {
                restored.kept.push(Kept { path: absolute(&item.entry.path), ours: None });
                Ok(())
            }
            Ok(Verdict::Restore) => Err(Errno::NOENT).cannot("find the directory of", &item.entry.path),
            Err(error) => Err(error),
        };
        restored.note(&item.entry.path, result)
    }

    /// Children before their parents: a directory's time is set when nothing in it changes any more.
    fn finish_directories(&self, restored: &mut Restored) -> Result<()> {
        let mut parents = Parents::new(self.root);
        for (entry, present) in self.present().rev().filter(|(_, present)| present.meta.kind == Kind::Directory) {
            let result = match parents.of(&entry.path) {
                Ok(Some(dir)) => self.finish_directory(dir, entry, present, restored),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            restored.note(&entry.path, result)?;
        }
        Ok(())
    }

    /// Whether a directory may have the owner and mode that were recorded: not one that somebody who may write its parent
    /// could have put in its place. One that we make anew has them before it has its name.
    fn may_dress_directory(&self, dir: BorrowedFd<'_>, entry: &Entry, node: &Node) -> Result<bool> {
        let recorded = |entry: &Entry| entry.present.as_ref().is_some_and(|present| node.facts.is_still(&present.meta));
        let left = self.after.and_then(|after| after.find(&entry.path));
        let is_dressed = entry.present.as_ref().is_some_and(|present| is_dressed(&node.facts, &present.meta));
        Ok(is_dressed || recorded(entry) || left.is_some_and(recorded) || facts(dir, &entry.path)?.is_ours_alone())
    }

    fn finish_directory(&self, dir: BorrowedFd<'_>, entry: &Entry, present: &Present, restored: &mut Restored) -> Result<()> {
        let Some(name) = entry.path.file_name() else { return Ok(()) };
        let Some(mut node) = Node::open(dir, name, &entry.path)?.filter(|node| node.facts.kind == Kind::Directory) else { return Ok(()) };
        match self.verdict(entry, Some(&node))? {
            Verdict::Leave => return Ok(()),
            Verdict::Keep => {
                restored.kept.push(Kept { path: absolute(&entry.path), ours: None });
                return Ok(());
            }
            Verdict::Restore => {}
        }
        let (before, path) = (&present.meta, &entry.path);
        if !self.may_dress_directory(dir, entry, &node)? {
            return Err(Errno::PERM).cannot("tell whose folder took the place of", path);
        }
        if metadata::apply(&mut node, before, Times::Restore, self.fuse, path)? | metadata::freeze(&mut node, before, self.fuse, path)? {
            self.touched.note(dir, &entry.path)?;
            restored.metadata += 1;
        }
        Ok(())
    }
}

/// Whether an inode has the owner and the mode that was recorded, so that putting them back gives nobody anything.
fn is_dressed(facts: &Facts, meta: &Meta) -> bool {
    (facts.uid, facts.gid, facts.mode) == (meta.uid, meta.gid, meta.mode)
}

fn shared(families: &family::Families<'_>, object: Object) -> bool {
    families.get(&object).is_some_and(|members| members.len() > 1)
}

/// Whether every name in the directory was known.
fn is_listed(present: &Present) -> bool {
    present.listing != Listing::Open
}
