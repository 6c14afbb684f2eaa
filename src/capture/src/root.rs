//! Paths below a root, opened so that nobody's symbolic link can lead outside it.
//!
//! Two ways in: [`Root::follow`] resolves the links of a parent as the system does (usrmerge), inside the root;
//! [`Root::exact`] refuses every link, for paths that are canonical already. The last component of a path is
//! never opened here. Inside the crate paths are relative to the root, without a leading slash.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2, readlinkat};
use rustix::io::Errno;

use crate::error::{CaptureError, Context, Result};

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const RETRIES: u32 = 16;

/// The directory that everything is relative to.
pub(crate) struct Root {
    fd: OwnedFd,
    real: PathBuf,
}

impl Root {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let fd = rustix::fs::open(path, DIRECTORY, Mode::empty()).cannot("open the root", path)?;
        let real = real_path(&fd, path)?;
        Ok(Self { fd, real })
    }

    /// Opens a directory through whatever links lead to it, inside the root, and says its canonical path; none
    /// when there is no such directory.
    pub(crate) fn follow(&self, path: &Path) -> Result<Option<(OwnedFd, PathBuf)>> {
        let Some(fd) = self.resolve(path, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)? else { return Ok(None) };
        let real = real_path(&fd, path)?;
        let inside = real.strip_prefix(&self.real).map_err(|_| CaptureError::BadPath { path: path.to_path_buf() })?;
        let inside = inside.to_path_buf();
        Ok(Some((fd, inside)))
    }

    /// Opens a directory by its canonical path; none when it is missing or a link stands in the way.
    pub(crate) fn exact(&self, path: &Path) -> Result<Option<OwnedFd>> {
        self.resolve(path, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS)
    }

    /// Opens the directory that has a canonical path's name; none as of [`exact`](Self::exact).
    pub(crate) fn parent_of(&self, path: &Path) -> Result<Option<OwnedFd>> {
        self.exact(path.parent().unwrap_or(Path::new("")))
    }

    /// Where it really is.
    pub(crate) fn real(&self) -> &Path {
        &self.real
    }

    /// The path relative to this root of an absolute path of the machine, when it is below.
    pub(crate) fn inside(&self, real: &Path) -> Option<PathBuf> {
        real.strip_prefix(&self.real).ok().map(Path::to_path_buf)
    }

    fn resolve(&self, path: &Path, how: ResolveFlags) -> Result<Option<OwnedFd>> {
        let name = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        for _ in 0..RETRIES {
            match openat2(&self.fd, name, DIRECTORY, Mode::empty(), how) {
                Ok(fd) => return Ok(Some(fd)),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error).cannot("open", path),
            }
        }
        Err(Errno::AGAIN).cannot("open", path)
    }
}

/// The path of an open directory as the kernel knows it.
pub(crate) fn real_path(fd: &OwnedFd, path: &Path) -> Result<PathBuf> {
    let link = readlinkat(CWD, proc_path(fd), Vec::new()).cannot("find the real path of", path)?;
    Ok(PathBuf::from(OsString::from_vec(link.into_bytes())))
}

/// A path that means exactly the inode behind a descriptor, whatever its names have become.
pub(crate) fn proc_path(fd: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// A selected path in the form used inside the crate.
pub(crate) fn relative(path: &Path) -> Result<PathBuf> {
    let bad = || CaptureError::BadPath { path: path.to_path_buf() };
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) if !name.as_bytes().contains(&0) => clean.push(name),
            Component::Normal(_) | Component::ParentDir | Component::Prefix(_) => return Err(bad()),
        }
    }
    if clean.as_os_str().is_empty() { Err(bad()) } else { Ok(clean) }
}

/// A path as callers know it: absolute, as seen in the root.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(path)
}

/// The last directory opened by its canonical path: neighbours in a sorted list share it.
pub(crate) struct Parents<'a> {
    root: &'a Root,
    last: Option<(PathBuf, Option<OwnedFd>)>,
}

impl<'a> Parents<'a> {
    pub(crate) const fn new(root: &'a Root) -> Self {
        Self { root, last: None }
    }

    /// The directory that holds `path`; none when it is missing or a link stands in the way.
    pub(crate) fn of(&mut self, path: &Path) -> Result<Option<BorrowedFd<'_>>> {
        use std::os::fd::AsFd;
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.last.as_ref().is_none_or(|(known, _)| known != parent) {
            self.last = Some((parent.to_path_buf(), self.root.exact(parent)?));
        }
        Ok(self.last.as_ref().and_then(|(_, fd)| fd.as_ref()).map(AsFd::as_fd))
    }

    /// Forgets what is open, because directories were changed.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }
}
