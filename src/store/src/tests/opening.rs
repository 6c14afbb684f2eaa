//! Opening: new, old, newer, foreign and damaged files.

use std::os::unix::fs::PermissionsExt;

use backstep_core::{Event, Kind};
use rusqlite::Connection;

use super::{Fixture, id, run};
use crate::migrate::{MIGRATIONS, Migration, backup_path, migrate};
use crate::{Store, StoreError};

#[test]
fn the_file_is_private_and_durable() {
    let f = Fixture::new();
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", f.path.display());
        let mode = std::fs::metadata(&path).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
    let pragma = |name: &str| -> String {
        f.store.conn.query_row(&format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"), [], |row| row.get(0)).expect("pragma")
    };
    assert_eq!(pragma("journal_mode"), "wal");
    assert_eq!([pragma("synchronous"), pragma("foreign_keys"), pragma("trusted_schema"), pragma("cell_size_check")], ["2", "1", "0", "1"]);
    assert_eq!(pragma("user_version"), MIGRATIONS.len().to_string());
}

#[test]
fn loose_permissions_are_tightened() {
    let f = Fixture::new();
    let Fixture { store, path, _folder, .. } = f;
    store.close().expect("close");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    Store::open(&path, &run(1)).expect("open");
    assert_eq!(std::fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let f = Fixture::new();
    f.raw().pragma_update(None, "user_version", 99).expect("pragma");
    let error = Store::open(&f.path, &run(1)).expect_err("newer");
    assert!(matches!(error, StoreError::NewerSchema { found: 99, known } if usize::try_from(known) == Ok(MIGRATIONS.len())), "{error}");
}

#[test]
fn a_foreign_database_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store.db");
    Connection::open(&path).expect("open").execute_batch("CREATE TABLE theirs (x)").expect("create");
    assert!(matches!(Store::open(&path, &run(1)), Err(StoreError::Foreign)));
}

#[test]
fn damage_is_found_at_open() {
    for (offset, what) in [(0, "header"), (3 * 4096 + 1, "page")] {
        let mut f = Fixture::new();
        f.completed(1, Kind::Install, None);
        let Fixture { store, path, _folder, .. } = f;
        store.close().expect("close");
        let mut bytes = std::fs::read(&path).expect("read");
        bytes[offset..offset + 64].fill(0xA5);
        std::fs::write(&path, bytes).expect("write");
        let error = Store::open(&path, &run(1)).expect_err(what);
        assert!(matches!(error, StoreError::Corrupt { .. }), "{what}: {error:?}");
    }
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store.db");
    std::fs::write(&path, vec![b'x'; 5000]).expect("write");
    assert!(matches!(Store::open(&path, &run(1)), Err(StoreError::Corrupt { .. })));
}

#[test]
fn an_older_file_is_copied_before_it_is_migrated() {
    let mut f = Fixture::new();
    f.completed(1, Kind::Install, None);
    let next = Migration { sql: "CREATE TABLE later (x INTEGER) STRICT;" };
    let broken = Migration { sql: "CREATE TABLE half (x INTEGER) STRICT; CREATE TABLE later (x INTEGER) STRICT;" };
    let known = i64::try_from(MIGRATIONS.len()).expect("few");
    let and = |more: Vec<Migration>| MIGRATIONS.iter().map(|known| Migration { sql: known.sql }).chain(more).collect::<Vec<_>>();
    migrate(&mut f.store.conn, &f.path, &and(vec![next])).expect("migrate");
    assert_eq!(f.count("later"), 0);
    let copy = backup_path(&f.path, known);
    assert_eq!(std::fs::metadata(&copy).expect("copy").permissions().mode() & 0o777, 0o600);
    let copied = Store::open(&copy, &run(1)).expect("the copy is a record");
    assert!(copied.summary(id(1)).expect("read").is_some());
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('later', 'half')";
    assert_eq!(copied.conn.query_row(tables, [], |row| row.get::<_, i64>(0)).expect("count"), 0);
    // A migration that fails changes nothing, its number included.
    assert!(migrate(&mut f.store.conn, &f.path, &and(vec![Migration { sql: "" }, broken])).is_err());
    assert_eq!(f.store.conn.query_row(tables, [], |row| row.get::<_, i64>(0)).expect("count"), 1);
    assert_eq!(f.store.conn.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).expect("version"), known + 1);
}

#[test]
fn a_gate_left_open_by_hand_is_closed() {
    let mut f = Fixture::new();
    f.completed(1, Kind::Install, None);
    f.raw().execute_batch("UPDATE gate SET generation = 1, run = 1, at_us = 1").expect("by hand");
    let path = f.path.clone();
    f.store.close().expect("close");
    let store = Store::open(&path, &run(1)).expect("open");
    let open: Option<i64> = store.conn.query_row("SELECT generation FROM gate", [], |row| row.get(0)).expect("gate");
    assert_eq!(open, None);
}

