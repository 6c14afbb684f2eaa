//! Mounted file systems: where they are mounted, and making their changes durable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Context, Result};
use crate::node::facts;

const TABLE: &str = "/proc/self/mountinfo";

/// One mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    id: u64,
    pub(crate) point: PathBuf,
    kind: Vec<u8>,
    read_only: bool,
}

/// File systems of the kernel, of other machines and of other programs, and such as cannot be written.
const FOREIGN: [&str; 34] = [
    "9p",
    "afs",
    "autofs",
    "binfmt_misc",
    "bpf",
    "ceph",
    "cgroup",
    "cgroup2",
    "cifs",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "fusectl",
    "glusterfs",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nfs",
    "nfs4",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smb3",
    "squashfs",
    "sysfs",
    "tracefs",
    "virtiofs",
];

impl Mount {
    /// Whether the package manager could change files on it, and nobody else's system is behind it.
    pub(crate) fn is_local_and_writable(&self) -> bool {
        !self.read_only && !self.is_of_a_program() && FOREIGN.iter().all(|foreign| foreign.as_bytes() != self.kind)
    }

    /// Whether a program answers for it, which may be anybody's.
    pub(crate) fn is_of_a_program(&self) -> bool {
        self.kind.starts_with(b"fuse")
    }
}

/// Mount points by mount id, as this process sees them.
pub(crate) fn mount_points() -> Result<BTreeMap<u64, PathBuf>> {
    Ok(mounts()?.into_iter().map(|mount| (mount.id, mount.point)).collect())
}

/// Everything that is mounted; of several at one point the last is on top.
pub(crate) fn mounts() -> Result<Vec<Mount>> {
    let table = fs::read(TABLE).cannot("read", Path::new(TABLE))?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(parse).collect())
}

fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let point = PathBuf::from(OsString::from_vec(unescape(fields.nth(3)?)));
    let read_only = fields.next()?.split(|byte| *byte == b',').any(|option| option == b"ro");
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?.to_vec();
    Some(Mount { id, point, kind, read_only })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

/// The file systems that were touched, each held by one descriptor until the barrier.
#[derive(Default)]
pub(crate) struct Touched {
    held: Mutex<BTreeMap<u64, OwnedFd>>,
}

impl Touched {
    /// Notes the file system of an open directory.
    pub(crate) fn note(&self, dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
        let mount = facts(dir, path)?.mount;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let std::collections::btree_map::Entry::Vacant(place) = held.entry(mount) {
            place.insert(rustix::io::fcntl_dupfd_cloexec(dir, 0).cannot("hold", path)?);
        }
        Ok(())
    }

    /// The barrier: everything written on these file systems is durable when it returns.
    pub(crate) fn sync(&self) -> Result<()> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.values().try_for_each(|fd| sync(fd.as_fd()))
    }
}

fn sync(fd: BorrowedFd<'_>) -> Result<()> {
    let path = PathBuf::from(crate::root::proc_path(&std::os::fd::AsRawFd::as_raw_fd(&fd)));
    // syncfs wants a descriptor that is open, not only a place.
    let open = File::open(&path).cannot("open for the barrier", &path)?;
    rustix::fs::syncfs(&open).cannot("sync the file system of", &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        let line = br"36 35 98:0 /mnt1 /mnt\0402/a\134b rw,noatime master:1 - ext3 /dev/root rw";
        let mount = parse(line).expect("a mount");
        assert_eq!((mount.id, mount.point.as_path()), (36, Path::new("/mnt 2/a\\b")));
        assert!(mount.is_local_and_writable());
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn foreign_and_read_only_file_systems_are_told() {
        for line in [&b"1 1 0:1 / /p rw - proc proc rw"[..], b"1 1 0:1 / /p ro,x - ext4 /dev/x rw", b"1 1 0:1 / /p rw - fuse.sshfs x rw"] {
            assert!(!parse(line).expect("a mount").is_local_and_writable());
        }
    }
}
