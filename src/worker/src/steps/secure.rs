//! Secure: undo material is complete and durable before anything is changed. Undo: units as they were, all verified.

use backstep_capture::{CaptureDir, CaptureError, Secured, Selection, compare, gather, selection_of};
use backstep_core::causes::{causes, said};
use backstep_core::count::counted;
use backstep_core::{ErrorCode, Failure, Method, StepKind};
use backstep_engine::runner::{Done, Left, Need, Stage, Step, UndoError, Undone};
use nix::errno::Errno;

use crate::before::{self, Before};
use crate::context::{Context, Shared};
use crate::facts::{self, Facts};
use crate::prepare;
use crate::settle::{self, Whose};
use crate::units::Units;
use crate::{alternatives, left_out, selection, units};

/// See the module.
pub(super) struct Secure {
    context: Shared,
}

/// An error of the capture with its causes.
pub(crate) fn failure(error: &CaptureError) -> Failure {
    let io = causes(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    Failure::new(io.fold(error.code(), |code, io| code_of(io, code)), said(error))
}

/// Whether the disk is why: full, read-only or failing. Once it works again the same may succeed.
pub(crate) fn is_storage(error: &CaptureError) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>()).any(is_disk)
}

pub(super) fn is_disk(error: &std::io::Error) -> bool {
    let disk = [Errno::EIO, Errno::ENOSPC, Errno::EDQUOT, Errno::EROFS];
    error.raw_os_error().is_some_and(|code| disk.contains(&Errno::from_raw(code)))
}

pub(super) fn code_of(error: &std::io::Error, otherwise: ErrorCode) -> ErrorCode {
    match error.kind() {
        std::io::ErrorKind::StorageFull => ErrorCode::DiskFull,
        std::io::ErrorKind::ReadOnlyFilesystem => ErrorCode::DiskReadOnly,
        _ => otherwise,
    }
}

impl Secure {
    pub(super) fn new(context: Shared) -> Self {
        Self { context }
    }

    fn selection(&self) -> Result<Selection, Failure> {
        let context = &self.context;
        let mut selection = match (context.plan.method, context.restore) {
            (Method::Packages, _) => selection::of_packages(context)?,
            (Method::Marks, _) => selection::of_marks(),
            (Method::Restore(_), Some(_)) => restored(context)?,
            (Method::Restore(id), None) => {
                return Err(Failure::new(ErrorCode::UndoMaterial, format!("the order names no attempt of {id}")));
            }
        };
        selection.link.extend(alternatives::links(&context.machine)?.into_iter().map(Into::into));
        Ok(selection)
    }

    fn before(&self, facts: &Facts, selection: &Selection, units: Units) -> Result<Before, Failure> {
        let context = &self.context;
        let mut before = Before::new(facts.world, context.words(&facts.status), units);
        let paths = selection.link.iter().chain(&selection.absent);
        before.brought = paths.filter_map(|path| before::unit_of(&path.to_string_lossy())).collect();
        before.brought.extend(reverted_units(context)?);
        before.alternatives = alternatives::links(&context.machine)?;
        Ok(before)
    }
}

/// Captures what the plan of a context can change; an incomplete capture is made anew. Progress is in paths. The units
/// are read meanwhile: the service manager takes its time to answer.
pub(crate) fn keep(context: &Shared, on_progress: &mut dyn FnMut(u64, u64)) -> Result<Secured, Failure> {
    let step = Secure::new(context.clone());
    let (machine, children) = (&context.machine, context.children.as_ref());
    let capture = machine.capture(context.attempt);
    std::thread::scope(|scope| {
        let units = scope.spawn(|| units::read(machine, children));
        let selection = step.selection()?;
        let facts = facts::read(machine)?;
        let dir = CaptureDir::create(&capture).map_err(|error| failure(&error))?;
        let gathered = gather(machine.root(), &dir, &selection, on_progress).map_err(|error| failure(&error))?;
        let units = units.join().map_err(|_| Failure::new(ErrorCode::Internal, "the thread that reads the units panicked"))?;
        before::write(&capture, &step.before(&facts, &selection, units?)?)?;
        gathered.complete().map_err(|error| failure(&error))
    })
}

