//! Recovery before it is needed: after a power cut in the middle of unpacking, new files may be torn, and those may be the
//! ones that the system needs to come up and to recover. So the captured files are put back before anything else runs: in
//! the initramfs where its hook is installed, and by an early unit else. The program is linked statically, for the same
//! reason.
//!
//! It does as little as that takes. The undo proper follows when the daemon starts, with its record, its services and its
//! judgement of what others made since; it finds most of its work done.
//!
//! Invariants: nothing is touched unless an attempt's mark says that its unpacking was cut, in an earlier boot, with a
//! complete capture, and nobody has taken it up since in vain. An interrupted run is run again from the start; the mark goes
//! when everything that is put back is durable. Absent on purpose: the record, dpkg, services, children, the network.

// Tests write small files into folders of their own; no crash can hurt them.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod attempt;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use backstep_capture::{CaptureDir, CaptureError, RestoreMode, restore};
use backstep_core::causes::said;
use backstep_core::{AttemptId, BootId};
use backstep_wire::attempt::AttemptFiles;

use attempt::{Standing, cut_attempts, standing};

/// Why nothing is known to be put back.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The system refused something.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The capture cannot be put back.
    #[error("cannot put attempt {attempt} back: {}", said(source))]
    Capture {
        /// Which.
        attempt: AttemptId,
        /// Why not.
        source: CaptureError,
    },
    /// The boot id is none.
    #[error("cannot tell which boot this is")]
    Boot,
}

/// What became of one marked attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its files are as before.
    PutBack {
        /// Which.
        attempt: AttemptId,
        /// How many paths were changed for that.
        paths: u64,
        /// Those that could not be put back; the undo proper tries them again.
        failed: Vec<PathBuf>,
    },
    /// It is left alone.
    Left {
        /// Which.
        attempt: AttemptId,
        /// Why.
        why: &'static str,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutBack { attempt, paths, failed } if failed.is_empty() => write!(f, "{attempt}: {paths} paths put back"),
            Self::PutBack { attempt, paths, failed } => {
                let (count, first) = (failed.len(), failed[0].display());
                write!(f, "{attempt}: {paths} paths put back, {count} could not be, {first} first")
            }
            Self::Left { attempt, why } => write!(f, "{attempt}: left alone: {why}"),
        }
    }
}

/// Puts the files of every cut attempt below `state` back into `root`, the newest attempt first. Repeatable; what it says
/// is put back is durable.
pub fn recover(root: &Path, state: &Path) -> Result<Vec<Outcome>, RecoverError> {
    let marked = cut_attempts(&state.join("attempts"))?;
    if marked.is_empty() {
        return Ok(Vec::new());
    }
    let boot = this_boot()?;
    marked.into_iter().map(|attempt| one(root, state, attempt, boot)).collect()
}

fn this_boot() -> Result<BootId, RecoverError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text = fs::read_to_string(path).map_err(cannot("read", path))?;
    text.trim().parse().map_err(|_| RecoverError::Boot)
}

fn one(root: &Path, state: &Path, attempt: AttemptId, boot: BootId) -> Result<Outcome, RecoverError> {
    let files = AttemptFiles::in_folder(&state.join("attempts").join(attempt.to_string()));
    let _lock = match standing(&files, attempt, boot)? {
        Standing::Cut(lock) => lock,
        Standing::Left(why) => return Ok(Outcome::Left { attempt, why }),
    };
    let error = |source| RecoverError::Capture { attempt, source };
    let dir = CaptureDir::at(&state.join("capture").join(attempt.to_string()));
    if !dir.is_complete().map_err(error)? {
        return Ok(Outcome::Left { attempt, why: "nothing was changed: there is no complete capture" });
    }
    let restored = restore(root, &dir, RestoreMode::Early, &mut |_, _| {}).map_err(error)?;
    let paths = restored.relinked + restored.copied + restored.directories + restored.removed + restored.mended + restored.renamed;
    let failed: Vec<PathBuf> = restored.failed.into_iter().map(|failed| failed.path).collect();
    // CRASH: before the mark is gone the next boot puts everything back again, which finds nothing to do.
    leave_word(&files, &format!("{paths} paths were put back before the system started, {} could not be\n", failed.len()))?;
    if failed.is_empty() {
        let mark = files.unsynced();
        fs::remove_file(&mark).map_err(cannot("remove", &mark))?;
    }
    sync(files.folder())?;
    Ok(Outcome::PutBack { attempt, paths, failed })
}

/// For the attempt that undoes this one: it takes it into its journal.
fn leave_word(files: &AttemptFiles, text: &str) -> Result<(), RecoverError> {
    let (draft, word) = (files.folder().join(".early"), files.early());
    let write = || -> io::Result<()> {
        let mut file = File::create(&draft)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &word)
    };
    write().map_err(cannot("write", &word))
}

fn sync(folder: &Path) -> Result<(), RecoverError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(cannot("sync", folder))
}

fn cannot<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> RecoverError + 'a {
    move |source| RecoverError::Io { what, path: path.to_path_buf(), source }
}

/// `None` when there is no such thing.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
