//! A record as it was: its events up to a moment, told again to a new file.
//!
//! What is derived from events (status, steps, items, attempts) is derived again by the code that did it first; what
//! events only vouch for (requests, plans, who asked) is copied, and so are the refusals up to that moment, which no event
//! tells. The hashes are those of the original, so the copy verifies. Absent on purpose: changing a record in place; a person puts the new file where it belongs.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use backstep_core::{Event, Status};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::append::project;
use crate::columns::{digest_option, stamp};
use crate::error::StoreError;
use crate::event_row::fields;
use crate::open::{Run, Store};
use crate::project_transaction::{self, TransactionRow};
use crate::reader::Reader;

/// Up to where a record is told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The last event at or before this time, microseconds since 1970 in UTC.
    Time(i64),
    /// The event with this number.
    Event(u64),
}

impl Reader {
    /// Makes a new file with the record as it was; answers how many events it has. The file must not be there.
    pub fn back_up_until(&self, until: Until, target: &Path) -> Result<u64, StoreError> {
        let file_error = |source| StoreError::File { path: target.to_owned(), source };
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(target).map_err(file_error)?;
        // Nothing is recorded of this run: every change of the new file is one of a run that was.
        let mut store = Store::open(target, &Run::none())?;
        let source = self.conn.path().unwrap_or_default();
        store.conn.execute("ATTACH DATABASE ?1 AS old", [source])?;
        let tx = store.conn.transaction()?;
        let last = last_event(&tx, until)?;
        copy_archives(&tx, last)?;
        copy_frame(&tx, last)?;
        tell(&tx, last)?;
        let bound = bound(&tx, until, last)?;
        copy_refusals(&tx, bound)?;
        copy_ended_rows(&tx, &IGNORES, bound)?;
        copy_ended_rows(&tx, &BACKOFFS, bound)?;
        copy_work_history(&tx, bound)?;
        copy_configurations(&tx, bound)?;
        copy_redacted(&tx, last, bound)?;
        tx.execute("UPDATE gate SET generation = NULL, run = NULL, at_us = NULL", [])?;
        tx.commit()?;
        store.conn.execute("DETACH DATABASE old", [])?;
        store.conn.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
        store.check()?;
        store.close()?;
        std::fs::File::open(target).and_then(|file| file.sync_all()).map_err(file_error)?;
        Ok(last.unsigned_abs())
    }
}

/// What had left the record is no part of the copy; what vouches for it is.
fn copy_archives(tx: &Transaction<'_>, last: i64) -> Result<(), StoreError> {
    let sql = "SELECT a.key, a.generation, g.run, g.opened_us, a.last_event FROM old.archives a
        JOIN old.generations g ON g.key = a.generation ORDER BY a.key";
    let mut statement = tx.prepare(sql)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        if row.get::<_, i64>(4)? > last {
            return Err(StoreError::MomentArchived);
        }
        frame(tx, (row.get(1)?, row.get(2)?, row.get(3)?))?;
        tx.execute("INSERT INTO archives SELECT * FROM old.archives WHERE key = ?1", [row.get::<_, i64>(0)?])?;
    }
    Ok(())
}

/// Reads all events once; nobody waits for it.
fn last_event(conn: &Connection, until: Until) -> Result<i64, StoreError> {
    let (sql, bound) = match until {
        Until::Time(at_us) => ("SELECT coalesce(max(seq), 0) FROM old.events WHERE at_us <= ?1", at_us),
        Until::Event(seq) => ("SELECT coalesce(max(seq), 0) FROM old.events WHERE seq <= ?1", i64::try_from(seq).unwrap_or(i64::MAX)),
    };
    Ok(conn.query_row(sql, [bound], |row| row.get(0))?)
}

