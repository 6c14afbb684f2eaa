//! From a waiting call to the change it is about to make.

use std::collections::HashMap;

use libseccomp::{ScmpArch, ScmpNotifReq, ScmpSyscall};
use rustix::fs::{AtFlags, FileType, OFlags, RenameFlags, ResolveFlags};

use crate::arch;
use crate::caller::Caller;
use crate::calls::{self, At, Deed, Flags};
use crate::change::Change;
use crate::resolve::{Base, Follow, Found, Home, Miss, Walk};

/// `AT_FDCWD`.
const AT_FDCWD: i32 = -100;

/// Understands calls of every covered architecture.
#[derive(Debug)]
pub(crate) struct Interpreter {
    home: Home,
    deeds: HashMap<(ScmpArch, i32), Deed>,
}

impl Interpreter {
    pub(crate) fn new(home: Home) -> Self {
        Self { home, deeds: deeds() }
    }

    /// What the call will change; the path of a `Create` does not exist, all others do.
    ///
    /// # Errors
    /// There is nothing to tell: see [`Miss`].
    pub(crate) fn change(&self, request: &ScmpNotifReq) -> Result<Change, Miss> {
        let number = request.data.syscall.as_raw_syscall();
        let deed = self.deeds.get(&(key(request.data.arch), number)).ok_or(Miss::Unseen)?;
        let caller = Caller::of(request);
        let one = One { walk: self.home.walk(caller), caller };
        one.change(*deed)
    }
}

/// x32 calls come as 64-bit calls with a bit in their number.
fn key(arch: ScmpArch) -> ScmpArch {
    if arch == ScmpArch::X32 { ScmpArch::X8664 } else { arch }
}

fn deeds() -> HashMap<(ScmpArch, i32), Deed> {
    let mut deeds = HashMap::new();
    for arch in arch::all() {
        for (name, deed) in calls::ANNOUNCED {
            let number = ScmpSyscall::from_name_by_arch(name, arch).map(ScmpSyscall::as_raw_syscall);
            if let Ok(number @ 0..) = number {
                deeds.insert((key(arch), number), deed);
            }
        }
    }
    deeds
}

/// One call.
struct One<'a> {
    walk: Walk<'a>,
    caller: Caller,
}

