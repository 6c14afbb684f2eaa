//! Events as they leave the record: flat, with who asked for the transaction they belong to.

use rusqlite::{Connection, params};

use crate::archive;
use crate::error::StoreError;
use crate::reader::Reader;

/// One event. Digests are in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ExportedEvent {
    pub seq: i64,
    pub at_us: i64,
    pub transaction: String,
    pub kind: String,
    pub uid: u32,
    pub user: String,
    pub origin: String,
    pub generation: i64,
    pub run: String,
    pub attempt: Option<u32>,
    pub event: String,
    pub step: Option<String>,
    pub direction: Option<String>,
    pub state: Option<String>,
    pub code: Option<String>,
    pub subject: Option<String>,
    pub text: Option<String>,
    pub after: Option<String>,
    pub number: Option<i64>,
    pub evidence: Option<String>,
    pub hash: String,
}

impl Reader {
    /// At most so many events after the one with this number, in order; none only when there are none. Archives come first.
    pub fn export(&self, after: u64, limit: u32) -> Result<Vec<ExportedEvent>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        match archive::containing(&self.conn, after)? {
            Some(archive) => exported(&archive::open(&self.conn, &archive)?, after, limit),
            None => exported(&self.conn, after, limit),
        }
    }
}

fn exported(conn: &Connection, after: i64, limit: u32) -> Result<Vec<ExportedEvent>, StoreError> {
    let mut statement = conn.prepare_cached(EVENTS)?;
    let rows = statement.query_map(params![after, limit], |row| {
        Ok(ExportedEvent {
            seq: row.get(0)?,
            at_us: row.get(1)?,
            transaction: row.get(2)?,
            kind: row.get(3)?,
            uid: row.get(4)?,
            user: row.get(5)?,
            origin: row.get(6)?,
            generation: row.get(7)?,
            run: row.get(8)?,
            attempt: row.get(9)?,
            event: row.get(10)?,
            step: row.get(11)?,
            direction: row.get(12)?,
            state: row.get(13)?,
            code: row.get(14)?,
            subject: row.get(15)?,
            text: row.get(16)?,
            after: row.get(17)?,
            number: row.get(18)?,
            evidence: row.get(19)?,
            hash: row.get(20)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) const EVENTS: &str =
    "SELECT e.seq, e.at_us, t.id, t.kind, t.uid, t.user, t.origin, e.generation, r.id, e.attempt, e.event, e.step,
        e.direction, e.state, e.code, e.subject, e.text, e.after, e.number, CASE WHEN e.evidence IS NOT NULL THEN lower(hex(e.evidence)) END, lower(hex(e.hash))
    FROM events e CROSS JOIN transactions t ON t.key = e.transaction_key CROSS JOIN runs r ON r.key = e.run
    WHERE e.seq > ?1 ORDER BY e.seq LIMIT ?2";