fn tell(tx: &Transaction<'_>, last: i64) -> Result<(), StoreError> {
    let mut open: HashMap<i64, TransactionRow> = HashMap::new();
    let mut statement = tx.prepare("SELECT * FROM old.events WHERE seq <= ?1 ORDER BY seq")?;
    let mut rows = statement.query([last])?;
    while let Some(row) = rows.next()? {
        let (seq, key): (i64, i64) = (row.get("seq")?, row.get("transaction_key")?);
        let at = stamp(row, "at")?;
        let event = Event::from_fields(&fields(row)?)?;
        open_gate(tx, (row.get("generation")?, row.get("run")?, at.utc_us))?;
        copy_evidence(tx, &event, key)?;
        tx.prepare_cached("INSERT INTO events SELECT * FROM old.events WHERE seq = ?1")?.execute([seq])?;
        if matches!(event, Event::Redacted { .. }) {
            // Of a transaction that has ended, and changes nothing of it.
            continue;
        }
        if event == Event::Created {
            open.insert(key, begun(tx, key)?);
            continue;
        }
        let known = open.get_mut(&key).ok_or_else(|| StoreError::corrupt(format!("event {seq} is of no open transaction")))?;
        let next = known.status.after(&event)?;
        project(tx, known, &event, next, digest_option(row, "evidence")?, at)?;
        if next == known.status {
            project_transaction::touch(tx, key, at)?;
        }
        known.status = next;
        if next.state.is_final() {
            open.remove(&key);
        }
    }
    journal_positions(tx)
}

