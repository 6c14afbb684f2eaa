//! Writing an archive: its rows as they are, compared and verified before anybody relies on it. The record is only read.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use backstep_core::Digest;
use backstep_core::record_archive::{Cut, RecordArchive};
use rusqlite::{Connection, Transaction};
use sha2::{Digest as _, Sha256};

use super::kept::folder;
use super::span::span;
use crate::error::{StoreError, VerifyError};
use crate::open::{Run, Store};
use crate::reader::Reader;

/// What goes with the transactions up to ?1, by table. What the rows refer to comes first, and stays in the record as well.
const FRAME: [(&str, &str); 4] = [
    ("archives", "?1 IS NOT NULL"),
    ("redacted", "event IN (SELECT seq FROM old.events WHERE transaction_key <= ?1)"),
    (
        "generations",
        "key IN (SELECT generation FROM old.transactions WHERE key <= ?1 UNION SELECT generation FROM old.events WHERE transaction_key <= ?1
            UNION SELECT generation FROM main.archives UNION SELECT generation FROM main.redacted)",
    ),
    (
        "runs",
        "key IN (SELECT run FROM main.generations UNION SELECT run FROM old.events WHERE transaction_key <= ?1
            UNION SELECT run FROM old.changes WHERE generation IN (SELECT generation FROM old.transactions WHERE key <= ?1))",
    ),
];
/// What leaves the record, in the order in which it can leave.
pub(super) const LEAVING: [(&str, &str); 9] = [
    ("changes", "generation IN (SELECT generation FROM transactions WHERE key <= ?1)"),
    ("events", "transaction_key <= ?1"),
    ("attempts", "transaction_key <= ?1"),
    ("steps", "transaction_key <= ?1"),
    ("items", "transaction_key <= ?1"),
    ("plans", "transaction_key <= ?1"),
    ("tags", "transaction_key <= ?1"),
    ("requests", "transaction_key <= ?1"),
    ("transactions", "key <= ?1"),
];

impl Reader {
    /// Writes an archive of what the cut lets go, completely and durably; `None` when it lets nothing go. Nothing has left the
    /// record: see [`Store::move_to`].
    ///
    /// CRASH: a part is removed by the next one; a file that is not listed is written again.
    pub fn write_archive(&self, cut: Cut) -> Result<Option<RecordArchive>, VerifyError> {
        let Some(mut archive) = span(&self.conn, cut)? else { return Ok(None) };
        let folder = folder(&self.conn);
        let (part, path) = (folder.join(".part"), folder.join(&archive.file));
        let file_error = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::File { path, source }
        };
        make(&folder).map_err(file_error(&folder))?;
        for suffix in ["", "-wal", "-shm", "-journal"] {
            remove(&folder.join(format!(".part{suffix}"))).map_err(file_error(&part))?;
        }
        is_free(&path, &archive)?;
        fill(self.conn.path().unwrap_or_default(), &part, archive.keys.1)?;
        verified(&part, &archive)?;
        archive.digest = file_digest(&part).map_err(file_error(&part))?;
        std::fs::rename(&part, &path).and_then(|()| File::open(&folder)?.sync_all()).map_err(file_error(&path))?;
        Ok(Some(archive))
    }
}

/// What a crash left of the same archive is no loss; anything else stays where it is.
fn is_free(path: &Path, archive: &RecordArchive) -> Result<(), VerifyError> {
    if !path.exists() {
        return Ok(());
    }
    verified(path, archive).map_err(|_| {
        let source = io::Error::new(io::ErrorKind::AlreadyExists, "it is another archive than the one that is to be written");
        StoreError::File { path: path.to_owned(), source }.into()
    })
}

fn verified(path: &Path, archive: &RecordArchive) -> Result<(), VerifyError> {
    let verified = Reader::open_archive(path)?.verify_file(|_, _| true)?;
    if (verified.events, verified.hash) == (archive.events.1.unsigned_abs(), archive.last_hash) {
        return Ok(());
    }
    Err(StoreError::Incomplete { path: path.to_owned(), what: "events" }.into())
}

fn fill(source: &str, part: &Path, last: i64) -> Result<(), StoreError> {
    let file_error = |source| StoreError::File { path: part.to_owned(), source };
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(part).map_err(file_error)?;
    let mut store = Store::open(part, &Run::none())?;
    // Rows come table by table, and comparing them may take more than memory.
    store.conn.pragma_update(None, "foreign_keys", false)?;
    store.conn.pragma_update(None, "temp_store", "file")?;
    store.conn.execute("ATTACH DATABASE ?1 AS old", [source])?;
    let tx = store.conn.transaction()?;
    let guards = without_guards(&tx)?;
    for (table, which) in FRAME.iter().chain(&LEAVING) {
        copied(&tx, table, &which.replace("FROM transactions", "FROM old.transactions"), last)?;
    }
    tx.execute("INSERT INTO transactions_text (transactions_text) VALUES ('rebuild')", [])?;
    tx.execute_batch(&guards)?;
    tx.commit()?;
    store.conn.execute("DETACH DATABASE old", [])?;
    let dangling = store.conn.prepare("PRAGMA foreign_key_check")?.exists([])?;
    if dangling {
        return Err(StoreError::Incomplete { path: part.to_owned(), what: "references" });
    }
    store.conn.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    store.check()?;
    store.close()?;
    File::open(part).and_then(|file| file.sync_all()).map_err(file_error)
}

/// Takes the triggers of a new file away; answers what makes them again.
fn without_guards(tx: &Transaction<'_>) -> Result<String, StoreError> {
    let mut statement = tx.prepare("SELECT name, sql FROM main.sqlite_schema WHERE type = 'trigger'")?;
    let found: Vec<(String, String)> = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (name, _) in &found {
        tx.execute_batch(&format!("DROP TRIGGER main.{name}"))?;
    }
    Ok(found.into_iter().map(|(_, sql)| sql + ";\n").collect())
}

/// Copies rows and compares them.
fn copied(tx: &Transaction<'_>, table: &str, which: &str, last: i64) -> Result<(), StoreError> {
    let columns = columns(tx, table)?;
    let there = tx.execute(&format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM old.{table} WHERE {which}"), [last])?;
    let compare = format!("SELECT {columns} FROM old.{table} WHERE {which} EXCEPT SELECT {columns} FROM main.{table}");
    let differs = tx.prepare(&compare)?.exists([last])?;
    let count: i64 = tx.query_row(&format!("SELECT count(*) FROM main.{table}"), [], |row| row.get(0))?;
    if differs || usize::try_from(count) != Ok(there) {
        return Err(StoreError::Incomplete { path: tx.path().unwrap_or_default().into(), what: "rows" });
    }
    Ok(())
}

/// Columns that are stored; the others follow from them.
fn columns(conn: &Connection, table: &str) -> Result<String, StoreError> {
    let mut statement = conn.prepare("SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0")?;
    let names: Vec<String> = statement.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(names.join(", "))
}

/// SHA-256 of a file, read in pieces.
pub(crate) fn file_digest(path: &Path) -> io::Result<Digest> {
    let (mut file, mut hasher, mut piece) = (File::open(path)?, Sha256::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Digest(hasher.finalize().into())),
            length => hasher.update(&piece[..length]),
        }
    }
}

fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
