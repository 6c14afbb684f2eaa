//! From what a process said to the path that the kernel will find, in the guard's own root.
//!
//! The kernel walks: parents are opened, from the caller's working directory, descriptor or root, and the opened
//! directory is asked for its path. Only the last component is looked at here, because calls differ in following it.
//! A race remains for a process that renames directories while another of its threads waits: this is undo, not a
//! security border.

use std::cell::{OnceCell, RefCell};
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use crate::caller::{Caller, PATH_MAX};

/// As many symbolic links as the kernel follows.
const MAX_LINKS: usize = 40;

/// Why there is no path to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Miss {
    /// The kernel will refuse the call itself, or it changes nothing that has a name.
    Harmless,
    /// Something may change, and where cannot be said.
    Unseen,
}

/// What to do with a symbolic link at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    Yes,
    /// Only if a slash behind it asks for the directory.
    OnSlash,
    No,
}

/// Where a relative path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Cwd,
    Descriptor(i32),
}

/// A resolved path and what is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub path: PathBuf,
    pub kind: Option<FileType>,
}

/// The guard's own place, which callers are compared with.
#[derive(Debug)]
pub(crate) struct Home {
    root: Identity,
    /// `/proc/<guard>`: where `/proc/self` leads when the guard walks.
    own: PathBuf,
}

/// A directory in a mount: the same in two processes only if they share root and mount namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    mount: u64,
    device: (u32, u32),
    inode: u64,
}

/// The caller's root.
enum Root {
    /// The guard's own: the guard's walk is the caller's.
    Same,
    /// Another directory or another mount namespace.
    Other { dir: OwnedFd, path: PathBuf },
}

impl Home {
    /// # Errors
    /// `/proc` or the root directory cannot be examined.
    pub(crate) fn of_this_process() -> Result<Self, Errno> {
        let own = Path::new("/proc").join(std::process::id().to_string());
        Ok(Self { root: identity(CWD, Path::new("/"))?, own })
    }

    /// The walks of one call.
    pub(crate) fn walk(&self, caller: Caller) -> Walk<'_> {
        Walk { home: self, caller, root: OnceCell::new(), parent: RefCell::default() }
    }

    fn root_of(&self, caller: &Caller) -> Result<Root, Miss> {
        let link_of_root = format!("/proc/{}/root", caller.tid);
        if identity(CWD, Path::new(&link_of_root)).map_err(gone)? == self.root {
            return Ok(Root::Same);
        }
        other_root(Path::new(&link_of_root))
    }
}

fn other_root(link_of_root: &Path) -> Result<Root, Miss> {
    let dir = rustix::fs::open(link_of_root, DIRECTORY, Mode::empty()).map_err(gone)?;
    Ok(Root::Other { dir, path: link(link_of_root)? })
}

/// What one call names. Its caller's root is looked up once, when it is needed, and a parent that both paths of a rename
/// share is walked to once.
pub(crate) struct Walk<'a> {
    home: &'a Home,
    caller: Caller,
    root: OnceCell<Root>,
    parent: RefCell<Option<Parent>>,
}

/// A directory that was walked to: from where, by what text, to which path.
struct Parent {
    base: Option<Base>,
    text: Vec<u8>,
    path: PathBuf,
}

