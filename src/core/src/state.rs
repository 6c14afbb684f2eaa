//! The state machine of a transaction, as data and one transition function.
//!
//! Invariant: a state changes only by [`Status::after`]; the store keeps the result as a cache of the fold
//! over recorded events, and refuses by a trigger every pair that [`may_follow`] refuses.

use crate::event::Event;

closed_enum! {
    /// Where a transaction stands.
    pub enum TransactionState("state") {
        /// Requested, not planned.
        Created = "created",
        /// Planned and frozen, waiting for authorisation.
        Prepared = "prepared",
        /// Authorised, waiting for its turn.
        Queued = "queued",
        /// A worker goes forward.
        Executing = "executing",
        /// A worker was asked to stop and undo.
        Cancelling = "cancelling",
        /// A worker undoes.
        RollingBack = "rolling-back",
        /// The worker ended without a result; recovery decides from dpkg's facts.
        Interrupted = "interrupted",
        /// A person decides: retry, undo or accept.
        NeedsAttention = "needs-attention",
        /// Done and verified.
        Completed = "completed",
        /// Undone and verified: everything is as before.
        RolledBack = "rolled-back",
        /// Undone, with differences that are on record.
        PartiallyRolledBack = "partially-rolled-back",
        /// Stopped on request; everything is as before.
        Cancelled = "cancelled",
        /// Ended before anything was changed.
        Failed = "failed",
        /// Not authorised or not started in time.
        Expired = "expired",
    }
}

closed_enum! {
    /// The plain status of the tracking interface: a view of the state.
    pub enum TrackingStatus("status") {
        /// Not authorised yet.
        Pending = "pending",
        /// Waiting for its turn.
        Queued = "queued",
        /// Being worked on, or waiting for a person.
        InProgress = "in_progress",
        /// Done.
        Completed = "completed",
        /// Not done.
        Failed = "failed",
        /// Stopped on request.
        Cancelled = "cancelled",
    }
}

impl TransactionState {
    /// The tracking view.
    #[must_use]
    pub const fn tracking(self) -> TrackingStatus {
        match self {
            Self::Created | Self::Prepared => TrackingStatus::Pending,
            Self::Queued => TrackingStatus::Queued,
            Self::Executing | Self::RollingBack | Self::Cancelling | Self::Interrupted | Self::NeedsAttention => TrackingStatus::InProgress,
            Self::Completed => TrackingStatus::Completed,
            Self::RolledBack | Self::PartiallyRolledBack | Self::Failed | Self::Expired => TrackingStatus::Failed,
            Self::Cancelled => TrackingStatus::Cancelled,
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Completed | Self::RolledBack | Self::PartiallyRolledBack | Self::Cancelled | Self::Failed | Self::Expired => true,
            Self::Created
            | Self::Prepared
            | Self::Queued
            | Self::Executing
            | Self::Cancelling
            | Self::RollingBack
            | Self::Interrupted
            | Self::NeedsAttention => false,
        }
    }

    /// Whether a worker has or had the transaction and has not ended it.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Executing | Self::Cancelling | Self::RollingBack | Self::Interrupted)
    }

    /// What a caller may do in this state: the one table that D-Bus, command line and spool share.
    #[must_use]
    pub const fn actions(self) -> &'static [Action] {
        match self {
            Self::Created => &[Action::Prepare, Action::Cancel],
            Self::Prepared => &[Action::Execute, Action::Cancel],
            Self::Queued | Self::Executing => &[Action::Cancel],
            Self::Cancelling | Self::RollingBack | Self::Interrupted => &[],
            Self::NeedsAttention => &[Action::Resume, Action::Undo, Action::Accept],
            Self::Completed => &[Action::Rollback],
            Self::PartiallyRolledBack => &[Action::Rollback, Action::Retry],
            Self::RolledBack | Self::Failed | Self::Cancelled | Self::Expired => &[Action::Retry],
        }
    }
}