/// A record of some MiB whose last writer was killed: its log is still there.
fn large_and_not_closed() -> (tempfile::TempDir, std::path::PathBuf) {
    let mut f = Fixture::new();
    f.started(1, Kind::Install, None);
    let note = Event::Noted { code: None, text: "x".repeat(4000) };
    f.append(1, &vec![note; 700]).expect("append");
    f.completed(2, Kind::Install, None);
    f.store.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("checkpoint");
    f.completed(3, Kind::Install, None);
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("store.db");
    for suffix in ["", "-wal"] {
        let from = std::path::PathBuf::from(format!("{}{suffix}", f.path.display()));
        std::fs::copy(from, format!("{}{suffix}", path.display())).expect("copy");
    }
    assert!(std::fs::metadata(&path).expect("file").len() > 2 << 20);
    (folder, path)
}

/// Breaks a page that holds events, in the middle of the file.
fn damage_page(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).expect("read");
    // A leaf of a table: its kind is 13.
    let leaf = |page: &usize| bytes[page * 4096] == 13;
    let pages = bytes.len() / 4096;
    let page = (pages / 3..pages).find(leaf).expect("a leaf");
    bytes[page * 4096..page * 4096 + 100].fill(0xA5);
    std::fs::write(path, bytes).expect("write");
}

#[test]
fn after_an_interruption_a_large_record_is_served_before_all_of_it_is_checked() {
    let (_folder, path) = large_and_not_closed();
    let store = Store::open(&path, &run(1)).expect("open");
    assert!(store.summary(id(3)).expect("read").is_some(), "what was in the log is there");
    assert!(crate::due::is_due(&path) && !crate::due::is_suspected(&path));
    store.close().expect("close");
    // Closed or not: the check stays due until it was made.
    Store::open(&path, &run(1)).expect("open").close().expect("close");
    let reader = crate::Reader::open(&path).expect("open");
    reader.check().expect("whole");
    crate::due::done(&path).expect("done");
    assert!(!crate::due::is_due(&path));
}

#[test]
fn of_a_large_record_that_was_not_closed_the_newest_events_are_verified_at_once() {
    let (_folder, path) = large_and_not_closed();
    let raw = Connection::open(&path).expect("open");
    super::drop_triggers(&raw);
    raw.execute_batch("UPDATE events SET text = 'y' WHERE seq = (SELECT max(seq) - 20 FROM events)").expect("by hand");
    raw.execute_batch("UPDATE events SET text = 'y' WHERE seq = 9").expect("by hand");
    // The log stays, as after a kill.
    std::mem::forget(raw);
    let error = Store::open(&path, &run(1)).expect_err("changed");
    assert!(error.is_damage() && error.to_string().contains("was changed at event"), "{error}");
}

#[test]
fn damage_in_an_old_page_is_found_by_the_check_in_the_background_and_by_a_suspicious_start() {
    let (_folder, path) = large_and_not_closed();
    Store::open(&path, &run(1)).expect("open").close().expect("close");
    damage_page(&path);
    assert!(Store::open(&path, &run(1)).is_ok(), "a start does not read all of it");
    let error = crate::Reader::open(&path).and_then(|reader| reader.check()).expect_err("damaged");
    assert!(error.is_damage(), "{error}");
    crate::due::suspect(&path).expect("suspect");
    let error = Store::open(&path, &run(1)).expect_err("damaged");
    assert!(error.is_damage(), "{error}");
}

#[test]
fn a_write_waits_while_another_process_writes_and_not_for_ever() {
    let mut f = Fixture::new();
    let limit: i64 = f.store.conn.query_row("SELECT timeout FROM pragma_busy_timeout", [], |row| row.get(0)).expect("limit");
    assert_eq!(limit, 5000, "milliseconds");
    let other = Connection::open(&f.path).expect("open");
    other.execute_batch("BEGIN IMMEDIATE").expect("lock");
    std::thread::scope(|scope| {
        let (begins, begun) = std::sync::mpsc::channel();
        let written = scope.spawn(move || {
            begins.send(()).expect("told");
            f.create(1, Kind::Install, None).expect("it waits");
            std::time::Instant::now()
        });
        begun.recv().expect("it begins");
        // However long: what was begun before the lock went must not end before that.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let released = std::time::Instant::now();
        other.execute_batch("ROLLBACK").expect("release");
        assert!(written.join().expect("written") >= released, "it was written beside another writer");
    });
}
