//! Verifying that the record is what was written: the chain of events and the bytes it vouches for.
//!
//! What this cannot see: the newest events taken off the end together with everything derived from them. That
//! needs a copy of the last hash elsewhere; the documents in the spool have it.

use backstep_core::Digest;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::chain::{BEGINNING, Link, digest_of};
use crate::columns::{digest, digest_option, integer_option, stamp};
use crate::error::{ChainError, StoreError, VerifyError};
use crate::event_row;
use crate::open::Store;

impl Store {
    /// Reads every event, one at a time, and answers how many there are.
    ///
    /// Checked: numbers without gaps, every hash over the one before, the request's and plan's bytes against
    /// the digests recorded with `created` and `prepared`, the digests beside the rows against the same.
    pub fn verify_chain(&self) -> Result<u64, VerifyError> {
        let mut statement = self.conn.prepare(ALL)?;
        let mut rows = statement.query([])?;
        let (mut before, mut count) = (BEGINNING, 0_u64);
        while let Some(row) = rows.next()? {
            count += 1;
            before = verify_row(row, before, count)?;
            verify_bytes(&self.conn, row)?;
        }
        Ok(count)
    }
}

const ALL: &str = "SELECT e.*, coalesce(t.id, '') AS id, t.request_digest, t.world_after FROM events e
    LEFT JOIN transactions t ON t.key = e.transaction_key ORDER BY e.seq";

fn verify_row(row: &Row<'_>, before: Digest, place: u64) -> Result<Digest, VerifyError> {
    let seq: i64 = row.get("seq")?;
    let broken = |what| VerifyError::Broken(ChainError { seq, what });
    if u64::try_from(seq) != Ok(place) {
        return Err(broken("an event before it is missing"));
    }
    let fields = event_row::fields(row)?;
    let transaction: String = row.get("id")?;
    let link = Link {
        seq,
        transaction: &transaction,
        attempt: integer_option(row, "attempt")?,
        fields: &fields,
        evidence: digest_option(row, "evidence")?,
        at: stamp(row, "at")?,
        generation: row.get("generation")?,
        run: row.get("run")?,
    };
    let hash = link.hash(before);
    if hash == digest(row, "hash")? { Ok(hash) } else { Err(broken("its hash is another one")) }
}

/// The evidence of an event against what is stored beside it.
fn verify_bytes(conn: &Connection, row: &Row<'_>) -> Result<(), VerifyError> {
    let evidence = digest_option(row, "evidence")?;
    let key: i64 = row.get("transaction_key")?;
    let event: String = row.get("event")?;
    let (holds, what) = match event.as_str() {
        "created" => {
            (evidence == digest_option(row, "request_digest")? && evidence == stored(conn, REQUEST, key)?, "its request was changed")
        }
        "prepared" => (evidence == stored(conn, PLAN, key)? && evidence == plan_digest(conn, key)?, "its plan was changed"),
        "completed" | "accepted" => (evidence == digest_option(row, "world_after")?, "its world was changed"),
        _ => (true, ""),
    };
    if holds { Ok(()) } else { Err(ChainError { seq: row.get("seq")?, what }.into()) }
}

const REQUEST: &str = "SELECT bytes FROM requests WHERE transaction_key = ?1";
const PLAN: &str = "SELECT bytes FROM plans WHERE transaction_key = ?1";

/// The digest of stored bytes; `None` where there are none.
fn stored(conn: &Connection, sql: &str, key: i64) -> Result<Option<Digest>, StoreError> {
    let bytes: Option<Vec<u8>> = conn.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()?;
    Ok(bytes.map(|bytes| digest_of(&bytes)))
}

fn plan_digest(conn: &Connection, key: i64) -> Result<Option<Digest>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT digest FROM plans WHERE transaction_key = ?1")?;
    Ok(statement.query_row([key], |row| Ok(Digest(row.get(0)?))).optional()?)
}