closed_enum! {
    /// What a caller may do with a transaction.
    pub enum Action("action") {
        /// Make the plan.
        Prepare = "prepare",
        /// Authorise and queue the plan.
        Execute = "execute",
        /// Stop; what was changed is undone.
        Cancel = "cancel",
        /// Undo a finished transaction by a new one.
        Rollback = "rollback",
        /// Ask for the same again by a new transaction.
        Retry = "retry",
        /// Go on where a person was waited for.
        Resume = "resume",
        /// Undo where a person was waited for.
        Undo = "undo",
        /// Leave things as they are where a person was waited for.
        Accept = "accept",
    }
}

/// The pairs of states that may follow each other. Source of the database's trigger.
pub const TRANSITIONS: &[(TransactionState, TransactionState)] = {
    use TransactionState as S;
    &[
        (S::Created, S::Prepared),
        (S::Created, S::Cancelled),
        (S::Created, S::Expired),
        (S::Created, S::Failed),
        (S::Prepared, S::Queued),
        (S::Prepared, S::Cancelled),
        (S::Prepared, S::Expired),
        (S::Prepared, S::Failed),
        (S::Queued, S::Executing),
        (S::Queued, S::Cancelled),
        (S::Queued, S::Expired),
        (S::Queued, S::Failed),
        (S::Executing, S::Completed),
        (S::Executing, S::Cancelling),
        (S::Executing, S::RollingBack),
        (S::Executing, S::Interrupted),
        (S::Executing, S::NeedsAttention),
        (S::Cancelling, S::Completed),
        (S::Cancelling, S::RollingBack),
        (S::Cancelling, S::Interrupted),
        (S::Cancelling, S::NeedsAttention),
        (S::RollingBack, S::RolledBack),
        (S::RollingBack, S::PartiallyRolledBack),
        (S::RollingBack, S::Cancelled),
        (S::RollingBack, S::Interrupted),
        (S::RollingBack, S::NeedsAttention),
        (S::Interrupted, S::Executing),
        (S::Interrupted, S::RollingBack),
        (S::Interrupted, S::Completed),
        (S::Interrupted, S::NeedsAttention),
        (S::NeedsAttention, S::Executing),
        (S::NeedsAttention, S::RollingBack),
        (S::NeedsAttention, S::PartiallyRolledBack),
    ]
};

/// Whether `to` may follow `from`.
#[must_use]
pub fn may_follow(from: TransactionState, to: TransactionState) -> bool {
    TRANSITIONS.contains(&(from, to))
}

/// An event that its state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} is not possible in state {state}")]
pub struct IllegalTransition {
    /// The state.
    pub state: TransactionState,
    /// The event's name.
    pub event: &'static str,
}

/// The fold of a transaction's events: its state and the few facts later transitions depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Where it stands.
    pub state: TransactionState,
    /// Someone asked to cancel; a clean undo then ends as `cancelled`.
    pub cancel_requested: bool,
    /// Attempts begun so far.
    pub attempts: u32,
    /// The worker turned to undo; it never turns back.
    pub undoing: bool,
}

impl Status {
    /// The status after the first event of every history.
    pub const CREATED: Self = Self { state: TransactionState::Created, cancel_requested: false, attempts: 0, undoing: false };

