//! What is asked of the record as a whole: where a package came from, what changed the system when, which steps
//! take long.

use crate::plan::{PlanAction, Reason};
use crate::record::Summary;
use crate::{StepKind, TransactionId};

/// One change of one package, done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemChange {
    /// What was done to it.
    pub action: PlanAction,
    /// Why it was in the plan.
    pub reason: Reason,
    /// The version before.
    pub from: Option<String>,
    /// The version after.
    pub to: Option<String>,
    /// What was asked for in the same transaction, by name; a bounded list.
    pub requested: Vec<String>,
    /// The transaction.
    pub summary: Summary,
}

/// Where a package comes from, as far as the record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Its architecture.
    pub arch: String,
    /// The change that made it as it is recorded now.
    pub last: ItemChange,
    /// The one that brought it; `None` when it was there before the record, or is gone.
    pub brought: Option<ItemChange>,
}

/// A generation of the record, and what it was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number, from 1 and without gaps.
    pub number: u64,
    /// Why, in somebody's words.
    pub comment: String,
    /// Who.
    pub uid: u32,
    /// The name of who at that time.
    pub user: String,
    /// Through which door.
    pub origin: String,
    /// Opened at, microseconds since 1970 in UTC.
    pub opened_us: i64,
    /// The version of the daemon that opened it.
    pub version: String,
    /// Rows that were written under it.
    pub changes: u64,
    /// Its transaction.
    pub transaction: Option<Summary>,
}

/// Which generations to list, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GenerationFilter {
    /// Only those whose transaction left the system changed.
    pub system: bool,
    /// Opened before this one: for pages.
    pub before: Option<u64>,
    /// At most so many; 0 means 50.
    pub limit: u32,
}

/// One row that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// Its number in the whole record.
    pub number: u64,
    /// When, microseconds since 1970 in UTC.
    pub at_us: i64,
    /// Which table.
    pub table: String,
    /// Which row of it.
    pub row: String,
    /// `insert` or `update`.
    pub action: String,
    /// The values, or pairs of before and after, as a JSON object.
    pub fields: String,
}

/// How often one package changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageStatistics {
    /// Its name, of all architectures.
    pub package: String,
    /// Changes that were done and stayed.
    pub changes: u64,
    /// Changes that were undone, or did not come to their end.
    pub undone: u64,
    /// When the last of these transactions ended, microseconds since 1970, UTC.
    pub last_us: i64,
}

/// How one step fared in ended transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepStatistics {
    /// Which.
    pub step: StepKind,
    /// How often it was done to its end.
    pub count: u64,
    /// Of these, with an error.
    pub failed: u64,
    /// All of it together, microseconds.
    pub total_us: i64,
    /// Mean, microseconds.
    pub mean_us: i64,
    /// Median, microseconds.
    pub p50_us: i64,
    /// 95th percentile, microseconds.
    pub p95_us: i64,
    /// The longest, microseconds.
    pub max_us: i64,
    /// Whose that was.
    pub slowest: Option<TransactionId>,
}
