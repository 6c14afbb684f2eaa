//! From a selection to canonical paths: which names in which directories are to be kept, and how.
//!
//! Parents are resolved through their links; a path whose parent is missing is represented by the first missing
//! name on its way, and every directory on the way to a path is kept by itself, so that it can be made again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2, statat};
use rustix::io::Errno;

use crate::dir::{CaptureDir, ELSEWHERE};
use crate::error::{CaptureError, Context, Result};
use crate::gaps::{Gaps, unseeable};
use crate::manifest::{How, Listing};
use crate::node::{Kind, Node, names};
use crate::root::{Root, absolute, relative};
use crate::selection::Selection;

/// How one name is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) how: How,
    pub(crate) listing: Listing,
}

impl Want {
    /// Of two wishes for one path the surer.
    fn and(self, other: Self) -> Self {
        let listing = match (self.listing, other.listing) {
            (Listing::Copied, _) | (_, Listing::Copied) => Listing::Copied,
            (Listing::Linked, _) | (_, Listing::Linked) => Listing::Linked,
            (Listing::Open, Listing::Open) => Listing::Open,
        };
        Self { how: self.how.max(other.how), listing }
    }
}

/// Canonical names by canonical directory.
pub(crate) struct Survey {
    pub(crate) wanted: BTreeMap<PathBuf, BTreeMap<OsString, Want>>,
    pub(crate) excluded: BTreeSet<PathBuf>,
}

impl Survey {
    /// How many paths.
    pub(crate) fn count(&self) -> u64 {
        self.wanted.values().map(|names| names.len() as u64).sum()
    }
}

/// Surveys a selection. The capture's own directory is always excluded.
pub(crate) fn survey(root: &Root, dir: Option<&CaptureDir>, selection: &Selection, gaps: &Gaps<'_>) -> Result<Survey> {
    let mut surveyor = Surveyor { root, gaps, places: HashMap::new(), wanted: BTreeMap::new(), excluded: BTreeSet::new() };
    surveyor.exclude(dir, selection)?;
    for path in &selection.copy {
        surveyor.tree(path, Tree { how: How::Copied, named: None })?;
    }
    for path in &selection.tree {
        surveyor.tree(path, Tree { how: How::Linked, named: None })?;
    }
    for path in &selection.brought {
        surveyor.tree(path, Tree { how: How::Linked, named: Some(selection) })?;
    }
    for path in selection.link.iter().chain(&selection.absent) {
        surveyor.single(path)?;
    }
    surveyor.add_ancestors();
    Ok(Survey { wanted: surveyor.wanted, excluded: surveyor.excluded })
}

/// How the names in a tree are kept.
#[derive(Clone, Copy)]
struct Tree<'a> {
    how: How,
    /// Where the only small files in it are named that are kept so; the others are copied.
    named: Option<&'a Selection>,
}

impl Tree<'_> {
    /// How a name in an open directory is kept that is no directory itself.
    fn how(self, dir: BorrowedFd<'_>, name: &OsString, path: &Path) -> How {
        let path = absolute(path);
        let is_named = self.named.is_none_or(|named| named.brought.contains(&path) || named.link.contains(&path));
        // What cannot be looked at is not kept well either way, and whoever keeps it says so.
        let is_small =
            || statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| u64::try_from(stat.st_size).is_ok_and(|size| size < SMALL));
        if is_named || !is_small() { self.how } else { How::Copied }
    }
}

/// Larger files than this, in bytes, are not copied for the sake of their number of names.
pub(crate) const SMALL: u64 = 1 << 20;

/// Where a parent leads.
#[derive(Clone)]
enum Place {
    /// To this canonical directory.
    There(PathBuf),
    /// Nowhere: this canonical path is the first on the way that is missing or no directory.
    Blocked(PathBuf),
}

struct Surveyor<'a> {
    root: &'a Root,
    gaps: &'a Gaps<'a>,
    places: HashMap<PathBuf, Place>,
    wanted: BTreeMap<PathBuf, BTreeMap<OsString, Want>>,
    excluded: BTreeSet<PathBuf>,
}

