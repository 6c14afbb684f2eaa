//! Generations as they are read back: lists, one of them, and what was written under it.

use backstep_core::history::{Generation, GenerationFilter, RowChange};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::archive;
use crate::columns::integer;
use crate::error::StoreError;
use crate::reader::Reader;
use crate::summary_row::{COLUMNS, summary};

const DEFAULT_LIMIT: u32 = 50;
/// The largest key there can be.
const END: u64 = i64::MAX.unsigned_abs();

impl Reader {
    /// Generations, newest first.
    pub fn generations(&self, filter: GenerationFilter) -> Result<Vec<Generation>, StoreError> {
        let before = filter.before.map_or(END, |before| before.min(END));
        let limit = if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit };
        let mut statement = self.conn.prepare_cached(&if filter.system { system_sql() } else { list_sql() })?;
        let mut rows = statement.query(params![before.cast_signed(), limit])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(generation(&self.conn, row)?);
        }
        Ok(found)
    }

    /// One generation; `None` for a number that none has.
    pub fn generation(&self, number: u64) -> Result<Option<Generation>, StoreError> {
        let mut statement = self.conn.prepare_cached(&one_sql())?;
        let mut rows = statement.query([number.min(END).cast_signed()])?;
        let Some(found) = rows.next()?.map(|row| generation(&self.conn, row)).transpose()? else { return Ok(None) };
        if found.changes > 0 {
            return Ok(Some(found));
        }
        // What was written under it is where its transaction is.
        let moved = |archive: &Connection| -> Result<Option<Generation>, StoreError> {
            let mut statement = archive.prepare_cached(&one_sql())?;
            let mut rows = statement.query([number.min(END).cast_signed()])?;
            let there = rows.next()?.map(|row| generation(archive, row)).transpose()?;
            Ok(there.filter(|generation| generation.changes > 0))
        };
        Ok(Some(archive::first(&self.conn, moved)?.unwrap_or(found)))
    }

    /// Who opened a generation; `None` for a number that none has.
    pub fn generation_owner(&self, number: u64) -> Result<Option<u32>, StoreError> {
        let key = number.min(END).cast_signed();
        Ok(self.conn.prepare_cached(OWNER)?.query_row([key], |row| row.get(0)).optional()?)
    }

    /// What was written under a generation after the change with this number, in order.
    pub fn row_changes(&self, generation: u64, after: u64, limit: u32) -> Result<Vec<RowChange>, StoreError> {
        let span = (generation.min(END).cast_signed(), after.min(END).cast_signed(), limit);
        let here = row_changes(&self.conn, span)?;
        if !here.is_empty() {
            return Ok(here);
        }
        let found = |archive: &Connection| Ok(Some(row_changes(archive, span)?).filter(|changes| !changes.is_empty()));
        Ok(archive::first(&self.conn, found)?.unwrap_or_default())
    }
}

fn row_changes(conn: &Connection, (generation, after, limit): (i64, i64, u32)) -> Result<Vec<RowChange>, StoreError> {
    let mut statement = conn.prepare_cached(CHANGES)?;
    let mut rows = statement.query(params![generation, after, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(row_change(row)?);
    }
    Ok(found)
}

pub(crate) const OWNER: &str = "SELECT uid FROM generations WHERE key = ?1";
pub(crate) const CHANGES: &str = "SELECT * FROM changes WHERE generation = ?1 AND key > ?2 ORDER BY key LIMIT ?3";

/// The generation's own columns beside those of its transaction.
const GENERATION: &str = "g.key AS g_key, g.comment AS g_comment, g.uid AS g_uid, g.user AS g_user, g.origin AS g_origin,
    g.opened_us AS g_opened_us, r.version AS g_version, (SELECT count(*) FROM changes c WHERE c.generation = g.key) AS g_changes";
const REST: &str = "LEFT JOIN plans p ON p.transaction_key = t.key LEFT JOIN runs r ON r.key = g.run";

pub(crate) fn list_sql() -> String {
    format!(
        "SELECT {COLUMNS}, {GENERATION} FROM generations g LEFT JOIN transactions t ON t.generation = g.key {REST}
         WHERE g.key < ?1 ORDER BY g.key DESC LIMIT ?2"
    )
}

/// Most transactions change the system, so the walk meets enough of them.
pub(crate) fn system_sql() -> String {
    format!(
        "SELECT {COLUMNS}, {GENERATION} FROM generations g CROSS JOIN transactions t ON t.generation = g.key {REST}
         WHERE g.key < ?1 AND +t.state IN ('completed', 'partially-rolled-back') ORDER BY g.key DESC LIMIT ?2"
    )
}

pub(crate) fn one_sql() -> String {
    format!("SELECT {COLUMNS}, {GENERATION} FROM generations g LEFT JOIN transactions t ON t.generation = g.key {REST} WHERE g.key = ?1")
}

fn generation(conn: &Connection, row: &Row<'_>) -> Result<Generation, StoreError> {
    let transaction = if row.get::<_, Option<i64>>("key")?.is_some() { Some(summary(conn, row)?) } else { None };
    Ok(Generation {
        number: integer(row, "g_key")?,
        comment: row.get("g_comment")?,
        uid: integer(row, "g_uid")?,
        user: row.get("g_user")?,
        origin: row.get("g_origin")?,
        opened_us: row.get("g_opened_us")?,
        version: row.get::<_, Option<String>>("g_version")?.unwrap_or_default(),
        changes: integer(row, "g_changes")?,
        transaction,
    })
}

fn row_change(row: &Row<'_>) -> Result<RowChange, StoreError> {
    Ok(RowChange {
        number: integer(row, "key")?,
        at_us: row.get("at_us")?,
        table: row.get("table_name")?,
        row: row.get("row_key")?,
        action: row.get("action")?,
        fields: row.get("fields")?,
    })
}
