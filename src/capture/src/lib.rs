//! Undo material: what files were like before a change, kept so that they can be put back byte for byte.
//!
//! Three nets: [`secure`] keeps everything a [`Selection`] names before anything is changed: replaced files as hard links,
//! files that are written in place as copies, everything else as a description. [`restore`] puts it all back and
//! [`compare`] is the receipt. [`record_after`] and [`drifted`] tell what others changed since. [`Late`] keeps, during the
//! run, what the selection did not name, just before it is changed; everything else uses both as one. [`Walk`] is a
//! picture of the whole system's metadata, before and after, and [`Aftermath`] the record of what changed.
//!
//! Invariants:
//! - A capture is complete when its manifest is there under its name; everything in it was durable before.
//! - The manifest is the authority for metadata: dpkg disarms set-id inodes that we hold before it unlinks them.
//! - No symbolic link leads outside the root, and the last component of a path is never followed.
//! - [`restore`] may be interrupted anywhere and run again from the start.
//!
//! Absent on purpose: packages, transactions, policy, and system calls: who tells [`Late`] what is about to change.

mod after;
mod changes;
mod compare;
mod content;
mod dir;
mod error;
mod exclude;
mod fuse;
mod gaps;
mod held;
#[cfg(feature = "hostile")]
pub mod hostile;
mod late;
mod lease;
mod manifest;
mod mounts;
mod node;
mod parallel;
mod prune;
mod restore;
mod root;
mod secure;
mod selection;
mod state;
mod store;
mod survey;
mod walk;

pub use after::{drifted, record_after};
pub use changes::{Aftermath, Change, FileChange, FileKind, Side, recorded_changes};
pub use compare::{Difference, What, compare};
pub use dir::CaptureDir;
pub use error::CaptureError;
pub use exclude::is_left_alone;
pub use gaps::LeftOut;
pub use held::Held;
pub use late::{Late, Summary};
pub use prune::{prune, size};
pub use restore::{Failed, Kept, RestoreMode, Restored, restore};
pub use secure::{Estimate, Gathered, Secured, estimate, gather, secure};
pub use selection::{Selection, selection_of};
pub use store::{Contents, content};
pub use walk::{Differing, Seen, Walk};
