//! Reading what has left the record: the archives that it lists, each opened for one question.

use std::path::{Path, PathBuf};

use backstep_core::record_archive::RecordArchive;
use backstep_core::{Digest, TransactionId};
use rusqlite::{Connection, Row};

use super::FOLDER;
use crate::error::StoreError;
use crate::reader::Reader;

const COLUMNS: &str =
    "file, digest, last_transaction - first_transaction + 1, first_transaction, last_transaction, first_event, last_event,
    last_hash, first_us, last_us, first_id, last_id";

/// Where the archives of a record are.
pub(super) fn folder(conn: &Connection) -> PathBuf {
    Path::new(conn.path().unwrap_or_default()).with_file_name(FOLDER)
}

fn archive(row: &Row<'_>) -> rusqlite::Result<RecordArchive> {
    Ok(RecordArchive {
        file: row.get(0)?,
        digest: Digest(row.get(1)?),
        transactions: row.get::<_, i64>(2)?.unsigned_abs(),
        keys: (row.get(3)?, row.get(4)?),
        events: (row.get(5)?, row.get(6)?),
        last_hash: Digest(row.get(7)?),
        requested_us: (row.get(8)?, row.get(9)?),
        ids: (row.get(10)?, row.get(11)?),
    })
}

fn listed(conn: &Connection, rest: &str, values: impl rusqlite::Params) -> Result<Vec<RecordArchive>, StoreError> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM archives {rest}"))?;
    Ok(statement.query_map(values, archive)?.collect::<Result<_, _>>()?)
}

/// The archives of a record, the oldest first.
pub(crate) fn oldest_first(conn: &Connection) -> Result<Vec<RecordArchive>, StoreError> {
    listed(conn, "ORDER BY key", [])
}

/// Opens an archive that a record lists. It is a record itself, and only read.
pub(crate) fn open(conn: &Connection, archive: &RecordArchive) -> Result<Connection, StoreError> {
    let path = folder(conn).join(&archive.file);
    if !path.exists() {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(StoreError::File { path, source });
    }
    Ok(Reader::open_archive(&path)?.conn)
}

/// The archive's file, for its digest.
pub(crate) fn path(conn: &Connection, archive: &RecordArchive) -> PathBuf {
    folder(conn).join(&archive.file)
}

/// The first answer of the archives, the newest first.
pub(crate) fn first<T>(conn: &Connection, look: impl Fn(&Connection) -> Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    among(conn, &listed(conn, "ORDER BY key DESC", [])?, look)
}

/// The same among those that may have a transaction: most ids are newer than every archive, and no file is opened.
pub(crate) fn first_with<T>(
    conn: &Connection,
    id: TransactionId,
    look: impl Fn(&Connection) -> Result<Option<T>, StoreError>,
) -> Result<Option<T>, StoreError> {
    among(conn, &listed(conn, "WHERE ?1 BETWEEN first_id AND last_id ORDER BY key DESC", [id.to_string()])?, look)
}

fn among<T>(
    conn: &Connection,
    archives: &[RecordArchive],
    look: impl Fn(&Connection) -> Result<Option<T>, StoreError>,
) -> Result<Option<T>, StoreError> {
    for archive in archives {
        if let Some(found) = look(&open(conn, archive)?)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Those with transactions that were requested in a span of time, the newest first.
pub(crate) fn of_lists(conn: &Connection, since_us: Option<i64>, until_us: Option<i64>) -> Result<Vec<RecordArchive>, StoreError> {
    let (since, until) = (since_us.unwrap_or(i64::MIN), until_us.unwrap_or(i64::MAX));
    listed(conn, "WHERE last_us >= ?1 AND first_us < ?2 ORDER BY key DESC", [since, until])
}

/// The archive that has the first event after this one; `None` when the record has it.
pub(crate) fn containing(conn: &Connection, after: i64) -> Result<Option<RecordArchive>, StoreError> {
    Ok(listed(conn, "WHERE last_event > ?1 ORDER BY key LIMIT 1", [after])?.pop())
}

/// The last event that has left this file, and its hash: what its first one is chained to.
pub(crate) fn after_archives(conn: &Connection) -> Result<Option<(i64, Digest)>, StoreError> {
    Ok(listed(conn, "ORDER BY key DESC LIMIT 1", [])?.pop().map(|archive| (archive.events.1, archive.last_hash)))
}
