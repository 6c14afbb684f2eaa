//! Attention: a person decides what a stuck transaction becomes.

use backstep_core::record::Summary;
use backstep_core::{Direction, Event, Failure, TransactionId, TransactionState};

use super::{Manager, wrong_state};

/// What a person decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again what failed: only an undo can be tried again, a change that failed is undone or accepted.
    Resume,
    /// Undo it.
    Undo,
    /// Leave things as they are.
    Accept,
}

impl Manager {
    /// Takes a person's decision.
    pub fn decide(&mut self, id: TransactionId, verdict: Verdict) -> Result<(), Failure> {
        let status = self.status(id)?;
        if status.state != TransactionState::NeedsAttention {
            return Err(wrong_state(id, status.state, "decide for"));
        }
        match verdict {
            Verdict::Resume if !status.undoing => Err(wrong_state(id, status.state, "go forward with")),
            Verdict::Resume | Verdict::Undo => self.undo_again(id, status.attempts + 1),
            Verdict::Accept => self.record(id, vec![Event::Accepted]).map(drop),
        }
    }

    /// The transaction that a person has to decide for.
    pub(super) fn undecided(&self) -> Result<Option<Summary>, Failure> {
        Ok(self.ledger.unfinished()?.into_iter().find(|summary| summary.status.state == TransactionState::NeedsAttention))
    }

    fn undo_again(&mut self, id: TransactionId, attempt: u32) -> Result<(), Failure> {
        self.record(id, vec![Event::Resumed { attempt, direction: Direction::Undo, reason: "a person decided to undo".to_owned() }])?;
        self.resumed.insert(id, attempt);
        Ok(())
    }
}
