//! What cannot be looked at: left out and told where somebody who is not root could have made it so, an error elsewhere.
//!
//! Whoever owns a folder that is captured can fill it with what nobody can look at: files with a lease, paths that are too
//! long, file systems of their own that keep even root out. None of it may stop a change to the whole system. What only
//! root could have made so still does: there something is wrong, and undo material would be missing.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use crate::error::{CaptureError, Result};
use crate::mounts::mounts;
use crate::root::{Root, absolute};

/// With more gaps than this the folders are left out in which they are: others' folders are few, what is in them is not.
const MOST: usize = 100;
/// More characters of a path than this are not told.
const LONGEST: usize = 200;
/// Who may write to a folder besides its owner, by its mode; access lists show in the group's part.
const BY_OTHERS: u32 = 0o022;

/// A path that was left out with everything below, because it cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Which, absolute, as seen in the root.
    pub path: PathBuf,
    /// Why, in words.
    pub why: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.to_string_lossy();
        match path.char_indices().nth(LONGEST) {
            Some((end, _)) => write!(f, "{}… ({})", &path[..end], self.why),
            None => write!(f, "{path} ({})", self.why),
        }
    }
}

/// The gaps of what is being looked at.
pub(crate) struct Gaps<'a> {
    root: &'a Root,
    found: Mutex<BTreeMap<PathBuf, Gap>>,
}

struct Gap {
    why: String,
    /// The first on the way that is not only root's.
    others: PathBuf,
}

impl<'a> Gaps<'a> {
    pub(crate) fn new(root: &'a Root) -> Self {
        Self { root, found: Mutex::default() }
    }

    /// Leaves a path out, or answers the error that it met if it is root's own.
    pub(crate) fn leave_out(&self, path: &Path, error: CaptureError) -> Result<()> {
        let (Some(why), Some(others)) = (unseeable(&error), others(self.root, path)) else { return Err(error) };
        let gap = Gap { why: why.to_string(), others };
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_path_buf(), gap);
        Ok(())
    }

    /// What is there, or nothing of what was left out.
    pub(crate) fn or_leave_out<T>(&self, path: &Path, found: Result<T>) -> Result<Option<T>> {
        found.map(Some).or_else(|error| self.leave_out(path, error).map(|()| None))
    }

    /// What was left out, as paths of the crate.
    pub(crate) fn into_found(self) -> BTreeMap<PathBuf, String> {
        let found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let in_others = found.len() > MOST;
        let mut all: BTreeMap<PathBuf, String> = BTreeMap::new();
        for (path, gap) in found {
            let path = if in_others { gap.others } else { path };
            if !is_below(&all, &path) {
                all.insert(path, gap.why);
            }
        }
        all
    }
}

/// Gaps as callers know them.
pub(crate) fn told(gaps: &BTreeMap<PathBuf, String>) -> Vec<LeftOut> {
    gaps.iter().map(|(path, why)| LeftOut { path: absolute(path), why: why.clone() }).collect()
}

/// Whether a path is one of these few, or below one.
pub(crate) fn is_below(gaps: &BTreeMap<PathBuf, String>, path: &Path) -> bool {
    gaps.keys().any(|gap| path.starts_with(gap))
}

/// What a path's owner can bring about. Not that the disk fails, or is full.
pub(crate) fn unseeable(error: &CaptureError) -> Option<Errno> {
    const BY_OWNERS: [Errno; 13] = [
        Errno::ACCESS,
        Errno::AGAIN,
        Errno::CONNABORTED,
        Errno::LOOP,
        Errno::NAMETOOLONG,
        Errno::NODEV,
        Errno::NOSYS,
        Errno::NOTCONN,
        Errno::NXIO,
        Errno::PERM,
        Errno::STALE,
        Errno::TIMEDOUT,
        Errno::TOOBIG,
    ];
    error.errno().filter(|errno| BY_OWNERS.contains(errno))
}

/// Whether a file could not be opened because its owner has a lease on it.
pub(crate) fn is_leased(error: &CaptureError) -> bool {
    error.errno() == Some(Errno::AGAIN)
}

/// The first on the way to a canonical path that belongs to somebody else than root, or is a folder that others may write;
/// none when all is root's. What cannot be looked at itself is root's, unless somebody mounted it.
pub(crate) fn others(root: &Root, path: &Path) -> Option<PathBuf> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = root.exact(Path::new("")).ok()??;
    let mut at = PathBuf::new();
    for name in path.components() {
        at.push(name);
        let stat = match statat(folder.as_fd(), name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
            Ok(stat) => stat,
            Err(_) => return is_users_mount(root, &at).then_some(at),
        };
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if stat.st_uid != 0 || (is_folder && stat.st_mode & BY_OTHERS != 0) {
            return Some(at);
        }
        if at != path {
            folder = openat(&folder, name.as_os_str(), flags, Mode::empty()).ok()?;
        }
    }
    None
}

/// Whether a program's own file system is mounted there: anybody may do that in a folder of theirs.
fn is_users_mount(root: &Root, path: &Path) -> bool {
    mounts().is_ok_and(|all| all.iter().any(|mount| mount.is_of_a_program() && root.inside(&mount.point).is_some_and(|at| at == path)))
}
