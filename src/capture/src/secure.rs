//! Eager capture: everything selected is kept and described, durably, before anything is changed.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::content::Sum;
use crate::dir::CaptureDir;
use crate::error::{CaptureError, Result};
use crate::gaps::{Gaps, LeftOut, is_below, is_leased, others, told};
use crate::manifest::{Entry, How, Manifest, Object, Picture, Present, save};
use crate::node::{Kind, Node};
use crate::parallel::{OnProgress, each};
use crate::root::Root;
use crate::selection::Selection;
use crate::store::{Shelf, Stores};
use crate::survey::{Survey, Want, survey};

/// What a capture holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secured {
    /// Paths described, absent ones and directories included.
    pub paths: u64,
    /// Bytes of content copied.
    pub bytes_copied: u64,
    /// Files kept as one more hard link.
    pub links: u64,
    /// What somebody who is not root made so that it cannot be looked at: it is left alone by everything that uses the capture.
    pub left_out: Vec<LeftOut>,
}

/// Names of one directory that one thread takes at once.
const CHUNK: usize = 512;

/// Captures a selection below `root` into a directory that [`CaptureDir::create`] made: [`gather`], and at once complete.
pub fn secure(root: &Path, dir: &CaptureDir, selection: &Selection, on_progress: &mut dyn FnMut(u64, u64)) -> Result<Secured> {
    gather(root, dir, selection, on_progress)?.complete()
}

/// A capture that is made and not yet complete: what belongs to it from elsewhere can still be written into its directory.
#[must_use]
pub struct Gathered<'a> {
    dir: &'a CaptureDir,
    stores: Stores,
    manifest: Manifest,
    secured: Secured,
}

/// Keeps everything selected below `root` in a directory that [`CaptureDir::create`] made. Progress is in paths.
///
/// On an error, and until [`Gathered::complete`], the capture is incomplete; nothing outside it and the undo
/// directories was changed.
pub fn gather<'a>(root: &Path, dir: &'a CaptureDir, selection: &Selection, on_progress: &mut dyn FnMut(u64, u64)) -> Result<Gathered<'a>> {
    let root = Root::open(root)?;
    let gaps = Gaps::new(&root);
    let survey = survey(&root, Some(dir), selection, &gaps)?;
    let stores = Stores::create(dir)?;
    let mut entries = Keeper { root: &root, stores: &stores, gaps: &gaps, families: Mutex::default() }.keep(&survey, on_progress)?;
    let gaps = gaps.into_found();
    entries.retain(|entry| !is_below(&gaps, &entry.path));
    let secured = Secured { left_out: told(&gaps), ..summary(&entries) };
    let excluded = survey.excluded.into_iter().chain(gaps.into_keys()).collect();
    let manifest = Manifest { stores: stores.points(), excluded, entries, ..Manifest::default() };
    Ok(Gathered { dir, stores, manifest, secured })
}

impl Gathered<'_> {
    /// Makes objects and manifest durable on every file system involved: the capture is complete.
    pub fn complete(self) -> Result<Secured> {
        // The barrier comes first: a manifest that is there speaks of objects that are there.
        self.stores.sync()?;
        save(self.dir.path(), Picture::Before, &self.manifest)?;
        Ok(self.secured)
    }
}

fn summary(entries: &[Entry]) -> Secured {
    let mut secured = Secured { paths: entries.len() as u64, ..Secured::default() };
    let mut seen = std::collections::HashSet::new();
    for (object, size) in entries.iter().filter_map(|entry| entry.present.as_ref()).filter_map(|p| p.object.map(|o| (o, p.meta.size))) {
        match object.how {
            How::Linked => secured.links += 1,
            How::Copied if seen.insert(object) => secured.bytes_copied += size,
            How::Copied => {}
        }
    }
    secured
}

/// A few names of one directory.
struct Job<'a> {
    parent: &'a Path,
    names: Vec<(&'a OsString, Want)>,
}

/// Device and inode number.
type Inode = ((u32, u32), u64);

/// The first of some hard links: where its content is kept.
type Family = (Object, Option<Sum>);

struct Keeper<'a> {
    root: &'a Root,
    stores: &'a Stores,
    gaps: &'a Gaps<'a>,
    families: Mutex<HashMap<Inode, Family>>,
}

