//! Old transactions in files of their own, beside the record.
//!
//! Invariants: an archive holds the transactions from the oldest on, and all that belongs to them, as they were; nothing that stays
//! refers to what is in it; its first event is chained to the archive before it, the first event that stays to its last. It leaves the
//! record only in the commit that lists it, after every row of it was compared. Absent on purpose: writing to an archive.

mod kept;
mod span;
mod take;
mod write;

pub(crate) use kept::{after_archives, containing, first, first_with, of_lists, oldest_first, open, path};
#[cfg(test)]
pub(crate) use span::{LATE_EVENTS, RETRIED, REVERTED};
pub(crate) use write::file_digest;

/// The folder beside the record.
const FOLDER: &str = "record-archive";
