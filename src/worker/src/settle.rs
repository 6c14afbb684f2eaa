//! Bringing units back to what they were: the part of an undo that goes through the service manager.

use backstep_core::Failure;

use crate::before::Before;
use crate::context::Context;
use crate::units::{self, Unit, compare};

/// Stops what runs now, did not run before, and belongs to the plan's packages. Answers what was stopped.
pub fn stop_new(context: &Context, before: &Before) -> Result<Vec<String>, Failure> {
    let children = context.children.as_ref();
    let now = units::read(&context.machine, children)?;
    let new: Vec<String> = compare(&before.units, &now).started.into_iter().filter(|unit| before.brings(unit)).collect();
    units::ask(children, "stop", &new)?;
    Ok(new)
}

/// Which units are started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// All that ran before: the change has only just been undone.
    All,
    /// Those of the plan's packages: others may have been stopped for good reasons since.
    Packages,
}

/// Once the files are back: lets the service manager read them again, starts what ran, restarts what runs from
/// the files that are gone. Answers what is still not as before, in words.
pub fn bring_back(context: &Context, before: &Before, whose: Whose) -> Result<Vec<String>, Failure> {
    let children = context.children.as_ref();
    if before.units.is_empty() {
        return Ok(Vec::new());
    }
    if units::read(&context.machine, children)?.values().any(|unit| unit.needs_reload) || !before.brought.is_empty() {
        units::ask(children, "daemon-reload", &[])?;
    }
    let change = compare(&before.units, &units::read(&context.machine, children)?);
    let wanted = |unit: &&String| may_start(&before.units[*unit]) && (whose == Whose::All || before.brings(unit));
    let start: Vec<String> = change.stopped.iter().chain(&change.failed).filter(wanted).cloned().collect();
    units::ask(children, "start", &start)?;
    let restart: Vec<String> = change.restarted.into_iter().filter(|unit| before.brings(unit)).collect();
    units::ask(children, "try-restart", &restart)?;
    left(context, before)
}

/// A oneshot service did its work; doing it again is not bringing it back.
fn may_start(before: &Unit) -> bool {
    before.kind != "oneshot"
}

fn left(context: &Context, before: &Before) -> Result<Vec<String>, Failure> {
    let change = compare(&before.units, &units::read(&context.machine, context.children.as_ref())?);
    let gone = change.stopped.iter().chain(&change.failed).filter(|unit| may_start(&before.units[*unit]));
    let gone = gone.filter(|unit| before.brings(unit)).map(|unit| format!("{unit} does not run"));
    let new = change.started.iter().filter(|unit| before.brings(unit)).map(|unit| format!("{unit} still runs"));
    Ok(gone.chain(new).collect())
}
