//! One thing in a file system, held open without opening it: what it is and what it carries.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, IFlags, Mode, OFlags, Statx, StatxAttributes, StatxFlags, StatxTimestamp, ioctl_getflags, ioctl_setflags, openat,
    readlinkat, statx,
};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::lease::PATIENCE;
use crate::root::proc_path;

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Kind {
    pub(crate) const fn of(mode: u32) -> Option<Self> {
        Some(match FileType::from_raw_mode(mode) {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Unknown => return None,
        })
    }

    pub(crate) const fn file_type(self) -> FileType {
        match self {
            Self::File => FileType::RegularFile,
            Self::Directory => FileType::Directory,
            Self::Symlink => FileType::Symlink,
            Self::Fifo => FileType::Fifo,
            Self::Socket => FileType::Socket,
            Self::CharDevice => FileType::CharacterDevice,
            Self::BlockDevice => FileType::BlockDevice,
        }
    }
}

/// A point in time of a file system: seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Time(pub(crate) i64, pub(crate) u32);

impl From<StatxTimestamp> for Time {
    fn from(time: StatxTimestamp) -> Self {
        Self(time.tv_sec, time.tv_nsec)
    }
}

/// In such a folder everybody keeps their own names.
const STICKY: u32 = 0o1000;

/// Name and value of one extended attribute.
pub(crate) type Xattr = (Vec<u8>, Vec<u8>);

/// The name under which an inode's flags stand among its extended attributes; those of file systems have a dot in theirs.
const FROZEN: &[u8] = b"frozen";

/// What keeps everybody from changing an inode (`chattr +i`, `+a`), by its letter.
const FREEZING: [(IFlags, u8); 2] = [(IFlags::APPEND, b'a'), (IFlags::IMMUTABLE, b'i')];

/// Whether an attribute is the file system's own.
pub(crate) fn is_attribute((name, _): &&Xattr) -> bool {
    name != FROZEN
}

/// The flags that stand among the extended attributes.
pub(crate) fn frozen(xattrs: &[Xattr]) -> IFlags {
    let letters = xattrs.iter().find(|(name, _)| name == FROZEN).map_or(&[][..], |(_, letters)| letters);
    FREEZING.iter().filter(|(_, letter)| letters.contains(letter)).map(|(flag, _)| *flag).collect()
}

/// Everything about a path but the content of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    pub(crate) ctime: Time,
    pub(crate) btime: Time,
    pub(crate) ino: u64,
    pub(crate) rdev: (u32, u32),
    pub(crate) target: Vec<u8>,
    pub(crate) xattrs: Vec<Xattr>,
}

/// The facts of one stat call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) nlink: u32,
    pub(crate) mtime: Time,
    pub(crate) ctime: Time,
    pub(crate) btime: Time,
    pub(crate) ino: u64,
    pub(crate) dev: (u32, u32),
    pub(crate) rdev: (u32, u32),
    pub(crate) mount: u64,
    pub(crate) frozen: IFlags,
}

impl Facts {
    /// Whether both are the same inode, while the system runs.
    pub(crate) fn same_inode(&self, other: &Self) -> bool {
        self.ino == other.ino && self.dev == other.dev
    }

    /// Whether nobody but us changes names in this folder.
    pub(crate) fn is_ours_alone(&self) -> bool {
        self.is_ours() && self.mode & 0o022 == 0
    }

    /// Whether nobody else can move or exchange what we put into this folder.
    pub(crate) fn keeps_ours(&self) -> bool {
        self.is_ours_alone() || (self.is_ours() && self.mode & STICKY != 0)
    }

    /// Whether this is a folder that nobody but us can look into.
    pub(crate) fn is_private(&self) -> bool {
        self.kind == Kind::Directory && self.is_ours() && self.mode & 0o077 == 0
    }

    fn is_ours(&self) -> bool {
        self.uid == rustix::process::geteuid().as_raw()
    }

    /// Whether this is the inode that was recorded, across restarts: inode numbers are used again, birth times
    /// are not.
    pub(crate) fn is_still(&self, recorded: &Meta) -> bool {
        self.kind == recorded.kind && self.ino == recorded.ino && self.btime == recorded.btime
    }
}

/// The facts about an open descriptor.
pub(crate) fn facts(fd: impl AsFd, path: &Path) -> Result<Facts> {
    facts_at(fd, "", AtFlags::EMPTY_PATH, path)?.ok_or(Errno::NOENT).cannot("examine", path)
}

/// The facts about a name; none when there is no such thing.
pub(crate) fn facts_at(dir: impl AsFd, name: impl rustix::path::Arg, flags: AtFlags, path: &Path) -> Result<Option<Facts>> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    let stat = match statx(dir, name, flags | AtFlags::NO_AUTOMOUNT, mask) {
        Ok(stat) => stat,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error).cannot("examine", path),
    };
    let mode = u32::from(stat.stx_mode);
    let kind = Kind::of(mode).ok_or(Errno::INVAL).cannot("tell the type of", path)?;
    Ok(Some(Facts {
        kind,
        mode: mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size: stat.stx_size,
        blocks: stat.stx_blocks,
        nlink: stat.stx_nlink,
        mtime: stat.stx_mtime.into(),
        ctime: stat.stx_ctime.into(),
        btime: stat.stx_btime.into(),
        ino: stat.stx_ino,
        dev: (stat.stx_dev_major, stat.stx_dev_minor),
        rdev: (stat.stx_rdev_major, stat.stx_rdev_minor),
        mount: stat.stx_mnt_id,
        frozen: freezing(&stat),
    }))
}

