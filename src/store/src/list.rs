//! Lists of transactions and counts of the open ones.

use backstep_core::TransactionId;
use backstep_core::record::{Filter, Summary};
use rusqlite::{Connection, OptionalExtension, Params, params_from_iter};

use crate::error::StoreError;
use crate::list_query::{Place, open_states, query};
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
    /// span of time.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Summary>, StoreError> {
        let after = match filter.before {
            Some(id) => place_of(&self.conn, id)?.ok_or(StoreError::Unknown(id))?,
            None => Place::TOP,
        };
        let (sql, values) = query(filter, after);
        summaries(&self.conn, &sql, params_from_iter(values))
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
