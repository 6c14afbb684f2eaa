//! Where kept content lies: one store on every file system that links are kept on, the first in the capture's
//! own directory.
//!
//! Objects have numbers for names, 1,000 to a directory, because file systems limit directories and links.
//! Copies are always in the first store; a link can only be on its own file system. A later pass over the same
//! capture goes on with directories of its own, so that no number is used twice.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, mkdirat, openat};
use rustix::io::Errno;

use crate::content::{self, Sum};
use crate::dir::{CaptureDir, ELSEWHERE, make_private};
use crate::error::{CaptureError, Context, Result};
use crate::manifest::{How, Manifest, Object};
use crate::mounts::{Touched, mount_points};
use crate::node::{Node, facts};

pub(crate) const OBJECTS: &str = "objects";
pub(crate) const SHARD: u64 = 1000;
/// A file with more names is copied: ext4 gives one 65,000, and dpkg makes one more of what it replaces. Where it cannot, the change fails.
const MOST_NAMES: u32 = 64_000;
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The stores of a capture that is being made.
pub(crate) struct Stores {
    dir: CaptureDir,
    mounts: std::collections::BTreeMap<u64, PathBuf>,
    known: Mutex<Known>,
    next_shard: AtomicU64,
    touched: Touched,
}

#[derive(Default)]
struct Known {
    paths: Vec<PathBuf>,
    points: Vec<PathBuf>,
    by_mount: HashMap<u64, Option<usize>>,
}

impl Stores {
    /// Makes the first store.
    pub(crate) fn create(dir: &CaptureDir) -> Result<Self> {
        let stores = Self {
            dir: dir.clone(),
            mounts: mount_points()?,
            known: Mutex::default(),
            next_shard: AtomicU64::new(0),
            touched: Touched::default(),
        };
        let mount = make_store(dir.path(), &stores.touched)?;
        stores.enter(mount, dir.path().to_path_buf(), PathBuf::new());
        Ok(stores)
    }

    /// Goes on with the stores of a capture, after everything that is in them.
    pub(crate) fn resume(dir: &CaptureDir, points: &[PathBuf]) -> Result<Self> {
        let stores = Self::create(dir)?;
        for point in points.iter().skip(1) {
            let path = store_path(dir, point);
            let mount = make_store(&path, &stores.touched)?;
            stores.enter(mount, path, point.clone());
        }
        let mut next = 0;
        for store in 0..points.len().max(1) {
            next = next.max(after_last(&stores.path(store).join(OBJECTS))?);
        }
        stores.next_shard.store(next, Ordering::Relaxed);
        Ok(stores)
    }

    /// The barrier: all that was put into the stores is durable when it returns.
    pub(crate) fn sync(&self) -> Result<()> {
        self.touched.sync()
    }

    /// The mount points of the stores, in the order of their numbers.
    pub(crate) fn points(&self) -> Vec<PathBuf> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).points.clone()
    }

    fn enter(&self, mount: u64, path: PathBuf, point: PathBuf) -> usize {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.paths.push(path);
        known.points.push(point);
        let number = known.paths.len() - 1;
        known.by_mount.insert(mount, Some(number));
        number
    }

    /// The store on a mounted file system, made when it is first asked for; none when there can be none.
    fn on(&self, mount: u64) -> Option<usize> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.by_mount.get(&mount) {
            return *found;
        }
        let made = self.mounts.get(&mount).and_then(|point| self.make_elsewhere(point, mount));
        let number = made.map(|(path, point)| {
            known.paths.push(path);
            known.points.push(point);
            known.paths.len() - 1
        });
        known.by_mount.insert(mount, number);
        number
    }

    /// A file system on which no private directory can be made (read-only, without owners, or not ours), or whose top folder
    /// others may write and so could exchange it, has no store: its files are copied into the first one.
    fn make_elsewhere(&self, point: &Path, mount: u64) -> Option<(PathBuf, PathBuf)> {
        let top = openat(CWD, point, FOLDER, Mode::empty()).ok()?;
        if !facts(&top, point).ok()?.keeps_ours() {
            return None;
        }
        let ours = point.join(ELSEWHERE);
        let path = ours.join(self.dir.name());
        let made = make_private(&ours).and_then(|()| make_private(&path)).and_then(|()| make_store(&path, &self.touched));
        (made.ok()? == mount).then(|| (path, point.to_path_buf()))
    }

    /// Where a store lies.
    pub(crate) fn path(&self, store: usize) -> PathBuf {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).paths[store].clone()
    }
}

/// The first number that no directory of objects has.
fn after_last(objects: &Path) -> Result<u64> {
    let mut next = 0;
    for name in std::fs::read_dir(objects).cannot("list", objects)? {
        let number = name.cannot("list", objects)?.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        next = next.max(number.map_or(0, |number| number + 1));
    }
    Ok(next)
}

/// Makes the directory of a store and says on which mount they are.
fn make_store(path: &Path, touched: &Touched) -> Result<u64> {
    make_private(&path.join(OBJECTS))?;
    let dir = File::open(path).cannot("open", path)?;
    touched.note(dir.as_fd(), path)?;
    Ok(facts(&dir, path)?.mount)
}

/// One thread's way into the stores: it fills directories of its own.
#[derive(Default)]
pub(crate) struct Shelf {
    open: HashMap<usize, Slot>,
}

struct Slot {
    fd: OwnedFd,
    next: u64,
    end: u64,
}

