//! Forward: one step after the other, until the commit or the turn.

use backstep_core::request::OnFailure;
use backstep_core::{Digest, Direction, ErrorCode, Failure, StepKind, StepState};
use backstep_wire::journal::Record;

use super::stage::Ports;
use super::step::{Done, How, Need, Step};
use super::{Outcome, backward, end, guarded};

/// Does the steps in the order given; turns round at a failure or when someone cancels.
///
/// The last step is the commit: once its end and the state of the world are recorded, nothing is undone.
/// With [`OnFailure::Leave`] a failure after the system was changed stops where it is; a cancel is undone all the
/// same, and so is what changed nothing: there is nothing to leave.
///
/// Errors: the journal cannot be written; whoever reads it finds no last record and starts a recovery.
pub fn run(steps: &mut [Box<dyn Step>], on_failure: OnFailure, ports: &mut Ports<'_>) -> Result<Outcome, Failure> {
    let mut states: Vec<(StepKind, StepState)> = Vec::with_capacity(steps.len());
    let before = ports.world.digest().ok();
    match all(steps, &mut states, ports) {
        // CRASH: whether a `Committed` that could not be written is on the disk is not known, so nothing is undone
        // here: recovery reads the journal again and completes or undoes.
        Ok(world) => ports.journal.record(Record::Committed { world }).map(|()| Outcome::Committed),
        Err(why) if stays(&why, on_failure, &states) && is_changed(&why, before, ports) => end(ports, Outcome::Stuck(why)),
        Err(why) => backward::turn(steps, &states, &why, ports),
    }
}

fn stays(why: &Failure, on_failure: OnFailure, states: &[(StepKind, StepState)]) -> bool {
    let changed = states.iter().any(|(kind, state)| kind.changes_system() && *state != StepState::Skipped);
    on_failure == OnFailure::Leave && changed && why.code != ErrorCode::Cancelled
}

/// A plan that is stale was not begun. A world that cannot be read counts as changed.
fn is_changed(why: &Failure, before: Option<Digest>, ports: &Ports<'_>) -> bool {
    why.code != ErrorCode::PlanStale && (before.is_none() || ports.world.digest().ok() != before)
}

fn all(steps: &mut [Box<dyn Step>], states: &mut Vec<(StepKind, StepState)>, ports: &mut Ports<'_>) -> Result<Digest, Failure> {
    for step in &mut *steps {
        ports.stage(step.kind(), Direction::Forward).stop_if_asked()?;
        states.push((step.kind(), StepState::Running));
        let ended = one(step.as_mut(), ports);
        if let Some(last) = states.last_mut() {
            last.1 = state_of(&ended);
        }
        ended.map(drop)?;
    }
    // Read before `Committed` is written: a failure to read it can still be undone.
    ports.world.digest()
}

/// A step's beginning, work and end, each recorded before what follows.
fn one(step: &mut dyn Step, ports: &mut Ports<'_>) -> Result<Done, Failure> {
    let log_offset = ports.journal.log_offset();
    ports.journal.record(Record::StepStarted { step: step.kind(), direction: Direction::Forward, log_offset })?;
    let ended = guarded(|| work(step, ports)).and_then(|done| done);
    let (code, text) = match &ended {
        Ok(done) => (None, done.text.clone()),
        Err(failure) => (Some(failure.code), failure.text.clone()),
    };
    let recorded = ports.journal.record(Record::StepEnded { step: step.kind(), state: state_of(&ended), code, text });
    // The step's own error says more than the journal's.
    ended.and_then(|done| recorded.map(|()| done))
}

fn work(step: &mut dyn Step, ports: &mut Ports<'_>) -> Result<Done, Failure> {
    let mut stage = ports.stage(step.kind(), Direction::Forward);
    match step.check(&mut stage)? {
        Need::Nothing(why) => Ok(Done::skipped(why)),
        Need::Act => {
            let done = step.act(&mut stage)?;
            step.verify(&mut stage)?;
            Ok(done)
        }
    }
}

fn state_of(ended: &Result<Done, Failure>) -> StepState {
    match ended {
        Ok(Done { how: How::Applied | How::AlreadyDone, .. }) => StepState::Completed,
        Ok(Done { how: How::Skipped, .. }) => StepState::Skipped,
        Err(_) => StepState::Failed,
    }
}