impl Walk<'_> {
    /// Finds what a descriptor of the caller is open for.
    pub(crate) fn find_descriptor(&self, base: Base) -> Result<Found, Miss> {
        self.root()?;
        let path = link(&self.link_of(base))?;
        Ok(Found { kind: Some(kind(&path)?.ok_or(Miss::Harmless)?), path })
    }

    /// Finds what `text` names if `base` were the root.
    pub(crate) fn find_in_root(&self, base: Base, text: &[u8], follow: Follow) -> Result<Found, Miss> {
        let root = OnceCell::from(other_root(&self.link_of(base))?);
        Walk { home: self.home, caller: self.caller, root, parent: RefCell::default() }.find(base, text, follow)
    }

    fn root(&self) -> Result<&Root, Miss> {
        match self.root.get() {
            Some(root) => Ok(root),
            None => {
                let root = self.home.root_of(&self.caller)?;
                Ok(self.root.get_or_init(|| root))
            }
        }
    }

    /// Finds what `text` names for the caller.
    pub(crate) fn find(&self, base: Base, text: &[u8], follow: Follow) -> Result<Found, Miss> {
        let mut here = Step { base: Some(base), text: text.to_vec(), follow };
        for _ in 0..MAX_LINKS {
            match self.step(&here)? {
                Next::Found(found) => return Ok(found),
                Next::Link(text) => here = Step { base: None, text, follow: Follow::Yes },
            }
        }
        Err(Miss::Harmless)
    }

    /// Looks at the last component; a link that is to be followed gives the next text.
    fn step(&self, step: &Step) -> Result<Next, Miss> {
        let split = Split::of(&step.text)?;
        let Some(name) = split.name else {
            let path = self.directory(step.base, &step.text)?;
            return Ok(Next::Found(Found { path, kind: Some(FileType::Directory) }));
        };
        let parent = self.directory(step.base, split.parent)?;
        let path = parent.join(name);
        let kind = kind(&path)?;
        let follow = match step.follow {
            Follow::Yes => true,
            Follow::OnSlash => split.slash,
            Follow::No => false,
        };
        if !follow || kind != Some(FileType::Symlink) {
            return Ok(Next::Found(Found { path, kind }));
        }
        self.follow(&parent, &path)
    }

    fn follow(&self, parent: &Path, path: &Path) -> Result<Next, Miss> {
        let target = link(path)?;
        let inside = self.inside(parent)?;
        if inside.starts_with("/proc") && is_magic(&inside) {
            // The kernel jumps to the open file, whatever its name is by now; without one nothing with a name changes.
            let kind = kind(&target)?.filter(|_| target.is_absolute()).ok_or(Miss::Harmless)?;
            return Ok(Next::Found(Found { path: target, kind: Some(kind) }));
        }
        Ok(Next::Link(inside.join(target).into_os_string().into_vec()))
    }

    /// The path of a directory that the caller names, without links.
    fn directory(&self, base: Option<Base>, text: &[u8]) -> Result<PathBuf, Miss> {
        let base = base.filter(|_| text.first() != Some(&b'/'));
        if let Some(known) = self.parent.borrow().as_ref().filter(|known| known.base == base && known.text == text) {
            return Ok(known.path.clone());
        }
        let path = match self.root()? {
            Root::Same => self.directory_here(base, text),
            Root::Other { dir, path } => self.directory_there(dir, path, base, text),
        }?;
        *self.parent.borrow_mut() = Some(Parent { base, text: text.to_vec(), path: path.clone() });
        Ok(path)
    }

    fn directory_here(&self, base: Option<Base>, text: &[u8]) -> Result<PathBuf, Miss> {
        let literal = Path::new(OsStr::from_bytes(text));
        let start = match base {
            Some(base) if text.is_empty() => return place(&self.link_of(base)),
            Some(base) => link(&self.link_of(base))?,
            None => PathBuf::new(),
        };
        if let Some(path) = without_links(&start.join(literal)) {
            return Ok(path);
        }
        let fd = match (base, self.own_proc(literal)) {
            (Some(base), _) => {
                let start = rustix::fs::open(self.link_of(base), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(gone)?;
                without_jumps(&start, literal)
            }
            (None, Some(path)) => rustix::fs::open(path, DIRECTORY, Mode::empty()).map_err(gone),
            (None, None) => without_jumps(CWD, literal),
        }?;
        Ok(self.as_caller(path_of(&fd)?, Path::new("/")))
    }

    /// What the caller calls its own, written out: the guard may then jump where the caller would.
    fn own_proc(&self, text: &Path) -> Option<PathBuf> {
        let rest = text.strip_prefix("/proc/self").or_else(|_| text.strip_prefix("/proc/thread-self")).ok()?;
        Some(Path::new("/proc").join(self.caller.tid.to_string()).join(rest))
    }

    /// In another root the kernel is asked to stay inside. A directory that lies outside is reached only through the
    /// caller's own descriptor.
    fn directory_there(&self, root: &OwnedFd, at: &Path, base: Option<Base>, text: &[u8]) -> Result<PathBuf, Miss> {
        let text = Path::new(OsStr::from_bytes(text));
        let fd = match base {
            None => stay_inside(root, text),
            Some(base) => match link(&self.link_of(base))?.strip_prefix(at) {
                Ok(inside) => stay_inside(root, &inside.join(text)),
                Err(_) => rustix::fs::open(self.link_of(base).join(text), DIRECTORY, Mode::empty()),
            },
        };
        let fd = fd.map_err(stuck)?;
        let path = path_of(&fd)?;
        if !same_here(&fd, &path) {
            return Err(Miss::Unseen);
        }
        Ok(self.as_caller(path, at))
    }

    /// `/proc/self` is the caller, not the guard that walked.
    fn as_caller(&self, path: PathBuf, root: &Path) -> PathBuf {
        let Ok(inside) = path.strip_prefix(root) else { return path };
        let own = self.home.own.strip_prefix("/").unwrap_or(&self.home.own);
        let Ok(rest) = inside.strip_prefix(own) else { return path };
        let task = Path::new("task").join(own.file_name().unwrap_or_default());
        let rest = rest.strip_prefix(task).unwrap_or(rest);
        root.join("proc").join(self.caller.tid.to_string()).join(rest)
    }

    /// A path of the guard's root as the caller would write it.
    fn inside(&self, path: &Path) -> Result<PathBuf, Miss> {
        Ok(match self.root()? {
            Root::Same => path.to_path_buf(),
            Root::Other { path: root, .. } => path.strip_prefix(root).map_or_else(|_| path.to_path_buf(), |rest| Path::new("/").join(rest)),
        })
    }

    fn link_of(&self, base: Base) -> PathBuf {
        PathBuf::from(match base {
            Base::Cwd => format!("/proc/{}/cwd", self.caller.tid),
            Base::Descriptor(fd) => format!("/proc/{}/fd/{fd}", self.caller.tid),
        })
    }
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// One text to resolve.
struct Step {
    /// `None`: absolute.
    base: Option<Base>,
    text: Vec<u8>,
    follow: Follow,
}

enum Next {
    Found(Found),
    Link(Vec<u8>),
}

/// A text cut before its last component.
#[derive(Debug, PartialEq, Eq)]
struct Split<'a> {
    parent: &'a [u8],
    /// `None` where the text names a directory by itself: `/`, `.`, `..`.
    name: Option<&'a OsStr>,
    slash: bool,
}

