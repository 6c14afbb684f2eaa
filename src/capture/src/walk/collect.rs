//! Looking at every name: directories are taken from one heap by as many threads as there are cores.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::{Directory, Fact, Part};
use crate::dir::{CaptureDir, ELSEWHERE};
use crate::error::{Context, Result};
use crate::exclude::excluded;
use crate::mounts::mounts;
use crate::root::Root;

/// Space for the names of one directory, as the kernel hands them out.
const LISTING: usize = 64 * 1024;

/// Gaps that are told by their own paths.
const MOST: usize = 100;

/// Takes the picture, in as many parts as threads.
pub(super) fn collect(root: &Path, dir: &CaptureDir) -> Result<(Vec<Part>, BTreeMap<PathBuf, String>)> {
    let root = Root::open(root)?;
    let own = dir.path().canonicalize().cannot("find the real path of", dir.path())?;
    let (own, mounted) = (root.inside(&own), mounted(&root)?);
    let collector = Collector { own, mounted, root, heap: Mutex::default(), more: Condvar::new(), gaps: Mutex::default() };
    let top = collector.root.exact(Path::new(""))?.ok_or(Errno::NOENT).cannot("open", Path::new("/"))?;
    let device = fstat(&top).cannot("examine", Path::new("/"))?.st_dev;
    collector.change(|heap| {
        heap.devices.insert(device);
        heap.open.push((PathBuf::new(), device));
    });
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let parts = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| collector.work())).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let gaps = collector.gaps.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((parts, gaps))
}

/// Mount points below the root, and whether a file system is to be looked at there.
fn mounted(root: &Root) -> Result<HashMap<PathBuf, bool>> {
    let all = mounts()?;
    Ok(all.into_iter().filter_map(|mount| Some((root.inside(&mount.point)?, mount.is_local_and_writable()))).collect())
}

/// Directories that wait, and how many are being looked at.
#[derive(Default)]
struct Heap {
    open: Vec<(PathBuf, u64)>,
    busy: usize,
    devices: HashSet<u64>,
}

struct Collector {
    root: Root,
    own: Option<PathBuf>,
    mounted: HashMap<PathBuf, bool>,
    heap: Mutex<Heap>,
    more: Condvar,
    gaps: Mutex<BTreeMap<PathBuf, String>>,
}

impl Collector {
    fn change<T>(&self, change: impl FnOnce(&mut Heap) -> T) -> T {
        let changed = change(&mut self.heap.lock().unwrap_or_else(PoisonError::into_inner));
        self.more.notify_all();
        changed
    }

    fn work(&self) -> Part {
        let mut part = Part::default();
        let mut buffer = vec![MaybeUninit::uninit(); LISTING];
        while let Some((path, device)) = self.next() {
            let below = self.directory(&path, device, &mut part, &mut buffer).unwrap_or_else(|error| {
                self.leave_out(path, error.errno().unwrap_or(Errno::IO));
                Vec::new()
            });
            self.change(|heap| {
                heap.busy -= 1;
                heap.open.extend(below);
            });
        }
        part
    }

    /// Of many gaps only the folders are told in which they are.
    fn leave_out(&self, path: PathBuf, why: Errno) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let place = if gaps.len() < MOST { Some(path) } else { path.parent().map(Path::to_path_buf) };
        gaps.extend(place.map(|place| (place, why.to_string())));
    }

    /// Waits for a directory; none when all are done.
    fn next(&self) -> Option<(PathBuf, u64)> {
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(next) = heap.open.pop() {
                heap.busy += 1;
                return Some(next);
            }
            if heap.busy == 0 {
                return None;
            }
            heap = self.more.wait(heap).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Looks at every name in a directory; says which directories are to be looked at next.
    fn directory(&self, path: &Path, device: u64, part: &mut Part, buffer: &mut [MaybeUninit<u8>]) -> Result<Vec<(PathBuf, u64)>> {
        let mut below = Vec::new();
        let Some(fd) = self.open(path)? else { return Ok(below) };
        let (start, left_out) = (part.facts.len(), self.left_out(path));
        let mut names = RawDir::new(&fd, buffer);
        while let Some(entry) = names.next() {
            let entry = entry.cannot("list", path).inspect_err(|_| part.facts.truncate(start))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if left_out.contains(&name.to_bytes()) {
                continue;
            }
            let stat = match statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
                Ok(stat) => stat,
                // Gone in between.
                Err(Errno::NOENT) => continue,
                Err(error) => {
                    let inside = path.join(OsStr::from_bytes(name.to_bytes()));
                    self.leave_out(inside, error);
                    continue;
                }
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let inside = path.join(OsStr::from_bytes(name.to_bytes()));
                if self.enters(&inside, stat.st_dev, device) {
                    below.push((inside, stat.st_dev));
                }
            }
            push(part, &stat, name.to_bytes());
        }
        sort(part, start);
        part.directories.push(Directory { path: path.to_path_buf(), start, end: part.facts.len() });
        Ok(below)
    }

    fn open(&self, path: &Path) -> Result<Option<OwnedFd>> {
        let Some(place) = self.root.exact(path)? else { return Ok(None) };
        match openat(place, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).cannot("open", path),
        }
    }

    /// The names that are left out right here; what is below them is never reached.
    fn left_out(&self, path: &Path) -> Vec<&[u8]> {
        let mut names = vec![ELSEWHERE.as_bytes()];
        for place in excluded().map(Path::new) {
            names.extend(name_in(place, path));
        }
        names.extend(self.own.as_deref().and_then(|own| name_in(own, path)));
        names
    }

    /// A file system that is mounted twice is looked at once.
    fn enters(&self, path: &Path, device: u64, parent: u64) -> bool {
        match self.mounted.get(path) {
            Some(wanted) => *wanted && self.change(|heap| heap.devices.insert(device)),
            // A subvolume, or a mount that is newer than the table.
            None => device == parent || self.change(|heap| heap.devices.insert(device)),
        }
    }
}

/// The name of a path, if it lies right in a directory.
fn name_in<'a>(place: &'a Path, directory: &Path) -> Option<&'a [u8]> {
    let name = place.file_name().filter(|_| place.parent() == Some(directory));
    name.map(OsStr::as_encoded_bytes)
}

fn push(part: &mut Part, stat: &Stat, name: &[u8]) {
    let nanos = |seconds: i64, nanos: u64| seconds.saturating_mul(1_000_000_000).saturating_add(i64::try_from(nanos).unwrap_or_default());
    let device = matches!(FileType::from_raw_mode(stat.st_mode), FileType::CharacterDevice | FileType::BlockDevice);
    let start = u32::try_from(part.names.len()).expect("the names of one thread are less than 4 GiB");
    part.names.extend_from_slice(name);
    part.facts.push(Fact {
        ino: stat.st_ino,
        size: if device { stat.st_rdev } else { u64::try_from(stat.st_size).unwrap_or_default() },
        mtime: nanos(stat.st_mtime, stat.st_mtime_nsec),
        ctime: nanos(stat.st_ctime, stat.st_ctime_nsec),
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        name: start,
        name_length: u16::try_from(name.len()).expect("a name has at most 255 bytes"),
    });
}

fn sort(part: &mut Part, start: usize) {
    let names = &part.names;
    let name = |fact: &Fact| &names[fact.name as usize..][..usize::from(fact.name_length)];
    part.facts[start..].sort_unstable_by(|one, other| name(one).cmp(name(other)));
}
