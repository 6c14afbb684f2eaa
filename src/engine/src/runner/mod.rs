//! The runner: does steps in order, and undoes them in reverse when one fails or someone cancels.
//!
//! Purpose: the one loop that every transaction goes through, whatever its steps are. It knows no package and no
//! file; steps do the work, the journal keeps what happened, the control says whether someone asked to stop.
//!
//! Invariants: a step's beginning is durable before its first effect; what was begun is undone, in
//! [`undo_order`](backstep_core::undo::undo_order); the direction turns once; after `Committed` nothing is undone;
//! an undo that fails does not keep earlier steps from being undone; the last record is exactly one of `Committed`,
//! `Aborted` and `Stuck`. A step that panics has failed.
//!
//! Absent on purpose: files, processes, clocks, retries of whole steps, knowledge of step kinds beyond their order.

mod backward;
mod forward;
#[cfg(any(test, feature = "kit"))]
pub mod kit;
mod stage;
mod step;

pub use backward::{Earlier, resume_undo};
pub use forward::run;
pub use stage::{Control, Journal, Ports, Stage, World};
pub use step::{Done, How, Left, Need, Step, UndoError, Undone};

use backstep_core::{ErrorCode, Failure};
use backstep_wire::journal::Record;

/// Differences kept in one record; the last entry says how many more there were.
pub const MAX_DIFFERENCES: usize = 200;

/// How a run ended. The journal's last record says the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done, verified and durable.
    Committed,
    /// Undone; what still differs from before.
    Aborted {
        /// In words; empty when everything is as before.
        differences: Vec<String>,
    },
    /// Neither: a person decides.
    Stuck(Failure),
}

/// Writes the last record of an outcome that is not a commit.
fn end(ports: &mut Ports<'_>, outcome: Outcome) -> Result<Outcome, Failure> {
    let record = match &outcome {
        Outcome::Committed => return Ok(outcome),
        Outcome::Aborted { differences } => Record::Aborted { differences: differences.clone() },
        Outcome::Stuck(failure) => Record::Stuck { code: failure.code, text: failure.text.clone() },
    };
    ports.journal.record(record)?;
    Ok(outcome)
}

/// Ends a run before its first step: nothing was done, nothing is undone.
///
/// Errors: the journal cannot be written.
pub fn refuse(why: &Failure, ports: &mut Ports<'_>) -> Result<Outcome, Failure> {
    ports.journal.record(Record::UndoStarted { code: why.code, text: why.text.clone() })?;
    end(ports, Outcome::Aborted { differences: Vec::new() })
}

/// Ends a run before its first step: what an earlier one changed stays as it is, and a person decides.
///
/// Errors: the journal cannot be written.
pub fn stick(why: Failure, ports: &mut Ports<'_>) -> Result<Outcome, Failure> {
    end(ports, Outcome::Stuck(why))
}

fn bounded(mut differences: Vec<String>) -> Vec<String> {
    if differences.len() > MAX_DIFFERENCES {
        let more = differences.len() - (MAX_DIFFERENCES - 1);
        differences.truncate(MAX_DIFFERENCES - 1);
        differences.push(format!("and {more} more"));
    }
    differences
}

/// Runs a part of a step; a panic in it is a failure like any other, so that what it began is undone.
fn guarded<T>(part: impl FnOnce() -> T) -> Result<T, Failure> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(part)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
        Failure::new(ErrorCode::Internal, format!("defect: {}", text.unwrap_or_else(|| "a step panicked".to_owned())))
    })
}

#[cfg(test)]
mod tests;
