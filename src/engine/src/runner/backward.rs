//! Backward: what was begun is undone, in reverse, whatever else fails.

use backstep_core::undo::undo_order;
use backstep_core::{Direction, ErrorCode, Failure, StepKind, StepState};
use backstep_wire::journal::Record;

use super::stage::{Journal, Ports};
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

/// A journal whose failures do not stop what is recorded in it. It keeps them for the end.
struct Lenient<'a> {
    inner: &'a mut dyn Journal,
    unrecorded: Vec<Failure>,
}

impl Lenient<'_> {
    fn swallow(&mut self, recorded: Result<(), Failure>) {
        self.unrecorded.extend(recorded.err());
        // The ones that follow are echoes of the first few.
        self.unrecorded.truncate(MAX_UNRECORDED);
    }
}

impl Journal for Lenient<'_> {
    fn record(&mut self, record: Record) -> Result<(), Failure> {
        let recorded = self.inner.record(record);
        self.swallow(recorded);
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Failure> {
        let ticked = self.inner.tick();
        self.swallow(ticked);
        Ok(())
    }

    fn log_offset(&self) -> u64 {
        self.inner.log_offset()
    }
}

/// How many failures of the journal are kept.
const MAX_UNRECORDED: usize = 10;

/// How an undo went, before its last record.
enum Turned {
    Undone(Vec<String>),
    Blocked(Failure),
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
    let mut journal = Lenient { inner: &mut *ports.journal, unrecorded: Vec::new() };
    let mut lenient = Ports { journal: &mut journal, control: ports.control, world: ports.world };
    lenient.journal.record(Record::UndoStarted { code: why.code, text: why.text.clone() })?;
    let turned = each(steps, states, whose, &mut lenient);
    let unrecorded = journal.unrecorded.into_iter().next();
    match (turned, unrecorded) {
        (Turned::Blocked(failure), _) => end(ports, Outcome::Stuck(failure)),
        (Turned::Undone(_), Some(failure)) => Err(failure),
        (Turned::Undone(differences), None) => end(ports, Outcome::Aborted { differences: bounded(differences) }),
    }
}

fn each(steps: &mut [Box<dyn Step>], states: &[(StepKind, StepState)], whose: Whose, ports: &mut Ports<'_>) -> Turned {
    let mut differences = Vec::new();
    for kind in undo_order(states) {
        let Some(step) = steps.iter_mut().find(|step| step.kind() == kind) else {
            differences.push(format!("step {kind} is unknown to this program and was not undone"));
            continue;
        };
        match one(step.as_mut(), whose, ports) {
            Ok(undone) => differences.extend(undone.differences),
            Err(UndoError::Failed(failure)) => differences.push(format!("{kind}: {}", failure.text)),
            Err(UndoError::Blocked(failure)) => return Turned::Blocked(failure),
        }
    }
    Turned::Undone(differences)
}

/// The journal is lenient: it fails for nobody.
fn one(step: &mut dyn Step, whose: Whose, ports: &mut Ports<'_>) -> Result<Undone, UndoError> {
    let kind = step.kind();
    let log_offset = ports.journal.log_offset();
    ports.journal.record(Record::StepStarted { step: kind, direction: Direction::Undo, log_offset }).map_err(UndoError::Failed)?;
    let undone = guarded(|| work(step, whose, ports)).map_err(UndoError::Failed).and_then(|undone| undone);
    ports.journal.record(ended(kind, &undone)).map_err(UndoError::Failed)?;
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
