//! Opening the record: permissions, pragmas, check, migrations.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use backstep_core::{BootId, Digest, Stamp};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::chain::digest_of;
use crate::due;
use crate::error::StoreError;
use crate::migrate::{MIGRATIONS, NEWEST_SCHEMA, migrate, schema_version};
use crate::verify::check_ends;

/// Before it, a WAL file that is reset at the wrong moment loses commits.
const OLDEST_SQLITE: (i32, &str) = (3_051_003, "3.51.3");
/// Files up to this size are checked at every open; reading them takes a few milliseconds.
const ALWAYS_CHECKED_BYTES: u64 = 2 << 20;
/// Longest wait for another process, for example a copy made by the sqlite3 tool.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// One start of the daemon: every generation and change names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// A UUID in its hyphenated form.
    pub id: String,
    /// The daemon's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started.
    pub at: Stamp,
}

impl Run {
    /// Nobody's: of a file that no daemon goes on with here.
    pub(crate) const fn none() -> Self {
        let at = Stamp { utc_us: 0, monotonic_us: 0, boot: BootId([0; 16]) };
        Self { id: String::new(), version: String::new(), pid: 0, at }
    }
}

/// The open record. Reads take `&self`, writes `&mut self`: there is one writer.
#[derive(Debug)]
pub struct Store {
    pub(crate) conn: Connection,
    pub(crate) run: Run,
    /// The run's row, once it is written.
    pub(crate) run_key: Option<i64>,
    /// The file's schema and the newest one known here, when it is only read.
    newer: Option<(i64, i64)>,
}

impl Store {
    /// Opens the record, creates it when there is none and migrates it when it is older.
    ///
    /// A small file, and one that is suspected, is checked as a whole. Of a large one that its last writer did not close, the
    /// schema and the newest events are checked, and a check of the whole is due: see [`due`](crate::due). Nothing is
    /// recorded of the run before its first change.
    pub fn open(path: &Path, run: &Run) -> Result<Self, StoreError> {
        needs_sqlite()?;
        let due = prepare_file(path).map_err(|source| StoreError::File { path: path.to_owned(), source })?;
        let mut conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        configure(&conn)?;
        schema_version(&conn)?;
        match due {
            Due::Whole => quick_check(&conn)?,
            Due::Ends => check_ends(&conn)?,
            Due::Nothing => {}
        }
        migrate(&mut conn, path, MIGRATIONS)?;
        if due == Due::Whole {
            check_schema(&conn)?;
            due::done(path)?;
        }
        // Only a person with the sqlite3 tool leaves the gate open.
        conn.execute(
            "UPDATE gate SET generation = NULL, run = NULL, at_us = NULL, redacts = NULL, redacts_json = NULL, mark = NULL,
                 moves = NULL
              WHERE coalesce(generation, redacts, redacts_json, mark, moves) IS NOT NULL",
            [],
        )?;
        Ok(Self { conn, run: run.clone(), run_key: None, newer: None })
    }

    /// Opens a record that a newer version of this program wrote: it is read as far as it is known here, and every write
    /// is [`StoreError::NewerSchema`].
    pub fn open_newer(path: &Path, run: &Run) -> Result<Self, StoreError> {
        needs_sqlite()?;
        let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        conn.pragma_update(None, "trusted_schema", false)?;
        conn.pragma_update(None, "query_only", true)?;
        keep_plans(&conn)?;
        let newer = Some((schema_version(&conn)?, i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)));
        Ok(Self { conn, run: run.clone(), run_key: None, newer })
    }

    /// Whether it is only read, because a newer version wrote it.
    #[must_use]
    pub const fn is_newer(&self) -> bool {
        self.newer.is_some()
    }

    pub(crate) const fn may_write(&self) -> Result<(), StoreError> {
        match self.newer {
            Some((found, known)) => Err(StoreError::NewerSchema { found, known }),
            None => Ok(()),
        }
    }

    /// Checks the whole file; takes time in proportion to its size.
    pub fn check(&self) -> Result<(), StoreError> {
        quick_check(&self.conn)?;
        check_schema(&self.conn)
    }

    /// Closes the file, so that the next open finds it closed.
    pub fn close(self) -> Result<(), StoreError> {
        self.conn.close().map_err(|(_, error)| error.into())
    }
}

fn needs_sqlite() -> Result<(), StoreError> {
    if rusqlite::version_number() < OLDEST_SQLITE.0 {
        return Err(StoreError::SqliteTooOld { found: rusqlite::version(), needed: OLDEST_SQLITE.1 });
    }
    Ok(())
}

/// What is checked when a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// All of it.
    Whole,
    /// What an interruption may have touched last.
    Ends,
    /// It was closed in good order.
    Nothing,
}

/// Makes the file readable by its owner only and says what of it is due for a check.
fn prepare_file(path: &Path) -> std::io::Result<Due> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let metadata = file.metadata()?;
    if metadata.permissions().mode() & 0o777 != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    if metadata.len() <= ALWAYS_CHECKED_BYTES || due::is_suspected(path) {
        return Ok(Due::Whole);
    }
    if was_closed(path)? {
        return Ok(Due::Nothing);
    }
    due::later(path)?;
    Ok(Due::Ends)
}

/// SQLite takes the WAL away when the last connection closes in good order.
fn was_closed(path: &Path) -> std::io::Result<bool> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    match std::fs::metadata(PathBuf::from(wal)) {
        Ok(metadata) => Ok(metadata.len() == 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn configure(conn: &Connection) -> Result<(), StoreError> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    // Little memory: the daemon is idle most of its life, and the file is small.
    conn.pragma_update(None, "cache_size", -512)?;
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    keep_plans(conn)?;
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::corrupt(format!("the journal mode is {mode}")));
    }
    conn.pragma_update(None, "journal_size_limit", 4 << 20)?;
    conn.pragma_update(None, "synchronous", "full")?;
    Ok(())
}

/// Statements are prepared once. SQLite would otherwise look at the values, a limit's for example, for a better plan, and prepare a
/// statement again whenever another value is bound; every plan here is one that the tests have seen.
pub(crate) fn keep_plans(conn: &Connection) -> Result<(), StoreError> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(12);
    Ok(())
}

/// The schema is the one that the migrations make: no table, index or trigger is missing or another.
fn check_schema(conn: &Connection) -> Result<(), StoreError> {
    if schema_digest(conn)?.to_string() == NEWEST_SCHEMA {
        Ok(())
    } else {
        Err(StoreError::corrupt("its tables, indexes or triggers are not its schema's"))
    }
}

/// The digest of all that SQLite knows of a file's schema: names, tables and texts.
pub(crate) fn schema_digest(conn: &Connection) -> Result<Digest, StoreError> {
    let mut statement = conn.prepare("SELECT name, tbl_name, coalesce(sql, '') FROM sqlite_schema ORDER BY name")?;
    let rows = statement.query_map([], |row| Ok([row.get::<_, String>(0)?, row.get(1)?, row.get(2)?].join("\0")))?;
    let rows: Vec<String> = rows.collect::<Result<_, _>>()?;
    Ok(digest_of(rows.join("\0").as_bytes()))
}

pub(crate) fn quick_check(conn: &Connection) -> Result<(), StoreError> {
    let answer: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if answer == "ok" { Ok(()) } else { Err(StoreError::corrupt(answer)) }
}