impl Shelf {
    /// Keeps a file by one more name; none when its file system cannot.
    pub(crate) fn link(&mut self, stores: &Stores, node: &Node, path: &Path) -> Result<Option<Object>> {
        let Some(store) = stores.on(node.facts.mount) else { return Ok(None) };
        if node.facts.nlink > MOST_NAMES {
            return Ok(None);
        }
        let slot = self.slot(stores, store)?;
        let number = slot.next;
        match linkat(CWD, node.proc_path(), &slot.fd, name(number), AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => {
                slot.next += 1;
                Ok(Some(Object { how: How::Linked, store, number }))
            }
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(error) => Err(error).cannot("link", path),
        }
    }

    /// Keeps a copy of a file's content.
    pub(crate) fn copy(&mut self, stores: &Stores, node: &Node, path: &Path) -> Result<(Object, Sum)> {
        let (made, _, sum) = self.copy_open(stores, node, path)?;
        Ok((made, sum))
    }

    /// Keeps a copy of a file's content and leaves the copy open, for making it durable by itself.
    pub(crate) fn copy_open(&mut self, stores: &Stores, node: &Node, path: &Path) -> Result<(Object, File, Sum)> {
        let from = node.read(path)?;
        let slot = self.slot(stores, 0)?;
        let number = slot.next;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let to = File::from(openat(&slot.fd, name(number), flags, Mode::from_raw_mode(0o600)).cannot("create the copy of", path)?);
        slot.next += 1;
        let sum = content::copy(&from, &to).cannot("copy", path)?;
        Ok((Object { how: How::Copied, store: 0, number }, to, sum))
    }

    fn slot(&mut self, stores: &Stores, store: usize) -> Result<&mut Slot> {
        let full = self.open.get(&store).is_none_or(|slot| slot.next == slot.end);
        if full {
            self.open.insert(store, new_slot(stores, store)?);
        }
        Ok(self.open.get_mut(&store).expect("a slot was put there"))
    }
}

fn name(number: u64) -> String {
    (number % SHARD).to_string()
}

fn new_slot(stores: &Stores, store: usize) -> Result<Slot> {
    let shard = stores.next_shard.fetch_add(1, Ordering::Relaxed);
    let path = stores.path(store).join(OBJECTS).join(shard.to_string());
    // CRASH: a directory without objects, given up with the capture.
    mkdirat(CWD, &path, Mode::from_raw_mode(0o700)).cannot("create", &path)?;
    let fd = openat(CWD, &path, FOLDER, Mode::empty()).cannot("open", &path)?;
    Ok(Slot { fd, next: shard * SHARD, end: (shard + 1) * SHARD })
}

/// The stores of a finished capture.
pub(crate) struct Vault {
    stores: Vec<OwnedFd>,
}

impl Vault {
    pub(crate) fn open(dir: &CaptureDir, points: &[PathBuf]) -> Result<Self> {
        let open = |point: &PathBuf| {
            if point.as_os_str().is_empty() {
                return openat(CWD, dir.path(), FOLDER, Mode::empty()).cannot("open the store", dir.path());
            }
            let (_, store) = open_elsewhere(dir, point)?;
            Ok(store)
        };
        Ok(Self { stores: points.iter().map(open).collect::<Result<_>>()? })
    }

    /// Takes hold of an object.
    pub(crate) fn object(&self, object: Object, path: &Path) -> Result<Node> {
        let store = self.stores.get(object.store).ok_or(Errno::NOENT).cannot("find the object of", path)?;
        let name = format!("{OBJECTS}/{}/{}", object.number / SHARD, object.number % SHARD);
        Node::open(store.as_fd(), name, path)?.ok_or(Errno::NOENT).cannot("find the object of", path)
    }
}

/// The contents that a capture keeps.
pub struct Contents {
    pub(crate) manifest: Manifest,
    pub(crate) vault: Vault,
}

impl Contents {
    /// Those of a complete capture.
    pub fn open(dir: &CaptureDir) -> Result<Self> {
        let manifest = dir.manifest()?;
        let vault = Vault::open(dir, &manifest.stores)?;
        Ok(Self { manifest, vault })
    }

    /// The content a file had when it was captured, at most so many bytes of it; none when it was no file, was not there
    /// or was not captured.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let object = self.manifest.find(relative).and_then(|entry| entry.present.as_ref()).and_then(|present| present.object);
        let Some(object) = object else { return Ok(None) };
        let mut bytes = Vec::new();
        self.vault.object(object, relative)?.read(relative)?.take(limit).read_to_end(&mut bytes).cannot("read", relative)?;
        Ok(Some(bytes))
    }
}

/// The content one file had when it was captured; see [`Contents::read`].
pub fn content(dir: &CaptureDir, path: &Path) -> Result<Option<Vec<u8>>> {
    Contents::open(dir)?.read(path, u64::MAX)
}

/// Holds a capture's store on another file system, and the folder that it is in. Both have to be private: whoever may write
/// the mount's top folder can have put others there.
pub(crate) fn open_elsewhere(dir: &CaptureDir, point: &Path) -> Result<(OwnedFd, OwnedFd)> {
    let enter = |from: BorrowedFd<'_>, name: &OsStr, path: PathBuf| {
        let fd = openat(from, name, FOLDER, Mode::empty()).cannot("open the store", &path)?;
        if facts(&fd, &path)?.is_private() { Ok(fd) } else { Err(CaptureError::NotPrivate { path }) }
    };
    let top = openat(CWD, point, FOLDER, Mode::empty()).cannot("open", point)?;
    let ours = enter(top.as_fd(), OsStr::new(ELSEWHERE), point.join(ELSEWHERE))?;
    let store = enter(ours.as_fd(), dir.name(), store_path(dir, point))?;
    Ok((ours, store))
}

/// Where a store lies: on another file system below its mount point.
pub(crate) fn store_path(dir: &CaptureDir, point: &Path) -> PathBuf {
    if point.as_os_str().is_empty() { dir.path().to_path_buf() } else { point.join(ELSEWHERE).join(dir.name()) }
}
