//! Taking a text out of the record: every text of people and programs that holds it gets a mark in its place.
//!
//! Invariants: what was done stays what it was; no row goes; every event keeps its hash, so that the chain is the one that
//! others may have written down. What a row is now is said by a row of `redacted`, and the event `redacted` vouches for those of
//! its transaction. What this cannot do: take the text out of copies of the record, and out of what a hash proves about
//! a text that somebody can guess.

use backstep_core::ignore::Said;
use backstep_core::redaction::{Mode, Redacted, Redaction, mark};
use backstep_core::{Digest, Event, Stamp, TransactionId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::chain::{Encoder, digest_of};
use crate::error::StoreError;
use crate::event_row::{self, NewEvent, next_seq};
use crate::generation::{Generation, Opening};
use crate::open::Store;
use crate::verify::row_hash;

/// A document that is stored as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// A request.
    Request,
    /// A plan.
    Plan,
}

/// Whether two documents say the same but for texts for people, before and after. Formats belong to others.
pub type SameButTexts<'a> = &'a dyn Fn(Document, &[u8], &[u8]) -> bool;

/// A column with texts of people or programs, and whose transaction a row is.
struct Column {
    table: &'static str,
    name: &'static str,
    /// The row's key, as `changes` has it.
    row: &'static str,
    /// The key of its transaction.
    transaction: &'static str,
    holds: &'static str,
    set: &'static str,
}

const PLAIN: &str = "replace(NAME, ?1, ?3)";
const HOLDS: &str = "instr(NAME, ?1) > 0";
const BYTES: &str = "CAST(replace(CAST(NAME AS TEXT), ?2, ?3) AS BLOB)";
const BYTES_HOLD: &str = "instr(CAST(NAME AS TEXT), ?2) > 0";
const NONE: &str = "NULL";

const fn text(table: &'static str, name: &'static str, (row, transaction): (&'static str, &'static str)) -> Column {
    Column { table, name, row, transaction, holds: HOLDS, set: PLAIN }
}

const fn bytes(table: &'static str) -> Column {
    Column { table, name: "bytes", row: "transaction_key", transaction: "transaction_key", holds: BYTES_HOLD, set: BYTES }
}

const GENERATION: (&str, &str) = ("key", "(SELECT t.key FROM transactions t WHERE t.generation = generations.key)");
const TRANSACTION: (&str, &str) = ("key", "key");
const STEP: (&str, &str) = ("transaction_key || '/' || position", "transaction_key");
const EVENT: (&str, &str) = ("seq", "transaction_key");
const OWN: (&str, &str) = ("key", NONE);

/// Events last of those that a hash is made of: nothing of a row changes after its digest was made.
const COLUMNS: [Column; 24] = [
    text("generations", "comment", GENERATION),
    text("generations", "user", GENERATION),
    text("transactions", "description", TRANSACTION),
    text("transactions", "user", TRANSACTION),
    text("transactions", "unit", TRANSACTION),
    text("transactions", "client", TRANSACTION),
    text("transactions", "error_text", TRANSACTION),
    text("steps", "text", STEP),
    text("steps", "error_text", STEP),
    text("refusals", "user", OWN),
    text("refusals", "unit", OWN),
    text("refusals", "client", OWN),
    text("refusals", "program", OWN),
    text("refusals", "error_text", OWN),
    text("ignores", "comment", OWN),
    text("ignores", "user", OWN),
    text("work_backoff", "comment", OWN),
    text("work_backoff", "user", OWN),
    text("work_backoff", "error_text", OWN),
    text("work_history", "error_text", OWN),
    text("configurations", "text", OWN),
    bytes("requests"),
    bytes("plans"),
    // Of a package the text is dpkg's state before.
    Column { holds: "event <> 'item-changed' AND instr(NAME, ?1) > 0", ..text("events", "text", EVENT) },
];

/// The journal of rows has what it had; with the columns above and no others.
const IN_CHANGES: &str = "UPDATE changes SET fields = replace(fields, ?2, ?3) WHERE instr(fields, ?2) > 0 AND table_name IN (
        'transactions', 'steps', 'refusals', 'ignores', 'work_backoff', 'configurations')
    AND EXISTS (SELECT 1 FROM json_each(fields) WHERE (instr(value, ?1) > 0 OR instr(value, ?2) > 0)
        AND key IN ('comment', 'user', 'description', 'unit', 'client', 'error_text', 'text', 'program'))
    AND (?1 IS NOT NULL AND ?2 IS NOT NULL)";

/// A row that held the text.
struct Place {
    table: &'static str,
    column: &'static str,
    row: String,
    transaction: Option<i64>,
}

/// The text, the same as it stands in JSON, and the mark.
type Words = (String, String, String);

