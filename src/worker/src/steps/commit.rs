//! Commit: the change is durable, and how it left every captured path is on record. Undo before the last record:
//! nothing to bring back.

use backstep_capture::{Aftermath, CaptureDir};
use backstep_core::{ErrorCode, Failure, StepKind};
use backstep_engine::runner::{Done, Left, Need, Stage, Step, UndoError, Undone};

use super::secure::failure;
use crate::context::Shared;
use crate::durability::barrier;
use crate::files;

/// See the module.
pub(super) struct Commit {
    context: Shared,
}

impl Commit {
    pub(super) fn new(context: Shared) -> Self {
        Self { context }
    }
}

impl Commit {
    fn aftermath(&self, dir: &CaptureDir) -> Result<Aftermath, Failure> {
        let seen = self.context.aftermath.take();
        seen.map_or_else(|| Aftermath::look(self.context.machine.root(), dir), Ok).map_err(|error| failure(&error))
    }

    /// The post-image and the barrier, and the record of files meanwhile: the disk is waited for anyway. Nothing
    /// depends on that record, so its failure is told and no reason to undo.
    fn record(&self, dir: &CaptureDir, stage: &mut Stage<'_>) -> Result<Result<String, Failure>, Failure> {
        let context = self.context.as_ref();
        let machine = &context.machine;
        let aftermath = self.aftermath(dir)?;
        aftermath.save_image(dir).map_err(|error| failure(&error))?;
        stage.progress(500, "", "making it durable")?;
        std::thread::scope(|scope| {
            let durable = scope.spawn(|| barrier(machine));
            let recorded = files::record(machine, context.attempt, &context.plan, dir, aftermath);
            let panicked = |_| Failure::new(ErrorCode::Internal, "the thread of the barrier panicked");
            let undurable = |error| Failure::new(ErrorCode::StoreFailed, format!("cannot make the change durable: {error}"));
            durable.join().map_err(panicked)?.map_err(undurable).map(|()| recorded)
        })
    }
}

impl Step for Commit {
    fn kind(&self) -> StepKind {
        StepKind::Commit
    }

    fn check(&mut self, _: &mut Stage<'_>) -> Result<Need, Failure> {
        Ok(Need::Act)
    }

    fn act(&mut self, stage: &mut Stage<'_>) -> Result<Done, Failure> {
        stage.progress(0, "", "recording the result")?;
        let dir = CaptureDir::open(&self.context.machine.capture(self.context.attempt)).map_err(|error| failure(&error))?;
        let recorded = self.record(&dir, stage)?;
        stage.note(recorded.as_ref().err().map(|failure| failure.code), recorded.unwrap_or_else(|failure| failure.text))?;
        Ok(Done::applied("durable"))
    }

    fn verify(&mut self, _: &mut Stage<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn undo(&mut self, _: &mut Stage<'_>) -> Result<Undone, UndoError> {
        Ok(Undone::clean("nothing was committed"))
    }

    fn recover(&mut self, _: &mut Stage<'_>) -> Result<Left, UndoError> {
        Ok(Left::Nothing("nothing was committed".to_owned()))
    }
}