/// Generations and runs up to the last one that an event names.
fn copy_frame(tx: &Transaction<'_>, last: i64) -> Result<(), StoreError> {
    let frame = "SELECT coalesce(max(generation), 0), coalesce(max(run), 0) FROM old.events WHERE seq <= ?1";
    let (generation, run): (i64, i64) = tx.query_row(frame, [last], |row| Ok((row.get(0)?, row.get(1)?)))?;
    tx.execute(
        "INSERT INTO generations SELECT * FROM old.generations WHERE key <= ?1 AND key NOT IN (SELECT key FROM generations)",
        [generation],
    )?;
    let first = "SELECT g.key, g.run, g.opened_us FROM generations g ORDER BY g.key LIMIT 1";
    if let Some(gate) = tx.query_row(first, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()? {
        open_gate(tx, gate)?;
        tx.execute("INSERT INTO runs SELECT * FROM old.runs WHERE key <= ?1 AND key NOT IN (SELECT key FROM runs)", [run])?;
    }
    Ok(())
}

/// The moment of what is no event: with an event, just before the next one.
fn bound(tx: &Transaction<'_>, until: Until, last: i64) -> Result<i64, StoreError> {
    let next = "SELECT at_us - 1 FROM old.events WHERE seq = ?1 + 1";
    match until {
        Until::Time(at_us) => Ok(at_us),
        Until::Event(_) => Ok(tx.query_row(next, [last], |row| row.get(0)).optional()?.unwrap_or(i64::MAX)),
    }
}

/// Refusals up to the moment. The frame of the events holds some already.
fn copy_refusals(tx: &Transaction<'_>, bound: i64) -> Result<(), StoreError> {
    let framed = "SELECT r.key, r.generation, g.run, r.until_us FROM old.refusals r JOIN old.generations g ON g.key = r.generation
        WHERE (r.until_us <= ?1 OR r.generation IN (SELECT key FROM generations))
            AND (r.transaction_id IS NULL OR r.transaction_id IN (SELECT id FROM transactions)
                OR EXISTS (SELECT 1 FROM archives a WHERE r.transaction_id BETWEEN a.first_id AND a.last_id)) ORDER BY r.key";
    let mut statement = tx.prepare(framed)?;
    let mut rows = statement.query([bound])?;
    while let Some(row) = rows.next()? {
        let (key, generation, run, at_us): (i64, i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        frame(tx, (generation, run, at_us))?;
        tx.execute("INSERT INTO refusals SELECT * FROM old.refusals WHERE key = ?1", [key])?;
    }
    Ok(())
}

/// A table whose rows are written once and ended once.
struct EndedRows {
    table: &'static str,
    /// The columns that are written at the beginning, and the one that has its time.
    fixed: &'static str,
    begun: &'static str,
    /// Those that are written at the end, and the two that have its time and its generation.
    mutable: &'static str,
    ended: &'static str,
    ended_in: &'static str,
}

const IGNORES: EndedRows = EndedRows {
    table: "ignores",
    fixed: "key, generation, pattern, source_kind, source_name, comment, until_us, uid, user, added_us, added_monotonic_us, added_boot",
    begun: "added_us",
    mutable: "removed_generation, removed_us, removed_monotonic_us, removed_boot",
    ended: "removed_us",
    ended_in: "removed_generation",
};

const BACKOFFS: EndedRows = EndedRows {
    table: "work_backoff",
    fixed: "key, generation, subject, process, failures, error_code, error_text, transaction_id, comment, uid, user, set_us,
        set_monotonic_us, set_boot, until_us",
    begun: "set_us",
    mutable: "ended_generation, ended_us, ended_monotonic_us, ended_boot, ended_by",
    ended: "ended_us",
    ended_in: "ended_generation",
};

/// How work went up to the moment.
fn copy_work_history(tx: &Transaction<'_>, bound: i64) -> Result<(), StoreError> {
    copy_rows(tx, "work_history", "SELECT key, generation, run, at_us FROM old.work_history WHERE at_us <= ?1 ORDER BY key", bound)
}

/// What the configuration had said at the moment.
fn copy_configurations(tx: &Transaction<'_>, bound: i64) -> Result<(), StoreError> {
    let rows = "SELECT c.key, c.generation, g.run, g.opened_us FROM old.configurations c JOIN old.generations g ON g.key = c.generation
        WHERE g.opened_us <= ?1 ORDER BY c.key";
    copy_rows(tx, "configurations", rows, bound)
}

/// Rows that never change; `rows` answers the key of each, its generation, run and time.
fn copy_rows(tx: &Transaction<'_>, table: &str, rows: &str, bound: i64) -> Result<(), StoreError> {
    let insert = format!("INSERT INTO {table} SELECT * FROM old.{table} WHERE key = ?1");
    let mut statement = tx.prepare(rows)?;
    let mut found = statement.query([bound])?;
    while let Some(row) = found.next()? {
        frame(tx, (row.get(1)?, row.get(2)?, row.get(3)?))?;
        tx.execute(&insert, [row.get::<_, i64>(0)?])?;
    }
    Ok(())
}

/// Rows that had begun at the moment, ended only if they had ended then. Beginnings and ends in the order in which they
/// came, because an end makes room for the next one of its kind.
fn copy_ended_rows(tx: &Transaction<'_>, rows: &EndedRows, bound: i64) -> Result<(), StoreError> {
    let EndedRows { table, fixed, begun, mutable, ended, ended_in } = rows;
    let sql = format!(
        "SELECT r.key, r.generation, g.run, r.{begun} AS at_us, 1 AS begins FROM old.{table} r
             JOIN old.generations g ON g.key = r.generation WHERE r.{begun} <= ?1
         UNION ALL SELECT r.key, r.{ended_in}, g.run, r.{ended}, 0 FROM old.{table} r
             JOIN old.generations g ON g.key = r.{ended_in} WHERE r.{ended} <= ?1 AND r.{begun} <= ?1
         ORDER BY 4, 2, 5"
    );
    let insert = format!("INSERT INTO {table} ({fixed}) SELECT {fixed} FROM old.{table} WHERE key = ?1");
    let end = format!("UPDATE {table} SET ({mutable}) = (SELECT {mutable} FROM old.{table} o WHERE o.key = {table}.key) WHERE key = ?1");
    let mut statement = tx.prepare(&sql)?;
    let mut found = statement.query([bound])?;
    while let Some(row) = found.next()? {
        let key: i64 = row.get(0)?;
        frame(tx, (row.get(1)?, row.get(2)?, row.get(3)?))?;
        tx.execute(if row.get(4)? { &insert } else { &end }, [key])?;
    }
    Ok(())
}

/// What was redacted up to the moment, and what vouches for the texts of this copy that were taken out later: without that
/// they would not verify.
fn copy_redacted(tx: &Transaction<'_>, last: i64, bound: i64) -> Result<(), StoreError> {
    let sql = "SELECT r.key, r.generation, g.run, g.opened_us FROM old.redacted r JOIN old.generations g ON g.key = r.generation
        WHERE r.event <= ?1 OR (r.event IS NULL AND g.opened_us <= ?2)
            OR (r.table_name = 'events' AND CAST(r.row_key AS INTEGER) <= ?1)
            OR (r.table_name = 'requests' AND r.row_key IN (SELECT CAST(transaction_key AS TEXT) FROM requests))
            OR (r.table_name = 'plans' AND r.row_key IN (SELECT CAST(transaction_key AS TEXT) FROM plans))
        ORDER BY r.key";
    let mut statement = tx.prepare(sql)?;
    let mut found = statement.query([last, bound])?;
    while let Some(row) = found.next()? {
        frame(tx, (row.get(1)?, row.get(2)?, row.get(3)?))?;
        tx.execute("INSERT INTO redacted SELECT * FROM old.redacted WHERE key = ?1", [row.get::<_, i64>(0)?])?;
    }
    Ok(())
}

/// Opens a generation that is no transaction's, with its run, as it was.
fn frame(tx: &Transaction<'_>, (generation, run, at_us): (i64, i64, i64)) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO generations SELECT * FROM old.generations WHERE key = ?1 AND key NOT IN (SELECT key FROM generations)",
        [generation],
    )?;
    open_gate(tx, (generation, run, at_us))?;
    tx.execute("INSERT INTO runs SELECT * FROM old.runs WHERE key = ?1 AND key NOT IN (SELECT key FROM runs)", [run])?;
    Ok(())
}

fn open_gate(tx: &Transaction<'_>, (generation, run, at_us): (i64, i64, i64)) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE gate SET generation = ?1, run = ?2, at_us = ?3")?.execute(params![generation, run, at_us])?;
    Ok(())
}

/// The columns of a transaction that never change.
const FIXED: &str =
    "key, id, reversed, generation, kind, description, priority, reverts, scope, retries, uid, user, loginuid, pid, sender, unit,
    origin, client, request_digest, created_us, created_monotonic_us, created_boot";

/// What an event vouches for and does not say, as it was when the event was new.
fn copy_evidence(tx: &Transaction<'_>, event: &Event, key: i64) -> Result<(), StoreError> {
    let statements: &[&str] = if *event == Event::Created {
        &[
            &format!(
                "INSERT INTO transactions ({FIXED}, state, cancel_requested, undoing, attempts, updated_us, updated_monotonic_us,
                     updated_boot)
                 SELECT {FIXED}, 'created', 0, 0, 0, created_us, created_monotonic_us, created_boot FROM old.transactions WHERE key = ?1"
            ),
            "INSERT INTO tags SELECT * FROM old.tags WHERE transaction_key = ?1",
            "INSERT INTO requests SELECT * FROM old.requests WHERE transaction_key = ?1",
        ]
    } else if matches!(event, Event::Prepared { .. }) {
        &[
            "INSERT INTO plans SELECT * FROM old.plans WHERE transaction_key = ?1",
            "INSERT INTO items SELECT transaction_key, position, name, arch, manager, action, reason, from_version, to_version, undo,
                 undo_why, '', 'pending' FROM old.items WHERE transaction_key = ?1",
            "INSERT INTO steps (transaction_key, position, kind, attempt, state, text)
                 SELECT transaction_key, position, kind, 0, 'pending', '' FROM old.steps WHERE transaction_key = ?1",
        ]
    } else {
        return Ok(());
    };
    for sql in statements {
        tx.prepare_cached(sql)?.execute([key])?;
    }
    Ok(())
}

