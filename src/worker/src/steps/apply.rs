//! Apply: packages, marks or files are as the plan wants. Undo: every captured path is put back.
//!
//! Invariants: apt-get runs once and decides nothing: it is told every package and calls us back before it changes
//! anything; success is what dpkg's database says, never an exit code; nothing is put back while a script of the
//! change still runs.

mod files;
mod marks;
mod packages;

use std::time::Duration;

use backstep_capture::{CaptureDir, Failed, RestoreMode, restore};
use backstep_core::{ErrorCode, Failure, Method, StepKind};
use backstep_engine::runner::{Done, Left, Need, Stage, Step, UndoError, Undone};

use super::secure;
use crate::before;
use crate::context::{Context, Shared};
use crate::displace::displace;
use crate::durable::remove;
use crate::facts::{self, Facts};
use crate::{alternatives, preflight, settle};

/// How long what a killed dpkg left behind is waited for.
const LONG: Duration = Duration::from_secs(15 * 60);

/// See the module.
pub(super) struct Apply {
    context: Shared,
    /// Whether dpkg or apt was killed: then a script may still run.
    killed: bool,
}

impl Apply {
    pub(super) fn new(context: Shared) -> Self {
        Self { context, killed: false }
    }

    fn change(&mut self, stage: &mut Stage<'_>, before: &Facts) -> Result<Done, Failure> {
        match (self.context.plan.method, self.context.restore) {
            (Method::Packages, _) => packages::change(&self.context, before, &mut self.killed, stage),
            (Method::Marks, _) => marks::change(&self.context),
            (Method::Restore(_), Some(_)) => self.put_back(stage),
            (Method::Restore(id), None) => Err(Failure::new(ErrorCode::UndoMaterial, format!("the order names no attempt of {id}"))),
        }
    }
}

impl Apply {
    /// Puts the captures of committed attempts back, the newest first: each leaves what the one before it found.
    fn put_back(&self, stage: &mut Stage<'_>) -> Result<Done, Failure> {
        let mut texts = Vec::new();
        for of in self.context.restored() {
            texts.push(files::put_back(&self.context, of, stage)?.text);
        }
        Ok(Done::applied(texts.join("; ")))
    }
}

impl Step for Apply {
    fn kind(&self) -> StepKind {
        StepKind::Apply
    }

    fn check(&mut self, _: &mut Stage<'_>) -> Result<Need, Failure> {
        Ok(if self.context.plan.is_empty() { Need::Nothing("nothing to change".to_owned()) } else { Need::Act })
    }

    fn act(&mut self, stage: &mut Stage<'_>) -> Result<Done, Failure> {
        let before = facts::read(&self.context.machine)?;
        let done = self.change(stage, &before);
        if let Err(error) = forget_digest(&self.context) {
            settle::overlook(stage, still_there(&self.context, &error));
        }
        // What changed is on record before the step's own word, whichever that is.
        facts::read(&self.context.machine).and_then(|now| changes(stage, &before, &now))?;
        done
    }

    fn verify(&mut self, _: &mut Stage<'_>) -> Result<(), Failure> {
        let facts = facts::read(&self.context.machine)?;
        let plan = &self.context.plan;
        let unfinished = || Ok::<_, Failure>(preflight::unfinished(&self.context.machine)?.into_iter().collect());
        let off = match plan.method {
            Method::Packages => [facts.off_target(plan), facts.off_marks(plan), unfinished()?].concat(),
            Method::Marks => [marks::off(plan, &facts), facts.off_marks(plan), unfinished()?].concat(),
            Method::Restore(_) => self.context.off_target(&facts)?,
        };
        if off.is_empty() { Ok(()) } else { Err(Failure::new(ErrorCode::CheckMismatch, off.join("; "))) }
    }

    fn undo(&mut self, stage: &mut Stage<'_>) -> Result<Undone, UndoError> {
        if !secure::is_complete(&self.context)? {
            return Ok(Undone::clean("nothing was changed"));
        }
        if self.killed {
            wait_for_scripts(&self.context, stage).map_err(|failure| blocked(&self.context, failure))?;
        }
        put_all_back(&self.context, stage).map_err(UndoError::Blocked)
    }

    /// The runner's caller holds the frontend lock, which every script of the lost attempt has inherited.
    fn recover(&mut self, _: &mut Stage<'_>) -> Result<Left, UndoError> {
        Ok(if secure::is_complete(&self.context)? { Left::Effects } else { Left::Nothing("nothing was changed".to_owned()) })
    }
}

