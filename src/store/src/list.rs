//! Lists of transactions and counts of the open ones.

use backstep_core::TransactionId;
use backstep_core::record::{Filter, Summary};
use backstep_core::record_archive::RecordArchive;
use rusqlite::{Connection, OptionalExtension, Params, params_from_iter};

use crate::archive;
use crate::error::StoreError;
use crate::list_query::{DEFAULT_LIMIT, Place, open_states, query};
use crate::open::Store;
use crate::summary_row::{COLUMNS, FROM, summary};

/// Transactions that wait for preparation, authorisation or their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenCounts {
    /// Of the user asked for.
    pub of_uid: u64,
    /// Of all users.
    pub all: u64,
}

impl Store {
    /// Transactions, newest first: in the order of the record, or of the times requested when the filter has a
    /// span of time; archives follow the record, whole by whole.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Summary>, StoreError> {
        let limit = if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit };
        let mut rest = Filter { limit, ..filter.clone() };
        let mut found = page(&self.conn, &mut rest)?.unwrap_or_default();
        // What is not over is in no archive.
        let archives = if found.len() == limit as usize || filter.unfinished { Vec::new() } else { self.archives_of(filter)? };
        for archive in archives {
            rest.limit = limit - u32::try_from(found.len()).unwrap_or(limit);
            if rest.limit == 0 {
                break;
            }
            found.extend(page(&archive::open(&self.conn, &archive)?, &mut rest)?.unwrap_or_default());
        }
        match rest.before {
            Some(id) => Err(StoreError::Unknown(id)),
            None => Ok(found),
        }
    }

    fn archives_of(&self, filter: &Filter) -> Result<Vec<RecordArchive>, StoreError> {
        archive::of_lists(&self.conn, filter.since_us, filter.until_us)
    }

    /// Everything that has not ended, oldest first.
    pub fn unfinished(&self) -> Result<Vec<Summary>, StoreError> {
        summaries(&self.conn, &unfinished_sql(), [])
    }

    /// How many transactions wait, of one user and of all.
    pub fn open_counts(&self, uid: u32) -> Result<OpenCounts, StoreError> {
        let counts: (i64, i64) = self.conn.prepare_cached(OPEN_COUNTS)?.query_row([uid], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(OpenCounts { of_uid: counts.0.unsigned_abs(), all: counts.1.unsigned_abs() })
    }
}

/// A page of one file; `None` when it begins in another. Where it began is done with.
fn page(conn: &Connection, filter: &mut Filter) -> Result<Option<Vec<Summary>>, StoreError> {
    let after = match filter.before {
        Some(id) => match place_of(conn, id)? {
            Some(place) => place,
            None => return Ok(None),
        },
        None => Place::TOP,
    };
    filter.before = None;
    let (sql, values) = query(filter, after);
    summaries(conn, &sql, params_from_iter(values)).map(Some)
}

pub(crate) const PLACE: &str = "SELECT key, created_us FROM transactions WHERE id = ?1";

fn place_of(conn: &Connection, id: TransactionId) -> Result<Option<Place>, StoreError> {
    let place = |row: &rusqlite::Row<'_>| Ok(Place { key: row.get(0)?, created_us: row.get(1)? });
    Ok(conn.prepare_cached(PLACE)?.query_row([id.to_string()], place).optional()?)
}

pub(crate) const OPEN_COUNTS: &str =
    "SELECT count(*) FILTER (WHERE uid = ?1), count(*) FROM transactions WHERE state IN ('created', 'prepared', 'queued')";

pub(crate) fn unfinished_sql() -> String {
    format!("SELECT {COLUMNS} {FROM} WHERE t.state IN ({}) ORDER BY t.key", open_states())
}

pub(crate) fn summaries(conn: &Connection, sql: &str, params: impl Params) -> Result<Vec<Summary>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(summary(conn, row)?);
    }
    Ok(found)
}
