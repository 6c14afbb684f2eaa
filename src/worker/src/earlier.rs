//! What an earlier attempt's journal says: what was begun, and why it is undone.

use backstep_core::{BootId, Direction, ErrorCode, Failure, StepKind, StepState};
use backstep_engine::runner::Earlier;
use backstep_wire::journal::{Line, Record};

/// Folds a journal. A committed attempt is not undone by this way: it is an error.
pub fn fold(lines: &[Line]) -> Result<Earlier, Failure> {
    let mut states: Vec<(StepKind, StepState)> = Vec::new();
    let mut why = Failure::new(ErrorCode::WorkerLost, "the worker ended without a result");
    for line in lines {
        match &line.record {
            Record::StepStarted { step, direction: Direction::Forward, .. } => states.push((*step, StepState::Unknown)),
            Record::StepStarted { step, direction: Direction::Undo, .. } => set(&mut states, *step, StepState::Unknown),
            Record::StepEnded { step, state, .. } => set(&mut states, *step, *state),
            Record::UndoStarted { code, text } | Record::Stuck { code, text } => why = Failure::new(*code, text.clone()),
            Record::Committed { .. } | Record::Left { .. } => {
                return Err(Failure::new(ErrorCode::TransactionState, "the attempt is committed"));
            }
            Record::Begin { .. }
            | Record::Progress(_)
            | Record::ItemChanged { .. }
            | Record::Noted { .. }
            | Record::Captured { .. }
            | Record::Aborted { .. } => {}
        }
    }
    Ok(Earlier { states, why })
}

/// The boot in which an attempt began; absent when it did not come so far.
#[must_use]
pub fn boot(lines: &[Line]) -> Option<BootId> {
    lines.iter().find_map(|line| match &line.record {
        Record::Begin { boot, .. } => Some(*boot),
        Record::StepStarted { .. }
        | Record::StepEnded { .. }
        | Record::UndoStarted { .. }
        | Record::Stuck { .. }
        | Record::Committed { .. }
        | Record::Left { .. }
        | Record::Progress(_)
        | Record::ItemChanged { .. }
        | Record::Noted { .. }
        | Record::Captured { .. }
        | Record::Aborted { .. } => None,
    })
}

fn set(states: &mut [(StepKind, StepState)], step: StepKind, state: StepState) {
    states.iter_mut().filter(|(kind, _)| *kind == step).for_each(|(_, old)| *old = state);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(records: Vec<Record>) -> Vec<Line> {
        records.into_iter().zip(1..).map(|(record, seq)| Line { seq, utc_us: 0, record }).collect()
    }

    fn started(step: StepKind, direction: Direction) -> Record {
        Record::StepStarted { step, direction, log_offset: 0 }
    }

    fn ended(step: StepKind, state: StepState) -> Record {
        Record::StepEnded { step, state, code: None, text: String::new() }
    }

    #[test]
    fn a_step_without_its_end_is_unknown_and_an_undone_one_is_undone() {
        use StepKind::{Apply, Fetch, Secure};
        let records = vec![
            started(Fetch, Direction::Forward),
            ended(Fetch, StepState::Completed),
            started(Secure, Direction::Forward),
            ended(Secure, StepState::Completed),
            started(Apply, Direction::Forward),
        ];
        let earlier = fold(&lines(records.clone())).expect("fold");
        assert_eq!(earlier.states, [(Fetch, StepState::Completed), (Secure, StepState::Completed), (Apply, StepState::Unknown)]);
        assert_eq!(earlier.why.code, ErrorCode::WorkerLost);
        let turned = [
            records,
            vec![
                ended(Apply, StepState::Failed),
                Record::UndoStarted { code: ErrorCode::ScriptFailed, text: "x".into() },
                started(Apply, Direction::Undo),
                ended(Apply, StepState::Undone),
                started(Secure, Direction::Undo),
            ],
        ];
        let earlier = fold(&lines(turned.concat())).expect("fold");
        assert_eq!(earlier.states, [(Fetch, StepState::Completed), (Secure, StepState::Unknown), (Apply, StepState::Undone)]);
        assert_eq!(earlier.why, Failure::new(ErrorCode::ScriptFailed, "x"));
    }

    #[test]
    fn the_boot_is_the_one_in_which_the_attempt_began() {
        let id: BootId = "5b0d3d2c-8a35-4b4e-9e2b-0f3b1c6f7a10".parse().expect("id");
        let digest = backstep_core::Digest([1; 32]);
        let begin = Record::Begin { plan: digest, world: digest, boot: id, direction: Direction::Forward };
        let noted = Record::Noted { code: None, text: String::new() };
        assert_eq!(boot(&lines(vec![noted.clone(), begin])), Some(id));
        assert_eq!(boot(&lines(vec![noted])), None);
    }

    #[test]
    fn a_commit_is_not_undone_here() {
        let committed = Record::Committed { world: backstep_core::Digest([1; 32]) };
        assert_eq!(fold(&lines(vec![committed])).expect_err("refused").code, ErrorCode::TransactionState);
    }
}
