//! What a guarded process is about to do, and what may be answered.

use std::path::{Path, PathBuf};

pub use rustix::io::Errno;

/// One change that waits for an answer. Paths are absolute in the guard's own root; their parents have no symbolic
/// links, and the last component is the thing itself, as the kernel will find it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// An existing regular file is opened for writing, or truncated: its content may change in place.
    Write(PathBuf),
    /// A name that does not exist is made.
    Create(PathBuf),
    /// An existing name is removed; of a directory: an empty one, or the call fails.
    Remove(PathBuf),
    /// An existing name is moved; `to` may exist, and is then replaced.
    Rename {
        /// The old name.
        from: PathBuf,
        /// The new one.
        to: PathBuf,
    },
    /// Two existing names change places.
    Exchange {
        /// One of them.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// Mode, owner or extended attributes of something that exists.
    Meta(PathBuf),
}

impl Change {
    /// The paths that it touches, one or two.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let (first, second) = match self {
            Self::Write(path) | Self::Create(path) | Self::Remove(path) | Self::Meta(path) => (path, None),
            Self::Rename { from, to } => (from, Some(to)),
            Self::Exchange { one, other } => (one, Some(other)),
        };
        std::iter::once(first.as_path()).chain(second.map(PathBuf::as_path))
    }
}

/// The answer to a [`Change`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The kernel goes on with the call.
    Continue,
    /// The call fails with this and nothing is changed.
    Refuse(Errno),
}

/// Where changes are told before they happen.
pub trait Sink {
    /// Called once for each, while the process that makes it waits. The same change may be told again: a call that a
    /// signal interrupted is made again, and not every announced call succeeds.
    fn before(&mut self, change: &Change) -> Verdict;

    /// Called once, when the watch is over: it was ended, or the last guarded process is gone.
    fn watch_over(&mut self, seen: &Seen) {
        let _ = seen;
    }
}

/// What a guard has seen in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Calls that waited for an answer.
    pub notifications: u64,
    /// Changes that were told to the sink.
    pub told: u64,
    /// Changes that the sink refused.
    pub refused: u64,
    /// Calls that went on although it could not be found out what they change: in another mount namespace, or of a
    /// process that cannot be read. What they did is found only by comparing afterwards.
    pub unseen: u64,
    /// Calls that were answered without the sink, after the end of the watch.
    pub passive: u64,
}
