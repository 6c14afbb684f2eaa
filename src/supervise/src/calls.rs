//! Which system calls change names and files, and where their arguments are. The one list that the filter and the
//! guard both go by.
//!
//! Left out on purpose: calls on an open descriptor (`fchmod`, `fchown`, `fsetxattr`, `ftruncate`, `write`): the file
//! was announced when it was opened for writing, and metadata alone is compared afterwards. Times of files: not undone.

/// Where a path argument stands: the index of its directory descriptor, if the call has one, and of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub dir: Option<usize>,
    pub path: usize,
}

/// Where open flags come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flags {
    /// An argument.
    Arg(usize),
    /// `struct open_how`, in the caller's memory.
    How(usize),
    /// `creat` has none: it always creates and truncates.
    Creat,
}

/// What a call does to the path it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Open(At, Flags),
    Truncate(At),
    /// A new name; the last component is never followed.
    Create(At),
    Unlink(At),
    Rmdir(At),
    /// `unlinkat`: either, by its flags.
    UnlinkAt(At, usize),
    /// From, to, and the index of the flags, if it has any.
    Rename(At, At, Option<usize>),
    /// Mode, owner or attributes of what a symbolic link points to.
    Meta(At),
    /// The same of the link itself.
    MetaOfLink(At),
    /// The same, by the `AT_` flags at an index.
    MetaAt(At, usize),
}

const fn plain(path: usize) -> At {
    At { dir: None, path }
}

const fn at(dir: usize) -> At {
    At { dir: Some(dir), path: dir + 1 }
}

/// Every call that is announced. Names that an architecture lacks do nothing there.
pub(crate) const ANNOUNCED: [(&str, Deed); 32] = [
    ("open", Deed::Open(plain(0), Flags::Arg(1))),
    ("openat", Deed::Open(at(0), Flags::Arg(2))),
    ("openat2", Deed::Open(at(0), Flags::How(2))),
    ("creat", Deed::Open(plain(0), Flags::Creat)),
    ("truncate", Deed::Truncate(plain(0))),
    ("truncate64", Deed::Truncate(plain(0))),
    ("unlink", Deed::Unlink(plain(0))),
    ("rmdir", Deed::Rmdir(plain(0))),
    ("unlinkat", Deed::UnlinkAt(at(0), 2)),
    ("rename", Deed::Rename(plain(0), plain(1), None)),
    ("renameat", Deed::Rename(at(0), at(2), None)),
    ("renameat2", Deed::Rename(at(0), at(2), Some(4))),
    ("mkdir", Deed::Create(plain(0))),
    ("mkdirat", Deed::Create(at(0))),
    ("mknod", Deed::Create(plain(0))),
    ("mknodat", Deed::Create(at(0))),
    ("symlink", Deed::Create(plain(1))),
    ("symlinkat", Deed::Create(at(1))),
    ("link", Deed::Create(plain(1))),
    ("linkat", Deed::Create(at(2))),
    ("chmod", Deed::Meta(plain(0))),
    ("fchmodat", Deed::Meta(at(0))),
    ("fchmodat2", Deed::MetaAt(at(0), 3)),
    ("chown", Deed::Meta(plain(0))),
    ("chown32", Deed::Meta(plain(0))),
    ("lchown", Deed::MetaOfLink(plain(0))),
    ("lchown32", Deed::MetaOfLink(plain(0))),
    ("fchownat", Deed::MetaAt(at(0), 4)),
    ("setxattr", Deed::Meta(plain(0))),
    ("lsetxattr", Deed::MetaOfLink(plain(0))),
    ("removexattr", Deed::Meta(plain(0))),
    ("lremovexattr", Deed::MetaOfLink(plain(0))),
];

/// Calls that would walk around the guard, with what they answer instead: as on a kernel that lacks them
/// (`ENOSYS`), or as without the privilege (`EPERM`).
///
/// - `io_uring_setup`: what a ring does is no system call.
/// - `open_by_handle_at`: opens a file without naming it.
/// - `setxattrat`, `removexattrat`, `file_setattr`: their arguments are in memory; programs fall back to older calls.
pub(crate) const REFUSED: [(&str, i32); 5] = [
    ("io_uring_setup", rustix::io::Errno::NOSYS.raw_os_error()),
    ("open_by_handle_at", rustix::io::Errno::PERM.raw_os_error()),
    ("setxattrat", rustix::io::Errno::NOSYS.raw_os_error()),
    ("removexattrat", rustix::io::Errno::NOSYS.raw_os_error()),
    ("file_setattr", rustix::io::Errno::NOSYS.raw_os_error()),
];

/// The numbers of calls that are younger than some libseccomp. Since 424 a number is the same everywhere.
pub(crate) fn number_of_new(name: &str) -> Option<i32> {
    match name {
        "fchmodat2" => Some(452),
        "setxattrat" => Some(463),
        "removexattrat" => Some(466),
        "file_setattr" => Some(469),
        _ => None,
    }
}
