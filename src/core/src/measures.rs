//! The record in numbers, for programs that watch machines.

use crate::{Kind, TransactionState};

/// Counts and sizes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measures {
    /// Transactions by kind and state; pairs that have none are absent.
    pub transactions: Vec<(Kind, TransactionState, u64)>,
    /// When the last of each kind ended, microseconds since 1970 in UTC; kinds of which none ended are absent.
    pub last_end_us: Vec<(Kind, i64)>,
    /// Events.
    pub events: u64,
    /// Generations.
    pub generations: u64,
    /// Bytes of the file.
    pub bytes: u64,
}
