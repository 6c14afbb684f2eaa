//! Old transactions in files of their own: which leave the record, and what stands for them there.

use crate::Digest;

/// What is old enough to leave the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// What had ended before this time, in microseconds since 1970, UTC.
    pub before_us: i64,
    /// The newest so many transactions stay in any case; the newest one always does.
    pub keep: u32,
    /// At most so many transactions make one archive.
    pub most: u32,
}

/// Transactions from the oldest in the record on, in a file beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordArchive {
    /// The file's name.
    pub file: String,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// How many transactions it has.
    pub transactions: u64,
    /// The record's keys of the first and the last of them.
    pub keys: (i64, i64),
    /// The numbers of its first and its last event.
    pub events: (i64, i64),
    /// The hash of the last one.
    pub last_hash: Digest,
    /// When the first and the last of its transactions were requested, in microseconds since 1970, UTC.
    pub requested_us: (i64, i64),
    /// The least and the greatest of their ids.
    pub ids: (String, String),
}

/// What became of an archive that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It is listed, and the record has its transactions no more.
    Moved,
    /// Something was recorded of one of them meanwhile; nothing has left the record.
    Outdated,
}
