//! How each kind of transaction fares.

use backstep_core::Kind;
use backstep_core::record::KindStatistics;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::StoreError;
use crate::open::Store;

impl Store {
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

pub(crate) const ENDED: &str = "SELECT count(*), count(*) FILTER (WHERE success), count(duration_us), coalesce(avg(duration_us), 0),
        count(*) FILTER (WHERE status = 'failed')
    FROM transactions WHERE kind = ?1 AND finished_us >= ?2";
pub(crate) const IN_PROGRESS: &str = "SELECT count(*) FROM transactions WHERE status = 'in_progress' AND kind = ?1";
pub(crate) const RANK: &str = "SELECT duration_us FROM transactions
    WHERE kind = ?1 AND finished_us >= ?2 AND duration_us IS NOT NULL ORDER BY duration_us LIMIT 1 OFFSET ?3";

fn of_kind(conn: &Connection, kind: Kind, since_us: i64) -> Result<KindStatistics, StoreError> {
    let name = kind.as_str();
    let row = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get::<_, f64>(3)?, row.get::<_, i64>(4)?))
    };
    let (count, completed, timed, mean, failed) = conn.prepare_cached(ENDED)?.query_row(params![name, since_us], row)?;
    let in_progress: i64 = conn.prepare_cached(IN_PROGRESS)?.query_row([name], |row| row.get(0))?;
    let rank = |percent| -> Result<i64, StoreError> {
        let params = params![name, since_us, place(timed, percent)];
        Ok(conn.prepare_cached(RANK)?.query_row(params, |row| row.get(0)).optional()?.unwrap_or(0))
    };
    Ok(KindStatistics {
        kind,
        count: count.unsigned_abs(),
        completed: completed.unsigned_abs(),
        failed: failed.unsigned_abs(),
        in_progress: in_progress.unsigned_abs(),
        // Below 2^53 microseconds, 285 years, exact.
        #[allow(clippy::cast_possible_truncation)]
        mean_us: mean.round() as i64,
        p50_us: rank(50)?,
        p95_us: rank(95)?,
    })
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
