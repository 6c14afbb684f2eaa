//! Verifying that the record is what was written: the chain of events and the bytes it vouches for.
//!
//! What this cannot see: the newest events taken off the end together with everything derived from them. That
//! needs a copy of the last hash elsewhere; the documents in the spool have it.

use backstep_core::record_archive::RecordArchive;
use backstep_core::{BootId, Digest, Stamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::archive;
use crate::chain::{BEGINNING, Fields, Link, digest_of};
use crate::error::{ChainError, StoreError, VerifyError};
use crate::migrate::schema_version;
use crate::open::Store;
use crate::reader::Reader;
use crate::redact::{evidence as vouched, latest};

/// Events between two looks at whether anybody still waits.
const BATCH: u32 = 10_000;

/// How far a verification is: everything up to here is what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Events verified, and the number of the last one.
    pub events: u64,
    /// The hash of that one, which stands for all of them.
    pub hash: Digest,
    /// How many of them, or of the requests and plans that they vouch for, had a text taken out, and are what that left.
    pub redacted: u64,
    /// How many of those an event after the end of this record vouches for: it is of a moment before the redaction.
    pub unvouched: u64,
}

impl Verified {
    const NOTHING: Self = Self { events: 0, hash: BEGINNING, redacted: 0, unvouched: 0 };

    /// Where the events of a file begin: after what has left it.
    fn before(conn: &Connection) -> Result<Self, StoreError> {
        let left = archive::after_archives(conn)?;
        Ok(left.map_or(Self::NOTHING, |(event, hash)| Self { events: event.unsigned_abs(), hash, ..Self::NOTHING }))
    }

    /// Counts what was redacted; answers whether an event can vouch for it.
    fn redaction(&mut self, conn: &Connection, event: i64) -> Result<bool, StoreError> {
        self.redacted += 1;
        let found: Option<String> = conn.prepare_cached(NAMED)?.query_row([event], |row| row.get(0)).optional()?;
        self.unvouched += u64::from(found.is_none());
        Ok(found.is_none_or(|name| name == "redacted"))
    }
}

impl Store {
    /// As [`Reader::verify_file`], without a break; answers the number of the last event.
    pub fn verify_chain(&self) -> Result<u64, VerifyError> {
        let mut verified = Verified::before(&self.conn)?;
        while batch(&self.conn, &mut verified, BATCH)? {}
        Ok(verified.events)
    }
}

impl Reader {
    /// Reads every event, those in archives first, whose files must be what they were. See [`Reader::verify_file`].
    pub fn verify(&self, mut told: impl FnMut(u64, u64) -> bool) -> Result<Verified, VerifyError> {
        let total = total(&self.conn)?.unsigned_abs();
        let (mut before, mut previous) = (Verified::NOTHING, None);
        for archive in archive::oldest_first(&self.conn)? {
            let verified = self.verify_archive(&archive, previous, |done, _| told(done, total))?;
            previous = Some((archive.events.1, archive.last_hash));
            before.redacted += verified.redacted;
            before.unvouched += verified.unvouched;
        }
        let verified = self.verify_file(told)?;
        Ok(Verified { redacted: before.redacted + verified.redacted, unvouched: before.unvouched + verified.unvouched, ..verified })
    }

    /// The file must be the one that is listed, begin where the one before ends, and end with the event that the next one is
    /// chained to.
    fn verify_archive(
        &self,
        archive: &RecordArchive,
        previous: Option<(i64, Digest)>,
        mut told: impl FnMut(u64, u64) -> bool,
    ) -> Result<Verified, VerifyError> {
        let broken = |what| VerifyError::Broken(ChainError { seq: archive.events.0, what });
        let path = archive::path(&self.conn, archive);
        if !path.exists() {
            return Err(broken("its archive is not there"));
        }
        let digest = archive::file_digest(&path).map_err(|source| StoreError::File { path: path.clone(), source })?;
        if digest != archive.digest {
            return Err(broken("the file of its archive was changed"));
        }
        let (reader, mut is_stopped) = (Self::open_archive(&path)?, false);
        if archive::after_archives(&reader.conn)? != previous {
            return Err(broken("its archive goes on from another one"));
        }
        let verified = reader.verify_file(|done, total| {
            is_stopped = !told(done, total);
            !is_stopped
        })?;
        let ends = (verified.events, verified.hash) == (archive.events.1.unsigned_abs(), archive.last_hash);
        if ends || is_stopped { Ok(verified) } else { Err(broken("its archive ends with another event")) }
    }

