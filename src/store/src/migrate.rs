//! Numbered migrations. A file that exists is copied by SQLite's online backup before it is changed.
//!
//! Invariant: a migration that was released never changes; a new one is appended to [`MIGRATIONS`]. Each runs
//! in a commit of its own together with its number, so that an interrupted series is resumed.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, TransactionBehavior};

use crate::error::StoreError;

/// `BSTP`: tells our files from other databases.
const APPLICATION_ID: i32 = 0x4253_5450;

/// One change of the schema. Its number is its place in the list, from 1.
pub(crate) struct Migration {
    pub(crate) sql: &'static str,
}

/// All of them, in order.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration { sql: include_str!("migrations/0001_record.sql") },
    Migration { sql: include_str!("migrations/0002_refusals.sql") },
    Migration { sql: include_str!("migrations/0003_upkeep.sql") },
    Migration { sql: include_str!("migrations/0004_scale.sql") },
    Migration { sql: include_str!("migrations/0005_rebuilds.sql") },
    Migration { sql: include_str!("migrations/0006_redactions.sql") },
    Migration { sql: include_str!("migrations/0007_archives.sql") },
    Migration { sql: include_str!("migrations/0008_tags.sql") },
    Migration { sql: include_str!("migrations/0009_checks.sql") },
    Migration { sql: include_str!("migrations/0010_sources.sql") },
    Migration { sql: include_str!("migrations/0011_configurations.sql") },
];

/// The digest of the schema that all of [`MIGRATIONS`] make. Making that schema to compare with takes longer than the rest of
/// a start.
pub(crate) const NEWEST_SCHEMA: &str = "cd7a385491212342371b7a6ea33404d7e927d2cbdfeaf62d0b2dae4403666c78";

/// Brings the file at `path` to the newest schema.
pub(crate) fn migrate(conn: &mut Connection, path: &Path, migrations: &[Migration]) -> Result<(), StoreError> {
    let known = i64::try_from(migrations.len()).map_err(|_| StoreError::corrupt("too many migrations"))?;
    let found = schema_version(conn)?;
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    if found == known {
        return Ok(());
    }
    if found > 0 {
        back_up(conn, path, found)?;
    }
    for (number, migration) in (1..).zip(migrations) {
        if number > found {
            apply(conn, number, migration)?;
        }
    }
    Ok(())
}

/// The schema a file has; 0 for an empty file. A database of something else is refused.
pub(crate) fn schema_version(conn: &Connection) -> Result<i64, StoreError> {
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let objects: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let empty = version == 0 && application == 0 && objects == 0;
    if empty || application == APPLICATION_ID { Ok(version) } else { Err(StoreError::Foreign) }
}

fn apply(conn: &mut Connection, number: i64, migration: &Migration) -> Result<(), StoreError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(migration.sql)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", number)?;
    tx.commit()?;
    Ok(())
}

/// Where the copy of a file with this schema goes.
pub(crate) fn backup_path(path: &Path, schema: i64) -> PathBuf {
    with_suffix(path, &format!(".schema-{schema:04}"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn back_up(conn: &Connection, path: &Path, schema: i64) -> Result<(), StoreError> {
    let target = backup_path(path, schema);
    let part = with_suffix(&target, ".part");
    let file_error = |source| StoreError::File { path: target.clone(), source };
    // An interrupted copy is begun again from nothing.
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part).map_err(file_error)?;
    let mut copy = Connection::open(&part)?;
    Backup::new(conn, &mut copy)?.run_to_completion(256, Duration::ZERO, None)?;
    copy.close().map_err(|(_, error)| error)?;
    File::open(&part).and_then(|file| file.sync_all()).map_err(file_error)?;
    std::fs::rename(&part, &target).map_err(file_error)?;
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file_error)
}
