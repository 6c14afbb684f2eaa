//! Files of every earlier schema become files of this one, with all that was in them and a copy as it was.

use backstep_core::refusal::RefusalFilter;
use backstep_core::{ErrorCode, Kind};
use rusqlite::Connection;

use super::{Fixture, drop_triggers, id, run, tags};
use crate::migrate::{MIGRATIONS, NEWEST_SCHEMA, backup_path, migrate};
use crate::open::schema_digest;
use crate::{Reader, Store};

/// The rows of a file of each schema, from the first on; a later one has those of the earlier ones, too.
const ROWS: &[&str] = &[
    include_str!("fixtures/0001.sql"),
    include_str!("fixtures/0002.sql"),
    include_str!("fixtures/0003.sql"),
    include_str!("fixtures/0004.sql"),
    include_str!("fixtures/0005.sql"),
    include_str!("fixtures/0006.sql"),
    include_str!("fixtures/0007.sql"),
    include_str!("fixtures/0008.sql"),
    include_str!("fixtures/0009.sql"),
    include_str!("fixtures/0010.sql"),
];

/// Makes a file as the program of that schema left it. What the triggers refuse was allowed when it was new.
fn old(path: &std::path::Path, schema: usize) {
    let mut conn = Connection::open(path).expect("open");
    conn.pragma_update(None, "synchronous", false).expect("pragma");
    migrate(&mut conn, path, &MIGRATIONS[..schema]).expect("an old schema");
    let triggers: Vec<String> = {
        let mut statement = conn.prepare("SELECT sql FROM sqlite_schema WHERE type = 'trigger'").expect("sql");
        statement.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("row")
    };
    conn.execute_batch("BEGIN").expect("begin");
    drop_triggers(&conn);
    for rows in ROWS.iter().take(schema) {
        conn.execute_batch(rows).expect("rows");
    }
    conn.execute_batch(&format!("{};\nCOMMIT", triggers.join(";\n"))).expect("triggers");
}

fn version(conn: &Connection) -> i64 {
    conn.pragma_query_value(None, "user_version", |row| row.get(0)).expect("version")
}

fn events(conn: &Connection) -> i64 {
    conn.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).expect("count")
}

#[test]
fn the_digest_of_the_newest_schema_is_that_of_what_the_migrations_make() {
    let made = Connection::open_in_memory().expect("open");
    for migration in MIGRATIONS {
        made.execute_batch(migration.sql).expect("migration");
    }
    assert_eq!(schema_digest(&made).expect("schema").to_string(), NEWEST_SCHEMA);
}

#[test]
fn a_file_of_every_earlier_schema_is_brought_up_with_a_copy_first() {
    assert_eq!(ROWS.len() + 1, MIGRATIONS.len(), "every schema but the newest has a fixture");
    for schema in 1..MIGRATIONS.len() {
        let mut f = Fixture::new();
        let path = f.path.with_extension("old");
        old(&path, schema);
        let store = Store::open(&path, &run(2)).unwrap_or_else(|error| panic!("schema {schema}: {error}"));
        assert_eq!(usize::try_from(version(&store.conn)), Ok(MIGRATIONS.len()));
        assert_eq!(store.verify_chain().expect("the chain is whole"), 20, "schema {schema}");
        let refusals = store.refusals(&RefusalFilter { code: Some(ErrorCode::AuthDenied), ..RefusalFilter::default() }).expect("read");
        assert_eq!(refusals.len(), usize::from(schema >= 2));
        assert_eq!(store.ignores().expect("read").len(), usize::from(schema >= 3));
        assert_eq!(store.backoffs().expect("read").len(), usize::from(schema >= 3));
        // With schema 7 the first of them is in an archive.
        let left = usize::from(schema >= 7);
        assert_eq!(Reader::open(&path).expect("open").measures().expect("read").transactions.len(), 2 - left);
        let earlier = "0174876e-8002-7000-8000-b1ec00000002".parse().expect("id");
        let words: &[&str] = if schema >= 8 { &["ticket/4711", "weekly"] } else { &[] };
        assert_eq!(
            store.summary(earlier).expect("read").map(|summary| summary.tags.texts()),
            Some(words.iter().map(ToString::to_string).collect())
        );
        let failed = |code: &str| -> i64 {
            let sql = "SELECT count(*) FROM work_history WHERE error_code = ?1";
            store.conn.query_row(sql, [code], |row| row.get(0)).expect("count")
        };
        assert_eq!([failed("check.failed"), failed("trust.source")], [i64::from(schema >= 9), i64::from(schema >= 10)]);
        assert_eq!(store.configuration().expect("read"), "");
        let redacted: i64 = store.conn.query_row("SELECT count(*) FROM redacted", [], |row| row.get(0)).expect("count");
        assert_eq!(redacted > 0, schema >= 6, "{redacted}");
        // It is gone on with.
        f.store = store;
        f.completed(7, Kind::Install, None);
        assert_eq!(f.store.summary(id(7)).expect("read").map(|summary| summary.tags.texts()), Some(tags()));
        let copy = Connection::open(backup_path(&path, i64::try_from(schema).expect("few"))).expect("the copy");
        assert_eq!((usize::try_from(version(&copy)), events(&copy)), (Ok(schema), if left > 0 { 10 } else { 20 }), "as it was");
    }
}

#[test]
fn an_older_backup_is_restored_from_a_copy_of_it() {
    let f = Fixture::new();
    let (backup, copy, made) = (f.path.with_extension("old"), f.path.with_extension("copy"), f.path.with_extension("made"));
    old(&backup, 2);
    std::fs::copy(&backup, &copy).expect("copy");
    assert!(Reader::open(&copy).is_err());
    crate::adopt_copy(&copy).expect("brought up");
    let reader = Reader::open(&copy).expect("open");
    assert_eq!(reader.back_up_until(crate::Until::Event(7), &made).expect("told"), 7);
    assert_eq!(Reader::open(&made).expect("open").verify(|_, _| true).expect("whole").events, 7);
}

#[test]
fn a_new_file_and_a_migrated_one_have_the_same_schema() {
    let schema = |conn: &Connection| -> Vec<(String, String)> {
        let mut statement = conn.prepare("SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY name").expect("sql");
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows").collect::<Result<_, _>>().expect("row")
    };
    let f = Fixture::new();
    let path = f.path.with_extension("old");
    old(&path, 1);
    let migrated = Store::open(&path, &run(2)).expect("open");
    assert_eq!(schema(&migrated.conn), schema(&f.store.conn));
}