    /// Reads every event of this file, in batches with a snapshot each, so that the writer's log does not grow meanwhile; between
    /// them `told` hears how far it is and how many there were at the beginning, and may say stop with `false`.
    ///
    /// Checked: numbers without gaps, every hash over the one before, the request's and plan's bytes against
    /// the digests recorded with `created` and `prepared`, the digests beside the rows against the same; of what was redacted, that it
    /// is what the redaction left.
    pub fn verify_file(&self, mut told: impl FnMut(u64, u64) -> bool) -> Result<Verified, VerifyError> {
        let total = total(&self.conn)?;
        let mut verified = Verified::before(&self.conn)?;
        while batch(&self.conn, &mut verified, BATCH)? && told(verified.events, total.unsigned_abs()) {}
        Ok(verified)
    }
}

/// Newest events that are looked at after an interruption.
const ENDS: i64 = 256;

/// Verifies the newest events, against the hash of the one before them: what an interruption could have torn.
pub(crate) fn check_ends(conn: &Connection) -> Result<(), StoreError> {
    let from = total(conn)? - ENDS;
    let before: Option<[u8; 32]> = conn.query_row(crate::rebuild::HASH, [from], |row| row.get(0)).optional()?;
    let mut verified = match before {
        Some(hash) => Verified { events: from.unsigned_abs(), hash: Digest(hash), ..Verified::NOTHING },
        None if schema_version(conn)? < ARCHIVES => Verified::NOTHING,
        None => Verified::before(conn)?,
    };
    match batch(conn, &mut verified, BATCH) {
        Ok(_) => Ok(()),
        Err(VerifyError::Broken(broken)) => Err(StoreError::corrupt(broken.to_string())),
        Err(VerifyError::Store(error)) => Err(error),
    }
}

/// The first schema with archives.
pub(crate) const ARCHIVES: i64 = 7;

pub(crate) const TOTAL: &str = "SELECT coalesce(max(seq), 0) FROM events";

fn total(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn.query_row(TOTAL, [], |row| row.get(0))?)
}

/// Columns are read by their place: there are millions of rows, and to look for a name takes longer than to hash.
pub(crate) const EVENTS: &str = "SELECT e.seq, e.transaction_key, e.attempt, e.event, e.step, e.direction, e.state, e.code, e.subject,
        e.text, e.after, e.number, e.evidence, e.at_us, e.at_monotonic_us, e.at_boot, e.generation, e.run, e.hash
    FROM events e WHERE e.seq > ?1 ORDER BY e.seq LIMIT ?2";
/// The first of the texts, and what comes after them.
const STEP: usize = 4;
const NUMBER: usize = 11;

pub(crate) const NAMED: &str = "SELECT event FROM events WHERE seq = ?1";
pub(crate) const SUBJECT: &str = "SELECT id, request_digest, world_after FROM transactions WHERE key = ?1";

/// The transaction of an event.
#[derive(Debug, Default)]
struct Subject {
    key: i64,
    id: String,
    request: Option<Digest>,
    world: Option<Digest>,
}

impl Subject {
    /// What a row is about. Most events follow one of the same transaction, which is then not looked up again.
    fn of(&mut self, conn: &Connection, row: &Row<'_>) -> Result<(), StoreError> {
        let key = row.get(1)?;
        if self.key == key {
            return Ok(());
        }
        *self = Self { key, ..Self::default() };
        let mut statement = conn.prepare_cached(SUBJECT)?;
        let mut rows = statement.query([key])?;
        if let Some(row) = rows.next()? {
            *self = Self { key, id: row.get(0)?, request: digest_at(row, 1)?, world: digest_at(row, 2)? };
        }
        Ok(())
    }
}

/// Verifies some events more; answers whether there may be others.
fn batch(conn: &Connection, verified: &mut Verified, limit: u32) -> Result<bool, VerifyError> {
    let mut statement = conn.prepare_cached(EVENTS)?;
    let mut rows = statement.query(params![verified.events.cast_signed(), limit])?;
    let (mut found, mut subject) = (0, Subject::default());
    while let Some(row) = rows.next()? {
        subject.of(conn, row)?;
        verified.hash = verify_row(conn, row, &subject, verified)?;
        verify_bytes(conn, row, &subject, verified)?;
        verified.events += 1;
        found += 1;
    }
    Ok(found == limit)
}

fn verify_row(conn: &Connection, row: &Row<'_>, subject: &Subject, verified: &mut Verified) -> Result<Digest, VerifyError> {
    let seq: i64 = row.get(0)?;
    let broken = |what| VerifyError::Broken(ChainError { seq, what });
    if u64::try_from(seq) != Ok(verified.events + 1) {
        return Err(broken("an event before it is missing"));
    }
    let (hash, stored) = (hash_of(row, &subject.id, verified.hash)?, digest_at(row, 18)?);
    if Some(hash) == stored {
        return Ok(hash);
    }
    // The hash is of the text that was there; what is there now has a digest, and an event that vouches for it.
    let known = latest(conn, "events", seq, "text")?.filter(|(now, event)| *now == hash && *event > seq);
    match (known, stored) {
        (Some((_, event)), Some(stored)) if verified.redaction(conn, event)? => Ok(stored),
        _ => Err(broken("its hash is another one")),
    }
}