fn begun(tx: &Transaction<'_>, key: i64) -> Result<TransactionRow, StoreError> {
    let id: String = tx.query_row("SELECT id FROM transactions WHERE key = ?1", [key], |row| row.get(0))?;
    let id = id.parse().map_err(|error| StoreError::corrupt(format!("column id: {error}")))?;
    Ok(TransactionRow { status: Status::CREATED, ..project_transaction::read(tx, id)? })
}

/// How far the journals of attempts were taken in: no event says it. Of an attempt that had ended it is what it was
/// at its end; of one that ran, what was written last under its generation before the moment.
fn journal_positions(tx: &Transaction<'_>) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE attempts SET journal_seq = (SELECT o.journal_seq FROM old.attempts o
             WHERE o.transaction_key = attempts.transaction_key AND o.number = attempts.number) WHERE result IS NOT NULL",
        [],
    )?;
    let running = "SELECT a.transaction_key, a.number, t.generation, t.updated_us FROM attempts a
        JOIN transactions t ON t.key = a.transaction_key WHERE a.result IS NULL";
    let mut statement = tx.prepare(running)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (key, number, generation, at_us): (i64, i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let written = "SELECT json_extract(fields, '$.journal_seq[1]') AS seq FROM old.changes WHERE generation = ?1 AND at_us <= ?2
            AND table_name = 'attempts' AND row_key = ?3 AND seq IS NOT NULL ORDER BY key DESC LIMIT 1";
        let found = tx.query_row(written, params![generation, at_us, format!("{key}/{number}")], |row| row.get::<_, i64>(0)).optional()?;
        let set = "UPDATE attempts SET journal_seq = ?3 WHERE transaction_key = ?1 AND number = ?2";
        tx.execute(set, params![key, number, found.unwrap_or(0)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_core::{Direction, ErrorCode, Kind, StepKind, StepState};

    use crate::Append;
    use crate::tests::{Fixture, ended, id, run};

    /// Every row of every table but the journal of rows, whose numbers are its own.
    fn dump(conn: &Connection) -> Vec<String> {
        let mut lines = Vec::new();
        let derived = ["transactions", "tags", "requests", "plans", "items", "steps", "attempts", "events"];
        for table in ["runs", "generations", "gate", "refusals", "ignores", "work_backoff", "work_history", "configurations", "redacted"]
            .into_iter()
            .chain(derived)
        {
            let mut statement = conn.prepare(&format!("SELECT * FROM {table}")).expect(table);
            let columns = statement.column_count();
            let mut rows = statement.query([]).expect(table);
            while let Some(row) = rows.next().expect(table) {
                let cells: Vec<String> = (0..columns).map(|i| format!("{:?}", row.get_ref(i).expect("cell"))).collect();
                lines.push(format!("{table} {}", cells.join("|")));
            }
        }
        lines
    }

    /// Somebody is turned away once more.
    fn refuse(f: &mut Fixture, about: Option<u32>) {
        let refusal = crate::tests::refusals_kept::refusal(1000, ErrorCode::AuthDenied);
        let refusal = backstep_core::refusal::Refusal { transaction: about.map(id), ..refusal };
        let at = f.at();
        f.store.refuse(&crate::NewRefusal { refusal: &refusal, count: 2, at, until: at }).expect("refuse");
    }

    /// Says what was said already, so that one ends, and takes it back.
    fn ignore(f: &mut Fixture) {
        use crate::tests::ignores::{ignore, said};
        f.at();
        let number = f.store.ignore(&said(ignore("hello"), f.now)).expect("ignore");
        f.at();
        f.store.unignore(&said(number, f.now)).expect("remove");
        f.at();
        f.store.ignore(&said(ignore("hello"), f.now)).expect("ignore again");
    }

    fn configure(f: &mut Fixture, text: &str) {
        let at = f.at().monotonic_us;
        f.store.configure(&crate::configurations::tests::said(text, at)).expect("configure");
    }

    /// A failure, another one, and somebody who has it left alone for longer.
    fn back_off(f: &mut Fixture, n: u32) {
        use crate::tests::ignores::said;
        use crate::tests::work::{asked, fails};
        fails(f, n, Kind::Install, ErrorCode::ScriptFailed, None);
        fails(f, n + 1, Kind::Install, ErrorCode::ScriptFailed, None);
        let at = f.at().monotonic_us;
        f.store.back_off(&said(asked("hello", "install", 1 << 50), at)).expect("set");
        f.at();
    }

    fn history(f: &mut Fixture) {
        ignore(f);
        configure(f, "undo.days = 9");
        back_off(f, 11);
        refuse(f, None);
        f.completed(1, Kind::Install, None);
        refuse(f, Some(1));
        f.started(2, Kind::Install, None);
        let begin = |direction| Event::StepStarted { step: StepKind::Apply, direction };
        let turn = Event::UndoStarted { code: ErrorCode::ScriptFailed, text: "x".into() };
        f.append(2, &[begin(Direction::Forward), ended(StepKind::Apply, StepState::Failed), turn]).expect("fail");
        f.append(2, &[begin(Direction::Undo), ended(StepKind::Apply, StepState::Undone)]).expect("undo");
        f.append(2, &[Event::UndoFinished { differences: 0 }]).expect("end");
        f.started(3, Kind::Rollback, Some(id(1)));
        let at = f.at();
        let events = [begin(Direction::Forward)];
        let append = Append { id: id(3), attempt: Some(1), events: &events, at, journal_seq: Some(7), world_after: None };
        f.store.append(&append).expect("journal");
        refuse(f, Some(3));
    }

    #[test]
    fn a_record_told_again_is_the_record() {
        let mut f = Fixture::new();
        history(&mut f);
        let target = f.path.with_extension("again");
        let events = Reader::open(&f.path).expect("open").back_up_until(Until::Event(u64::MAX), &target).expect("again");
        assert_eq!(events, f.store.verify_chain().expect("whole"));
        let again = Store::open(&target, &run(2)).expect("a record");
        assert_eq!(dump(&again.conn), dump(&f.store.conn));
        assert_eq!(again.verify_chain().expect("whole"), events);
    }

    #[test]
    fn a_record_of_a_moment_is_what_was_there_then() {
        let mut f = Fixture::new();
        f.completed(1, Kind::Install, None);
        f.started(2, Kind::Install, None);
        refuse(&mut f, Some(2));
        ignore(&mut f);
        configure(&mut f, "undo.days = 9");
        back_off(&mut f, 11);
        let (then, before) = (f.now + 500, dump(&f.store.conn));
        refuse(&mut f, Some(2));
        configure(&mut f, "");
        let at = f.at().monotonic_us;
        f.store.unignore(&crate::tests::ignores::said(2, at)).expect("remove");
        f.append(2, &[Event::Completed]).expect("complete");
        f.completed(3, Kind::Remove, None);
        refuse(&mut f, Some(3));
        let reader = Reader::open(&f.path).expect("open");
        let target = f.path.with_extension("then");
        reader.back_up_until(Until::Time(crate::tests::stamp(then).utc_us), &target).expect("then");
        let mut other = Store::open(&target, &run(2)).expect("a record");
        assert_eq!(dump(&other.conn), before);
        assert!(matches!(reader.back_up_until(Until::Event(1), &target), Err(StoreError::File { .. })), "nothing is overwritten");
        // It can be gone on with, in another direction.
        std::mem::swap(&mut f.store, &mut other);
        f.append(2, &[Event::Interrupted { text: "x".into() }]).expect("go on");
        f.create(4, Kind::Install, None).expect("create");
        refuse(&mut f, None);
        let nothing = f.path.with_extension("nothing");
        assert_eq!(reader.back_up_until(Until::Time(0), &nothing).expect("nothing"), 0);
        assert_eq!(Store::open(&nothing, &run(2)).expect("a record").verify_chain().expect("whole"), 0);
    }
    #[test]
    fn a_record_of_nothing_but_refusals_is_told_again() {
        let mut f = Fixture::new();
        refuse(&mut f, None);
        let before = dump(&f.store.conn);
        f.completed(1, Kind::Install, None);
        let reader = Reader::open(&f.path).expect("open");
        let target = f.path.with_extension("again");
        assert_eq!(reader.back_up_until(Until::Event(0), &target).expect("again"), 0);
        assert_eq!(dump(&Store::open(&target, &run(2)).expect("a record").conn), before);
    }
}
