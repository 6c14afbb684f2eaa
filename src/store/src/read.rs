//! Reading one transaction.

use backstep_core::record::{ItemRecord, Record, Sources, Summary};
use backstep_core::{Digest, TransactionId, UnknownName};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::archive;
use crate::columns::{digest, digest_option};
use crate::error::StoreError;
use crate::open::Store;
use crate::project_transaction::key_of;
use crate::reader::Reader;
use crate::summary_row::{COLUMNS, FROM, summary};
use crate::{event_row, project_attempts, project_items, project_steps};

impl Reader {
    /// A transaction's row.
    pub fn summary(&self, id: TransactionId) -> Result<Option<Summary>, StoreError> {
        anywhere(&self.conn, id, summary_of)
    }

    /// A transaction's packages, in the plan's order; none of an unknown one.
    pub fn items(&self, id: TransactionId) -> Result<Vec<ItemRecord>, StoreError> {
        let items = |conn: &Connection, id| key_of(conn, id)?.map(|key| project_items::of_transaction(conn, key)).transpose();
        Ok(anywhere(&self.conn, id, items)?.unwrap_or_default())
    }
}

impl Store {
    /// A transaction with everything.
    pub fn record(&self, id: TransactionId) -> Result<Option<Record>, StoreError> {
        anywhere(&self.conn, id, record_of)
    }

    /// A transaction's row.
    pub fn summary(&self, id: TransactionId) -> Result<Option<Summary>, StoreError> {
        anywhere(&self.conn, id, summary_of)
    }

    /// The request's bytes, as they came.
    pub fn request_bytes(&self, id: TransactionId) -> Result<Option<Vec<u8>>, StoreError> {
        self.bytes(REQUEST_BYTES, id)
    }

    /// The frozen plan's bytes, as they came; `None` before there is a plan.
    pub fn plan_bytes(&self, id: TransactionId) -> Result<Option<Vec<u8>>, StoreError> {
        self.bytes(PLAN_BYTES, id)
    }

    fn bytes(&self, sql: &str, id: TransactionId) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = |conn: &Connection, id: TransactionId| -> Result<Option<Vec<u8>>, StoreError> {
            Ok(conn.prepare_cached(sql)?.query_row([id.to_string()], |row| row.get(0)).optional()?)
        };
        anywhere(&self.conn, id, bytes)
    }

    /// The last journal line of an attempt that is in the record; 0 for none, also for an attempt that never began.
    pub fn journal_position(&self, id: TransactionId, attempt: u32) -> Result<u64, StoreError> {
        let key = key_of(&self.conn, id)?.ok_or(StoreError::Unknown(id))?;
        Ok(project_attempts::position(&self.conn, key, attempt)?.unwrap_or(0))
    }

    /// The digest of the world that was recorded with `completed`.
    pub fn world_after(&self, id: TransactionId) -> Result<Option<Digest>, StoreError> {
        let found: Option<Option<[u8; 32]>> =
            self.conn.prepare_cached(WORLD_AFTER)?.query_row([id.to_string()], |row| row.get(0)).optional()?;
        Ok(found.flatten().map(Digest))
    }
}

/// What is known of a transaction, in the record or in one of its archives.
fn anywhere<T>(
    conn: &Connection,
    id: TransactionId,
    look: impl Fn(&Connection, TransactionId) -> Result<Option<T>, StoreError>,
) -> Result<Option<T>, StoreError> {
    match look(conn, id)? {
        None => archive::first_with(conn, id, |archive| look(archive, id)),
        here => Ok(here),
    }
}

fn record_of(conn: &Connection, id: TransactionId) -> Result<Option<Record>, StoreError> {
    let mut statement = conn.prepare_cached(&record_sql())?;
    let mut rows = statement.query([id.to_string()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let key = row.get("key")?;
    Ok(Some(Record {
        summary: summary(conn, row)?,
        request_digest: digest(row, "request_digest")?,
        plan_digest: digest_option(row, "plan_digest")?,
        sources: sources(conn, row, key)?,
        items: project_items::of_transaction(conn, key)?,
        steps: project_steps::of_transaction(conn, key)?,
        events: event_row::of_transaction(conn, key)?,
    }))
}

pub(crate) const SOURCES: &str = "SELECT r.bytes, p.bytes FROM requests r LEFT JOIN plans p ON p.transaction_key = r.transaction_key
    WHERE r.transaction_key = ?1";

fn sources(conn: &Connection, row: &Row<'_>, key: i64) -> Result<Sources, StoreError> {
    let bytes = conn.prepare_cached(SOURCES)?.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (request, plan) = bytes.unwrap_or_default();
    let scope = row.get::<_, Option<String>>("scope")?.map(|name| name.parse()).transpose();
    let scope = scope.map_err(|error: UnknownName| StoreError::corrupt(error.to_string()))?;
    let world_after = digest_option(row, "world_after")?;
    Ok(Sources { request, plan, scope, world_after, journal: project_attempts::positions(conn, key)? })
}

fn summary_of(conn: &Connection, id: TransactionId) -> Result<Option<Summary>, StoreError> {
    let mut statement = conn.prepare_cached(&summary_sql())?;
    let mut rows = statement.query([id.to_string()])?;
    rows.next()?.map(|row| summary(conn, row)).transpose()
}

pub(crate) const REQUEST_BYTES: &str = "SELECT r.bytes FROM transactions t JOIN requests r ON r.transaction_key = t.key WHERE t.id = ?1";
pub(crate) const PLAN_BYTES: &str = "SELECT p.bytes FROM transactions t JOIN plans p ON p.transaction_key = t.key WHERE t.id = ?1";
pub(crate) const WORLD_AFTER: &str = "SELECT world_after FROM transactions WHERE id = ?1";

pub(crate) fn summary_sql() -> String {
    format!("SELECT {COLUMNS} {FROM} WHERE t.id = ?1")
}

pub(crate) fn record_sql() -> String {
    format!("SELECT {COLUMNS}, t.request_digest, t.scope, t.world_after, p.digest AS plan_digest {FROM} WHERE t.id = ?1")
}