impl<'a> Split<'a> {
    /// # Errors
    /// The kernel refuses an empty text.
    fn of(text: &'a [u8]) -> Result<Self, Miss> {
        let end = text.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let start = text[..end].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let name = match &text[start..end] {
            b"" if text.is_empty() => return Err(Miss::Harmless),
            b"" | b"." | b".." => None,
            name => Some(OsStr::from_bytes(name)),
        };
        Ok(Self { parent: &text[..start], name, slash: end < text.len() })
    }
}

/// What is at `path` itself. Nearly every reason not to know makes the kernel refuse the call as well; but it takes steps
/// from a directory deeper than a path can say.
fn kind(path: &Path) -> Result<Option<FileType>, Miss> {
    match rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::TYPE) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.stx_mode.into()))),
        Err(Errno::NAMETOOLONG) if path.as_os_str().len() >= PATH_MAX => Err(Miss::Unseen),
        Err(_) => Ok(None),
    }
}

/// Links of `/proc/<pid>` and of its `fd` are no paths but jumps.
fn is_magic(parent: &Path) -> bool {
    let below = parent.components().skip(2).map(|part| part.as_os_str().to_os_string()).collect::<Vec<OsString>>();
    match below.as_slice() {
        [pid] => pid.as_bytes().iter().all(u8::is_ascii_digit),
        [.., last] => last == "fd" || last == "map_files" || last == "ns" || below.get(1).is_some_and(|task| task == "task"),
        [] => false,
    }
}