/// The hash of a row as it stands.
fn hash_of(row: &Row<'_>, transaction: &str, before: Digest) -> Result<Digest, StoreError> {
    let link = Link {
        seq: row.get(0)?,
        transaction,
        attempt: row.get(2)?,
        fields: fields(row)?,
        evidence: digest_at(row, 12)?,
        at: Stamp { utc_us: row.get(13)?, monotonic_us: row.get(14)?, boot: BootId(row.get(15)?) },
        generation: row.get(16)?,
        run: row.get(17)?,
    };
    Ok(link.hash(before))
}

/// The hash of an event as it stands, whatever its own column says.
pub(crate) fn row_hash(conn: &Connection, seq: &str) -> Result<Digest, StoreError> {
    let seq: i64 = seq.parse().map_err(|_| StoreError::corrupt("an event without a number"))?;
    let before = "SELECT hash FROM events WHERE seq = ?1";
    let before = conn.prepare_cached(before)?.query_row([seq - 1], |row| Ok(Digest(row.get(0)?))).optional()?;
    let before = before.map_or_else(|| Verified::before(conn).map(|left| left.hash), Ok)?;
    let mut subject = Subject::default();
    conn.prepare_cached(EVENTS)?
        .query_row(params![seq - 1, 1], |row| Ok(subject.of(conn, row).and_then(|()| hash_of(row, &subject.id, before))))?
}

fn fields<'a>(row: &'a Row<'_>) -> Result<Fields<'a>, StoreError> {
    let mut texts = [None; 7];
    for (text, place) in texts.iter_mut().zip(STEP..NUMBER) {
        *text = text_at(row, place)?;
    }
    let event = text_at(row, 3)?.ok_or_else(|| StoreError::corrupt("an event without a name"))?;
    Ok(Fields { event, texts, number: row.get(NUMBER)? })
}

fn text_at<'a>(row: &'a Row<'_>, place: usize) -> Result<Option<&'a str>, StoreError> {
    row.get_ref(place)?.as_str_or_null().map_err(|error| StoreError::corrupt(format!("an event's text: {error}")))
}

fn digest_at(row: &Row<'_>, place: usize) -> Result<Option<Digest>, StoreError> {
    Ok(row.get::<_, Option<[u8; 32]>>(place)?.map(Digest))
}

/// The evidence of an event against what is stored beside it.
fn verify_bytes(conn: &Connection, row: &Row<'_>, subject: &Subject, verified: &mut Verified) -> Result<(), VerifyError> {
    let evidence = || digest_at(row, 12);
    let (holds, what) = match text_at(row, 3)?.unwrap_or_default() {
        "created" => {
            let evidence = evidence()?;
            (evidence == subject.request && is_stored(conn, ("requests", subject.key), evidence, verified)?, "its request was changed")
        }
        "prepared" => (is_stored(conn, ("plans", subject.key), evidence()?, verified)?, "its plan was changed"),
        "completed" | "accepted" => (evidence()? == subject.world, "its world was changed"),
        "redacted" => (evidence()? == Some(vouched(conn, row.get(0)?)?), "what it redacted was changed"),
        _ => (true, ""),
    };
    if holds { Ok(()) } else { Err(ChainError { seq: row.get(0)?, what }.into()) }
}

/// The bytes that an event vouches for, and the digest that is beside them.
pub(crate) const REQUEST: &str = "SELECT NULL, bytes FROM requests WHERE transaction_key = ?1";
pub(crate) const PLAN: &str = "SELECT digest, bytes FROM plans WHERE transaction_key = ?1";

/// Whether the stored bytes are those of the digest, or what a redaction left of them; the digest beside them is the same.
fn is_stored(conn: &Connection, (table, key): (&str, i64), evidence: Option<Digest>, verified: &mut Verified) -> Result<bool, StoreError> {
    let sql = if table == "plans" { PLAN } else { REQUEST };
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([key])?;
    let Some(row) = rows.next()? else { return Ok(evidence.is_none()) };
    if table == "plans" && digest_at(row, 0)? != evidence {
        return Ok(false);
    }
    let bytes = row.get_ref(1)?.as_blob().map_err(|error| StoreError::corrupt(format!("bytes in {table}: {error}")))?;
    let digest = Some(digest_of(bytes));
    if digest == evidence {
        return Ok(true);
    }
    match latest(conn, table, key, "bytes")? {
        Some((now, event)) if Some(now) == digest => verified.redaction(conn, event),
        _ => Ok(false),
    }
}
