//! Which steps an undo runs, and in which order.

use crate::step::{StepKind, StepState};

/// The steps to undo, in the order to undo them: the reverse of the order in which they were begun.
///
/// A step that failed or whose end is unknown may have had effects and is undone too; one that is undone
/// already is undone again only if its undo failed.
#[must_use]
pub fn undo_order(steps: &[(StepKind, StepState)]) -> Vec<StepKind> {
    steps.iter().rev().filter(|(_, state)| needs_undo(*state)).map(|(kind, _)| *kind).collect()
}

const fn needs_undo(state: StepState) -> bool {
    match state {
        StepState::Running | StepState::Completed | StepState::Failed | StepState::Unknown | StepState::UndoFailed => true,
        StepState::Pending | StepState::Skipped | StepState::Undone => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begun_steps_come_back_in_reverse_and_others_do_not() {
        let steps = [
            (StepKind::Fetch, StepState::Completed),
            (StepKind::Secure, StepState::Completed),
            (StepKind::Apply, StepState::Failed),
            (StepKind::Services, StepState::Pending),
        ];
        assert_eq!(undo_order(&steps), [StepKind::Apply, StepKind::Secure, StepKind::Fetch]);
    }

    #[test]
    fn an_interrupted_undo_goes_on_where_it_stopped() {
        let steps = [(StepKind::Fetch, StepState::Completed), (StepKind::Secure, StepState::Unknown), (StepKind::Apply, StepState::Undone)];
        assert_eq!(undo_order(&steps), [StepKind::Secure, StepKind::Fetch]);
    }
}