    /// The one transition function: total over states and events, pure, refuses what is illegal.
    pub fn after(self, event: &Event) -> Result<Self, IllegalTransition> {
        use TransactionState as S;
        let illegal = Err(IllegalTransition { state: self.state, event: event.name() });
        let to = |state| Ok(Self { state, ..self });
        let waiting = matches!(self.state, S::Created | S::Prepared | S::Queued);
        let working = matches!(self.state, S::Executing | S::Cancelling | S::RollingBack);
        match event {
            Event::Created => illegal,
            Event::Prepared { .. } if self.state == S::Created => to(S::Prepared),
            Event::Denied { .. } if self.state == S::Prepared => Ok(self),
            Event::Queued { .. } if self.state == S::Prepared => to(S::Queued),
            Event::Started { .. } if self.state == S::Queued => Ok(Self { state: S::Executing, attempts: self.attempts + 1, ..self }),
            Event::CancelRequested { .. } if waiting => Ok(Self { state: S::Cancelled, cancel_requested: true, ..self }),
            Event::CancelRequested { .. } if self.state == S::Executing => {
                Ok(Self { state: S::Cancelling, cancel_requested: true, ..self })
            }
            Event::Failed { .. } if waiting => to(S::Failed),
            Event::Expired if waiting => to(S::Expired),
            Event::StepStarted { .. } | Event::StepEnded { .. } | Event::ItemChanged { .. } | Event::Noted { .. } if working => Ok(self),
            Event::UndoStarted { .. } if matches!(self.state, S::Executing | S::Cancelling) => {
                Ok(Self { state: S::RollingBack, undoing: true, ..self })
            }
            Event::Completed if matches!(self.state, S::Executing | S::Cancelling | S::Interrupted) && !self.undoing => to(S::Completed),
            Event::UndoFinished { differences: 0 } if self.state == S::RollingBack && self.cancel_requested => to(S::Cancelled),
            Event::UndoFinished { differences: 0 } if self.state == S::RollingBack => to(S::RolledBack),
            Event::UndoFinished { .. } if self.state == S::RollingBack => to(S::PartiallyRolledBack),
            Event::Interrupted { .. } if working => to(S::Interrupted),
            Event::Resumed { direction, .. } if matches!(self.state, S::Interrupted | S::NeedsAttention) => self.resumed(*direction, event),
            Event::AttentionNeeded { .. } if matches!(self.state, S::Executing | S::Cancelling | S::RollingBack | S::Interrupted) => {
                to(S::NeedsAttention)
            }
            Event::Accepted if self.state == S::NeedsAttention => to(S::PartiallyRolledBack),
            Event::Redacted { .. } if self.state.is_final() => Ok(self),
            Event::Prepared { .. }
            | Event::Denied { .. }
            | Event::Queued { .. }
            | Event::Started { .. }
            | Event::CancelRequested { .. }
            | Event::Failed { .. }
            | Event::Expired
            | Event::StepStarted { .. }
            | Event::StepEnded { .. }
            | Event::ItemChanged { .. }
            | Event::Noted { .. }
            | Event::UndoStarted { .. }
            | Event::Completed
            | Event::UndoFinished { .. }
            | Event::Interrupted { .. }
            | Event::Resumed { .. }
            | Event::AttentionNeeded { .. }
            | Event::Accepted
            | Event::Redacted { .. } => illegal,
        }
    }

    fn resumed(self, direction: crate::Direction, event: &Event) -> Result<Self, IllegalTransition> {
        let attempts = self.attempts + 1;
        match direction {
            crate::Direction::Forward if self.undoing => Err(IllegalTransition { state: self.state, event: event.name() }),
            crate::Direction::Forward => Ok(Self { state: TransactionState::Executing, attempts, ..self }),
            crate::Direction::Undo => Ok(Self { state: TransactionState::RollingBack, attempts, undoing: true, ..self }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transition_of_the_function_is_in_the_table_and_the_other_way_round() {
        let mut seen = std::collections::BTreeSet::new();
        for state in TransactionState::ALL {
            for event in Event::samples() {
                for flags in 0..4 {
                    let status = Status { state: *state, cancel_requested: flags & 1 == 1, attempts: 1, undoing: flags & 2 == 2 };
                    if let Ok(next) = status.after(&event)
                        && next.state != *state
                    {
                        assert!(may_follow(*state, next.state), "{state} -> {} by {}", next.state, event.name());
                        seen.insert((*state, next.state));
                    }
                }
            }
        }
        assert_eq!(seen, TRANSITIONS.iter().copied().collect(), "a pair of the table that no event makes");
    }

    #[test]
    fn final_states_have_no_exit_and_all_others_have_one() {
        for state in TransactionState::ALL {
            let leaves = TRANSITIONS.iter().any(|(from, _)| from == state);
            assert_eq!(leaves, !state.is_final(), "{state}");
        }
    }

    #[test]
    fn undo_never_turns_forward_again() {
        let undoing = Status { state: TransactionState::Interrupted, cancel_requested: false, attempts: 1, undoing: true };
        assert!(undoing.after(&Event::Resumed { attempt: 2, direction: crate::Direction::Forward, reason: String::new() }).is_err());
        assert!(undoing.after(&Event::Completed).is_err());
    }
}
