//! What the schema itself refuses, to the sqlite3 tool as well: every statement here is raw SQL on a connection
//! without any of our settings.

use backstep_core::state::may_follow;
use backstep_core::{Event, Kind, TransactionState};
use rusqlite::Connection;

use super::Fixture;
use super::ignores::{ignore, said};
use super::work::asked;

const OPEN: &str = "UPDATE gate SET generation = 1, run = 1, at_us = 1;";

/// Tables without triggers that journal them, and why. Everything else has them.
const UNJOURNALED: [(&str, &str); 7] = [
    ("work_history", "a journal of its own: append-only, with generation, run and time"),
    ("gate", "transient: closed again before each commit"),
    ("changes", "the journal itself"),
    ("generations", "the heads of the journal: every change names its row"),
    ("events", "a journal of its own: append-only, with generation, run and time, and chained by hashes"),
    ("transitions", "a constant of the schema: no statement changes it"),
    ("error_codes", "a constant of the schema: no statement changes it"),
];

/// Every column that may change, by table.
const MUTABLE: [(&str, &[&str]); 6] = [
    ("work_backoff", &["ended_generation", "ended_us", "ended_monotonic_us", "ended_boot", "ended_by"]),
    ("ignores", &["removed_generation", "removed_us", "removed_monotonic_us", "removed_boot"]),
    (
        "transactions",
        &[
            "state",
            "cancel_requested",
            "undoing",
            "attempts",
            "sequence",
            "error_code",
            "error_text",
            "world_after",
            "queued_us",
            "queued_monotonic_us",
            "queued_boot",
            "started_us",
            "started_monotonic_us",
            "started_boot",
            "finished_us",
            "finished_monotonic_us",
            "finished_boot",
            "updated_us",
            "updated_monotonic_us",
            "updated_boot",
        ],
    ),
    ("items", &["now", "state"]),
    (
        "steps",
        &[
            "attempt",
            "state",
            "error_code",
            "error_text",
            "text",
            "started_us",
            "started_monotonic_us",
            "started_boot",
            "finished_us",
            "finished_monotonic_us",
            "finished_boot",
        ],
    ),
    ("attempts", &["result", "journal_seq", "ended_us", "ended_monotonic_us", "ended_boot"]),
];

fn filled() -> Fixture {
    let mut f = Fixture::new();
    f.started(1, Kind::Install, None);
    f.append(1, &[Event::Noted { code: None, text: "x".into() }]).expect("append");
    let refusal = super::refusals_kept::refusal(1000, backstep_core::ErrorCode::AuthDenied);
    let at = f.at();
    f.store.refuse(&crate::NewRefusal { refusal: &refusal, count: 1, at, until: at }).expect("refuse");
    f.store.ignore(&said(ignore("hello"), 1)).expect("ignore");
    f.store.back_off(&said(asked("hello", "*", 9), 1)).expect("back off");
    f.store.configure(&crate::configurations::tests::said("undo.days = 9", 1)).expect("configure");
    f.store.record_rebuild(&super::rebuild(), &super::actor()).expect("rebuild");
    super::redact::something(&mut f);
    super::archive::something(&mut f);
    f
}

fn strings(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(sql).expect(sql);
    statement.query_map([], |row| row.get(0)).expect(sql).collect::<Result<_, _>>().expect(sql)
}

fn tables(conn: &Connection) -> Vec<String> {
    strings(conn, "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%'")
}

fn columns(conn: &Connection, table: &str) -> Vec<String> {
    strings(conn, &format!("SELECT name FROM pragma_table_xinfo('{table}') WHERE hidden = 0"))
}

/// Runs a statement and says whether a trigger refused it. The change is not kept.
fn refused(conn: &Connection, before: &str, sql: &str) -> bool {
    conn.execute_batch("BEGIN").expect("begin");
    conn.execute_batch(before).expect("before");
    let result = conn.execute_batch(sql);
    conn.execute_batch("ROLLBACK").expect("rollback");
    match result {
        Ok(()) => false,
        Err(error) => {
            assert!(error.to_string().contains("refused: "), "{sql}: another error: {error}");
            true
        }
    }
}

