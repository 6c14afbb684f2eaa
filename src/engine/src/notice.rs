//! What the manager has to tell: hints for clients, whose truth is always in the record.

use backstep_core::{Direction, ErrorCode, StepKind, StepState, TransactionId, TransactionState};

/// One hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A transaction appeared.
    Added(TransactionId),
    /// Its state changed.
    State {
        /// Which.
        id: TransactionId,
        /// The new state.
        state: TransactionState,
    },
    /// One of its steps changed.
    Step {
        /// Which.
        id: TransactionId,
        /// The step.
        step: StepKind,
        /// Doing or undoing.
        direction: Direction,
        /// How far it is.
        state: StepState,
    },
    /// Its progress changed.
    Progress {
        /// Which.
        id: TransactionId,
        /// 0 to 1000.
        permille: u16,
    },
    /// Something went wrong; for the owner only.
    Error {
        /// Which.
        id: TransactionId,
        /// The code.
        code: ErrorCode,
        /// For people.
        text: String,
    },
    /// It ended, or waits for a person.
    Finished {
        /// Which.
        id: TransactionId,
        /// How.
        state: TransactionState,
        /// The error it ended with.
        code: Option<ErrorCode>,
    },
}
