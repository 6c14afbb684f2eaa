//! Many writes in one commit, for whoever has many at once: they become durable together or not at all.

use rusqlite::TransactionState;

use crate::error::StoreError;
use crate::open::Store;

/// Memory for pages, and statements that stay prepared, while millions of rows are written.
const BULK_CACHE_KIB: i64 = 512 << 10;
const BULK_STATEMENTS: usize = 64;

impl Store {
    /// Does everything that `write` does in one commit. Each write still opens its own generation. When one fails,
    /// nothing of the batch is kept.
    pub fn batch<T, E: From<StoreError>>(&mut self, write: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        self.may_write()?;
        let run = self.run_key;
        self.conn.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::from)?;
        let written = write(self).and_then(|written| match self.conn.execute_batch("COMMIT") {
            Ok(()) => Ok(written),
            Err(error) => Err(StoreError::from(error).into()),
        });
        if written.is_err() {
            self.run_key = run;
            self.undo_batch()?;
        }
        written
    }

    /// SQLite ends some failed transactions itself, a full disk's for example.
    fn undo_batch(&self) -> Result<(), StoreError> {
        if self.conn.transaction_state(None::<&str>)? == TransactionState::None && self.conn.is_autocommit() {
            return Ok(());
        }
        Ok(self.conn.execute_batch("ROLLBACK")?)
    }

    /// Takes memory for a program that writes a whole record at once. The daemon never does.
    pub fn expect_bulk(&self) -> Result<(), StoreError> {
        self.conn.pragma_update(None, "cache_size", -BULK_CACHE_KIB)?;
        self.conn.set_prepared_statement_cache_capacity(BULK_STATEMENTS);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use backstep_core::Kind;

    use crate::tests::{Fixture, id};
    use crate::{Reader, StoreError};

    #[test]
    fn a_batch_is_one_commit_and_a_failed_one_leaves_nothing() {
        let mut f = Fixture::new();
        let actor = crate::tests::actor();
        let new = |n: u32, bytes: &'static [u8]| crate::NewTransaction {
            id: id(n),
            kind: Kind::Install,
            request_bytes: bytes,
            request_digest: crate::chain::digest_of(b"x"),
            description: "why",
            tags: &[],
            comment: "",
            actor: &actor,
            at: crate::tests::stamp(i64::from(n)),
            priority: 0,
            reverts: None,
            scope: None,
            retries: None,
        };
        let reader = Reader::open(&f.path).expect("open");
        let failed: Result<(), StoreError> = f.store.batch(|store| {
            store.create(&new(1, b"x"))?;
            store.create(&new(2, b"not x")).map(drop)
        });
        assert!(matches!(failed, Err(StoreError::Mismatch { .. })));
        assert_eq!([f.count("transactions"), f.count("runs"), f.count("generations"), f.count("events")], [0; 4]);
        let seen = f.store.batch::<_, StoreError>(|store| {
            store.create(&new(1, b"x"))?;
            store.create(&new(2, b"x"))?;
            Ok(reader.measures()?.events)
        });
        assert_eq!(seen.expect("batch"), 0, "nobody sees half of it");
        assert_eq!([f.count("transactions"), f.count("runs"), f.count("generations"), f.count("events")], [2, 1, 2, 2]);
        assert_eq!(f.store.verify_chain().expect("whole"), 2);
    }
}
