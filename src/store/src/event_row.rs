//! Events as rows: appended with their hash, read back with it.

use backstep_core::record::EventRecord;
use backstep_core::{Digest, Event, EventFields, Stamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::chain::{BEGINNING, Fields, Link};
use crate::columns::{digest, integer_option, stamp};
use crate::error::StoreError;
use crate::generation::Generation;

/// An event on its way into the record.
pub(crate) struct NewEvent<'a> {
    pub(crate) transaction_key: i64,
    pub(crate) transaction: &'a str,
    pub(crate) attempt: Option<u32>,
    pub(crate) event: &'a Event,
    pub(crate) evidence: Option<Digest>,
    pub(crate) at: Stamp,
}

pub(crate) const LAST: &str = "SELECT seq, hash FROM events WHERE seq = (SELECT max(seq) FROM events)";

/// The number that the next event gets.
pub(crate) fn next_seq(conn: &Connection) -> Result<i64, StoreError> {
    let last = conn.prepare_cached(LAST)?.query_row([], |row| row.get::<_, i64>(0)).optional()?;
    Ok(last.unwrap_or(0) + 1)
}

/// Appends an event to the chain.
pub(crate) fn insert(generation: &Generation<'_>, new: &NewEvent<'_>) -> Result<(), StoreError> {
    let last = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, Digest(row.get(1)?)));
    let (last, before) = generation.conn().prepare_cached(LAST)?.query_row([], last).optional()?.unwrap_or((0, BEGINNING));
    let fields = new.event.fields();
    let link = Link {
        seq: last + 1,
        transaction: new.transaction,
        attempt: new.attempt,
        fields: Fields::from(&fields),
        evidence: new.evidence,
        at: new.at,
        generation: generation.key(),
        run: generation.run(),
    };
    write(generation.conn(), new.transaction_key, &link, &fields, link.hash(before))
}

fn write(conn: &Connection, transaction_key: i64, link: &Link<'_>, fields: &EventFields, hash: Digest) -> Result<(), StoreError> {
    let EventFields { event, step, direction, state, code, subject, text, after, number } = fields;
    conn.prepare_cached(
        "INSERT INTO events (seq, transaction_key, attempt, event, step, direction, state, code, subject, text, after, number,
             evidence, at_us, at_monotonic_us, at_boot, generation, run, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
    )?
    .execute(params![
        link.seq,
        transaction_key,
        link.attempt,
        event,
        step,
        direction,
        state,
        code,
        subject,
        text,
        after,
        number,
        link.evidence.map(|digest| digest.0),
        link.at.utc_us,
        link.at.monotonic_us,
        link.at.boot.0,
        link.generation,
        link.run,
        hash.0,
    ])?;
    Ok(())
}

/// The flat fields of a row.
pub(crate) fn fields(row: &Row<'_>) -> Result<EventFields, StoreError> {
    Ok(EventFields {
        event: row.get("event")?,
        step: row.get("step")?,
        direction: row.get("direction")?,
        state: row.get("state")?,
        code: row.get("code")?,
        subject: row.get("subject")?,
        text: row.get("text")?,
        after: row.get("after")?,
        number: row.get("number")?,
    })
}

pub(crate) const OF_TRANSACTION: &str = "SELECT * FROM events WHERE transaction_key = ?1 ORDER BY seq";

/// All events of a transaction, in order.
pub(crate) fn of_transaction(conn: &Connection, transaction_key: i64) -> Result<Vec<EventRecord>, StoreError> {
    let mut statement = conn.prepare_cached(OF_TRANSACTION)?;
    let mut rows = statement.query([transaction_key])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(EventRecord {
            seq: row.get("seq")?,
            at: stamp(row, "at")?,
            attempt: integer_option(row, "attempt")?,
            event: Event::from_fields(&fields(row)?)?,
            hash: digest(row, "hash")?,
        });
    }
    Ok(events)
}
