//! Status as the fold of recorded events.

use crate::event::Event;
use crate::state::{IllegalTransition, Status};

/// A history that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The first event is not `created`, or there is none.
    #[error("a history begins with created")]
    NoBeginning,
    /// An event its state does not allow, with its place from 0.
    #[error("event {at}: {source}")]
    Illegal {
        /// Place in the history.
        at: usize,
        /// What is wrong.
        source: IllegalTransition,
    },
}

/// Folds a whole history into its status.
pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Status, ReplayError> {
    let mut events = events.into_iter().enumerate();
    match events.next() {
        Some((_, Event::Created)) => {}
        _ => return Err(ReplayError::NoBeginning),
    }
    events.try_fold(Status::CREATED, |status, (at, event)| status.after(event).map_err(|source| ReplayError::Illegal { at, source }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::TransactionState;
    use proptest::prelude::*;

    proptest! {
        /// Any choice of events, keeping those that are legal, gives a history whose fold is the status reached step by step.
        #[test]
        fn status_equals_the_fold_of_random_histories(choices in proptest::collection::vec(0..Event::samples().len(), 0..60)) {
            let samples = Event::samples();
            let mut history = vec![Event::Created];
            let mut status = Status::CREATED;
            for choice in choices {
                if let Ok(next) = status.after(&samples[choice]) {
                    prop_assert!(!status.state.is_final() || next == status, "left a final state");
                    prop_assert!(!status.undoing || next.undoing, "turned forward again");
                    prop_assert!(next.attempts >= status.attempts);
                    status = next;
                    history.push(samples[choice].clone());
                }
            }
            prop_assert_eq!(replay(&history), Ok(status));
            // What a store keeps folds to the same.
            let stored: Result<Vec<_>, _> = history.iter().map(|event| Event::from_fields(&event.fields())).collect();
            prop_assert_eq!(replay(&stored.expect("fields are events")), Ok(status));
        }

        /// From every reachable state an end can be reached.
        #[test]
        fn no_reachable_state_is_a_trap(choices in proptest::collection::vec(0..Event::samples().len(), 0..40)) {
            let samples = Event::samples();
            let mut status = Status::CREATED;
            for choice in choices {
                status = status.after(&samples[choice]).unwrap_or(status);
            }
            let mut frontier = vec![status];
            let mut seen = Vec::new();
            while let Some(next) = frontier.pop() {
                if next.state.is_final() {
                    return Ok(());
                }
                let key = (next.state, next.cancel_requested, next.undoing);
                if !seen.contains(&key) {
                    seen.push(key);
                    frontier.extend(samples.iter().filter_map(|event| next.after(event).ok()));
                }
            }
            prop_assert!(false, "no end from {:?}", status);
        }
    }

    #[test]
    fn a_history_without_beginning_is_refused() {
        assert_eq!(replay(&[]), Err(ReplayError::NoBeginning));
        assert_eq!(replay(&[Event::Completed]), Err(ReplayError::NoBeginning));
    }

    #[test]
    fn an_illegal_event_is_named_with_its_place() {
        let error = replay(&[Event::Created, Event::Completed]).expect_err("illegal");
        assert_eq!(
            error,
            ReplayError::Illegal { at: 1, source: IllegalTransition { state: TransactionState::Created, event: "completed" } }
        );
    }
}
