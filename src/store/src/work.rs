//! How work goes: its history, and the back-offs that follow from it. Written in the commit of the event that says it.
//!
//! A back-off is set when a transaction that a worker had ends without success, on the packages that are to blame, and
//! ended by the next success with them. Both tables outlive what they are about: nothing in them needs the transaction.

use backstep_core::backoff::{self, Failed};
use backstep_core::{ErrorCode, Event, Failure, Stamp, Status, TransactionId, TransactionState};
use rusqlite::{Connection, OptionalExtension, params};

use crate::append::Writer;
use crate::error::StoreError;

/// Packages of one transaction that have lines of their own; a request for more is one for the system.
const MAX_SUBJECTS: usize = 64;

impl Writer<'_> {
    /// Writes what an event means for the work; `before` is the status before it.
    pub(crate) fn record_work(&self, event: &Event, before: Status) -> Result<(), StoreError> {
        let state = self.row.status.state;
        if matches!(event, Event::Started { .. }) {
            return self.tell("started", None);
        }
        if !state.is_final() || before.state == state || self.row.status.attempts == 0 {
            return Ok(());
        }
        let conn = self.generation.conn();
        let facts = Facts::read(conn, self.row.key)?;
        match state {
            TransactionState::Completed => {
                self.tell("finished", None)?;
                self.succeed(&facts)
            }
            TransactionState::Cancelled => self.tell("cancelled", facts.error.as_ref()),
            TransactionState::RolledBack | TransactionState::PartiallyRolledBack | TransactionState::Failed | TransactionState::Expired => {
                self.tell("failed", facts.error.as_ref())?;
                self.fail(&facts)
            }
            // No state that a transaction ends in.
            TransactionState::Created
            | TransactionState::Prepared
            | TransactionState::Queued
            | TransactionState::Executing
            | TransactionState::Cancelling
            | TransactionState::RollingBack
            | TransactionState::Interrupted
            | TransactionState::NeedsAttention => Ok(()),
        }
    }

    fn tell(&self, event: &str, error: Option<&Failure>) -> Result<(), StoreError> {
        let conn = self.generation.conn();
        let mut subjects = names(conn, REQUESTED, self.row.key)?;
        // A package of several architectures is one subject.
        subjects.dedup();
        if subjects.is_empty() || subjects.len() > MAX_SUBJECTS {
            subjects = vec!["*".to_owned()];
        }
        let mut statement = conn.prepare_cached(
            "INSERT INTO work_history (generation, run, subject, process, event, transaction_id, error_code, error_text, at_us,
                 at_monotonic_us, at_boot)
             SELECT ?1, ?2, ?3, kind, ?4, id, ?5, ?6, ?7, ?8, ?9 FROM transactions WHERE key = ?10",
        )?;
        for subject in subjects {
            statement.execute(params![
                self.generation.key(),
                self.generation.run(),
                subject,
                event,
                error.map(|error| error.code.as_str()),
                error.map(|error| error.text.as_str()),
                self.at.utc_us,
                self.at.monotonic_us,
                self.at.boot.0,
                self.row.key,
            ])?;
        }
        Ok(())
    }

    /// Success ends what failures set, for every package that it touched; also when it took the package away.
    fn succeed(&self, facts: &Facts) -> Result<(), StoreError> {
        let conn = self.generation.conn();
        let live: Vec<(i64, String, String)> = {
            let mut statement = conn.prepare_cached(SET_BY_FAILURES)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        if live.is_empty() {
            return Ok(());
        }
        let items = names(conn, ITEMS, self.row.key)?;
        for (key, subject, process) in live {
            if items.contains(&subject) || (subject == "*" && process == facts.kind) {
                end(conn, key, (self.generation.key(), self.at, "success"))?;
            }
        }
        Ok(())
    }

    fn fail(&self, facts: &Facts) -> Result<(), StoreError> {
        let Some(error) = &facts.error else { return Ok(()) };
        for subject in culprits(self.generation.conn(), self.row.key, error)?.iter().take(MAX_SUBJECTS) {
            self.set(subject, facts, error)?;
        }
        Ok(())
    }

    fn set(&self, subject: &str, facts: &Facts, error: &Failure) -> Result<(), StoreError> {
        let conn = self.generation.conn();
        let live = conn.prepare_cached(LIVE_PAIR)?.query_row([subject, &facts.kind], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let live: Option<(i64, u32, i64)> = live.optional()?;
        let failures = live.map_or(0, |(_, failures, _)| failures).saturating_add(1);
        let id: TransactionId = self.row.id.parse().map_err(|error| StoreError::corrupt(format!("column id: {error}")))?;
        let delay = backoff::delay_us(failures, facts.was_undone, id);
        // What a person set for longer is not made shorter by a failure.
        let until = live.map_or(0, |(_, _, until)| until).max(self.at.utc_us.saturating_add(delay));
        if let Some((key, _, _)) = live {
            end(conn, key, (self.generation.key(), self.at, "failure"))?;
        }
        conn.prepare_cached(
            "INSERT INTO work_backoff (generation, subject, process, failures, error_code, error_text, transaction_id, comment, uid, user,
                 set_us, set_monotonic_us, set_boot, until_us)
             SELECT ?1, ?2, kind, ?3, ?4, ?5, id, '', uid, user, ?6, ?7, ?8, ?9 FROM transactions WHERE key = ?10",
        )?
        .execute(params![
            self.generation.key(),
            subject,
            failures,
            error.code.as_str(),
            error.text,
            self.at.utc_us,
            self.at.monotonic_us,
            self.at.boot.0,
            until,
            self.row.key,
        ])?;
        Ok(())
    }
}