#[test]
fn every_table_is_journaled_or_listed_with_a_reason() {
    let f = Fixture::new();
    for table in tables(&f.store.conn) {
        let triggers = strings(
            &f.store.conn,
            &format!("SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = '{table}' AND sql LIKE '%INSERT INTO changes%'"),
        );
        let after = |verb: &str| triggers.iter().any(|sql| sql.contains(&format!("AFTER {verb} ON {table}")));
        let listed = UNJOURNALED.iter().any(|(name, reason)| *name == table && !reason.is_empty());
        let changes = MUTABLE.iter().any(|(name, _)| *name == table);
        assert_eq!(after("INSERT"), !listed, "{table}");
        assert_eq!(after("UPDATE"), changes, "{table}: rows that change are journaled, others are refused");
    }
}

#[test]
fn every_table_is_strict_and_refuses_delete() {
    let f = filled();
    let raw = f.raw();
    for table in tables(&raw) {
        let strict: i64 = raw.query_row("SELECT strict FROM pragma_table_list WHERE name = ?1", [&table], |row| row.get(0)).expect("list");
        assert_eq!(strict, 1, "{table}");
        let rows: i64 = raw.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("count");
        assert!(rows > 0, "{table} is empty and proves nothing");
        assert!(refused(&raw, OPEN, &format!("DELETE FROM {table}")), "DELETE FROM {table}");
        let copy = format!("INSERT OR REPLACE INTO {table} ({0}) SELECT {0} FROM {table}", columns(&raw, &table).join(", "));
        assert!(refused(&raw, OPEN, &copy), "{copy}");
    }
}

#[test]
fn nothing_is_written_without_a_generation() {
    let f = filled();
    let raw = f.raw();
    for table in tables(&raw) {
        if table == "gate" || table == "generations" {
            continue;
        }
        let names = columns(&raw, &table);
        let insert = format!("INSERT INTO {table} ({0}) SELECT {0} FROM {table}", names.join(", "));
        let message = raw.execute_batch(&insert).expect_err(&insert).to_string();
        let expected = if ["transitions", "error_codes"].contains(&table.as_str()) { "belong to the schema" } else { "" };
        assert!(message.contains("refused: ") && message.contains(expected), "{insert}: {message}");
        let needs = "SELECT count(*) FROM sqlite_schema WHERE tbl_name = ?1 AND sql LIKE '%no generation is open%' AND sql LIKE ?2";
        let has = |verb: &str| raw.query_row(needs, [&table, verb], |row| row.get::<_, i64>(0)).expect("count");
        assert!(!expected.is_empty() || has("%BEFORE INSERT%") == 1, "{table}");
        for (mutable, columns) in MUTABLE {
            if mutable == table {
                assert_eq!(has("%BEFORE UPDATE%"), 1, "{table}");
                let update = format!("UPDATE {table} SET {0} = {0}", columns[0]);
                assert!(refused(&raw, "", &update), "{update}");
                assert!(!refused(&raw, OPEN, &update), "{update}: allowed with a generation");
            }
        }
    }
    // A new row, so that only the missing generation stands in its way.
    let run = "INSERT INTO runs VALUES (9, '01936b2e-7c1a-7d3e-9f10-bbbbbbbbbbbb', 'v', 1, 1, 1, zeroblob(16))";
    assert!(refused(&raw, "", run));
    assert!(!refused(&raw, OPEN, run));
}

#[test]
fn only_the_listed_columns_change() {
    let f = filled();
    let raw = f.raw();
    for table in tables(&raw).iter().filter(|table| *table != "gate") {
        let mutable = MUTABLE.iter().find(|(name, _)| name == table).map_or(&[][..], |(_, columns)| *columns);
        for column in columns(&raw, table).iter().filter(|column| !mutable.contains(&column.as_str())) {
            let kind: String =
                raw.query_row("SELECT type FROM pragma_table_info(?1) WHERE name = ?2", [table, column], |row| row.get(0)).expect("type");
            let value = match kind.as_str() {
                "INTEGER" => format!("coalesce({column}, 0) + 1"),
                "TEXT" => format!("coalesce({column}, '') || 'x'"),
                _ => "zeroblob(31)".to_owned(),
            };
            let sql = format!("UPDATE {table} SET {column} = {value}");
            assert!(refused(&raw, OPEN, &sql), "{sql}");
        }
    }
    for name in ["rowid", "_rowid_", "oid"] {
        for table in ["transactions", "events", "requests", "plans", "runs", "changes", "generations"] {
            assert!(refused(&raw, OPEN, &format!("UPDATE {table} SET {name} = {name} + 100")), "{table}.{name}");
        }
    }
}