/// What captures cover is what a restore of them may change.
fn restored(context: &Context) -> Result<Selection, Failure> {
    let mut all = Selection::default();
    for of in context.restored() {
        let capture = CaptureDir::open(&context.machine.capture(of));
        let Selection { link, tree, brought, copy, absent, exclude } =
            capture.and_then(|dir| selection_of(&dir)).map_err(|error| failure(&error))?;
        let sets = [
            (&mut all.link, link),
            (&mut all.tree, tree),
            (&mut all.brought, brought),
            (&mut all.copy, copy),
            (&mut all.absent, absent),
            (&mut all.exclude, exclude),
        ];
        sets.into_iter().for_each(|(all, one)| all.extend(one));
    }
    for item in context.plan.items.iter().filter(|item| item.from.is_some()) {
        all.link.extend(selection::shipped(&context.machine, &item.package)?);
    }
    Ok(all)
}

/// A restore concerns the units of the changes that it reverts.
fn reverted_units(context: &Context) -> Result<std::collections::BTreeSet<String>, Failure> {
    let mut units = std::collections::BTreeSet::new();
    for of in context.restored() {
        units.extend(before::read(&context.machine.capture(of))?.brought);
    }
    Ok(units)
}

/// Whether a capture is complete; if not, nothing was changed after it.
pub(super) fn is_complete(context: &Context) -> Result<bool, UndoError> {
    CaptureDir::at(&context.capture()).is_complete().map_err(|error| UndoError::Blocked(failure(&error)))
}

impl Step for Secure {
    fn kind(&self) -> StepKind {
        StepKind::Secure
    }

    fn check(&mut self, _: &mut Stage<'_>) -> Result<Need, Failure> {
        Ok(Need::Act)
    }

    fn act(&mut self, stage: &mut Stage<'_>) -> Result<Done, Failure> {
        stage.progress(0, "", "listing files")?;
        let capture = self.context.machine.capture(self.context.attempt);
        if CaptureDir::at(&capture).is_complete().map_err(|error| failure(&error))? {
            return Ok(Done::already("undo material is here"));
        }
        let mut trouble = Ok(());
        let secured = keep(&self.context, &mut |done, total| {
            let securing = |()| stage.progress(super::part(done, total), "", "securing undo material");
            trouble = std::mem::replace(&mut trouble, Ok(())).and_then(securing);
        })?;
        trouble?;
        stage.captured(secured.paths, secured.bytes_copied)?;
        if let Some(text) = left_out::of_capture(&secured.left_out) {
            stage.note(Some(ErrorCode::CaptureFailed), text)?;
        }
        Ok(Done::applied(format!("{} secured", counted(secured.paths, "path"))))
    }

    fn verify(&mut self, _: &mut Stage<'_>) -> Result<(), Failure> {
        let capture = self.context.machine.capture(self.context.attempt);
        before::read(&capture)?;
        CaptureDir::open(&capture).map(drop).map_err(|error| failure(&error))
    }

    fn undo(&mut self, stage: &mut Stage<'_>) -> Result<Undone, UndoError> {
        if let Err(error) = prepare::clear(&self.context.machine) {
            settle::overlook(stage, Failure::new(ErrorCode::WorkerFailed, format!("cannot clear the ready archives: {error}")));
        }
        if !is_complete(&self.context)? {
            return Ok(Undone::clean("nothing was changed"));
        }
        stage.progress(0, "", "bringing services back").map_err(UndoError::Failed)?;
        let before = before::read(&self.context.capture()).map_err(UndoError::Failed)?;
        let mut differences = settle::bring_back(&self.context, &before, Whose::after(&self.context), stage);
        stage.progress(500, "", "comparing with before").map_err(UndoError::Failed)?;
        differences.extend(file_differences(&self.context)?);
        differences.extend(fact_differences(&self.context, &before).map_err(UndoError::Failed)?);
        Ok(Undone { text: "compared with the state before".to_owned(), differences })
    }

    fn recover(&mut self, _: &mut Stage<'_>) -> Result<Left, UndoError> {
        Ok(if is_complete(&self.context)? { Left::Effects } else { Left::Nothing("nothing was changed".to_owned()) })
    }
}

fn file_differences(context: &Context) -> Result<Vec<String>, UndoError> {
    let error = |error: CaptureError| UndoError::Failed(failure(&error));
    let dir = CaptureDir::open(&context.capture()).map_err(error)?;
    let found = compare(context.machine.root(), &dir).map_err(error)?;
    Ok(found.iter().map(ToString::to_string).collect())
}

fn fact_differences(context: &Context, before: &Before) -> Result<Vec<String>, Failure> {
    let facts = facts::read(&context.machine)?;
    let mut differences = before.off(&context.words(&facts.status));
    if differences.is_empty() && !before.is_world(facts.world) {
        differences.push("dpkg's database or apt's marks are not as before".to_owned());
    }
    Ok(differences)
}
