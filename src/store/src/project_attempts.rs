//! Attempts: a row at the start with an empty result, the result at the end.

use backstep_core::{Direction, Event, Stamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::StoreError;

/// Writes what an event changed; `number` is the attempt that runs or ran last, this event counted.
pub(crate) fn project(conn: &Connection, transaction_key: i64, number: u32, event: &Event, at: Stamp) -> Result<(), StoreError> {
    match event {
        Event::Started { attempt } => begin(conn, transaction_key, (number, *attempt), Direction::Forward, at),
        Event::Resumed { attempt, direction, .. } => begin(conn, transaction_key, (number, *attempt), *direction, at),
        Event::Completed => end(conn, transaction_key, number, "completed", at),
        Event::UndoFinished { differences: 0 } => end(conn, transaction_key, number, "undone", at),
        Event::UndoFinished { .. } => end(conn, transaction_key, number, "partly-undone", at),
        Event::Interrupted { .. } => end(conn, transaction_key, number, "interrupted", at),
        Event::AttentionNeeded { .. } => end(conn, transaction_key, number, "attention", at),
        Event::Created
        | Event::Prepared { .. }
        | Event::Denied { .. }
        | Event::Queued { .. }
        | Event::StepStarted { .. }
        | Event::StepEnded { .. }
        | Event::ItemChanged { .. }
        | Event::Noted { .. }
        | Event::CancelRequested { .. }
        | Event::Failed { .. }
        | Event::Expired
        | Event::UndoStarted { .. }
        | Event::Accepted
        | Event::Redacted { .. } => Ok(()),
    }
}

fn begin(conn: &Connection, key: i64, (expected, found): (u32, u32), direction: Direction, at: Stamp) -> Result<(), StoreError> {
    if expected != found {
        return Err(StoreError::AttemptNumber { expected, found });
    }
    conn.prepare_cached(
        "INSERT INTO attempts (transaction_key, number, direction, journal_seq, started_us, started_monotonic_us, started_boot)
         VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6)",
    )?
    .execute(params![key, found, direction.as_str(), at.utc_us, at.monotonic_us, at.boot.0])?;
    Ok(())
}

/// An attempt that has a result keeps it, but for one: what was found interrupted may turn out to be completed.
fn end(conn: &Connection, key: i64, number: u32, result: &str, at: Stamp) -> Result<(), StoreError> {
    conn.prepare_cached(
        "UPDATE attempts SET result = ?3, ended_us = coalesce(ended_us, ?4),
             ended_monotonic_us = coalesce(ended_monotonic_us, ?5), ended_boot = coalesce(ended_boot, ?6)
         WHERE transaction_key = ?1 AND number = ?2 AND (result IS NULL OR (result = 'interrupted' AND ?3 = 'completed'))",
    )?
    .execute(params![key, number, result, at.utc_us, at.monotonic_us, at.boot.0])?;
    Ok(())
}

pub(crate) const POSITION: &str = "SELECT journal_seq FROM attempts WHERE transaction_key = ?1 AND number = ?2";

/// The last journal line that is in the record; `None` for an attempt that is not.
pub(crate) fn position(conn: &Connection, key: i64, number: u32) -> Result<Option<u64>, StoreError> {
    let found: Option<i64> = conn.prepare_cached(POSITION)?.query_row(params![key, number], |row| row.get(0)).optional()?;
    found.map(|seq| u64::try_from(seq).map_err(|_| StoreError::corrupt("a negative journal position"))).transpose()
}

pub(crate) const POSITIONS: &str = "SELECT number, journal_seq FROM attempts WHERE transaction_key = ?1 ORDER BY number";

/// The same of every attempt, by its number.
pub(crate) fn positions(conn: &Connection, key: i64) -> Result<Vec<(u32, u64)>, StoreError> {
    let mut statement = conn.prepare_cached(POSITIONS)?;
    let rows = statement.query_map([key], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Notes the last journal line that is in the record.
pub(crate) fn set_position(conn: &Connection, key: i64, number: u32, seq: u64) -> Result<(), StoreError> {
    let seq = i64::try_from(seq).map_err(|_| StoreError::corrupt("a journal position beyond all journals"))?;
    conn.prepare_cached("UPDATE attempts SET journal_seq = ?3 WHERE transaction_key = ?1 AND number = ?2 AND journal_seq <> ?3")?
        .execute(params![key, number, seq])?;
    Ok(())
}
