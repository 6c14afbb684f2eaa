//! Which packages changed most.

use std::collections::HashMap;

use backstep_core::Kind;
use backstep_core::history::PackageStatistics;
use rusqlite::params;

use crate::error::StoreError;
use crate::reader::Reader;

impl Reader {
    /// The packages with the most changes in transactions that ended at or after `since_us` (microseconds since 1970, UTC), of
    /// this user or of all, at most `limit` of them. Marks are no changes, and what was planned and not begun is none.
    pub fn package_statistics(&self, since_us: i64, uid: Option<u32>, limit: usize) -> Result<Vec<PackageStatistics>, StoreError> {
        let mut tallies: HashMap<String, PackageStatistics> = HashMap::new();
        let mut statement = self.conn.prepare_cached(PACKAGES)?;
        for kind in Kind::ALL {
            let mut rows = statement.query(params![kind.as_str(), since_us, uid])?;
            while let Some(row) = rows.next()? {
                let (name, done, at_us): (String, bool, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let new = || PackageStatistics { package: name.clone(), changes: 0, undone: 0, last_us: 0 };
                let tally = tallies.entry(name.clone()).or_insert_with(new);
                tally.changes += u64::from(done);
                tally.undone += u64::from(!done);
                tally.last_us = tally.last_us.max(at_us);
            }
        }
        let mut found: Vec<PackageStatistics> = tallies.into_values().collect();
        found.sort_by(|a, b| (b.changes + b.undone).cmp(&(a.changes + a.undone)).then_with(|| a.package.cmp(&b.package)));
        found.truncate(limit);
        Ok(found)
    }
}

pub(crate) const PACKAGES: &str = "SELECT i.name, i.state = 'done', t.finished_us
    FROM transactions t CROSS JOIN items i ON i.transaction_key = t.key
    WHERE t.kind = ?1 AND t.finished_us >= ?2 AND (?3 IS NULL OR t.uid = ?3)
        AND i.state <> 'pending' AND i.action NOT IN ('hold', 'unhold')";

#[cfg(test)]
mod tests {
    use backstep_core::{ErrorCode, Event, Kind};

    use crate::Reader;
    use crate::tests::{Fixture, stamp};

    #[test]
    fn the_package_that_changed_most_is_first() {
        let mut f = Fixture::new();
        f.completed(1, Kind::Install, None);
        f.started(2, Kind::Install, None);
        let changed =
            Event::ItemChanged { package: "hello:amd64".into(), before: "not-installed".into(), after: "half-installed 2".into() };
        let undo = Event::UndoStarted { code: ErrorCode::ScriptFailed, text: "x".into() };
        f.append(2, &[changed, undo, Event::UndoFinished { differences: 0 }]).expect("undo");
        let last = stamp(f.now).utc_us;
        let reader = Reader::open(&f.path).expect("open");
        let found = reader.package_statistics(0, None, 10).expect("read");
        assert_eq!((found.len(), found[0].package.as_str(), found[0].changes, found[0].undone), (1, "hello", 1, 1));
        assert_eq!(found[0].last_us, last);
        assert_eq!(reader.package_statistics(last, Some(1000), 10).expect("read")[0].changes, 0);
        assert!(reader.package_statistics(0, Some(7), 10).expect("read").is_empty());
        assert!(reader.package_statistics(0, None, 0).expect("read").is_empty());
    }
}
