//! Back-offs that people set and clear, and all of them as they are read. Those of failures are written in [`crate::work`].

use backstep_core::Stamp;
use backstep_core::actor::Actor;
use backstep_core::backoff::{Backoff, NewBackoff};
use backstep_core::ignore::Said;
use rusqlite::{OptionalExtension, Row, params};

use crate::columns::{failure, integer, parsed, parsed_option, stamp, stamp_option};
use crate::error::StoreError;
use crate::generation::{Generation, Opening};
use crate::open::Store;
use crate::work::{LIVE_PAIR, end};

impl Store {
    /// Sets a back-off in a generation of its own; one of the same subject and process ends with it.
    pub fn back_off(&mut self, said: &Said<NewBackoff>) -> Result<u64, StoreError> {
        let Said { what, comment, actor, at } = said;
        let generation = Generation::begin(self, &Opening::New { comment, actor }, *at)?;
        let (subject, process) = (what.subject.to_string(), what.process.to_string());
        let live = generation.conn().prepare_cached(LIVE_PAIR)?.query_row([&subject, &process], |row| row.get(0)).optional()?;
        if let Some(key) = live {
            end(generation.conn(), key, (generation.key(), *at, "person"))?;
        }
        generation.conn().execute(
            "INSERT INTO work_backoff (generation, subject, process, failures, comment, uid, user, set_us, set_monotonic_us, set_boot, until_us)
             VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                generation.key(),
                subject,
                process,
                comment,
                actor.uid,
                actor.user,
                at.utc_us,
                at.monotonic_us,
                at.boot.0,
                what.until_us
            ],
        )?;
        let number = generation.conn().last_insert_rowid();
        generation.commit()?;
        Ok(number.unsigned_abs())
    }

    /// Ends these back-offs in one generation; answers how many had not ended.
    pub fn clear_backoffs(&mut self, said: &Said<Vec<u64>>) -> Result<u32, StoreError> {
        let Said { what, comment, actor, at } = said;
        let before = self.backoffs()?.len();
        let generation = Generation::begin(self, &Opening::New { comment, actor }, *at)?;
        for number in what {
            end(generation.conn(), i64::try_from(*number).unwrap_or(i64::MAX), (generation.key(), *at, "person"))?;
        }
        generation.commit()?;
        Ok(u32::try_from(before - self.backoffs()?.len()).unwrap_or(u32::MAX))
    }

    /// Counts these back-offs anew from now, because the clock was set back while nobody could see it.
    pub fn begin_backoffs_anew(&mut self, numbers: &[u64], actor: &Actor, at: Stamp) -> Result<(), StoreError> {
        let opening = Opening::New { comment: "the clock was set back; back-offs count from now", actor };
        let generation = Generation::begin(self, &opening, at)?;
        for number in numbers {
            let key = i64::try_from(*number).unwrap_or(i64::MAX);
            end(generation.conn(), key, (generation.key(), at, "clock"))?;
            generation.conn().execute(
                "INSERT INTO work_backoff (generation, subject, process, failures, error_code, error_text, transaction_id, comment, uid,
                     user, set_us, set_monotonic_us, set_boot, until_us)
                 SELECT ?2, subject, process, failures, error_code, error_text, transaction_id, comment, uid, user, ?3, ?4, ?5,
                     ?3 + (until_us - set_us) FROM work_backoff WHERE key = ?1",
                params![key, generation.key(), at.utc_us, at.monotonic_us, at.boot.0],
            )?;
        }
        generation.commit()
    }

    /// The back-offs that have not been ended, those that are over by themselves included, in their order.
    pub fn backoffs(&self) -> Result<Vec<Backoff>, StoreError> {
        self.read_backoffs(LIVE)
    }

    /// Every back-off there ever was, newest first, at most so many.
    pub fn all_backoffs(&self, limit: u32) -> Result<Vec<Backoff>, StoreError> {
        self.read_backoffs(&format!("{ALL} LIMIT {limit}"))
    }

    fn read_backoffs(&self, sql: &str) -> Result<Vec<Backoff>, StoreError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(record(row)?);
        }
        Ok(found)
    }
}

pub(crate) const LIVE: &str = "SELECT * FROM work_backoff WHERE ended_us IS NULL ORDER BY key";
pub(crate) const ALL: &str = "SELECT * FROM work_backoff WHERE key > 0 ORDER BY key DESC";

fn record(row: &Row<'_>) -> Result<Backoff, StoreError> {
    Ok(Backoff {
        number: integer(row, "key")?,
        subject: parsed(row, "subject")?,
        process: parsed(row, "process")?,
        failures: integer(row, "failures")?,
        cause: failure(row)?,
        transaction: parsed_option(row, "transaction_id")?,
        comment: row.get("comment")?,
        uid: integer(row, "uid")?,
        user: row.get("user")?,
        set: stamp(row, "set")?,
        until_us: row.get("until_us")?,
        ended: stamp_option(row, "ended")?,
    })
}
