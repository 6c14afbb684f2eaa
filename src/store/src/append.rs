//! Appending events: each through the state machine, all in one commit with everything derived from them.

use backstep_core::{Digest, Event, Stamp, Status, TransactionId};
use rusqlite::Connection;

use crate::error::StoreError;
use crate::event_row::{self, NewEvent};
use crate::generation::{Generation, Opening};
use crate::open::Store;
use crate::project_transaction::{self, TransactionRow};
use crate::{project_attempts, project_items, project_steps};

/// Events of one transaction that are recorded together or not at all.
#[derive(Debug, Clone)]
pub struct Append<'a> {
    /// Which transaction.
    pub id: TransactionId,
    /// The attempt they belong to; `None` outside attempts.
    pub attempt: Option<u32>,
    /// What happened, in order. May be empty, to move the journal's position only.
    pub events: &'a [Event],
    /// When.
    pub at: Stamp,
    /// The last line of the attempt's journal that these events stand for.
    pub journal_seq: Option<u64>,
    /// With [`Event::Completed`] or [`Event::Accepted`] only: the digest of dpkg's and apt's state as the change left it.
    pub world_after: Option<Digest>,
}

impl Store {
    /// Appends events under the transaction's generation; answers the status after the last.
    ///
    /// An event that its state does not allow is [`StoreError::Illegal`] and nothing of the call is written.
    /// A journal position that is not later than the recorded one is [`StoreError::JournalRepeated`] (the same
    /// position without events is fine), so that a journal is taken in exactly once.
    pub fn append(&mut self, append: &Append<'_>) -> Result<Status, StoreError> {
        let row = project_transaction::read(&self.conn, append.id)?;
        check(append)?;
        let generation = Generation::begin(self, &Opening::Again(row.generation), append.at)?;
        let mut writer = Writer { generation, row, attempt: append.attempt, at: append.at, touched: true };
        for event in append.events {
            writer.record(event, evidence(event, append))?;
        }
        writer.move_journal(append)?;
        writer.finish()
    }
}

fn check(append: &Append<'_>) -> Result<(), StoreError> {
    if append.events.iter().any(|event| matches!(event, Event::Prepared { .. })) {
        return Err(StoreError::PreparedWithoutPlan);
    }
    if append.events.iter().any(|event| matches!(event, Event::Redacted { .. })) {
        return Err(StoreError::RedactedWithoutRedaction);
    }
    if append.world_after.is_some() && !append.events.iter().any(has_world) {
        return Err(StoreError::WorldWithoutCompleted);
    }
    Ok(())
}

/// What an event's own fields do not say and its hash has to cover.
fn evidence(event: &Event, append: &Append<'_>) -> Option<Digest> {
    append.world_after.filter(|_| has_world(event))
}

/// Whether a world can be recorded with it: it ends a change that stays.
pub(crate) fn has_world(event: &Event) -> bool {
    matches!(event, Event::Completed | Event::Accepted)
}

/// Writes events of one transaction and keeps its status on the way.
pub(crate) struct Writer<'a> {
    pub(crate) generation: Generation<'a>,
    pub(crate) row: TransactionRow,
    pub(crate) attempt: Option<u32>,
    pub(crate) at: Stamp,
    /// Whether the row's time of change is that of the last event.
    pub(crate) touched: bool,
}

impl Writer<'_> {
    /// Records one event, without secrets, and everything derived from it.
    pub(crate) fn record(&mut self, event: &Event, evidence: Option<Digest>) -> Result<(), StoreError> {
        let event = &event.scrubbed();
        let next = self.row.status.after(event)?;
        let new =
            NewEvent { transaction_key: self.row.key, transaction: &self.row.id, attempt: self.attempt, event, evidence, at: self.at };
        event_row::insert(&self.generation, &new)?;
        project(self.generation.conn(), &self.row, event, next, evidence, self.at)?;
        self.touched = next != self.row.status;
        let before = std::mem::replace(&mut self.row.status, next);
        self.record_work(event, before)
    }

    fn move_journal(&self, append: &Append<'_>) -> Result<(), StoreError> {
        let Some(found) = append.journal_seq else {
            return Ok(());
        };
        let unknown = StoreError::UnknownAttempt { id: append.id, attempt: append.attempt };
        let Some(attempt) = append.attempt else {
            return Err(unknown);
        };
        let recorded = project_attempts::position(self.generation.conn(), self.row.key, attempt)?.ok_or(unknown)?;
        if found < recorded || (found == recorded && !append.events.is_empty()) {
            return Err(StoreError::JournalRepeated { recorded, found });
        }
        project_attempts::set_position(self.generation.conn(), self.row.key, attempt, found)
    }

    /// Commits; answers the status.
    pub(crate) fn finish(self) -> Result<Status, StoreError> {
        if !self.touched {
            project_transaction::touch(self.generation.conn(), self.row.key, self.at)?;
        }
        self.generation.commit()?;
        Ok(self.row.status)
    }
}

/// Writes everything that is derived from an event; `next` is the status after it.
pub(crate) fn project(
    conn: &Connection,
    row: &TransactionRow,
    event: &Event,
    next: Status,
    evidence: Option<Digest>,
    at: Stamp,
) -> Result<(), StoreError> {
    project_attempts::project(conn, row.key, next.attempts, event, at)?;
    project_steps::project(conn, row.key, next.attempts, event, at)?;
    project_items::project(conn, row.key, event, next)?;
    if let Some(world) = evidence.filter(|_| has_world(event)) {
        project_transaction::set_world_after(conn, row.key, world)?;
    }
    project_transaction::project(conn, row, event, next, at)
}
