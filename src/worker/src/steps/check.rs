//! Check: dpkg's facts, apt's marks and the units are what the plan wants. Undo: nothing to bring back.

use backstep_core::request::ServicePolicy;
use backstep_core::{ErrorCode, Failure, Method, StepKind};
use backstep_engine::runner::{Done, Left, Need, Stage, Step, UndoError, Undone};

use crate::before::{self, Before};
use crate::context::Shared;
use crate::facts;
use crate::units::{self, compare};

/// See the module.
pub(super) struct Check {
    context: Shared,
}

impl Check {
    pub(super) fn new(context: Shared) -> Self {
        Self { context }
    }

    fn facts(&self) -> Result<(), Failure> {
        let facts = facts::read(&self.context.machine)?;
        let mut off = self.context.off_target(&facts)?;
        if self.context.plan.method == Method::Packages {
            off.extend(facts.off_marks(&self.context.plan));
            let half = backstep_apt::interrupted::interrupted(&facts.status, [] as [&str; 0]);
            off.extend(half.map(|half| half.text()));
        }
        if off.is_empty() { Ok(()) } else { Err(Failure::new(ErrorCode::CheckMismatch, off.join("; "))) }
    }

    fn units(&self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        let before: Before = before::read(&self.context.machine.capture(self.context.attempt))?;
        let policy = self.context.plan.options.services;
        if policy == ServicePolicy::Off || before.units.is_empty() {
            return Ok(());
        }
        let known = self.context.settled_units.take();
        let now = known.map_or_else(|| units::read(&self.context.machine, self.context.children.as_ref()), Ok)?;
        let failed = compare(&before.units, &now).failed;
        let text = || format!("{} ran before and failed after the change", failed.join(", "));
        match (failed.is_empty(), policy) {
            (true, _) | (false, ServicePolicy::Off) => Ok(()),
            (false, ServicePolicy::Warn) => stage.note(Some(ErrorCode::ServiceFailed), text()),
            (false, ServicePolicy::Undo) => Err(Failure::new(ErrorCode::ServiceFailed, text())),
        }
    }
}

impl Step for Check {
    fn kind(&self) -> StepKind {
        StepKind::Check
    }

    fn check(&mut self, _: &mut Stage<'_>) -> Result<Need, Failure> {
        Ok(Need::Act)
    }

    fn act(&mut self, stage: &mut Stage<'_>) -> Result<Done, Failure> {
        stage.progress(0, "", "checking the result")?;
        self.facts()?;
        self.units(stage)?;
        Ok(Done::applied("as planned"))
    }

    /// Checking is all that the step does.
    fn verify(&mut self, _: &mut Stage<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn undo(&mut self, _: &mut Stage<'_>) -> Result<Undone, UndoError> {
        Ok(Undone::clean("nothing was changed by it"))
    }

    fn recover(&mut self, _: &mut Stage<'_>) -> Result<Left, UndoError> {
        Ok(Left::Nothing("nothing was changed by it".to_owned()))
    }
}
