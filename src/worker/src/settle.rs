//! Bringing units back to what they were: the part of an undo that goes through the service manager.

use std::collections::BTreeSet;

use backstep_core::Failure;
use backstep_engine::runner::Stage;

use crate::before::{self, Before};
use crate::context::Context;
use crate::units::{self, Unit, Units, compare};

/// Notes what did not go well beside an undo; answers it as a difference, for the undo goes on. What cannot be
/// noted is still answered.
pub fn overlook(stage: &mut Stage<'_>, trouble: Failure) -> String {
    match stage.note(Some(trouble.code), trouble.text.clone()) {
        Ok(()) => trouble.text,
        Err(unnoted) => format!("{}; {}", trouble.text, unnoted.text),
    }
}

/// How often what was stopped is stopped again, when the end of another unit has started it.
const ROUNDS: usize = 3;

/// Stops what runs now, did not run before, and belongs to the plan's packages or was started by the change itself; with
/// it the sockets and the like that would start it again, whoever holds them. A program that ends may call on one that
/// has just ended, and the bus starts that again: what runs after all is stopped once more. Answers what was stopped.
pub fn stop_new(context: &Context, before: &Before) -> Result<Vec<String>, Failure> {
    let mut stopped = BTreeSet::new();
    let mut asked = Ok(());
    for _ in 0..ROUNDS {
        let new = new_units(context, before)?;
        if new.is_empty() {
            return Ok(stopped.into_iter().collect());
        }
        asked = units::ask(context.children.as_ref(), "stop", &new);
        stopped.extend(new);
    }
    asked.map(|()| stopped.into_iter().collect())
}

fn new_units(context: &Context, before: &Before) -> Result<Vec<String>, Failure> {
    let children = context.children.as_ref();
    let now = units::read(&context.machine, children)?;
    let (mut new, others): (Vec<_>, Vec<_>) = compare(&before.units, &now).started.into_iter().partition(|unit| before.may_stop(unit));
    let triggers = units::triggers(children, &new)?;
    new.extend(others.into_iter().filter(|unit| triggers.contains(unit)));
    Ok(new)
}

/// Which units are started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// All that ran before: the change has only just been undone.
    All,
    /// Those of the plan's packages, and those that the change stopped: others may have been stopped for good reasons
    /// since.
    Packages,
}

impl Whose {
    /// Those that an undo starts. A boot in between started everything anew by its own rules: what others do not run
    /// since then does not run for a reason.
    #[must_use]
    pub const fn after(context: &Context) -> Self {
        if context.rebooted { Self::Packages } else { Self::All }
    }
}

/// Once the files are back: lets the service manager read them again, starts what ran, restarts what runs from
/// the files that are gone. Answers what is still not as before, in words. What the service manager does not do is
/// noted, and the rest is tried all the same.
pub fn bring_back(context: &Context, before: &Before, whose: Whose, stage: &mut Stage<'_>) -> Vec<String> {
    if before.units.is_empty() {
        return Vec::new();
    }
    let mut trouble = Vec::new();
    let mut differences = ask_back(context, before, whose, &mut trouble).and_then(|()| left(context, before)).unwrap_or_else(|failure| {
        trouble.push(failure);
        Vec::new()
    });
    differences.extend(trouble.into_iter().map(|failure| overlook(stage, failure)));
    differences
}

fn ask_back(context: &Context, before: &Before, whose: Whose, trouble: &mut Vec<Failure>) -> Result<(), Failure> {
    let children = context.children.as_ref();
    let mut ask = |verb: &str, names: &[String]| trouble.extend(units::ask(children, verb, names).err());
    let mut now = units::read(&context.machine, children)?;
    if now.values().any(|unit| unit.needs_reload) || !before.brought.is_empty() {
        ask("daemon-reload", &[]);
        now = units::read(&context.machine, children)?;
    }
    ask("reset-failed", &left_behind(before, &now));
    let change = compare(&before.units, &now);
    let wanted = |unit: &&String| whose == Whose::All || before.may_start(unit);
    let start: Vec<String> = change.stopped.iter().chain(&change.failed).filter(wanted).cloned().collect();
    if whose == Whose::Packages {
        let others = start.iter().filter(|unit| !before.brings(unit)).cloned();
        before::note_others(&context.machine.capture(context.attempt), |known| known.started.extend(others))?;
    }
    ask("start", &start);
    let restart: Vec<String> = change.restarted.into_iter().filter(|unit| before.brings(unit)).collect();
    ask("try-restart", &restart);
    Ok(())
}

/// What the change brought, failed when it was stopped and has no file any more: it would be known for ever.
fn left_behind(before: &Before, now: &Units) -> Vec<String> {
    let is_left = |name: &String, unit: &Unit| unit.missing && unit.active == "failed" && !before.units.contains_key(name);
    now.iter().filter(|(name, unit)| is_left(name, unit)).map(|(name, _)| name.clone()).collect()
}

/// As [`stop_new`], where a failure does not stop an undo.
pub fn stop_new_or_note(context: &Context, before: &Before, stage: &mut Stage<'_>) -> (Vec<String>, Vec<String>) {
    match stop_new(context, before) {
        Ok(stopped) => (stopped, Vec::new()),
        Err(failure) => (Vec::new(), vec![overlook(stage, failure)]),
    }
}

fn left(context: &Context, before: &Before) -> Result<Vec<String>, Failure> {
    let change = compare(&before.units, &units::read(&context.machine, context.children.as_ref())?);
    let gone = change.stopped.iter().chain(&change.failed).filter(|unit| before.may_start(unit)).map(|unit| format!("{unit} does not run"));
    let new = change.started.iter().filter(|unit| before.may_stop(unit)).map(|unit| format!("{unit} still runs"));
    Ok(gone.chain(new).collect())
}