impl Keeper<'_> {
    fn keep(&self, survey: &Survey, on_progress: OnProgress<'_>) -> Result<Vec<Entry>> {
        let total = survey.count();
        let mut entries = Vec::new();
        // Copies first: of two hard links, one in each set, the copy is the surer one and serves both.
        for how in [How::Copied, How::Linked] {
            let jobs = jobs(survey, how);
            let done = (entries.len() as u64, total);
            let weigh = |job: &Job<'_>| job.names.len() as u64;
            let kept = each(&jobs, weigh, Shelf::default, |shelf, job| self.take(shelf, job), on_progress, done)?;
            entries.extend(kept.into_iter().flatten());
        }
        entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(entries)
    }

    fn take(&self, shelf: &mut Shelf, job: &Job<'_>) -> Result<Vec<Entry>> {
        let parent = self.gaps.or_leave_out(job.parent, self.root.exact(job.parent))?;
        let Some(parent) = parent else { return Ok(Vec::new()) };
        let mut entries = Vec::with_capacity(job.names.len());
        for (name, want) in &job.names {
            let path = job.parent.join(name);
            let present = self.name(shelf, parent.as_ref(), (name, *want), &path);
            let present = self.gaps.or_leave_out(&path, present)?;
            entries.extend(present.map(|present| Entry { path, present }));
        }
        Ok(entries)
    }

    fn name(&self, shelf: &mut Shelf, parent: Option<&OwnedFd>, (name, want): (&OsString, Want), path: &Path) -> Result<Option<Present>> {
        let node = parent.map(|parent| Node::open(parent.as_fd(), name, path)).transpose()?.flatten();
        node.map(|node| self.describe(shelf, &node, want, path)).transpose()
    }

    fn describe(&self, shelf: &mut Shelf, node: &Node, want: Want, path: &Path) -> Result<Present> {
        let meta = node.meta(path)?;
        let listing = if meta.kind == Kind::Directory { want.listing } else { crate::manifest::Listing::Open };
        let kept = if meta.kind == Kind::File { Some(self.family(shelf, node, want.how, path)?) } else { None };
        let (object, digest) = kept.map_or((None, None), |(object, digest)| (Some(object), digest));
        Ok(Present { meta, listing, digest, object })
    }

    /// Keeps a file's content once, however many of its names are selected.
    fn family(&self, shelf: &mut Shelf, node: &Node, how: How, path: &Path) -> Result<Family> {
        if node.facts.nlink < 2 {
            return self.content(shelf, node, how, path);
        }
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (node.facts.dev, node.facts.ino);
        if let Some(known) = families.get(&key) {
            return Ok(*known);
        }
        let made = self.content(shelf, node, how, path)?;
        families.insert(key, made);
        Ok(made)
    }

    fn content(&self, shelf: &mut Shelf, node: &Node, how: How, path: &Path) -> Result<Family> {
        let linked = match how {
            How::Linked => shelf.link(self.stores, node, path)?,
            How::Copied => None,
        };
        match linked {
            Some(object) => Ok((object, None)),
            None => match shelf.copy(self.stores, node, path) {
                Ok((object, sum)) => Ok((object, Some(sum))),
                Err(error) => self.instead_of_copy(shelf, node, path, error).map(|object| (object, None)),
            },
        }
    }

    /// A link needs no open. If the file is written to later, that is seen, and told when it is put back.
    fn instead_of_copy(&self, shelf: &mut Shelf, node: &Node, path: &Path, error: CaptureError) -> Result<Object> {
        let linked = if is_leased(&error) && others(self.root, path).is_some() { shelf.link(self.stores, node, path)? } else { None };
        linked.ok_or(error)
    }
}

fn jobs(survey: &Survey, how: How) -> Vec<Job<'_>> {
    let mut jobs = Vec::new();
    for (parent, names) in &survey.wanted {
        let names: Vec<_> = names.iter().filter(|(_, want)| want.how == how).map(|(name, want)| (name, *want)).collect();
        jobs.extend(names.chunks(CHUNK).map(|names| Job { parent: parent.as_path(), names: names.to_vec() }));
    }
    jobs
}

/// What a capture of a selection would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Estimate {
    /// Bytes that the capture itself writes: copies, names, manifest. By reference it may be less.
    pub now: u64,
    /// Bytes that stay taken when linked files are replaced or removed, because the capture holds them.
    pub held: u64,
}

/// A name, its line in the manifest and its share of a directory.
const PER_PATH: u64 = 400;

/// Says what a capture would take, without making it.
pub fn estimate(root: &Path, selection: &Selection) -> Result<Estimate> {
    let root = Root::open(root)?;
    let gaps = Gaps::new(&root);
    let survey = survey(&root, None, selection, &gaps)?;
    let mut estimate = Estimate { now: survey.count() * PER_PATH, held: 0 };
    for (parent, names) in &survey.wanted {
        let Some(Some(fd)) = gaps.or_leave_out(parent, root.exact(parent))? else { continue };
        for (name, want) in names {
            let path: PathBuf = parent.join(name);
            let node = gaps.or_leave_out(&path, Node::open(fd.as_fd(), name, &path))?.flatten();
            let Some(node) = node.filter(|node| node.facts.kind == Kind::File) else { continue };
            match want.how {
                How::Linked => estimate.held += node.facts.blocks * 512,
                How::Copied => estimate.now += node.facts.blocks * 512,
            }
        }
    }
    Ok(estimate)
}
