//! What an event changes in its transaction's row.

use backstep_core::{Digest, ErrorCode, Event, Stamp, Status, TransactionId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::columns::{integer, parsed};
use crate::error::StoreError;

/// The part of a row that writing needs.
#[derive(Debug, Clone)]
pub(crate) struct TransactionRow {
    pub(crate) key: i64,
    pub(crate) id: String,
    pub(crate) generation: i64,
    pub(crate) request_digest: Digest,
    pub(crate) status: Status,
}

pub(crate) const ROW: &str =
    "SELECT key, id, generation, request_digest, state, cancel_requested, attempts, undoing FROM transactions WHERE id = ?1";

/// Reads the row, or says that there is none.
pub(crate) fn read(conn: &Connection, id: TransactionId) -> Result<TransactionRow, StoreError> {
    let mut statement = conn.prepare_cached(ROW)?;
    let mut rows = statement.query([id.to_string()])?;
    let row = rows.next()?.ok_or(StoreError::Unknown(id))?;
    Ok(TransactionRow {
        key: row.get("key")?,
        id: row.get("id")?,
        generation: row.get("generation")?,
        request_digest: Digest(row.get("request_digest")?),
        status: status(row)?,
    })
}

/// The status columns of a row.
pub(crate) fn status(row: &Row<'_>) -> Result<Status, StoreError> {
    Ok(Status {
        state: parsed(row, "state")?,
        cancel_requested: row.get("cancel_requested")?,
        attempts: integer(row, "attempts")?,
        undoing: row.get("undoing")?,
    })
}

/// Writes what an event changed. `next` is the status after it.
pub(crate) fn project(conn: &Connection, row: &TransactionRow, event: &Event, next: Status, at: Stamp) -> Result<(), StoreError> {
    match event {
        Event::Failed { code, text } | Event::UndoStarted { code, text } | Event::AttentionNeeded { code, text } => {
            set_error(conn, row.key, Some((*code, text)))?;
        }
        // An undo has its reason already; that its worker was lost, too, is among the events.
        Event::Interrupted { .. } if row.status.undoing => {}
        Event::Interrupted { text } => set_error(conn, row.key, Some((ErrorCode::WorkerLost, text)))?,
        // What an earlier attempt met is over.
        Event::Completed => set_error(conn, row.key, None)?,
        Event::Queued { .. } => set_queued(conn, row.key, at)?,
        Event::Started { .. } => set_started(conn, row.key, at)?,
        Event::Created
        | Event::Prepared { .. }
        | Event::Denied { .. }
        | Event::StepStarted { .. }
        | Event::StepEnded { .. }
        | Event::ItemChanged { .. }
        | Event::Noted { .. }
        | Event::CancelRequested { .. }
        | Event::Expired
        | Event::UndoFinished { .. }
        | Event::Resumed { .. }
        | Event::Accepted
        | Event::Redacted { .. } => {}
    }
    if next == row.status { Ok(()) } else { set_status(conn, row.key, next, at) }
}

fn set_error(conn: &Connection, key: i64, error: Option<(ErrorCode, &String)>) -> Result<(), StoreError> {
    let (code, text) = error.unzip();
    conn.prepare_cached("UPDATE transactions SET error_code = ?2, error_text = ?3 WHERE key = ?1")?.execute(params![
        key,
        code.map(ErrorCode::as_str),
        text
    ])?;
    Ok(())
}

pub(crate) const LAST_SEQUENCE: &str = "SELECT coalesce(max(sequence), 0) FROM transactions";

/// The place in the queue's order is counted here, so that it is durable with the authorisation.
fn set_queued(conn: &Connection, key: i64, at: Stamp) -> Result<(), StoreError> {
    let last: i64 = conn.prepare_cached(LAST_SEQUENCE)?.query_row([], |row| row.get(0))?;
    conn.prepare_cached(
        "UPDATE transactions SET sequence = ?2, queued_us = ?3, queued_monotonic_us = ?4, queued_boot = ?5 WHERE key = ?1",
    )?
    .execute(params![key, last + 1, at.utc_us, at.monotonic_us, at.boot.0])?;
    Ok(())
}

fn set_started(conn: &Connection, key: i64, at: Stamp) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE transactions SET started_us = ?2, started_monotonic_us = ?3, started_boot = ?4 WHERE key = ?1")?
        .execute(params![key, at.utc_us, at.monotonic_us, at.boot.0])?;
    Ok(())
}

/// The last write to a row that ends: the schema refuses every other after it.
fn set_status(conn: &Connection, key: i64, next: Status, at: Stamp) -> Result<(), StoreError> {
    let end = next.state.is_final().then_some(at);
    conn.prepare_cached(
        "UPDATE transactions SET state = ?2, cancel_requested = ?3, undoing = ?4, attempts = ?5,
             finished_us = ?6, finished_monotonic_us = ?7, finished_boot = ?8,
             updated_us = ?9, updated_monotonic_us = ?10, updated_boot = ?11
         WHERE key = ?1",
    )?
    .execute(params![
        key,
        next.state.as_str(),
        next.cancel_requested,
        next.undoing,
        next.attempts,
        end.map(|at| at.utc_us),
        end.map(|at| at.monotonic_us),
        end.map(|at| at.boot.0),
        at.utc_us,
        at.monotonic_us,
        at.boot.0,
    ])?;
    Ok(())
}

/// Notes the time of events that changed nothing else in the row.
pub(crate) fn touch(conn: &Connection, key: i64, at: Stamp) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE transactions SET updated_us = ?2, updated_monotonic_us = ?3, updated_boot = ?4 WHERE key = ?1")?
        .execute(params![key, at.utc_us, at.monotonic_us, at.boot.0])?;
    Ok(())
}

/// Keeps the digest of the world as the commit left it; before the row ends.
pub(crate) fn set_world_after(conn: &Connection, key: i64, world: Digest) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE transactions SET world_after = ?2 WHERE key = ?1")?.execute(params![key, world.0])?;
    Ok(())
}

pub(crate) const KEY: &str = "SELECT key FROM transactions WHERE id = ?1";

/// The key of a transaction's row.
pub(crate) fn key_of(conn: &Connection, id: TransactionId) -> Result<Option<i64>, StoreError> {
    Ok(conn.prepare_cached(KEY)?.query_row([id.to_string()], |row| row.get(0)).optional()?)
}
