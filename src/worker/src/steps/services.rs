//! Services: the service manager knows the new unit files, and what the change did to units is on record.
//! Undo: what the change started is stopped.

use backstep_capture::{Aftermath, CaptureDir};
use backstep_core::request::ServicePolicy;
use backstep_core::{Failure, StepKind};
use backstep_engine::runner::{Done, Left, Need, Stage, Step, UndoError, Undone};

use super::secure;
use crate::before::{self, Before};
use crate::context::Shared;
use crate::settle;
use crate::units::{self, Change, Units, compare};

/// See the module.
pub(super) struct Services {
    context: Shared,
}

impl Services {
    pub(super) fn new(context: Shared) -> Self {
        Self { context }
    }

    /// The units now, and how the files were left meanwhile: reading the units is mostly waiting. Whether that could be
    /// told matters to the commit alone, which then looks again.
    fn look(&self) -> Result<Units, Failure> {
        let context = self.context.as_ref();
        let (machine, children) = (&context.machine, context.children.as_ref());
        std::thread::scope(|scope| {
            let units = scope.spawn(|| units::read(machine, children));
            let aftermath = CaptureDir::open(&machine.capture(context.attempt)).and_then(|dir| Aftermath::look(machine.root(), &dir));
            context.aftermath.replace(aftermath.ok());
            units.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn before(&self) -> Result<Before, Failure> {
        before::read(&self.context.machine.capture(self.context.attempt))
    }
}

impl Step for Services {
    fn kind(&self) -> StepKind {
        StepKind::Services
    }

    fn check(&mut self, _: &mut Stage<'_>) -> Result<Need, Failure> {
        let nothing = |why: &str| Ok(Need::Nothing(why.to_owned()));
        if self.before()?.units.is_empty() {
            return nothing("no service manager runs");
        }
        if self.context.plan.options.services == ServicePolicy::Off { nothing("services are not looked at") } else { Ok(Need::Act) }
    }

    fn act(&mut self, stage: &mut Stage<'_>) -> Result<Done, Failure> {
        let children = self.context.children.as_ref();
        let before = self.before()?;
        let mut now = self.look()?;
        let reload = now.values().any(|unit| unit.needs_reload);
        if reload {
            units::ask(children, "daemon-reload", &[])?;
            now = units::read(&self.context.machine, children)?;
        }
        let change = compare(&before.units, &now);
        before::note_stopped(&self.context.machine.capture(self.context.attempt), &before, &change)?;
        let text = describe(&change);
        self.context.settled_units.replace(Some(now));
        stage.progress(1000, "", "services settled")?;
        Ok(if reload || !text.is_empty() { Done::applied(text) } else { Done::already("no service changed") })
    }

    fn verify(&mut self, _: &mut Stage<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn undo(&mut self, stage: &mut Stage<'_>) -> Result<Undone, UndoError> {
        if !secure::is_complete(&self.context)? {
            return Ok(Undone::clean("nothing was changed"));
        }
        let before = before::read(&self.context.capture()).map_err(UndoError::Failed)?;
        stage.progress(0, "", "stopping new services").map_err(UndoError::Failed)?;
        let (stopped, differences) = settle::stop_new_or_note(&self.context, &before, stage);
        let text = if stopped.is_empty() { String::new() } else { format!("stopped {}", stopped.join(", ")) };
        Ok(Undone { text, differences })
    }

    fn recover(&mut self, _: &mut Stage<'_>) -> Result<Left, UndoError> {
        Ok(Left::Effects)
    }
}

fn describe(change: &Change) -> String {
    let lists = [("started", &change.started), ("stopped", &change.stopped), ("restarted", &change.restarted), ("failed", &change.failed)];
    let parts = lists.iter().filter(|(_, units)| !units.is_empty()).map(|(verb, units)| format!("{verb} {}", units.join(", ")));
    parts.collect::<Vec<_>>().join("; ")
}
