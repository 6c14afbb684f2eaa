//! Ignores: said, taken back, and read. What is said again ends what was said before, in one commit.

use backstep_core::ignore::{Ignore, IgnoreRecord, Said, Source};
use rusqlite::{Connection, Row, params};

use crate::columns::{integer, parsed, parsed_option, stamp, stamp_option};
use crate::error::StoreError;
use crate::generation::{Generation, Opening};
use crate::open::Store;

impl Store {
    /// Records an ignore in a generation of its own, and answers its number. It is expected to be valid.
    pub fn ignore(&mut self, said: &Said<Ignore>) -> Result<u64, StoreError> {
        let Said { what, comment, actor, at } = said;
        let generation = Generation::begin(self, &Opening::New { comment, actor }, *at)?;
        let (kind, name) = source(what);
        let end = "UPDATE ignores SET removed_generation = ?4, removed_us = ?5, removed_monotonic_us = ?6, removed_boot = ?7
             WHERE removed_us IS NULL AND pattern = ?1 AND coalesce(source_kind, '') = coalesce(?2, '')
                 AND coalesce(source_name, '') = coalesce(?3, '')";
        let pattern = what.pattern.to_string();
        generation.conn().execute(end, params![pattern, kind, name, generation.key(), at.utc_us, at.monotonic_us, at.boot.0])?;
        generation.conn().execute(
            "INSERT INTO ignores (generation, pattern, source_kind, source_name, comment, until_us, uid, user, added_us,
                 added_monotonic_us, added_boot)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                generation.key(),
                pattern,
                kind,
                name,
                what.comment,
                what.until_us,
                actor.uid,
                actor.user,
                at.utc_us,
                at.monotonic_us,
                at.boot.0
            ],
        )?;
        let number = generation.conn().last_insert_rowid();
        generation.commit()?;
        Ok(number.unsigned_abs())
    }

    /// Takes a live ignore back in a generation of its own; `false` when there is none with that number.
    pub fn unignore(&mut self, said: &Said<u64>) -> Result<bool, StoreError> {
        let Said { what, comment, actor, at } = said;
        let Ok(number) = i64::try_from(*what) else { return Ok(false) };
        let generation = Generation::begin(self, &Opening::New { comment, actor }, *at)?;
        let end = "UPDATE ignores SET removed_generation = ?2, removed_us = ?3, removed_monotonic_us = ?4, removed_boot = ?5
             WHERE key = ?1 AND removed_us IS NULL";
        let ended = generation.conn().execute(end, params![number, generation.key(), at.utc_us, at.monotonic_us, at.boot.0])?;
        generation.commit()?;
        Ok(ended > 0)
    }

    /// The ignores that nobody took back, those that are over by themselves included, in their order.
    pub fn ignores(&self) -> Result<Vec<IgnoreRecord>, StoreError> {
        read(&self.conn, LIVE)
    }

    /// Every ignore there ever was, newest first, at most so many.
    pub fn all_ignores(&self, limit: u32) -> Result<Vec<IgnoreRecord>, StoreError> {
        read(&self.conn, &format!("{ALL} LIMIT {limit}"))
    }
}

pub(crate) const LIVE: &str = "SELECT * FROM ignores WHERE removed_us IS NULL ORDER BY key";
pub(crate) const ALL: &str = "SELECT * FROM ignores WHERE key > 0 ORDER BY key DESC";

fn source(ignore: &Ignore) -> (Option<&'static str>, Option<&str>) {
    ignore.source.as_ref().map_or((None, None), |source| (Some(source.kind.as_str()), Some(source.name.as_str())))
}

fn read(conn: &Connection, sql: &str) -> Result<Vec<IgnoreRecord>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(record(row)?);
    }
    Ok(found)
}

fn record(row: &Row<'_>) -> Result<IgnoreRecord, StoreError> {
    let kind = parsed_option(row, "source_kind")?;
    let source = kind.zip(row.get("source_name")?).map(|(kind, name)| Source { kind, name });
    let ignore = Ignore { pattern: parsed(row, "pattern")?, source, comment: row.get("comment")?, until_us: row.get("until_us")? };
    Ok(IgnoreRecord {
        number: integer(row, "key")?,
        ignore,
        uid: integer(row, "uid")?,
        user: row.get("user")?,
        added: stamp(row, "added")?,
        removed: stamp_option(row, "removed")?,
    })
}
