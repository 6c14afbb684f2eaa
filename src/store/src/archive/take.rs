//! Moving: an archive is listed, and what lies in it leaves the record, in one commit.

use backstep_core::ignore::Said;
use backstep_core::record_archive::{Moved, RecordArchive};
use rusqlite::{Connection, params};

use super::span::referred_to;
use super::write::LEAVING;
use crate::error::StoreError;
use crate::generation::{Generation, Opening};
use crate::open::Store;

impl Store {
    /// Lists an archive in a generation of its own and lets go what lies in it.
    ///
    /// CRASH: it is one commit. Before it all is in the record, after it in the archive.
    pub fn move_to(&mut self, said: &Said<RecordArchive>) -> Result<Moved, StoreError> {
        let Said { what: archive, comment, actor, at } = said;
        let generation = Generation::begin(self, &Opening::New { comment, actor }, *at)?;
        let conn = generation.conn();
        if !is_current(conn, archive)? {
            return Ok(Moved::Outdated);
        }
        list(conn, generation.key(), archive)?;
        conn.execute("UPDATE gate SET moves = (SELECT max(key) FROM archives)", [])?;
        for (table, which) in LEAVING {
            conn.execute(&format!("DELETE FROM {table} WHERE {which}"), [archive.keys.1])?;
        }
        conn.execute("UPDATE gate SET moves = NULL", [])?;
        generation.commit()?;
        Ok(Moved::Moved)
    }

    /// Gives the space of what has left back to the file system. Nobody is answered while that is done.
    pub fn shrink(&self) -> Result<(), StoreError> {
        self.write_anew()
    }
}

/// Whether the record is still the one that the archive was made of.
fn is_current(conn: &Connection, archive: &RecordArchive) -> Result<bool, StoreError> {
    let sql = "SELECT (SELECT count(*) FROM transactions WHERE key <= ?1), (SELECT min(seq) FROM events),
        (SELECT max(seq) FROM events WHERE transaction_key <= ?1)";
    let found: (i64, Option<i64>, Option<i64>) =
        conn.query_row(sql, [archive.keys.1], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let expected = (archive.transactions.cast_signed(), Some(archive.events.0), Some(archive.events.1));
    Ok(found == expected && referred_to(conn, archive.keys.1)?.is_none())
}

fn list(conn: &Connection, generation: i64, archive: &RecordArchive) -> Result<(), StoreError> {
    conn.execute(
        "INSERT INTO archives (generation, file, digest, first_transaction, last_transaction, first_event, last_event, last_hash,
             first_us, last_us, first_id, last_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            generation,
            archive.file,
            archive.digest.0,
            archive.keys.0,
            archive.keys.1,
            archive.events.0,
            archive.events.1,
            archive.last_hash.0,
            archive.requested_us.0,
            archive.requested_us.1,
            archive.ids.0,
            archive.ids.1,
        ],
    )?;
    Ok(())
}
