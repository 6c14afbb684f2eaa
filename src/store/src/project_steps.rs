//! Steps: rows are made with the plan, events move them.

use backstep_core::record::StepRecord;
use backstep_core::{Direction, ErrorCode, Event, Stamp, StepKind, StepState};
use rusqlite::{Connection, params};

use crate::columns::{failure, integer, parsed, stamp_option};
use crate::error::StoreError;

/// Makes a row for every step, all pending.
pub(crate) fn insert(conn: &Connection, transaction_key: i64) -> Result<(), StoreError> {
    let mut statement =
        conn.prepare_cached("INSERT INTO steps (transaction_key, position, kind, attempt, state, text) VALUES (?1, ?2, ?3, 0, ?4, '')")?;
    for (position, kind) in (0_i64..).zip(StepKind::ALL) {
        statement.execute(params![transaction_key, position, kind.as_str(), StepState::Pending.as_str()])?;
    }
    Ok(())
}

/// Writes what an event changed; `attempt` is the one that runs.
pub(crate) fn project(conn: &Connection, transaction_key: i64, attempt: u32, event: &Event, at: Stamp) -> Result<(), StoreError> {
    match event {
        Event::StepStarted { step, direction: Direction::Forward } => begin(conn, transaction_key, *step, attempt, at),
        Event::StepStarted { step, direction: Direction::Undo } => begin_undo(conn, transaction_key, *step, attempt),
        Event::StepEnded { step, state, code, text } => {
            let end = End { state: *state, code: *code, text };
            end.write(conn, transaction_key, *step, at)
        }
        Event::Interrupted { .. } => lose(conn, transaction_key),
        Event::Created
        | Event::Prepared { .. }
        | Event::Denied { .. }
        | Event::Queued { .. }
        | Event::Started { .. }
        | Event::ItemChanged { .. }
        | Event::Noted { .. }
        | Event::CancelRequested { .. }
        | Event::Failed { .. }
        | Event::Expired
        | Event::UndoStarted { .. }
        | Event::Completed
        | Event::UndoFinished { .. }
        | Event::Resumed { .. }
        | Event::AttentionNeeded { .. }
        | Event::Accepted
        | Event::Redacted { .. } => Ok(()),
    }
}

fn begin(conn: &Connection, key: i64, step: StepKind, attempt: u32, at: Stamp) -> Result<(), StoreError> {
    conn.prepare_cached(
        "UPDATE steps SET state = 'running', attempt = ?3, error_code = NULL, error_text = NULL, text = '',
             started_us = ?4, started_monotonic_us = ?5, started_boot = ?6,
             finished_us = NULL, finished_monotonic_us = NULL, finished_boot = NULL
         WHERE transaction_key = ?1 AND kind = ?2",
    )?
    .execute(params![key, step.as_str(), attempt, at.utc_us, at.monotonic_us, at.boot.0])?;
    Ok(())
}

/// The forward run's times and error stay: they say why it is undone.
fn begin_undo(conn: &Connection, key: i64, step: StepKind, attempt: u32) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE steps SET state = 'running', attempt = ?3 WHERE transaction_key = ?1 AND kind = ?2")?.execute(params![
        key,
        step.as_str(),
        attempt
    ])?;
    Ok(())
}

struct End<'a> {
    state: StepState,
    code: Option<ErrorCode>,
    text: &'a str,
}

impl End<'_> {
    fn write(&self, conn: &Connection, key: i64, step: StepKind, at: Stamp) -> Result<(), StoreError> {
        let forward = match self.state {
            StepState::Completed | StepState::Failed | StepState::Skipped | StepState::Unknown => Some(at),
            StepState::Pending | StepState::Running | StepState::Undone | StepState::UndoFailed => None,
        };
        conn.prepare_cached(
            "UPDATE steps SET state = ?3, error_code = coalesce(?4, error_code), error_text = coalesce(?5, error_text),
                 text = CASE WHEN ?6 = '' THEN text ELSE ?6 END,
                 finished_us = coalesce(?7, finished_us), finished_monotonic_us = coalesce(?8, finished_monotonic_us),
                 finished_boot = coalesce(?9, finished_boot)
             WHERE transaction_key = ?1 AND kind = ?2",
        )?
        .execute(params![
            key,
            step.as_str(),
            self.state.as_str(),
            self.code.map(ErrorCode::as_str),
            self.code.map(|_| self.text),
            self.text,
            forward.map(|at| at.utc_us),
            forward.map(|at| at.monotonic_us),
            forward.map(|at| at.boot.0),
        ])?;
        Ok(())
    }
}

/// The worker is gone: the end of what it was doing is not known.
fn lose(conn: &Connection, key: i64) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE steps SET state = 'unknown' WHERE transaction_key = ?1 AND state = 'running'")?.execute([key])?;
    Ok(())
}

pub(crate) const OF_TRANSACTION: &str = "SELECT * FROM steps WHERE transaction_key = ?1 ORDER BY position";

/// The steps of a transaction, in order; none before there is a plan.
pub(crate) fn of_transaction(conn: &Connection, transaction_key: i64) -> Result<Vec<StepRecord>, StoreError> {
    let mut statement = conn.prepare_cached(OF_TRANSACTION)?;
    let mut rows = statement.query([transaction_key])?;
    let mut steps = Vec::with_capacity(StepKind::ALL.len());
    while let Some(row) = rows.next()? {
        steps.push(StepRecord {
            kind: parsed(row, "kind")?,
            attempt: integer(row, "attempt")?,
            state: parsed(row, "state")?,
            started: stamp_option(row, "started")?,
            finished: stamp_option(row, "finished")?,
            error: failure(row)?,
            text: row.get("text")?,
        });
    }
    Ok(steps)
}