#[test]
fn no_tag_comes_after_its_request() {
    let f = filled();
    let raw = f.raw();
    assert!(refused(&raw, OPEN, "INSERT INTO tags VALUES (1, 'later')"));
    assert!(!refused(&raw, OPEN, "INSERT INTO tags VALUES (9, 'later')"), "of one whose request is not there yet");
}

#[test]
fn what_is_set_once_stays_and_nothing_goes_back() {
    let f = filled();
    let raw = f.raw();
    let world = "UPDATE transactions SET world_after = zeroblob(32);";
    let statements = [
        ("UPDATE ignores SET removed_generation = 1, removed_us = 5;", "UPDATE ignores SET removed_generation = NULL, removed_us = NULL"),
        (
            "UPDATE work_backoff SET ended_generation = 1, ended_us = 5, ended_by = 'person';",
            "UPDATE work_backoff SET ended_generation = NULL, ended_us = NULL, ended_by = NULL",
        ),
        ("", "UPDATE transactions SET sequence = 7"),
        ("", "UPDATE transactions SET queued_us = 7"),
        ("", "UPDATE transactions SET started_us = NULL"),
        (world, "UPDATE transactions SET world_after = NULL"),
        ("", "UPDATE transactions SET attempts = 0"),
        ("UPDATE transactions SET undoing = 1;", "UPDATE transactions SET undoing = 0"),
        ("UPDATE transactions SET cancel_requested = 1;", "UPDATE transactions SET cancel_requested = 0"),
        ("", "UPDATE transactions SET error_code = 'no.such', error_text = ''"),
        ("", "UPDATE steps SET error_code = 'no.such', error_text = ''"),
        ("UPDATE attempts SET journal_seq = 5;", "UPDATE attempts SET journal_seq = 4"),
        ("UPDATE attempts SET result = 'undone', ended_us = 1;", "UPDATE attempts SET result = 'completed'"),
        ("UPDATE attempts SET result = 'undone', ended_us = 1;", "UPDATE attempts SET result = NULL, ended_us = NULL"),
        ("UPDATE transactions SET state = 'completed', finished_us = 1;", "UPDATE transactions SET updated_us = 5"),
    ];
    for (before, sql) in statements {
        assert!(refused(&raw, &format!("{OPEN}{before}"), sql), "{sql}");
    }
}

#[test]
fn events_are_appended_only_at_the_end() {
    let f = filled();
    let raw = f.raw();
    let insert = |seq: i64, generation: i64, code: &str| {
        format!(
            "INSERT INTO events (seq, transaction_key, event, code, at_us, at_monotonic_us, at_boot, generation, run, hash)
             VALUES ({seq}, 1, 'noted', {code}, 1, 1, zeroblob(16), {generation}, 1, zeroblob(32))"
        )
    };
    assert!(!refused(&raw, OPEN, &insert(6, 1, "NULL")));
    for seq in [-1, 0, 5, 7] {
        assert!(refused(&raw, OPEN, &insert(seq, 1, "NULL")), "{seq}");
    }
    assert!(refused(&raw, OPEN, &insert(6, 2, "NULL")));
    assert!(refused(&raw, OPEN, &insert(6, 1, "'no.such'")));
}

