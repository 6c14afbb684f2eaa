//! A file system as it was at one moment: where the material of a package comes from.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, and where it leads.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A character device: major and minor number.
    CharDevice(u32, u32),
    /// A block device: major and minor number.
    BlockDevice(u32, u32),
    /// A socket, which no archive can hold.
    Socket,
}

/// Everything about a path but the content of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// The permission bits, set-id bits included.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Bytes of a file.
    pub size: u64,
    /// When it was written, in seconds.
    pub mtime: i64,
    /// Two files with the same number are names of one; none for a file that has no other name.
    pub family: Option<(u64, u64)>,
}

/// A file system as it was at one moment. Paths are absolute; links on the way to a path are followed, inside the file
/// system, and a link at its end is not.
pub trait Former {
    /// What was there; none if nothing was.
    fn look(&self, path: &Path) -> io::Result<Option<Node>>;

    /// The content of a file.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + '_>>;

    /// The names in a folder, in no order.
    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>>;
}

/// The whole content of a file; empty when there is none.
pub(crate) fn bytes(former: &dyn Former, path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if former.look(path)?.is_some_and(|node| node.kind == Kind::File) {
        former.open(path)?.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
