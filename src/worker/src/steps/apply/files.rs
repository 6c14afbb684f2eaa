//! Files: what a committed transaction changed is put back, except what others changed since.

use backstep_capture::{CaptureDir, RestoreMode, restore};
use backstep_core::{AttemptId, ErrorCode, Failure};
use backstep_engine::runner::{Done, Stage};

use super::super::{part, secure};
use crate::context::Context;
use crate::settle::{self, Whose};
use crate::{alternatives, before};

/// Puts the capture of a committed attempt back. Scripts of the packages are not run.
pub(super) fn put_back(context: &Context, of: AttemptId, stage: &mut Stage<'_>) -> Result<Done, Failure> {
    let capture = context.machine.capture(of);
    let before = before::read(&capture)?;
    let dir = CaptureDir::open(&capture).map_err(|error| secure::failure(&error))?;
    settle::stop_new(context, &before)?;
    alternatives::remove_new(&context.machine, &before.alternatives)?;
    let mut trouble = Ok(());
    let restored = restore(context.machine.root(), &dir, RestoreMode::KeepDrifted, &mut |done, total| {
        trouble = std::mem::replace(&mut trouble, Ok(())).and_then(|()| stage.progress(part(done, total), "", "putting files back"));
    });
    let restored = restored.map_err(|error| secure::failure(&error))?;
    trouble?;
    if let Some(failed) = restored.failed.first() {
        let cause = secure::failure(&failed.error);
        return Err(Failure::new(ErrorCode::UndoFailed, format!("{}: {}", failed.path.display(), cause.text)));
    }
    for kept in &restored.kept {
        let beside = kept.ours.as_ref().map(|ours| format!("; the earlier file is in {}", ours.display())).unwrap_or_default();
        stage.note(None, format!("{} was changed since and stays{beside}", kept.path.display()))?;
    }
    for difference in settle::bring_back(context, &before, Whose::Packages)? {
        stage.note(Some(ErrorCode::ServiceFailed), difference)?;
    }
    let count = restored.relinked + restored.copied + restored.directories + restored.removed;
    Ok(Done::applied(format!("{count} paths put back, {} kept", restored.kept.len())))
}