impl Surveyor<'_> {
    fn exclude(&mut self, dir: Option<&CaptureDir>, selection: &Selection) -> Result<()> {
        for path in &selection.exclude {
            let excluded = match self.canonical(path) {
                Ok(Ok(found) | Err(found)) => found,
                // What an earlier capture could not look at either; it is canonical.
                Err(error) if unseeable(&error).is_some() => relative(path)?,
                Err(error) => return Err(error),
            };
            self.excluded.insert(excluded);
        }
        if let Some(dir) = dir {
            let real = dir.path().canonicalize().cannot("find the real path of", dir.path())?;
            self.excluded.extend(self.root.inside(&real));
        }
        Ok(())
    }

    fn excludes(&self, path: &Path) -> bool {
        self.excluded.iter().any(|excluded| path.starts_with(excluded)) || path.file_name().is_some_and(|name| name == ELSEWHERE)
    }

    /// The canonical form of a path, or of what blocks the way to it.
    fn canonical(&mut self, path: &Path) -> Result<Result<PathBuf, PathBuf>> {
        let path = relative(path)?;
        let name = path.file_name().ok_or_else(|| CaptureError::BadPath { path: path.clone() })?;
        Ok(match self.place(path.parent().unwrap_or(Path::new("")))? {
            Place::There(parent) => Ok(parent.join(name)),
            Place::Blocked(at) => Err(at),
        })
    }

    /// The canonical form, or none where the way there cannot be looked at and is left out.
    fn reach(&mut self, path: &Path) -> Result<Option<Result<PathBuf, PathBuf>>> {
        match self.canonical(path) {
            Ok(found) => Ok(Some(found)),
            Err(error) => match self.obstacle(path)? {
                Some(at) => self.gaps.leave_out(&at, error).map(|()| None),
                None => Err(error),
            },
        }
    }

    /// The first on the way to a path that cannot be followed.
    fn obstacle(&self, path: &Path) -> Result<Option<PathBuf>> {
        let path = relative(path)?;
        let mut ways = path.ancestors().skip(1).filter_map(|way| Some((way, self.root.follow(way).ok()??.1)));
        let next = |(way, canonical): (&Path, PathBuf)| Some(canonical.join(path.strip_prefix(way).ok()?.components().next()?));
        Ok(ways.next().and_then(next))
    }

    fn place(&mut self, parent: &Path) -> Result<Place> {
        if let Some(known) = self.places.get(parent) {
            return Ok(known.clone());
        }
        let place = match self.root.follow(parent)? {
            Some((_, canonical)) => Place::There(canonical),
            None => self.blocked(parent)?,
        };
        self.places.insert(parent.to_path_buf(), place.clone());
        Ok(place)
    }

    fn blocked(&mut self, path: &Path) -> Result<Place> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::NOENT).cannot("open", path);
        };
        Ok(match self.place(parent)? {
            Place::There(parent) => Place::Blocked(parent.join(name)),
            blocked @ Place::Blocked(_) => blocked,
        })
    }

    fn single(&mut self, path: &Path) -> Result<()> {
        if let Some(Ok(path) | Err(path)) = self.reach(path)? {
            self.want(&path, Want { how: How::Linked, listing: Listing::Open });
        }
        Ok(())
    }

    fn want(&mut self, path: &Path, want: Want) {
        if self.excludes(path) {
            return;
        }
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            let names = self.wanted.entry(parent.to_path_buf()).or_default();
            names.entry(name.to_os_string()).and_modify(|known| *known = known.and(want)).or_insert(want);
        }
    }

    fn tree(&mut self, path: &Path, tree: Tree<'_>) -> Result<()> {
        let how = tree.how;
        let path = match self.reach(path)? {
            None => return Ok(()),
            Some(Ok(path)) => path,
            Some(Err(blocked)) => {
                self.want(&blocked, Want { how, listing: Listing::Open });
                return Ok(());
            }
        };
        let node = self.node(&path);
        match self.gaps.or_leave_out(&path, node)? {
            None => Ok(()),
            Some(Some(node)) if node.facts.kind == Kind::Directory && !self.excludes(&path) => self.descend(&path, tree),
            Some(Some(_) | None) => {
                self.want(&path, Want { how, listing: Listing::Open });
                Ok(())
            }
        }
    }

    fn node(&self, path: &Path) -> Result<Option<Node>> {
        let parent = self.root.parent_of(path)?;
        match (&parent, path.file_name()) {
            (Some(parent), Some(name)) => Node::open(parent.as_fd(), name, path),
            (None, _) | (_, None) => Ok(None),
        }
    }

    /// Takes every name below a directory, on its file system only. However deep it is, one directory is open at a time.
    fn descend(&mut self, path: &Path, tree: Tree<'_>) -> Result<()> {
        let mut ahead = vec![path.to_path_buf()];
        while let Some(path) = ahead.pop() {
            let below = self.directory(&path, tree);
            ahead.extend(self.gaps.or_leave_out(&path, below)?.unwrap_or_default());
        }
        Ok(())
    }

    /// Takes the names in a directory; says which are directories themselves.
    fn directory(&mut self, path: &Path, tree: Tree<'_>) -> Result<Vec<PathBuf>> {
        let listing = if tree.how == How::Copied { Listing::Copied } else { Listing::Linked };
        self.want(path, Want { how: tree.how, listing });
        let mut inside = Vec::new();
        let Some(dir) = self.root.exact(path)? else { return Ok(inside) };
        for name in names(dir.as_fd(), ".", path)? {
            let below = path.join(&name);
            if self.excludes(&below) {
                continue;
            }
            let found = directory_here(dir.as_fd(), &name, &below);
            match self.gaps.or_leave_out(&below, found)? {
                Some(Some(_)) => inside.push(below),
                Some(None) => self.want(&below, Want { how: tree.how(dir.as_fd(), &name, &below), listing: Listing::Open }),
                None => {}
            }
        }
        Ok(inside)
    }

    fn add_ancestors(&mut self) {
        let parents: Vec<PathBuf> = self.wanted.keys().cloned().collect();
        let mut met = HashSet::new();
        for parent in &parents {
            for ancestor in parent.ancestors().take_while(|ancestor| met.insert(*ancestor)) {
                self.want(ancestor, Want { how: How::Linked, listing: Listing::Open });
            }
        }
    }
}

/// Opens a name that is a directory of the same mount; none for everything else.
pub(crate) fn directory_here(dir: BorrowedFd<'_>, name: &OsString, path: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat2(dir, name, flags, Mode::empty(), ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NOENT) => Ok(None),
        Err(error) => Err(error).cannot("open", path),
    }
}
