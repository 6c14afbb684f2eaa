//! Which steps take long.

use std::collections::BTreeMap;

use backstep_core::history::StepStatistics;
use backstep_core::{Kind, StepKind, TransactionId};
use rusqlite::{Row, params};

use crate::columns::parsed;
use crate::error::StoreError;
use crate::reader::Reader;
use crate::statistics::place;

impl Reader {
    /// For each step that was done in transactions that ended at or after `since_us` (microseconds since 1970, UTC):
    /// how long it took, what takes longest in all first. Undoing does not count.
    pub fn step_statistics(&self, since_us: i64) -> Result<Vec<StepStatistics>, StoreError> {
        let mut tallies: BTreeMap<StepKind, Tally> = BTreeMap::new();
        let mut statement = self.conn.prepare_cached(STEPS)?;
        for kind in Kind::ALL {
            let mut rows = statement.query(params![kind.as_str(), since_us])?;
            while let Some(row) = rows.next()? {
                tallies.entry(parsed(row, "step")?).or_default().add(row)?;
            }
        }
        let mut found: Vec<StepStatistics> = tallies.into_iter().map(|(step, tally)| tally.statistics(step)).collect();
        found.sort_by_key(|step| std::cmp::Reverse(step.total_us));
        Ok(found)
    }
}

/// The time of a step within one boot is that of the monotonic clock, so that a clock that was set does not show.
pub(crate) const STEPS: &str = "SELECT t.id, s.kind AS step, s.error_code IS NOT NULL AS failed,
        CASE WHEN s.started_boot = s.finished_boot THEN s.finished_monotonic_us - s.started_monotonic_us
            ELSE s.finished_us - s.started_us END AS duration_us
    FROM transactions t CROSS JOIN steps s ON s.transaction_key = t.key
    WHERE t.kind = ?1 AND t.finished_us >= ?2 AND s.started_us IS NOT NULL AND s.finished_us IS NOT NULL";

#[derive(Default)]
struct Tally {
    durations_us: Vec<i64>,
    failed: u64,
    max_us: i64,
    slowest: Option<TransactionId>,
}

impl Tally {
    fn add(&mut self, row: &Row<'_>) -> Result<(), StoreError> {
        let duration_us: i64 = row.get("duration_us")?;
        self.failed += u64::from(row.get::<_, bool>("failed")?);
        if self.slowest.is_none() || duration_us > self.max_us {
            self.max_us = duration_us;
            self.slowest = Some(parsed(row, "id")?);
        }
        self.durations_us.push(duration_us);
        Ok(())
    }

    fn statistics(mut self, step: StepKind) -> StepStatistics {
        self.durations_us.sort_unstable();
        let count = i64::try_from(self.durations_us.len()).unwrap_or(i64::MAX);
        let total_us = self.durations_us.iter().sum::<i64>();
        let rank = |percent| usize::try_from(place(count, percent)).ok().and_then(|place| self.durations_us.get(place)).copied();
        StepStatistics {
            step,
            count: count.unsigned_abs(),
            failed: self.failed,
            total_us,
            mean_us: total_us / count.max(1),
            p50_us: rank(50).unwrap_or(0),
            p95_us: rank(95).unwrap_or(0),
            max_us: self.max_us,
            slowest: self.slowest,
        }
    }
}