impl Store {
    /// Takes a text out of the record in a generation of its own, or says what that would be. Refuses when the text is part of
    /// what was asked for or done, or is in a transaction that has not ended.
    pub fn redact(&mut self, said: &Said<Redaction>, same: SameButTexts<'_>) -> Result<Redacted, StoreError> {
        let Said { what, comment, actor, at } = said;
        let generation = Generation::begin(self, &Opening::New { comment, actor }, *at)?;
        let number = generation.key().unsigned_abs();
        let words = open(generation.conn(), what, number)?;
        let mut places = Vec::new();
        for column in &COLUMNS {
            places.extend(replaced(generation.conn(), column, &words, same)?);
        }
        let transactions = tell(&generation, &places, comment, *at)?;
        let mut told = counted(&places);
        told.extend(settle(generation.conn(), &words)?);
        match what.mode {
            Mode::Try => drop(generation),
            Mode::Do if places.is_empty() => drop(generation),
            Mode::Do => generation.commit()?,
        }
        if what.mode == Mode::Do {
            self.write_anew()?;
        }
        Ok(Redacted { number, places: told, transactions })
    }

    /// Writes the file anew and empties the log: pages have rows as they were in the space between those that are. Also when
    /// nothing was found, so that who asks again after an error gets it done. A reader in the way of the log keeps it until it is
    /// next emptied.
    pub(crate) fn write_anew(&self) -> Result<(), StoreError> {
        // A large file would not fit into memory.
        self.conn.pragma_update(None, "temp_store", "file")?;
        let written = self.conn.execute_batch("VACUUM");
        self.conn.pragma_update(None, "temp_store", "memory")?;
        written?;
        Ok(self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }
}

/// Opens the redaction in the gate: from here to [`settle`] the triggers let exactly this text go.
fn open(conn: &Connection, what: &Redaction, number: u64) -> Result<Words, StoreError> {
    let escaped: String = conn.query_row("SELECT json_quote(?1)", [what.text()], |row| row.get(0))?;
    let words = (what.text().to_owned(), escaped[1..escaped.len() - 1].to_owned(), mark(number));
    conn.execute("UPDATE gate SET redacts = ?1, redacts_json = ?2, mark = ?3", params![words.0, words.1, words.2])?;
    Ok(words)
}

/// Replaces the text in a column; answers where it stood.
fn replaced(conn: &Connection, column: &Column, words: &Words, same: SameButTexts<'_>) -> Result<Vec<Place>, StoreError> {
    let Column { table, name, row, transaction, .. } = *column;
    let (holds, set) = (column.holds.replace("NAME", name), column.set.replace("NAME", name));
    // Every statement knows all three words, so that one list of parameters does for all.
    let all = "(?1 IS NOT NULL AND ?2 IS NOT NULL AND ?3 IS NOT NULL)";
    let find = format!("SELECT CAST({row} AS TEXT), {transaction}, {set}, {name} FROM {table} WHERE {holds} AND {all}");
    let mut statement = conn.prepare(&find)?;
    let mut rows = statement.query(params![words.0, words.1, words.2])?;
    let mut places = Vec::new();
    while let Some(found) = rows.next()? {
        let place = Place { table, column: name, row: found.get(0)?, transaction: found.get(1)? };
        if let Some(document) = document(table)
            && !same(document, &found.get::<_, Vec<u8>>(3)?, &found.get::<_, Vec<u8>>(2)?)
        {
            return Err(StoreError::NotOnlyText { table });
        }
        places.push(place);
    }
    if !places.is_empty() {
        let update = format!("UPDATE {table} SET {name} = {set} WHERE {holds} AND {all}");
        conn.execute(&update, params![words.0, words.1, words.2]).map_err(|error| not_only_text(error, table))?;
    }
    Ok(places)
}

fn document(table: &str) -> Option<Document> {
    match table {
        "requests" => Some(Document::Request),
        "plans" => Some(Document::Plan),
        _ => None,
    }
}

/// What the schema's rules refuse here is a text that something else depends on.
fn not_only_text(error: rusqlite::Error, table: &'static str) -> StoreError {
    match StoreError::from(error) {
        StoreError::Refused(_) => StoreError::NotOnlyText { table },
        other => other,
    }
}

/// Writes down every place, with an event for each transaction; answers the transactions.
fn tell(generation: &Generation<'_>, places: &[Place], comment: &str, at: Stamp) -> Result<Vec<TransactionId>, StoreError> {
    let mut keys: Vec<i64> = places.iter().filter_map(|place| place.transaction).collect();
    keys.sort_unstable();
    keys.dedup();
    for place in places.iter().filter(|place| place.transaction.is_none()) {
        write(generation, place, None)?;
    }
    keys.into_iter().map(|key| tell_one(generation, places, key, (comment, at))).collect()
}

fn tell_one(generation: &Generation<'_>, places: &[Place], key: i64, (comment, at): (&str, Stamp)) -> Result<TransactionId, StoreError> {
    let conn = generation.conn();
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (id, ended): (String, bool) = conn.query_row(ENDED, [key], read)?;
    let known: TransactionId = id.parse().map_err(|error| StoreError::corrupt(format!("column id: {error}")))?;
    if !ended {
        return Err(StoreError::NotEnded(known));
    }
    let seq = next_seq(conn)?;
    let mut count: u32 = 0;
    for place in places.iter().filter(|place| place.transaction == Some(key)) {
        write(generation, place, Some(seq))?;
        count = count.saturating_add(1);
    }
    let event = Event::Redacted { places: count, text: comment.to_owned() }.scrubbed();
    let evidence = Some(evidence(conn, seq)?);
    event_row::insert(generation, &NewEvent { transaction_key: key, transaction: &id, attempt: None, event: &event, evidence, at })?;
    Ok(known)
}

const ENDED: &str = "SELECT id, finished_us IS NOT NULL FROM transactions WHERE key = ?1";

fn write(generation: &Generation<'_>, place: &Place, event: Option<i64>) -> Result<(), StoreError> {
    let digest = match place.table {
        "events" => row_hash(generation.conn(), &place.row)?,
        _ => digest_of(&now(generation.conn(), place)?),
    };
    let sql = "INSERT INTO redacted (generation, table_name, row_key, column_name, event, digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    generation.conn().prepare_cached(sql)?.execute(params![generation.key(), place.table, place.row, place.column, event, digest.0])?;
    Ok(())
}

/// What stands in a place.
fn now(conn: &Connection, place: &Place) -> Result<Vec<u8>, StoreError> {
    let column = COLUMNS.iter().find(|column| column.table == place.table && column.name == place.column);
    let column = column.ok_or_else(|| StoreError::corrupt(format!("{}.{} has no texts", place.table, place.column)))?;
    let sql = format!("SELECT CAST({} AS BLOB) FROM {} WHERE CAST({} AS TEXT) = ?1", column.name, column.table, column.row);
    Ok(conn.prepare_cached(&sql)?.query_row([&place.row], |row| row.get(0))?)
}

pub(crate) const VOUCHED: &str = "SELECT table_name, row_key, column_name, digest FROM redacted WHERE event = ?1 ORDER BY key";

/// What an event `redacted` vouches for, as one digest.
pub(crate) fn evidence(conn: &Connection, seq: i64) -> Result<Digest, StoreError> {
    let mut encoder = Encoder::new(b"backstep redacted 1\n");
    let mut statement = conn.prepare_cached(VOUCHED)?;
    let mut rows = statement.query([seq])?;
    while let Some(row) = rows.next()? {
        for place in 0..3 {
            encoder.bytes(Some(row.get::<_, String>(place)?.as_bytes()));
        }
        encoder.bytes(Some(&row.get::<_, [u8; 32]>(3)?));
    }
    Ok(encoder.end())
}

pub(crate) const LATEST: &str =
    "SELECT digest, event FROM redacted WHERE table_name = ?1 AND row_key = ?2 AND column_name = ?3 ORDER BY key DESC LIMIT 1";

/// What a place was made by the last redaction of it, and which event vouches for that.
pub(crate) fn latest(conn: &Connection, table: &str, row: i64, column: &str) -> Result<Option<(Digest, i64)>, StoreError> {
    let mut statement = conn.prepare_cached(LATEST)?;
    let found =
        statement.query_row(params![table, row.to_string(), column], |row| Ok((Digest(row.get(0)?), row.get::<_, Option<i64>>(1)?)));
    Ok(found.optional()?.and_then(|(digest, event)| Some((digest, event?))))
}

/// Makes the journal of rows and the index say what the rows say, and closes the redaction; answers how many rows those were.
fn settle(conn: &Connection, words: &Words) -> Result<Option<(String, u64)>, StoreError> {
    let changed = conn.execute(IN_CHANGES, params![words.0, words.1, words.2]).map_err(|error| not_only_text(error, "changes"))?;
    conn.execute("INSERT INTO transactions_text (transactions_text) VALUES ('rebuild')", [])?;
    conn.execute("UPDATE gate SET redacts = NULL, redacts_json = NULL, mark = NULL", [])?;
    Ok((changed > 0).then(|| ("changes.fields".to_owned(), changed as u64)))
}

fn counted(places: &[Place]) -> Vec<(String, u64)> {
    let count = |column: &Column| places.iter().filter(|place| place.table == column.table && place.column == column.name).count();
    let all = COLUMNS.iter().map(|column| (format!("{}.{}", column.table, column.name), count(column) as u64));
    all.filter(|(_, count)| *count > 0).collect()
}
