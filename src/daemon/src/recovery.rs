//! Recovery at a start: what an earlier run of the daemon left is settled before anyone is served.
//!
//! Invariants: nothing is decided beside a living worker; an order whose worker is gone is revoked before it is decided
//! what becomes of it, so that a worker that was only slow never begins it; interrupted, it is run again.

use std::collections::BTreeMap;

use backstep_core::{AttemptId, Failure, TransactionState};
use backstep_engine::Manager;
use backstep_engine::manager::Found;

use crate::attempts::Attempts;
use crate::launcher::Launcher;

/// Settles everything. Looks at what is alive first: nothing is decided beside a living worker.
pub async fn recover(manager: &mut Manager, attempts: &Attempts, launcher: &Launcher) -> Result<(), Failure> {
    let mut alive = BTreeMap::new();
    for summary in manager.ledger().unfinished()? {
        let state = summary.status.state;
        if state.is_active() && state != TransactionState::NeedsAttention {
            let attempt = AttemptId { transaction: summary.id, number: summary.status.attempts };
            alive.insert(attempt, launcher.is_alive(attempt).await);
        }
    }
    settle(manager, attempts, &alive)?;
    // The mirror decides nothing: what cannot be written there now is written with the next change.
    if let Err(failure) = manager.mirror_again() {
        tracing::warn!("cannot bring the spool up to date: {failure}");
    }
    Ok(())
}

fn settle(manager: &mut Manager, attempts: &Attempts, alive: &BTreeMap<AttemptId, bool>) -> Result<(), Failure> {
    manager.recover(&mut |attempt| {
        if !alive.get(&attempt).copied().unwrap_or(false) && !attempts.is_locked(attempt)? {
            attempts.revoke(attempt)?;
        }
        // Looked at again: a worker that took its lock before the order was revoked is alive.
        let found = attempts.find(attempt)?;
        Ok(Found { alive: found.alive || alive.get(&attempt).copied().unwrap_or(false), ..found })
    })
}
