//! Which attempts were cut in the middle of unpacking: what their folders say.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use backstep_core::limits::MAX_ATTEMPTS;
use backstep_core::{AttemptId, BootId, Direction};
use backstep_wire::attempt::AttemptFiles;
use backstep_wire::journal::{Line, Record, whole_lines};
use backstep_wire::order;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::{RecoverError, cannot, if_there};

/// Whether an attempt's files are to be put back.
pub(crate) enum Standing {
    /// They are. The lock keeps a worker from beginning meanwhile.
    Cut(#[allow(dead_code, reason = "held, never read")] File),
    /// They are not; why.
    Left(&'static str),
}

/// The marked attempts, the newest first.
pub(crate) fn cut_attempts(attempts: &Path) -> Result<Vec<AttemptId>, RecoverError> {
    let Some(entries) = if_there(fs::read_dir(attempts)).map_err(cannot("list", attempts))? else { return Ok(Vec::new()) };
    let mut marked = Vec::new();
    for entry in entries {
        let entry = entry.map_err(cannot("list", attempts))?;
        let id = entry.file_name().to_str().and_then(|name| name.parse::<AttemptId>().ok());
        let mark = AttemptFiles::in_folder(&entry.path()).unsynced();
        if let Some(id) = id.filter(|_| fs::symlink_metadata(&mark).is_ok()) {
            marked.push(id);
        }
    }
    marked.sort_by_key(|id| std::cmp::Reverse((id.transaction, id.number)));
    Ok(marked)
}

/// Looks at one.
pub(crate) fn standing(files: &AttemptFiles, attempt: AttemptId, boot: BootId) -> Result<Standing, RecoverError> {
    let Some(lock) = lock(&files.lock())? else { return Ok(Standing::Left("its worker lives")) };
    let order = read(&files.order())?;
    if !order.is_some_and(|bytes| order::from_bytes(&bytes).is_ok_and(|order| order.direction == Direction::Forward)) {
        return Ok(Standing::Left("it has no order to change anything"));
    }
    let lines = read(&files.journal())?.unwrap_or_default();
    let Ok((lines, _)) = whole_lines(&lines) else { return Ok(Standing::Left("its journal cannot be read")) };
    Ok(match told(&lines) {
        Told::Ended => Standing::Left("it has ended"),
        Told::BegunIn(then) if then != boot => {
            if given_up(files.folder(), attempt) {
                Standing::Left("a person decides about it")
            } else {
                Standing::Cut(lock)
            }
        }
        Told::BegunIn(_) => Standing::Left("it began in this boot"),
        Told::Nothing => Standing::Left("it did not begin"),
    })
}

/// What a journal says, in short.
enum Told {
    Nothing,
    BegunIn(BootId),
    Ended,
}

fn told(lines: &[Line]) -> Told {
    lines.iter().fold(Told::Nothing, |told, line| match &line.record {
        Record::Begin { boot, .. } => Told::BegunIn(*boot),
        Record::Committed { .. } | Record::Left { .. } | Record::Aborted { .. } | Record::Stuck { .. } => Told::Ended,
        Record::StepStarted { .. }
        | Record::StepEnded { .. }
        | Record::UndoStarted { .. }
        | Record::Progress(_)
        | Record::ItemChanged { .. }
        | Record::Noted { .. }
        | Record::Captured { .. } => told,
    })
}

/// After so many attempts nothing is tried any more by itself: what is there may be accepted already.
fn given_up(folder: &Path, attempt: AttemptId) -> bool {
    let last = AttemptId { number: MAX_ATTEMPTS.max(attempt.number + 1), ..attempt };
    attempt.number >= MAX_ATTEMPTS || fs::symlink_metadata(folder.with_file_name(last.to_string())).is_ok()
}

/// `None` when somebody holds it.
fn lock(path: &Path) -> Result<Option<File>, RecoverError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(cannot("open", path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(cannot("lock", path)(error.into())),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, RecoverError> {
    if_there(fs::read(path)).map_err(cannot("read", path))
}
