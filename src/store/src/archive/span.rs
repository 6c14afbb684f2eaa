//! Which transactions can leave: a whole beginning of the record that nothing after it refers to.

use backstep_core::Digest;
use backstep_core::record_archive::{Cut, RecordArchive};
use rusqlite::{Connection, params};

use crate::error::StoreError;

/// The key that the last of them can have at most, without a look at who refers to whom.
const BOUND: &str = "SELECT min(
        (SELECT coalesce(max(key), 0) FROM (SELECT key FROM transactions ORDER BY key LIMIT ?1)),
        (SELECT coalesce((SELECT key FROM transactions ORDER BY key DESC LIMIT 1 OFFSET ?2), 0)))";
const STILL_NEW: &str = "SELECT min(key) FROM transactions WHERE key <= ?1 AND (finished_us IS NULL OR finished_us >= ?2)";
/// Something that was recorded of one of them after the first one that stays: a redaction, or they ran side by side.
pub(crate) const LATE_EVENTS: &str = "SELECT min(transaction_key) FROM events WHERE transaction_key <= ?1 AND +seq > (
        SELECT min(seq) FROM events WHERE transaction_key = (SELECT min(key) FROM transactions WHERE key > ?1))";
pub(crate) const REVERTED: &str = "SELECT min(t.key) FROM transactions r CROSS JOIN transactions t ON t.id = r.reverts
    WHERE r.reverts IS NOT NULL AND +r.key > ?1 AND t.key <= ?1";
pub(crate) const RETRIED: &str = "SELECT min(t.key) FROM transactions r CROSS JOIN transactions t ON t.id = r.retries
    WHERE r.retries IS NOT NULL AND +r.key > ?1 AND t.key <= ?1";
/// Undone with an earlier-begun one that stays.
const REVERTED_WITH: &str = "SELECT min(x.key) FROM transactions r CROSS JOIN transactions t ON t.id = r.reverts CROSS JOIN transactions x
    WHERE r.scope = 'later' AND +r.key > ?1 AND x.key <= ?1 AND x.started_us > t.started_us AND x.started_us < r.started_us";

/// What can leave now, without its file; `None` when nothing can.
pub(super) fn span(conn: &Connection, cut: Cut) -> Result<Option<RecordArchive>, StoreError> {
    let bound: i64 = conn.query_row(BOUND, [cut.most, cut.keep.max(1)], |row| row.get(0))?;
    let still_new: Option<i64> = conn.query_row(STILL_NEW, params![bound, cut.before_us], |row| row.get(0))?;
    let mut last = still_new.map_or(bound, |first_that_stays| first_that_stays - 1);
    // Who goes with one that stays may be referred to in turn.
    while let Some(first_that_stays) = referred_to(conn, last)? {
        last = first_that_stays - 1;
    }
    described(conn, last)
}

/// The oldest transaction up to this one that something after it refers to.
pub(super) fn referred_to(conn: &Connection, last: i64) -> Result<Option<i64>, StoreError> {
    let mut oldest = None;
    for sql in [LATE_EVENTS, REVERTED, RETRIED, REVERTED_WITH] {
        let found: Option<i64> = conn.prepare_cached(sql)?.query_row([last], |row| row.get(0))?;
        oldest = [oldest, found].into_iter().flatten().min();
    }
    Ok(oldest)
}

const ROWS: &str =
    "SELECT count(*), min(key), max(key), min(created_us), max(created_us), min(id), max(id) FROM transactions WHERE key <= ?1";
const EVENTS: &str = "SELECT min(seq), max(seq) FROM events WHERE transaction_key <= ?1";

fn described(conn: &Connection, last: i64) -> Result<Option<RecordArchive>, StoreError> {
    let count: i64 = conn.query_row("SELECT count(*) FROM transactions WHERE key <= ?1", [last], |row| row.get(0))?;
    if count == 0 {
        return Ok(None);
    }
    let events: (i64, i64) = conn.query_row(EVENTS, [last], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let last_hash = conn.query_row(crate::rebuild::HASH, [events.1], |row| Ok(Digest(row.get(0)?)))?;
    let archive = conn.query_row(ROWS, [last], |row| {
        Ok(RecordArchive {
            file: format!("record-{:010}-{:010}.db", events.0, events.1),
            digest: Digest([0; 32]),
            transactions: count.unsigned_abs(),
            keys: (row.get(1)?, row.get(2)?),
            events,
            last_hash,
            requested_us: (row.get(3)?, row.get(4)?),
            ids: (row.get(5)?, row.get(6)?),
        })
    })?;
    Ok(Some(archive))
}
