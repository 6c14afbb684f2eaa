//! Backward: what was begun is undone, in reverse, whatever else fails.

use backstep_core::undo::undo_order;
use backstep_core::{Direction, ErrorCode, Failure, StepKind, StepState};
use backstep_wire::journal::Record;

use super::stage::Ports;
use super::step::{Left, Step, UndoError, Undone};
use super::{Outcome, bounded, end, guarded};

/// What an earlier attempt's journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Its steps and how far each came, in the order they were begun.
    pub states: Vec<(StepKind, StepState)>,
    /// Why it is undone now.
    pub why: Failure,
}

/// Whether steps are undone by the process that did them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    Earlier,
}

/// Turns round in the middle of a run.
pub(super) fn turn(
    steps: &mut [Box<dyn Step>],
    states: &[(StepKind, StepState)],
    why: &Failure,
    ports: &mut Ports<'_>,
) -> Result<Outcome, Failure> {
    all(steps, states, why, Whose::Ours, ports)
}

/// Undoes what an earlier, interrupted attempt began; may itself be interrupted and called again.
///
/// Errors: the journal cannot be written.
pub fn resume_undo(steps: &mut [Box<dyn Step>], earlier: &Earlier, ports: &mut Ports<'_>) -> Result<Outcome, Failure> {
    all(steps, &earlier.states, &earlier.why, Whose::Earlier, ports)
}

/// A journal that cannot be written does not stop an undo: bringing the system back comes first, and an undo
/// without its last record is run again by recovery.
fn all(
    steps: &mut [Box<dyn Step>],
    states: &[(StepKind, StepState)],
    why: &Failure,
    whose: Whose,
    ports: &mut Ports<'_>,
) -> Result<Outcome, Failure> {
    let mut unrecorded = ports.journal.record(Record::UndoStarted { code: why.code, text: why.text.clone() }).err();
    let mut differences = Vec::new();
    for kind in undo_order(states) {
        let Some(step) = steps.iter_mut().find(|step| step.kind() == kind) else {
            differences.push(format!("step {kind} is unknown to this program and was not undone"));
            continue;
        };
        match one(step.as_mut(), whose, &mut unrecorded, ports) {
            Ok(undone) => differences.extend(undone.differences),
            Err(UndoError::Failed(failure)) => differences.push(format!("{kind}: {}", failure.text)),
            Err(UndoError::Blocked(failure)) => return end(ports, Outcome::Stuck(failure)),
        }
    }
    match unrecorded {
        Some(failure) => Err(failure),
        None => end(ports, Outcome::Aborted { differences: bounded(differences) }),
    }
}

fn one(step: &mut dyn Step, whose: Whose, unrecorded: &mut Option<Failure>, ports: &mut Ports<'_>) -> Result<Undone, UndoError> {
    let kind = step.kind();
    let log_offset = ports.journal.log_offset();
    keep(unrecorded, ports.journal.record(Record::StepStarted { step: kind, direction: Direction::Undo, log_offset }));
    let undone = guarded(|| work(step, whose, ports)).map_err(UndoError::Failed).and_then(|undone| undone);
    keep(unrecorded, ports.journal.record(ended(kind, &undone)));
    undone
}

fn work(step: &mut dyn Step, whose: Whose, ports: &mut Ports<'_>) -> Result<Undone, UndoError> {
    let mut stage = ports.stage(step.kind(), Direction::Undo);
    match whose {
        Whose::Ours => step.undo(&mut stage),
        Whose::Earlier => match step.recover(&mut stage)? {
            Left::Nothing(why) => Ok(Undone::clean(why)),
            Left::Effects => step.undo(&mut stage),
        },
    }
}

fn ended(step: StepKind, undone: &Result<Undone, UndoError>) -> Record {
    let (state, code, text) = match undone {
        Ok(undone) if undone.differences.is_empty() => (StepState::Undone, None, undone.text.clone()),
        Ok(undone) => (StepState::UndoFailed, Some(ErrorCode::UndoIncomplete), differ(&undone.differences)),
        Err(UndoError::Failed(failure) | UndoError::Blocked(failure)) => (StepState::UndoFailed, Some(failure.code), failure.text.clone()),
    };
    Record::StepEnded { step, state, code, text }
}

fn differ(differences: &[String]) -> String {
    match differences {
        [one] => format!("1 difference is left: {one}"),
        many => format!("{} differences are left", many.len()),
    }
}

/// Only the first failure is kept: the ones that follow are its echo.
fn keep(unrecorded: &mut Option<Failure>, recorded: Result<(), Failure>) {
    if unrecorded.is_none() {
        *unrecorded = recorded.err();
    }
}
