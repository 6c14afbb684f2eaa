//! Pin: somebody wants undo material kept. The material and its mark are not the manager's: the record of a transaction
//! that has ended takes nothing more.

use backstep_core::state::Action;
use backstep_core::{Failure, TransactionId};

use super::{Manager, wrong_state};

impl Manager {
    /// Whether a transaction can be pinned: only what can be undone needs its undo material.
    pub fn check_pin(&self, id: TransactionId) -> Result<(), Failure> {
        let state = self.status(id)?.state;
        if state.actions().contains(&Action::Rollback) { Ok(()) } else { Err(wrong_state(id, state, "pin")) }
    }
}