fn link(path: &Path) -> Result<PathBuf, Miss> {
    let text = rustix::fs::readlink(path, Vec::with_capacity(256)).map_err(gone)?;
    Ok(PathBuf::from(OsString::from_vec(CString::into_bytes(text))))
}

/// The path of an open directory. One that was removed keeps a path that is none; in it nothing can be made.
fn place(link_of: &Path) -> Result<PathBuf, Miss> {
    let path = link(link_of)?;
    let removed = path.as_os_str().as_bytes().ends_with(b" (deleted)") && kind(&path)?.is_none();
    if removed { Err(Miss::Harmless) } else { Ok(path) }
}

fn path_of(fd: &OwnedFd) -> Result<PathBuf, Miss> {
    place(Path::new(&format!("/proc/self/fd/{}", fd.as_raw_fd())))
}

/// Most texts have no links and no way up. If the kernel gets there without following any, the text is the path, and
/// nobody has to be asked for it.
fn without_links(text: &Path) -> Option<PathBuf> {
    let path: PathBuf = text.components().collect();
    let plain = !path.components().any(|part| part == Component::ParentDir);
    (plain && rustix::fs::openat2(CWD, &path, DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS).is_ok()).then_some(path)
}

/// Walks without the jumps that links in `/proc/<pid>` are: `/proc/self` would be the guard, and jump elsewhere.
fn without_jumps(start: impl AsFd, text: &Path) -> Result<OwnedFd, Miss> {
    match rustix::fs::openat2(&start, text, DIRECTORY, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        Err(Errno::LOOP) if rustix::fs::openat(&start, text, DIRECTORY, Mode::empty()).is_ok() => Err(Miss::Unseen),
        fd => fd.map_err(gone),
    }
}

/// Walks with `root` as the root. The kernel gives up when anything is renamed meanwhile; then it is asked again.
fn stay_inside(root: &OwnedFd, text: &Path) -> Result<OwnedFd, Errno> {
    let text = if text.as_os_str().is_empty() { Path::new(".") } else { text };
    loop {
        match rustix::fs::openat2(root, text, DIRECTORY, Mode::empty(), ResolveFlags::IN_ROOT) {
            Err(Errno::AGAIN) => {}
            fd => return fd,
        }
    }
}

/// Staying inside another root also refuses jumps, with the error for a circle.
fn stuck(errno: Errno) -> Miss {
    if errno == Errno::LOOP { Miss::Unseen } else { gone(errno) }
}

fn same_here(fd: &OwnedFd, path: &Path) -> bool {
    let there = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::INO);
    let here = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO);
    let key = |stat: rustix::fs::Statx| (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino);
    matches!((there, here), (Ok(there), Ok(here)) if key(there) == key(here))
}

fn identity(dir: impl AsFd, path: &Path) -> Result<Identity, Errno> {
    let stat = rustix::fs::statx(dir, path, AtFlags::empty(), StatxFlags::INO | StatxFlags::MNT_ID)?;
    Ok(Identity { mount: stat.stx_mnt_id, device: (stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino })
}

/// What an error of the guard's own walk says: the kernel's walk for the caller ends in the same one, unless it is ours
/// alone.
fn gone(errno: Errno) -> Miss {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::SRCH | Errno::INVAL | Errno::BADF => Miss::Harmless,
        _ => Miss::Unseen,
    }
}
