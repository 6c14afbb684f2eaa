//! Old transactions in files of their own, beside the record.
//!
//! Invariants: an archive holds the transactions from the oldest on, and all that belongs to them, as they were; nothing that stays
//! refers to what is in it; its first event is chained to the archive before it, the first event that stays to its last. It leaves the
//! record only in the commit that lists it, after every row of it was compared. Absent on purpose: writing to an archive.

mod kept;
mod span;
mod take;
mod write;

use backstep_core::Digest;

pub(crate) use kept::{after_archives, containing, first, first_with, of_lists, oldest_first, open, path};
pub use span::Cut;
#[cfg(test)]
pub(crate) use span::{LATE_EVENTS, RETRIED, REVERTED};
pub use take::Moved;
pub(crate) use write::file_digest;

/// Transactions from the oldest in the record on, and where they are when they have left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Its name in the folder `record-archive` beside the record.
    pub file: String,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// How many transactions it has.
    pub transactions: u64,
    pub(crate) first_transaction: i64,
    pub(crate) last_transaction: i64,
    /// Its first and its last event.
    pub events: (i64, i64),
    /// The hash of the last one.
    pub last_hash: Digest,
    /// When the first and the last of them were requested, in microseconds since 1970, UTC.
    pub requested_us: (i64, i64),
    pub(crate) ids: (String, String),
}
