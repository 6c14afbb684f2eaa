//! Refuse: who was turned away comes into the record, the first few one by one and the rest as a number.

use backstep_core::refusal::Refusal;
use backstep_core::throttle::Held;
use backstep_core::{Failure, Stamp};

use super::Manager;
use crate::ports::Refused;

/// What became of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It has a row of its own.
    Written,
    /// There are too many of this user; it will be told as one of a number.
    Counted,
}

impl Manager {
    /// Takes a refusal: into the record, or into the number that comes there later with [`Manager::settle_refusals`].
    pub fn refuse(&mut self, refusal: Refusal) -> Result<Noted, Failure> {
        let now = self.now();
        self.settle_refusals(false)?;
        let uid = refusal.actor.uid;
        let Some((at, refusal)) = self.throttle.offer(uid, now.monotonic_us, (now, refusal)) else { return Ok(Noted::Counted) };
        self.ledger.refuse(&Refused { refusal, count: 1, at, until: at })?;
        Ok(Noted::Written)
    }

    /// Records what was held back long enough; with `all`, because the daemon ends, everything.
    pub fn settle_refusals(&mut self, all: bool) -> Result<(), Failure> {
        for held in self.throttle.due(self.now().monotonic_us, all) {
            self.ledger.refuse(&together(held))?;
        }
        Ok(())
    }

    /// Microseconds until something that was held back is due; `None` when nothing is.
    #[must_use]
    pub fn refusals_due_in_us(&self) -> Option<u64> {
        let due = self.throttle.next_due_us()?;
        Some(u64::try_from(due.saturating_sub(self.now().monotonic_us)).unwrap_or(0))
    }
}

fn together(held: Held<(Stamp, Refusal)>) -> Refused {
    let (until, refusal) = held.last;
    Refused { refusal, count: held.count, at: held.first.0, until }
}
