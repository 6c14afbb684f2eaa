//! The one way to write: inside an open generation, in one commit.
//!
//! A generation is a change-set with a comment, a user and an origin. A transaction has one: opened by its
//! request and opened again for every later event of it. The gate row is filled when a generation opens and
//! empty again before the commit, so no committed state has an open generation and the schema's triggers
//! refuse every other write, whoever makes it.

use backstep_core::Stamp;
use backstep_core::actor::Actor;
use rusqlite::{Connection, Savepoint, Transaction, TransactionBehavior, params};

use crate::error::StoreError;
use crate::open::{Run, Store};

/// Which generation a write belongs to.
pub(crate) enum Opening<'a> {
    /// A new one.
    New {
        /// Why.
        comment: &'a str,
        /// Who.
        actor: &'a Actor,
    },
    /// One that is in the record.
    Again(i64),
}

/// An open generation. Dropped without [`Generation::commit`] it leaves nothing.
#[must_use = "a generation that is not committed writes nothing"]
pub(crate) struct Generation<'a> {
    scope: Scope<'a>,
    key: i64,
    run: i64,
    begin: Mark,
    written_run: &'a mut Option<i64>,
}

/// What keeps a generation's writes together: a commit of its own, or a part of the one commit of a batch.
enum Scope<'a> {
    Commit(Transaction<'a>),
    Part(Savepoint<'a>),
}

impl<'a> Scope<'a> {
    fn begin(conn: &'a mut Connection) -> Result<Self, StoreError> {
        if conn.is_autocommit() {
            return Ok(Self::Commit(conn.transaction_with_behavior(TransactionBehavior::Immediate)?));
        }
        Ok(Self::Part(conn.savepoint()?))
    }

    fn conn(&self) -> &Connection {
        match self {
            Self::Commit(tx) => tx,
            Self::Part(part) => part,
        }
    }

    fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Commit(tx) => tx.commit()?,
            Self::Part(part) => part.commit()?,
        }
        Ok(())
    }
}

/// How much was recorded at a moment.
#[derive(PartialEq, Eq)]
struct Mark {
    changes: i64,
    events: i64,
}

impl Mark {
    fn read(conn: &Connection) -> Result<Self, StoreError> {
        let last = |sql: &str| conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0));
        Ok(Self { changes: last("SELECT max(key) FROM changes")?.unwrap_or(0), events: last("SELECT max(seq) FROM events")?.unwrap_or(0) })
    }
}

impl<'a> Generation<'a> {
    /// Opens a generation.
    pub(crate) fn begin(store: &'a mut Store, opening: &Opening<'_>, at: Stamp) -> Result<Self, StoreError> {
        store.may_write()?;
        let Store { conn, run: facts, run_key, .. } = store;
        let scope = Scope::begin(conn)?;
        let run = match *run_key {
            Some(key) => key,
            None => next_run(scope.conn())?,
        };
        let key = match opening {
            Opening::New { comment, actor } => insert(scope.conn(), comment, actor, at, run)?,
            Opening::Again(key) => *key,
        };
        open_gate(scope.conn(), key, run, at)?;
        if run_key.is_none() {
            insert_run(scope.conn(), run, facts)?;
        }
        let begin = Mark::read(scope.conn())?;
        Ok(Self { scope, key, run, begin, written_run: run_key })
    }

    /// The connection to write with.
    pub(crate) fn conn(&self) -> &Connection {
        self.scope.conn()
    }

    /// The generation's key.
    pub(crate) const fn key(&self) -> i64 {
        self.key
    }

    /// The run's key.
    pub(crate) const fn run(&self) -> i64 {
        self.run
    }

    /// Closes the generation and commits; one in which nothing was recorded leaves no trace.
    pub(crate) fn commit(self) -> Result<(), StoreError> {
        if Mark::read(self.conn())? == self.begin {
            // Dropped, it is undone.
            return Ok(());
        }
        self.conn().prepare_cached("UPDATE gate SET generation = NULL, run = NULL, at_us = NULL")?.execute([])?;
        self.scope.commit()?;
        *self.written_run = Some(self.run);
        Ok(())
    }
}

fn next_run(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn.query_row("SELECT coalesce(max(key), 0) + 1 FROM runs", [], |row| row.get(0))?)
}

fn insert(conn: &Connection, comment: &str, actor: &Actor, at: Stamp, run: i64) -> Result<i64, StoreError> {
    conn.prepare_cached(
        "INSERT INTO generations (comment, uid, user, origin, opened_us, opened_monotonic_us, opened_boot, run)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![comment, actor.uid, actor.user, actor.origin.as_str(), at.utc_us, at.monotonic_us, at.boot.0, run])?;
    Ok(conn.last_insert_rowid())
}

fn open_gate(conn: &Connection, generation: i64, run: i64, at: Stamp) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE gate SET generation = ?1, run = ?2, at_us = ?3")?.execute(params![generation, run, at.utc_us])?;
    Ok(())
}

fn insert_run(conn: &Connection, key: i64, run: &Run) -> Result<(), StoreError> {
    conn.execute(
        "INSERT INTO runs (key, id, version, pid, started_us, started_monotonic_us, started_boot)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![key, run.id, run.version, run.pid, run.at.utc_us, run.at.monotonic_us, run.at.boot.0],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Fixture, actor, stamp};

    #[test]
    fn an_empty_or_dropped_generation_leaves_no_trace() {
        let mut f = Fixture::new();
        let actor = actor();
        let new = Opening::New { comment: "nothing", actor: &actor };
        Generation::begin(&mut f.store, &new, stamp(1)).expect("begin").commit().expect("commit");
        assert_eq!([f.count("generations"), f.count("runs"), f.count("changes")], [0; 3]);
        let generation = Generation::begin(&mut f.store, &new, stamp(1)).expect("begin");
        let sql = "INSERT INTO runs VALUES (9, '01936b2e-7c1a-7d3e-9f10-bbbbbbbbbbbb', 'v', 1, 1, 1, zeroblob(16))";
        generation.conn().execute(sql, []).expect("write");
        drop(generation);
        assert_eq!([f.count("generations"), f.count("runs"), f.count("changes")], [0; 3]);
    }
}