fn wait_for_scripts(context: &Context, stage: &mut Stage<'_>) -> Result<(), Failure> {
    stage.progress(0, "", "waiting for scripts that still run")?;
    context.children.wait_for_strays(LONG, &mut || stage.tick()).map(drop)
}

/// While a script of the change runs nobody else may change packages: the lock stays with it.
fn blocked(context: &Context, failure: Failure) -> UndoError {
    context.children.leave_lock();
    UndoError::Blocked(failure)
}

/// What is done before the files are put back; nothing of it is a reason not to put them back.
fn prepare(context: &Context, stage: &mut Stage<'_>) -> Vec<String> {
    let before = match before::read(&context.capture()) {
        Ok(before) => before,
        Err(failure) => return vec![settle::overlook(stage, failure)],
    };
    let (_, mut differences) = settle::stop_new_or_note(context, &before, stage);
    let links = alternatives::remove_new(&context.machine, &before.alternatives);
    differences.extend(links.err().map(|failure| settle::overlook(stage, failure)));
    differences
}

/// Puts every captured path back. What single paths differ in is found by the comparison that follows.
fn put_all_back(context: &Context, stage: &mut Stage<'_>) -> Result<Undone, Failure> {
    let changed = facts::read(&context.machine).ok();
    stage.progress(0, "", "stopping new services")?;
    let mut differences = prepare(context, stage);
    let dir = CaptureDir::open(&context.capture()).map_err(|error| secure::failure(&error))?;
    if context.is_resumed() {
        displace(context, &dir, stage)?;
    }
    let mut trouble = Ok(());
    let restored = restore(context.machine.root(), &dir, RestoreMode::Everything, &mut |done, total| {
        trouble = std::mem::replace(&mut trouble, Ok(())).and_then(|()| stage.progress(super::part(done, total), "", "putting files back"));
    });
    let restored = restored.map_err(|error| secure::failure(&error))?;
    for failed in &restored.failed {
        let failure = secure::failure(&failed.error);
        stage.note(Some(failure.code), format!("{}: {}", failed.path.display(), failure.text))?;
    }
    let unwritten = match forget_digest(context) {
        Err(error) if secure::is_disk(&error) => Err(still_there(context, &error)),
        digest => {
            differences.extend(digest.err().map(|error| settle::overlook(stage, still_there(context, &error))));
            Ok(())
        }
    };
    if let Some(changed) = changed {
        let noted = facts::read(&context.machine).and_then(|now| changes(stage, &changed, &now));
        differences.extend(noted.err().map(|failure| settle::overlook(stage, failure)));
    }
    let count = restored.relinked + restored.copied + restored.directories + restored.removed;
    trouble?;
    match restored.failed.iter().find(|failed| secure::is_storage(&failed.error)) {
        Some(failed) => Err(unwritable(failed, restored.failed.len())),
        None => unwritten.map(|()| Undone { text: format!("{count} paths put back"), differences }),
    }
}

/// apt takes its digest for current while dpkg's database has the same size and a time in the same second: two changes in one
/// second could pass for none, for apt and for our next plan.
fn forget_digest(context: &Context) -> std::io::Result<()> {
    remove(&context.machine.apt_digest())
}

fn still_there(context: &Context, error: &std::io::Error) -> Failure {
    let text = format!("cannot remove {}: {error}", context.machine.apt_digest().display());
    Failure::new(secure::code_of(error, ErrorCode::WorkerFailed), text)
}

/// A disk that does not take an undo is a reason to undo again, when somebody has seen to it, and not to end undone in part.
fn unwritable(first: &Failed, count: usize) -> Failure {
    let cause = secure::failure(&first.error);
    let text = format!("{}: {}; {count} paths are not put back: undo again once the disk works", first.path.display(), cause.text);
    Failure::new(cause.code, text)
}

/// Records every package whose state changed.
fn changes(stage: &mut Stage<'_>, before: &Facts, now: &Facts) -> Result<(), Failure> {
    let gone = before.status.iter().filter(|(package, _)| now.status.get(package).is_none());
    for (package, _) in now.status.iter().chain(gone) {
        let (was, is) = (before.status.text(package), now.status.text(package));
        if was != is {
            stage.item_changed(package.to_string(), was, is)?;
        }
    }
    Ok(())
}
