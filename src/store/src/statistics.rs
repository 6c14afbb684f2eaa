//! How each kind of transaction fares.

use backstep_core::Kind;
use backstep_core::record::KindStatistics;
use rusqlite::{Connection, params};

use crate::error::StoreError;
use crate::reader::Reader;

impl Reader {
    /// For each kind that has any: transactions that ended at or after `since_us` (microseconds since 1970,
    /// UTC), and those in progress now. Durations are those of ended transactions that were started;
    /// percentiles are of the nearest rank.
    pub fn statistics(&self, since_us: i64) -> Result<Vec<KindStatistics>, StoreError> {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            let statistics = of_kind(&self.conn, *kind, since_us)?;
            if statistics.count + statistics.in_progress > 0 {
                found.push(statistics);
            }
        }
        Ok(found)
    }
}

/// Reads each row of the span once; they lie together, in the order of time.
pub(crate) const ENDED: &str = "SELECT coalesce(success, 0), status = 'failed', duration_us FROM transactions
    WHERE kind = ?1 AND finished_us >= ?2";
/// At most one transaction is in progress, so that index comes first.
pub(crate) const IN_PROGRESS: &str =
    "SELECT count(*) FROM transactions INDEXED BY transactions_by_status WHERE status = 'in_progress' AND kind = ?1";

fn of_kind(conn: &Connection, kind: Kind, since_us: i64) -> Result<KindStatistics, StoreError> {
    let name = kind.as_str();
    let mut tally = Tally::default();
    let mut statement = conn.prepare_cached(ENDED)?;
    let mut rows = statement.query(params![name, since_us])?;
    while let Some(row) = rows.next()? {
        tally.add(row.get(0)?, row.get(1)?, row.get(2)?);
    }
    let in_progress: i64 = conn.prepare_cached(IN_PROGRESS)?.query_row([name], |row| row.get(0))?;
    Ok(tally.statistics(kind, in_progress.unsigned_abs()))
}

/// What ended, of one kind.
#[derive(Default)]
struct Tally {
    count: u64,
    completed: u64,
    failed: u64,
    durations_us: Vec<i64>,
}

impl Tally {
    fn add(&mut self, completed: bool, failed: bool, duration_us: Option<i64>) {
        self.count += 1;
        self.completed += u64::from(completed);
        self.failed += u64::from(failed);
        self.durations_us.extend(duration_us);
    }

    fn statistics(mut self, kind: Kind, in_progress: u64) -> KindStatistics {
        self.durations_us.sort_unstable();
        let count = i64::try_from(self.durations_us.len()).unwrap_or(i64::MAX);
        let total: i128 = self.durations_us.iter().copied().map(i128::from).sum();
        let half = i128::from(count / 2);
        let mean = (total + half).checked_div(i128::from(count)).and_then(|mean| i64::try_from(mean).ok()).unwrap_or(0);
        let rank = |percent| usize::try_from(place(count, percent)).ok().and_then(|place| self.durations_us.get(place)).copied();
        KindStatistics {
            kind,
            count: self.count,
            completed: self.completed,
            failed: self.failed,
            in_progress,
            mean_us: mean,
            p50_us: rank(50).unwrap_or(0),
            p95_us: rank(95).unwrap_or(0),
        }
    }
}

/// The place, from 0, of the nearest rank among `count` sorted values.
pub(crate) const fn place(count: i64, percent: i64) -> i64 {
    let rank = (count * percent + 99) / 100;
    if rank > 0 { rank - 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn the_nearest_rank_is_never_outside() {
        assert_eq!([place(0, 50), place(1, 50), place(1, 95), place(2, 50), place(20, 95), place(100, 95)], [0, 0, 0, 0, 18, 94]);
        for count in 1..300 {
            assert!(place(count, 95) < count && place(count, 50) <= place(count, 95));
        }
    }
}
