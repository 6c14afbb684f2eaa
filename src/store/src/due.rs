//! Whether a check of the whole file is due: a small file beside the record says so.
//!
//! After an interruption a large record is served at once, because SQLite's log makes commits whole and the newest events
//! were looked at; that every other page is as it was written is looked at in the background. When a read finds damage,
//! the next start looks at everything before anybody is served. A record that was closed in good order has no such file,
//! and opening it writes nothing.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::reader::Reader;

const NOW: &[u8] = b"now\n";

/// The file beside the record.
fn marker(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".check");
    PathBuf::from(name)
}

/// A check is due in the background.
#[must_use]
pub fn is_due(path: &Path) -> bool {
    marker(path).exists()
}

/// A check is due before the record is used.
#[must_use]
pub fn is_suspected(path: &Path) -> bool {
    std::fs::read(marker(path)).is_ok_and(|content| content == NOW)
}

/// Has the next open check everything: damage was seen.
pub fn suspect(path: &Path) -> io::Result<()> {
    let mut file = File::create(marker(path))?;
    file.write_all(NOW)?;
    file.sync_all()
}

pub(crate) fn later(path: &Path) -> io::Result<()> {
    match File::options().write(true).create_new(true).open(marker(path)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Everything was checked and is whole.
pub fn done(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(marker(path)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StoreError::File { path: marker(path), source }),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Reader {
    /// Checks every page of every table, table by table, so that the writer's log can be begun again in between.
    pub fn check(&self) -> Result<(), StoreError> {
        let mut statement = self.conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0")?;
        let tables: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for table in tables {
            let answer: String = self.conn.query_row(&format!("PRAGMA quick_check(\"{table}\")"), [], |row| row.get(0))?;
            if answer != "ok" {
                return Err(StoreError::corrupt(answer));
            }
        }
        Ok(())
    }
}
