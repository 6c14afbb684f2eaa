//! Opening: new, old, newer, foreign and damaged files.

use std::os::unix::fs::PermissionsExt;

use backstep_core::Kind;
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
