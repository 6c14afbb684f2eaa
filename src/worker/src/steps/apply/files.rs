//! Files: what a committed transaction changed is put back, except what others changed since.

use std::collections::BTreeSet;
use std::path::PathBuf;

use backstep_capture::{CaptureDir, RestoreMode, Restored, compare, drifted, restore};
use backstep_core::{AttemptId, ErrorCode, Failure};
use backstep_engine::runner::{Done, MAX_DIFFERENCES, Stage};

use super::super::{part, secure};
use crate::context::Context;
use crate::settle::{self, Whose};
use crate::{alternatives, before};

/// Puts the capture of a committed attempt back. Scripts of the packages are not run.
pub(super) fn put_back(context: &Context, of: AttemptId, stage: &mut Stage<'_>) -> Result<Done, Failure> {
    let capture = context.machine.capture(of);
    let before = before::read(&capture)?;
    let dir = CaptureDir::open(&capture).map_err(|error| secure::failure(&error))?;
    let drifted = drift(context, &dir)?;
    let own = match settle::stop_new(context, &before) {
        Ok(stopped) if stopped.is_empty() => BTreeSet::new(),
        // What a service writes when it ends is no more somebody's than the rest of it.
        Ok(_) => drift(context, &dir)?.difference(&drifted).cloned().collect(),
        Err(failure) => {
            stage.note(Some(failure.code), failure.text)?;
            drift(context, &dir)?.difference(&drifted).cloned().collect()
        }
    };
    alternatives::remove_new(&context.machine, &before.alternatives)?;
    let mut trouble = Ok(());
    let restored = restore(context.machine.root(), &dir, RestoreMode::KeepDriftedBut(&own), &mut |done, total| {
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
    for text in left(context, &dir, &restored, drifted)? {
        stage.note(Some(ErrorCode::UndoIncomplete), text)?;
    }
    for difference in settle::bring_back(context, &before, Whose::Packages, stage) {
        stage.note(Some(ErrorCode::UndoIncomplete), difference)?;
    }
    let count = restored.relinked + restored.copied + restored.directories + restored.removed;
    Ok(Done::applied(format!("{count} paths put back, {} kept", restored.kept.len())))
}

/// What is not as the transaction left it.
fn drift(context: &Context, dir: &CaptureDir) -> Result<BTreeSet<PathBuf>, Failure> {
    drifted(context.machine.root(), dir).map(BTreeSet::from_iter).map_err(|error| secure::failure(&error))
}

/// What is not as it was, in words, except what others changed since: that is theirs, and what was kept of it is
/// named by itself.
fn left(context: &Context, dir: &CaptureDir, restored: &Restored, drifted: BTreeSet<PathBuf>) -> Result<Vec<String>, Failure> {
    let ours = restored.kept.iter().flat_map(|kept| std::iter::once(&kept.path).chain(&kept.ours)).cloned();
    let theirs: BTreeSet<PathBuf> = drifted.into_iter().chain(ours).collect();
    let found = compare(context.machine.root(), dir).map_err(|error| secure::failure(&error))?;
    let differences = found.iter().filter(|difference| !theirs.contains(&difference.path)).map(ToString::to_string);
    let spoiled = restored.spoiled.iter().map(|path| format!("{}: its content was overwritten in place and is lost", path.display()));
    let mut texts: Vec<String> = differences.chain(spoiled).collect();
    if texts.len() > MAX_DIFFERENCES {
        let more = texts.len() - MAX_DIFFERENCES;
        texts.truncate(MAX_DIFFERENCES);
        texts.push(format!("and {more} more"));
    }
    Ok(texts)
}