impl One<'_> {
    fn change(&self, deed: Deed) -> Result<Change, Miss> {
        match deed {
            Deed::Open(at, flags) => self.open(at, flags),
            Deed::Truncate(at) => self.find(at, Follow::Yes).and_then(write),
            Deed::Create(at) => self.find(at, Follow::No).and_then(create),
            Deed::Unlink(at) => self.find(at, Follow::No).and_then(unlink),
            Deed::Rmdir(at) => self.find(at, Follow::No).and_then(rmdir),
            Deed::UnlinkAt(at, flags) if self.has(flags, AtFlags::REMOVEDIR) => self.find(at, Follow::No).and_then(rmdir),
            Deed::UnlinkAt(at, _) => self.find(at, Follow::No).and_then(unlink),
            Deed::Rename(from, to, flags) => self.rename(from, to, flags),
            Deed::Meta(at) => self.find(at, Follow::Yes).and_then(meta),
            Deed::MetaOfLink(at) => self.find(at, Follow::OnSlash).and_then(meta),
            Deed::MetaAt(at, flags) => self.meta_at(at, flags),
        }
    }

    fn open(&self, at: At, flags: Flags) -> Result<Change, Miss> {
        let flags = match flags {
            Flags::Arg(index) => OFlags::from_bits_retain(self.caller.int(index).cast_unsigned()),
            Flags::How(index) => return self.open_how(at, self.caller.pointer(index)),
            Flags::Creat => OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC,
        };
        self.opened(flags, |follow| self.find(at, follow))
    }

    /// `struct open_how`: flags, mode and how to resolve, a word each.
    fn open_how(&self, at: At, how: usize) -> Result<Change, Miss> {
        let flags = OFlags::from_bits_retain(self.caller.word(how)? as u32);
        let resolve = ResolveFlags::from_bits_retain(self.caller.word(how.wrapping_add(16))?);
        if !resolve.contains(ResolveFlags::IN_ROOT) {
            return self.opened(flags, |follow| self.find(at, follow));
        }
        let text = self.caller.text(self.caller.pointer(at.path))?;
        self.opened(flags, |follow| self.walk.find_in_root(self.base(at), &text, follow))
    }

    fn opened(&self, flags: OFlags, find: impl FnOnce(Follow) -> Result<Found, Miss>) -> Result<Change, Miss> {
        if flags.contains(OFlags::PATH) {
            return Err(Miss::Harmless);
        }
        let exclusive = flags.contains(OFlags::CREATE | OFlags::EXCL);
        let follow = if exclusive || flags.contains(OFlags::NOFOLLOW) { Follow::No } else { Follow::Yes };
        let found = find(follow)?;
        match found.kind {
            None if flags.contains(OFlags::CREATE) => Ok(Change::Create(found.path)),
            Some(_) if !exclusive && flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC) => write(found),
            _ => Err(Miss::Harmless),
        }
    }

    fn rename(&self, from: At, to: At, flags: Option<usize>) -> Result<Change, Miss> {
        let flags = flags.map_or(RenameFlags::empty(), |index| RenameFlags::from_bits_retain(self.caller.int(index).cast_unsigned()));
        let (from, to) = (self.find(from, Follow::No)?, self.find(to, Follow::No)?);
        match (from.kind, to.kind) {
            (None, _) => Err(Miss::Harmless),
            (Some(_), Some(_)) if flags.contains(RenameFlags::EXCHANGE) => Ok(Change::Exchange { one: from.path, other: to.path }),
            (Some(_), None) if flags.contains(RenameFlags::EXCHANGE) => Err(Miss::Harmless),
            (Some(_), Some(_)) if flags.contains(RenameFlags::NOREPLACE) => Err(Miss::Harmless),
            (Some(_), _) => Ok(Change::Rename { from: from.path, to: to.path }),
        }
    }

    fn meta_at(&self, at: At, flags: usize) -> Result<Change, Miss> {
        let follow = if self.has(flags, AtFlags::SYMLINK_NOFOLLOW) { Follow::OnSlash } else { Follow::Yes };
        let text = self.caller.text(self.caller.pointer(at.path))?;
        if text.is_empty() && self.has(flags, AtFlags::EMPTY_PATH) {
            return self.walk.find_descriptor(self.base(at)).and_then(meta);
        }
        self.walk.find(self.base(at), &text, follow).and_then(meta)
    }

    fn find(&self, at: At, follow: Follow) -> Result<Found, Miss> {
        let text = self.caller.text(self.caller.pointer(at.path))?;
        if text == b"/dev/null" {
            // By far the most opened for writing.
            return Err(Miss::Harmless);
        }
        self.walk.find(self.base(at), &text, follow)
    }

    fn base(&self, at: At) -> Base {
        match at.dir.map(|index| self.caller.int(index)) {
            None | Some(AT_FDCWD) => Base::Cwd,
            Some(fd) => Base::Descriptor(fd),
        }
    }

    fn has(&self, index: usize, flag: AtFlags) -> bool {
        AtFlags::from_bits_retain(self.caller.int(index).cast_unsigned()).contains(flag)
    }
}

/// Only regular files keep what is written to them.
fn write(found: Found) -> Result<Change, Miss> {
    if found.kind == Some(FileType::RegularFile) { Ok(Change::Write(found.path)) } else { Err(Miss::Harmless) }
}

fn create(found: Found) -> Result<Change, Miss> {
    if found.kind.is_none() { Ok(Change::Create(found.path)) } else { Err(Miss::Harmless) }
}

fn unlink(found: Found) -> Result<Change, Miss> {
    match found.kind {
        None | Some(FileType::Directory) => Err(Miss::Harmless),
        Some(_) => Ok(Change::Remove(found.path)),
    }
}

fn rmdir(found: Found) -> Result<Change, Miss> {
    if found.kind == Some(FileType::Directory) { Ok(Change::Remove(found.path)) } else { Err(Miss::Harmless) }
}

fn meta(found: Found) -> Result<Change, Miss> {
    if found.kind.is_some() { Ok(Change::Meta(found.path)) } else { Err(Miss::Harmless) }
}