#[test]
fn illegal_pairs_of_states_are_refused_and_legal_ones_are_not() {
    let mut f = Fixture::new();
    f.create(1, Kind::Install, None).expect("create");
    let raw = f.raw();
    // The only way to every state from outside: the trigger taken away, the state set, the trigger put back.
    let trigger: String =
        raw.query_row("SELECT sql FROM sqlite_schema WHERE name = 'transactions_transitions'", [], |row| row.get(0)).expect("trigger");
    let finished = |state: &TransactionState| if state.is_final() { "1" } else { "NULL" };
    for from in TransactionState::ALL {
        let set = format!("UPDATE transactions SET state = '{from}', finished_us = {};", finished(from));
        let before = format!("{OPEN} DROP TRIGGER transactions_transitions; {set} {trigger};");
        for to in TransactionState::ALL.iter().filter(|to| *to != from) {
            let sql = format!("UPDATE transactions SET state = '{to}', finished_us = {}", finished(to));
            assert_eq!(refused(&raw, &before, &sql), !may_follow(*from, *to), "{from} -> {to}");
        }
    }
}

/// A copy of the one transaction, as it is born; the words in capitals are for the tests to put in.
const BORN: &str = "INSERT OR REPLACE INTO transactions (id, reversed, generation, kind, description, priority, uid, user, sender, unit,
        origin, client, request_digest, created_us, created_monotonic_us, created_boot, state, cancel_requested, undoing, attempts,
        updated_us, updated_monotonic_us, updated_boot)
    SELECT ID, reversed, GENERATION, kind, description, priority, uid, user, sender, unit, origin, client, request_digest,
        1, 1, created_boot, STATE, 0, 0, 0, 1, 1, created_boot FROM transactions WHERE key = 1";

fn born(id: &str, generation: &str, state: &str) -> String {
    BORN.replace("GENERATION", generation).replace("ID,", &format!("{id},")).replace("STATE", state)
}

#[test]
fn a_transaction_is_born_new_created_and_in_the_open_generation() {
    let mut f = Fixture::new();
    f.create(1, Kind::Install, None).expect("create");
    let raw = f.raw();
    let new = "'01936b2e-7c1a-7d3e-9f10-cccccccccccc'";
    assert!(!refused(&raw, OPEN, &born(new, "1", "'created'")));
    assert!(refused(&raw, "", &born(new, "1", "'created'")));
    assert!(refused(&raw, OPEN, &born(new, "1", "'queued'")));
    assert!(refused(&raw, OPEN, &born(new, "2", "'created'")));
    assert!(refused(&raw, OPEN, &born("id", "1", "'created'")), "REPLACE deletes the row that is there");
}

/// REPLACE in an update deletes the row that has the value; no trigger for DELETE runs then.
#[test]
fn a_sequence_number_is_not_taken_from_another() {
    let mut f = filled();
    f.create(2, Kind::Install, None).expect("create");
    let raw = f.raw();
    let take = |number: u8| format!("UPDATE OR REPLACE transactions SET sequence = {number}, queued_us = 1 WHERE key = 2");
    assert!(refused(&raw, OPEN, &take(1)));
    assert!(!refused(&raw, OPEN, &take(2)));
}

#[test]
fn unknown_names_are_refused_by_checks() {
    let f = filled();
    let raw = f.raw();
    raw.execute_batch(OPEN).expect("open");
    let statements = [
        "UPDATE gate SET one = 2",
        "UPDATE gate SET generation = NULL",
        "UPDATE items SET state = 'eaten'",
        "UPDATE steps SET state = 'eaten'",
        "UPDATE attempts SET result = 'eaten', ended_us = 1",
        "UPDATE transactions SET cancel_requested = 2",
        "INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields) VALUES (1, 1, 1, 't', 'k', 'delete', '{}')",
        "INSERT INTO changes (generation, run, at_us, table_name, row_key, action, fields) VALUES (1, 1, 1, 't', 'k', 'insert', '{')",
        "INSERT INTO items VALUES (1, 9, 'a', 'all', 'ostree', 'install', 'requested', NULL, NULL, 'exact', NULL, '', 'pending')",
        "INSERT INTO items VALUES (1, 9, 'a', 'all', 'apt', 'explode', 'requested', NULL, NULL, 'exact', NULL, '', 'pending')",
        "INSERT INTO steps (transaction_key, position, kind, attempt, state, text) VALUES (1, 9, 'dance', 0, 'pending', '')",
        "INSERT INTO tags VALUES (9, 'two words')",
    ];
    for sql in statements {
        let message = raw.execute_batch(sql).expect_err(sql).to_string();
        assert!(message.contains("CHECK constraint failed"), "{sql}: {message}");
    }
}
