//! Cancel: stop what can still be stopped.

use backstep_core::{AttemptId, Direction, ErrorCode, Event, Failure, Stamp, StepKind, TransactionId, TransactionState};

use super::{Manager, unknown};

/// What a request to cancel comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It had not begun and will not.
    Cancelled,
    /// The worker of this attempt is to be told; it stops at the next safe point and undoes.
    WillRollBack(AttemptId),
    /// It is past the point of no return, undoing already, or ended.
    TooLate,
}

/// Within one boot by the clock that nobody sets; a step of the other one ends no offer early and keeps none open.
fn age_us(from: Stamp, now: Stamp) -> i64 {
    if from.boot == now.boot { now.monotonic_us.saturating_sub(from.monotonic_us) } else { now.utc_us.saturating_sub(from.utc_us) }
}

impl CancelOutcome {
    /// The stable name: `cancelled`, `will-roll-back` or `too-late`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::WillRollBack(_) => "will-roll-back",
            Self::TooLate => "too-late",
        }
    }
}

impl Manager {
    /// Asks to stop. Never waits for a worker.
    pub fn cancel(&mut self, id: TransactionId, uid: u32) -> Result<CancelOutcome, Failure> {
        let state = self.status(id)?.state;
        match state {
            TransactionState::Created | TransactionState::Prepared | TransactionState::Queued => {
                self.record(id, vec![Event::CancelRequested { uid }])?;
                Ok(CancelOutcome::Cancelled)
            }
            TransactionState::Executing if !self.past_return(id) => {
                let attempt = self.running.as_ref().map(|running| running.attempt).ok_or_else(|| unknown(id))?;
                self.record(id, vec![Event::CancelRequested { uid }])?;
                Ok(CancelOutcome::WillRollBack(attempt))
            }
            TransactionState::Cancelling => {
                let attempt = self.running.as_ref().map(|running| running.attempt);
                Ok(attempt.map_or(CancelOutcome::TooLate, CancelOutcome::WillRollBack))
            }
            TransactionState::Executing
            | TransactionState::RollingBack
            | TransactionState::Interrupted
            | TransactionState::NeedsAttention
            | TransactionState::Completed
            | TransactionState::RolledBack
            | TransactionState::PartiallyRolledBack
            | TransactionState::Cancelled
            | TransactionState::Failed
            | TransactionState::Expired => Ok(CancelOutcome::TooLate),
        }
    }

    /// Whether the worker has reached its commit or turned round already.
    pub(super) fn past_return(&self, id: TransactionId) -> bool {
        let own = self.running.as_ref().filter(|running| running.attempt.transaction == id);
        own.is_some_and(|running| running.direction == Direction::Undo || running.step == Some(StepKind::Commit))
    }

    /// Ends offers that nobody took in time. Answers how many.
    pub fn expire(&mut self) -> Result<usize, Failure> {
        let ids: Vec<TransactionId> = self.ledger.unfinished()?.iter().filter(|s| self.is_over(s)).map(|s| s.id).collect();
        for id in &ids {
            self.record(*id, vec![Event::Expired])?;
        }
        Ok(ids.len())
    }

    pub(super) fn is_old(&self, id: TransactionId) -> Result<bool, Failure> {
        Ok(self.ledger.summary(id)?.is_some_and(|summary| self.is_over(&summary)))
    }

    fn is_over(&self, summary: &backstep_core::record::Summary) -> bool {
        matches!(summary.status.state, TransactionState::Created | TransactionState::Prepared)
            && age_us(summary.created, self.now()) > super::OFFER_US
    }

    /// Ends a transaction that cannot be planned or started, with the reason.
    pub fn fail(&mut self, id: TransactionId, code: ErrorCode, text: &str) -> Result<(), Failure> {
        self.record(id, vec![Event::Failed { code, text: text.to_owned() }])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_core::BootId;

    #[test]
    fn a_clock_that_is_set_ends_no_offer_and_keeps_none_open() {
        let at = |utc_us, monotonic_us, boot| Stamp { utc_us, monotonic_us, boot: BootId([boot; 16]) };
        let year = 365 * 86_400 * 1_000_000;
        assert_eq!(age_us(at(year, 10, 1), at(2 * year, 15, 1)), 5, "set forward");
        assert_eq!(age_us(at(year, 10, 1), at(0, 15, 1)), 5, "set back");
        assert_eq!(age_us(at(0, 10, 1), at(7, 2, 2)), 7, "after a boot only the other one is there");
    }
}
