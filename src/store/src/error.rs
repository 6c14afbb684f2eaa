//! What can go wrong with the record.

use std::path::PathBuf;

use backstep_core::event::EventError;
use backstep_core::state::IllegalTransition;
use backstep_core::{ErrorCode, Failure, TransactionId};
use rusqlite::ffi;

/// Why the record could not be read or written. A failed write has written nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The SQLite this program was built with has a defect that can lose commits.
    #[error("cannot use SQLite {found}: at least {needed} is needed")]
    SqliteTooOld {
        /// Its version.
        found: &'static str,
        /// The oldest version that will do.
        needed: &'static str,
    },
    /// The file, or its folder, could not be created, read or synced.
    #[error("cannot use the file {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A newer Backstep wrote the file.
    #[error("the record has schema {found}, this program knows {known}")]
    NewerSchema {
        /// The file's schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// The file is a database of something else.
    #[error("the file is a database, but not a record of Backstep")]
    Foreign,
    /// The file is damaged, or holds what this program never writes.
    #[error("the record is corrupt: {what}")]
    Corrupt {
        /// What was found.
        what: String,
    },
    /// No space left.
    #[error("cannot write the record: no space left")]
    Full(#[source] rusqlite::Error),
    /// The device failed.
    #[error("cannot write the record: input/output error: {0}")]
    Device(#[source] rusqlite::Error),
    /// The device failed earlier: nothing more is written by this process.
    #[error("cannot write the record: its device failed before; a new start reads what is on it")]
    Stopped,
    /// Another process held the file for too long.
    #[error("cannot write the record: another process holds it")]
    Busy(#[source] rusqlite::Error),
    /// A rule of the schema says no; a defect of this program.
    #[error("the record refuses that: {0}")]
    Refused(#[source] rusqlite::Error),
    /// Any other answer of SQLite.
    #[error("cannot use the record: {0}")]
    Sql(#[source] rusqlite::Error),
    /// The id was used before, for another request.
    #[error("transaction {0} exists with another request")]
    Duplicate(TransactionId),
    /// No transaction has that id.
    #[error("no transaction {0}")]
    Unknown(TransactionId),
    /// An event its transaction's state does not allow.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// Bytes that are not those of the digest, or a plan of another transaction.
    #[error("the {what} is not the one of its digest")]
    Mismatch {
        /// `request` or `plan`.
        what: &'static str,
    },
    /// `prepared` comes only with a plan.
    #[error("prepared is recorded only with its plan")]
    PreparedWithoutPlan,
    /// The digest of the world after the commit comes with `completed`, and with nothing else.
    #[error("a world after the commit is recorded only with completed")]
    WorldWithoutCompleted,
    /// An attempt out of order.
    #[error("attempt {found} cannot be recorded: the next is {expected}")]
    AttemptNumber {
        /// The number that must come.
        expected: u32,
        /// The number that came.
        found: u32,
    },
    /// An attempt that never began.
    #[error("transaction {id} has no attempt {attempt:?}")]
    UnknownAttempt {
        /// Whose.
        id: TransactionId,
        /// Which; `None` when a journal's position came without one.
        attempt: Option<u32>,
    },
    /// Journal lines that are in the record already.
    #[error("journal line {found} is in the record already, the last is {recorded}")]
    JournalRepeated {
        /// The last line in the record.
        recorded: u64,
        /// The line that came.
        found: u64,
    },
    /// A text that something depends on.
    #[error("cannot take that text out: in {table} it is part of what was asked for or done, or there is no room for a mark")]
    NotOnlyText {
        /// Where.
        table: &'static str,
    },
    /// A redaction of what still goes on.
    #[error("cannot take that text out: transaction {0} has not ended")]
    NotEnded(TransactionId),
    /// It is in an archive, which nothing in the record refers to.
    #[error("transaction {0} is in an archive: it can be read, and not be undone or repeated")]
    Archived(TransactionId),
    /// A moment of which the record has no events any more.
    #[error("what was recorded then is in an archive: restore from the archive, or from a backup of that time")]
    MomentArchived,
    /// An archive that is not what it was made of. Nothing has left the record.
    #[error("cannot archive: {what} in {} are not those of the record", path.display())]
    Incomplete {
        /// The archive.
        path: PathBuf,
        /// What of it.
        what: &'static str,
    },
    /// `redacted` comes only with a redaction.
    #[error("redacted is recorded only with a redaction")]
    RedactedWithoutRedaction,
}

impl StoreError {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    /// Whether the file itself is not what was written, as far as its reader can tell. Said of opening and reading.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            // The file could be opened for writing: only its own header says that it is not.
            Self::Device(error) => error.sqlite_error_code() == Some(ffi::ErrorCode::ReadOnly),
            other => matches!(other, Self::Corrupt { .. } | Self::Foreign | Self::Sql(_)),
        }
    }

    /// The stable code for callers.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Full(_) => ErrorCode::DiskFull,
            Self::NewerSchema { .. } => ErrorCode::StoreNewer,
            Self::Duplicate(_) => ErrorCode::RequestDuplicate,
            Self::Unknown(_) => ErrorCode::TransactionUnknown,
            Self::Illegal(_) | Self::NotEnded(_) | Self::Archived(_) => ErrorCode::TransactionState,
            Self::NotOnlyText { .. } | Self::MomentArchived => ErrorCode::RequestMalformed,
            Self::Mismatch { .. }
            | Self::PreparedWithoutPlan
            | Self::WorldWithoutCompleted
            | Self::RedactedWithoutRedaction
            | Self::AttemptNumber { .. }
            | Self::UnknownAttempt { .. }
            | Self::JournalRepeated { .. }
            | Self::Refused(_) => ErrorCode::Internal,
            Self::SqliteTooOld { .. }
            | Self::File { .. }
            | Self::Incomplete { .. }
            | Self::Foreign
            | Self::Corrupt { .. }
            | Self::Device(_)
            | Self::Stopped
            | Self::Busy(_)
            | Self::Sql(_) => ErrorCode::StoreFailed,
        }
    }
}

impl From<&StoreError> for Failure {
    fn from(error: &StoreError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let Some(inner) = error.sqlite_error() else {
            return Self::Sql(error);
        };
        match inner.code {
            ffi::ErrorCode::DatabaseCorrupt | ffi::ErrorCode::NotADatabase => Self::corrupt(error.to_string()),
            ffi::ErrorCode::DiskFull => Self::Full(error),
            ffi::ErrorCode::SystemIoFailure | ffi::ErrorCode::ReadOnly | ffi::ErrorCode::CannotOpen => Self::Device(error),
            ffi::ErrorCode::DatabaseBusy | ffi::ErrorCode::DatabaseLocked => Self::Busy(error),
            ffi::ErrorCode::ConstraintViolation => Self::Refused(error),
            _ => Self::Sql(error),
        }
    }
}

impl From<EventError> for StoreError {
    fn from(error: EventError) -> Self {
        Self::corrupt(error.to_string())
    }
}

/// A place where the chain of events, or bytes it vouches for, is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record was changed at event {seq}: {what}")]
pub struct ChainError {
    /// The first event that does not verify.
    pub seq: i64,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Why a verification did not end well.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It could not be done.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was done, and the record is not what was written.
    #[error(transparent)]
    Broken(#[from] ChainError),
}

impl From<rusqlite::Error> for VerifyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}
