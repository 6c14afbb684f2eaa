//! Lists of transactions and counts of the open ones.

use backstep_core::TransactionState;
use backstep_core::record::{Filter, Summary};
use rusqlite::types::Value;
use rusqlite::{Connection, Params, params_from_iter};

use crate::error::StoreError;
use crate::open::Store;
use crate::project_transaction::key_of;
use crate::summary_row::{SELECT, summary};

const DEFAULT_LIMIT: u32 = 50;

/// Transactions that wait for preparation, authorisation or their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenCounts {
    /// Of the user asked for.
    pub of_uid: u64,
    /// Of all users.
    pub all: u64,
}

impl Store {
    /// Transactions, newest first.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Summary>, StoreError> {
        let before = match filter.before {
            Some(id) => key_of(&self.conn, id)?.ok_or(StoreError::Unknown(id))?,
            None => i64::MAX,
        };
        let (sql, values) = query(filter, before);
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

pub(crate) const OPEN_COUNTS: &str =
    "SELECT count(*) FILTER (WHERE uid = ?1), count(*) FROM transactions WHERE state IN ('created', 'prepared', 'queued')";

/// The query of a filter. The key bounds every list: an empty filter reads from the newest row, not the table.
pub(crate) fn query(filter: &Filter, before: i64) -> (String, Vec<Value>) {
    let mut conditions = vec!["t.key < ?".to_owned()];
    let mut values = vec![Value::Integer(before)];
    let mut narrow = |condition: &str, value: Value| {
        conditions.push(condition.to_owned());
        values.push(value);
    };
    if let Some(kind) = filter.kind {
        narrow("t.kind = ?", Value::Text(kind.as_str().to_owned()));
    }
    if let Some(state) = filter.state {
        narrow("t.state = ?", Value::Text(state.as_str().to_owned()));
    }
    if let Some(uid) = filter.uid {
        narrow("t.uid = ?", Value::Integer(uid.into()));
    }
    if let Some(package) = &filter.package {
        narrow("t.key IN (SELECT transaction_key FROM items WHERE name = ?)", Value::Text(package.clone()));
    }
    if filter.unfinished {
        conditions.push(format!("t.state IN ({})", open_states()));
    }
    values.push(Value::Integer(if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit }.into()));
    (format!("{SELECT} WHERE {} ORDER BY t.key DESC LIMIT ?", conditions.join(" AND ")), values)
}

pub(crate) fn unfinished_sql() -> String {
    format!("{SELECT} WHERE t.state IN ({}) ORDER BY t.key", open_states())
}

/// The names of all states that are not final, quoted; they come from the closed list, never from a caller.
fn open_states() -> String {
    let open = TransactionState::ALL.iter().filter(|state| !state.is_final());
    open.map(|state| format!("'{state}'")).collect::<Vec<_>>().join(", ")
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