fn freezing(stat: &Statx) -> IFlags {
    let known = [(StatxAttributes::APPEND, IFlags::APPEND), (StatxAttributes::IMMUTABLE, IFlags::IMMUTABLE)];
    known.iter().filter(|(attribute, _)| stat.stx_attributes.contains(*attribute)).map(|(_, flag)| *flag).collect()
}

/// A path held by an `O_PATH` descriptor: whatever happens to its name, this stays the same thing.
pub(crate) struct Node {
    fd: OwnedFd,
    pub(crate) facts: Facts,
}

impl Node {
    /// Takes hold of `name` in `dir`; none when there is nothing. `path` is for errors.
    pub(crate) fn open(dir: BorrowedFd<'_>, name: impl AsRef<OsStr>, path: &Path) -> Result<Option<Self>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(dir, name.as_ref(), flags, Mode::empty()) {
            Ok(fd) => {
                let facts = facts(&fd, path)?;
                Ok(Some(Self { fd, facts }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).cannot("open", path),
        }
    }

    /// A path that means this inode.
    pub(crate) fn proc_path(&self) -> String {
        proc_path(&self.fd)
    }

    /// Looks again, after a change.
    pub(crate) fn refresh(&mut self, path: &Path) -> Result<()> {
        self.facts = facts(&self.fd, path)?;
        Ok(())
    }

    /// Everything about it.
    pub(crate) fn meta(&self, path: &Path) -> Result<Meta> {
        let f = &self.facts;
        let target = if f.kind == Kind::Symlink { self.target(path)? } else { Vec::new() };
        Ok(Meta {
            kind: f.kind,
            mode: f.mode,
            uid: f.uid,
            gid: f.gid,
            size: f.size,
            mtime: f.mtime,
            ctime: f.ctime,
            btime: f.btime,
            ino: f.ino,
            rdev: f.rdev,
            target,
            xattrs: self.xattrs(path)?,
        })
    }

    /// Where a symbolic link points.
    pub(crate) fn target(&self, path: &Path) -> Result<Vec<u8>> {
        Ok(readlinkat(&self.fd, c"", Vec::new()).cannot("read the link", path)?.into_bytes())
    }

    /// Opens a regular file for reading: this inode and no other.
    pub(crate) fn read(&self, path: &Path) -> Result<File> {
        self.reopen(OFlags::RDONLY | OFlags::NOATIME, path).or_else(|_| self.reopen(OFlags::RDONLY, path))
    }

    /// Opens it with other flags. A lease on it is waited for as long as there is [`PATIENCE`].
    pub(crate) fn reopen(&self, flags: OFlags, path: &Path) -> Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = PATIENCE.open(|| rustix::fs::open(self.proc_path(), flags, Mode::empty()));
        Ok(File::from(fd.cannot("open", path)?))
    }

    /// Makes it one that nobody can change, or one that can be changed.
    pub(crate) fn freeze(&mut self, wanted: IFlags, path: &Path) -> Result<()> {
        let file = self.reopen(OFlags::RDONLY, path)?;
        let freezing: IFlags = FREEZING.iter().map(|(flag, _)| *flag).collect();
        let flags = ioctl_getflags(&file).cannot("read the flags of", path)?;
        ioctl_setflags(&file, flags.difference(freezing) | wanted).cannot("set the flags of", path)?;
        self.refresh(path)
    }

    /// All extended attributes, and what keeps it from being changed, sorted by name; none where the file system has none.
    pub(crate) fn xattrs(&self, path: &Path) -> Result<Vec<Xattr>> {
        let mut all = self.attributes(path)?;
        let letters: Vec<u8> = FREEZING.iter().filter(|(flag, _)| self.facts.frozen.contains(*flag)).map(|(_, letter)| *letter).collect();
        if !letters.is_empty() {
            all.push((FROZEN.to_vec(), letters));
            all.sort();
        }
        Ok(all)
    }

    fn attributes(&self, path: &Path) -> Result<Vec<Xattr>> {
        let link = self.proc_path();
        let names = read_growing(|buffer| rustix::fs::listxattr(link.as_str(), buffer), || rustix::fs::listxattr_query(link.as_str()));
        let names = match names {
            Ok(names) => names,
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(error) => return Err(error).cannot("list the extended attributes of", path),
        };
        let mut all = Vec::new();
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            if let Some(value) = xattr(&link, name, path)? {
                all.push((name.to_vec(), value));
            }
        }
        all.sort();
        Ok(all)
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Node {
    fn as_raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

fn xattr(link: &str, name: &[u8], path: &Path) -> Result<Option<Vec<u8>>> {
    let value = read_growing(|buffer| rustix::fs::getxattr(link, name, buffer), || rustix::fs::getxattr_query(link, name));
    match value {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error).cannot("read an extended attribute of", path),
    }
}

/// Asks for the length, then reads; again when it grew in between.
fn read_growing(
    read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    query: impl Fn() -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    loop {
        let length = query()?;
        if length == 0 {
            return Ok(Vec::new());
        }
        let mut buffer = vec![0; length];
        match read(&mut buffer) {
            Ok(read) => {
                buffer.truncate(read);
                return Ok(buffer);
            }
            Err(Errno::RANGE) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The names in a directory, without `.` and `..`; none when it is missing or no directory.
pub(crate) fn names(dir: BorrowedFd<'_>, name: impl AsRef<OsStr>, path: &Path) -> Result<Vec<std::ffi::OsString>> {
    use std::os::unix::ffi::OsStrExt;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(dir, name.as_ref(), flags, Mode::empty()).cannot("open", path)?;
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::new(fd).cannot("list", path)? {
        let entry = entry.cannot("list", path)?;
        let name: &CStr = entry.file_name();
        if name != c"." && name != c".." {
            found.push(OsStr::from_bytes(name.to_bytes()).to_os_string());
        }
    }
    Ok(found)
}
