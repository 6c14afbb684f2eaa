//! A connection of its own for questions that take their time: it sees whole commits only and keeps no writer
//! waiting. Every question is answered from one snapshot, or says that it is not.

use std::cell::OnceCell;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::archive;
use crate::error::StoreError;
use crate::migrate::{MIGRATIONS, schema_version};
use crate::open::{BUSY_TIMEOUT, keep_plans};
use crate::verify::ARCHIVES;

/// Reads the record beside its writer.
#[derive(Debug)]
pub struct Reader {
    pub(crate) conn: Connection,
    /// Its archives, the newest first, once a question needed them: one question may be about hundreds of packages.
    archives: OnceCell<Vec<Connection>>,
}

impl Reader {
    /// Opens a record that is there and has this program's schema, or a newer one.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let conn = connected(path)?;
        let (found, known) = (schema_version(&conn)?, i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX));
        // A newer one is read as far as it is known here.
        if found >= known { Self::of(conn) } else { Err(StoreError::NewerSchema { found, known }) }
    }

    /// Opens an archive. It stays as it was written, so its schema may be an earlier one that had archives; what came into the schema
    /// later is empty there.
    pub(crate) fn open_archive(path: &Path) -> Result<Self, StoreError> {
        let conn = connected(path)?;
        let found = schema_version(&conn)?;
        if found < ARCHIVES {
            return Err(StoreError::NewerSchema { found, known: ARCHIVES });
        }
        if found < TAGS {
            conn.execute_batch(NO_TAGS)?;
        }
        Self::of(conn)
    }

    fn of(conn: Connection) -> Result<Self, StoreError> {
        conn.pragma_update(None, "query_only", true)?;
        Ok(Self { conn, archives: OnceCell::new() })
    }
}

/// The first schema with tags.
const TAGS: i64 = 8;
/// In memory, and in the place of the table that is not in the file.
const NO_TAGS: &str = "CREATE TEMP TABLE tags (transaction_key INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (transaction_key, name)) STRICT, WITHOUT ROWID";

fn connected(path: &Path) -> Result<Connection, StoreError> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    // It lives for one question; what it read is in the system's cache.
    conn.pragma_update(None, "cache_size", -2048)?;
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    keep_plans(&conn)?;
    Ok(conn)
}

impl Reader {
    /// What has left the record.
    pub(crate) fn archives(&self) -> Result<&[Connection], StoreError> {
        if let Some(opened) = self.archives.get() {
            return Ok(opened);
        }
        let listed = archive::of_lists(&self.conn, None, None)?;
        let opened = listed.iter().map(|archive| archive::open(&self.conn, archive)).collect::<Result<_, _>>()?;
        Ok(self.archives.get_or_init(|| opened))
    }
}

#[cfg(test)]
mod tests {
    use backstep_core::Kind;

    use crate::tests::Fixture;
    use crate::{Reader, StoreError};

    #[test]
    fn a_reader_sees_commits_and_writes_nothing() {
        let mut f = Fixture::new();
        let reader = Reader::open(&f.path).expect("open");
        f.completed(1, Kind::Install, None);
        let count = |sql: &str| reader.conn.query_row(sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(count("SELECT count(*) FROM transactions").expect("count"), 1);
        assert!(reader.conn.execute("UPDATE gate SET run = 1", []).is_err());
    }

    #[test]
    fn an_older_schema_and_no_record_are_refused() {
        let f = Fixture::new();
        f.raw().pragma_update(None, "user_version", 99).expect("pragma");
        assert!(Reader::open(&f.path).is_ok());
        f.raw().pragma_update(None, "user_version", 1).expect("pragma");
        assert!(matches!(Reader::open(&f.path), Err(StoreError::NewerSchema { found: 1, .. })));
        assert!(Reader::open(&f.path.with_extension("none")).is_err());
    }
}
