//! Check: dpkg's facts, apt's marks and the units are what the plan wants, and the administrator's own checks succeed. Undo: nothing to
//! bring back.

use backstep_core::request::ServicePolicy;
use backstep_core::{ErrorCode, Failure, Kind, Method, StepKind};
use backstep_engine::runner::{Done, Left, Need, Stage, Step, UndoError, Undone};

use crate::before::{self, Before};
use crate::checks::{self, Weight};
use crate::child::{Watch, Wish};
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

    /// All of the administrator's own are run, so that the record tells of each.
    fn own(&self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        let checks =
            if self.context.plan.options.services == ServicePolicy::Off { Vec::new() } else { checks::find(&self.context.machine)? };
        let mut failed = Vec::new();
        for (number, check) in checks.iter().enumerate() {
            stage.progress(super::part(number as u64, checks.len() as u64), "", &format!("check {}", check.name()))?;
            let why = check.run(self.context.children.as_ref(), &mut Checking { stage: &mut *stage })?;
            stage.stop_if_asked()?;
            let Some(why) = why else {
                stage.note(None, format!("{} check {} succeeded", check.weight.as_str(), check.name()))?;
                continue;
            };
            let text = format!("{} check {} {why}", check.weight.as_str(), check.name());
            stage.note(Some(ErrorCode::CheckFailed), text.clone())?;
            failed.extend((check.weight == Weight::Required).then_some(text));
        }
        if failed.is_empty() || !self.decides() { Ok(()) } else { Err(Failure::new(ErrorCode::CheckFailed, failed.join("; "))) }
    }

    /// Whether a required check that fails undoes the change. A rollback stays: what it leads away from was not better.
    fn decides(&self) -> bool {
        self.context.plan.options.services == ServicePolicy::Undo && self.context.plan.kind != Kind::Rollback
    }
}

/// Nobody tells how far a check is; it can be cancelled.
struct Checking<'a, 'b> {
    stage: &'a mut Stage<'b>,
}

impl Watch for Checking<'_, '_> {
    fn line(&mut self, _: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn tick(&mut self) -> Result<Wish, Failure> {
        self.stage.tick()?;
        Ok(if self.stage.cancel_asked() { Wish::Stop } else { Wish::GoOn })
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
        self.own(stage)?;
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