pub(crate) const REQUESTED: &str = "SELECT name FROM items WHERE transaction_key = ?1 AND reason = 'requested' ORDER BY position LIMIT 65";
pub(crate) const ITEMS: &str = "SELECT name FROM items WHERE transaction_key = ?1";
pub(crate) const HALVES: &str =
    "SELECT DISTINCT subject FROM events WHERE transaction_key = ?1 AND event = 'item-changed' AND after LIKE 'half-%'";
pub(crate) const SET_BY_FAILURES: &str =
    "SELECT key, subject, process FROM work_backoff WHERE ended_us IS NULL AND transaction_id IS NOT NULL";
pub(crate) const LIVE_PAIR: &str =
    "SELECT key, failures, until_us FROM work_backoff WHERE ended_us IS NULL AND subject = ?1 AND process = ?2";
pub(crate) const FACTS: &str = "SELECT kind, error_code, error_text, undoing FROM transactions WHERE key = ?1";

/// The subjects to blame for a transaction that ended with this error: names of packages, or `*`. None where the error says nothing
/// against its work.
pub(crate) fn culprits(conn: &Connection, key: i64, error: &Failure) -> Result<Vec<String>, StoreError> {
    if !backoff::counts(error.code) {
        return Ok(Vec::new());
    }
    let (items, requested, halves) = (names(conn, ITEMS, key)?, names(conn, REQUESTED, key)?, names(conn, HALVES, key)?);
    let failed = Failed {
        items: items.iter().map(String::as_str).collect(),
        requested: requested.iter().map(String::as_str).collect(),
        halves: halves.iter().filter_map(|package| package.split(':').next()).collect(),
        text: &error.text,
    };
    Ok(backoff::culprits(&failed).into_iter().map(str::to_owned).collect())
}

fn names(conn: &Connection, sql: &str, key: i64) -> Result<Vec<String>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([key], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Ends a live back-off: in which generation, when and by whom.
pub(crate) fn end(conn: &Connection, key: i64, (generation, at, by): (i64, Stamp, &str)) -> Result<(), StoreError> {
    let sql = "UPDATE work_backoff SET ended_generation = ?2, ended_us = ?3, ended_monotonic_us = ?4, ended_boot = ?5, ended_by = ?6
         WHERE key = ?1 AND ended_us IS NULL";
    conn.prepare_cached(sql)?.execute(params![key, generation, at.utc_us, at.monotonic_us, at.boot.0, by])?;
    Ok(())
}

/// What the transaction's row says at its end.
struct Facts {
    kind: String,
    error: Option<Failure>,
    was_undone: bool,
}

impl Facts {
    fn read(conn: &Connection, key: i64) -> Result<Self, StoreError> {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let (kind, code, text, was_undone): (String, Option<String>, Option<String>, bool) =
            conn.prepare_cached(FACTS)?.query_row([key], read)?;
        let known = |code: String| code.parse::<ErrorCode>().map_err(|error| StoreError::corrupt(format!("column error_code: {error}")));
        let error = code.map(known).transpose()?.map(|code| Failure::new(code, text.unwrap_or_default()));
        Ok(Self { kind, error, was_undone })
    }
}
