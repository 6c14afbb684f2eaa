//! The record in numbers.

use backstep_core::Kind;
use backstep_core::measures::Measures;

use crate::columns::{integer, parsed};
use crate::error::StoreError;
use crate::reader::Reader;

/// Reads an index from its one end to the other, about twenty bytes a transaction; nobody waits for it.
const COUNTS: &str = "SELECT kind, state, count(*) AS transactions FROM transactions INDEXED BY transactions_by_kind_and_state
    GROUP BY kind, state";
pub(crate) const LAST_END: &str = "SELECT max(finished_us) FROM transactions WHERE kind = ?1";

impl Reader {
    /// Counts and sizes.
    pub fn measures(&self) -> Result<Measures, StoreError> {
        let number = |sql: &str| self.conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
        Ok(Measures {
            transactions: self.counts()?,
            last_end_us: self.last_ends()?,
            events: number("SELECT coalesce(max(seq), 0) FROM events")?,
            generations: number("SELECT coalesce(max(key), 0) FROM generations")?,
            bytes: number("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")?,
        })
    }

    fn counts(&self) -> Result<Vec<(Kind, backstep_core::TransactionState, u64)>, StoreError> {
        let mut statement = self.conn.prepare(COUNTS)?;
        let mut rows = statement.query([])?;
        let mut counts = Vec::new();
        while let Some(row) = rows.next()? {
            counts.push((parsed(row, "kind")?, parsed(row, "state")?, integer(row, "transactions")?));
        }
        Ok(counts)
    }

    fn last_ends(&self) -> Result<Vec<(Kind, i64)>, StoreError> {
        let mut statement = self.conn.prepare_cached(LAST_END)?;
        let mut found = Vec::new();
        for kind in Kind::ALL {
            let last: Option<i64> = statement.query_row([kind.as_str()], |row| row.get(0))?;
            found.extend(last.map(|last| (*kind, last)));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use backstep_core::{Kind, TransactionState};

    use crate::Reader;
    use crate::tests::{Fixture, id, stamp};

    #[test]
    fn the_record_is_counted() {
        let mut f = Fixture::new();
        f.completed(1, Kind::Install, None);
        let end = stamp(f.now).utc_us;
        f.completed(2, Kind::Rollback, Some(id(1)));
        f.started(3, Kind::Install, None);
        let measures = Reader::open(&f.path).expect("open").measures().expect("read");
        use TransactionState as S;
        let expected = [(Kind::Install, S::Completed, 1), (Kind::Install, S::Executing, 1), (Kind::Rollback, S::Completed, 1)];
        assert_eq!(measures.transactions, expected);
        assert_eq!(measures.last_end_us[0], (Kind::Install, end));
        assert_eq!((measures.events, measures.generations), (14, 3));
        assert!(measures.bytes > 100_000);
    }
}
