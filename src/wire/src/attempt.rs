//! The folder of an attempt: which file is for what.
//!
//! Daemon, worker and recovery meet in these files. Absent on purpose: opening any.

use std::path::{Path, PathBuf};

/// See [`AttemptFiles::plan`].
pub const PLAN: &str = "plan.json";
/// See [`AttemptFiles::order`].
pub const ORDER: &str = "order.json";
/// See [`AttemptFiles::journal`].
pub const JOURNAL: &str = "attempt.jsonl";
/// See [`AttemptFiles::files`].
pub const FILES: &str = "files.jsonl";
/// See [`AttemptFiles::output`].
pub const OUTPUT: &str = "output.log";
/// See [`AttemptFiles::cancel`].
pub const CANCEL: &str = "cancel";
/// See [`AttemptFiles::revoked`].
pub const REVOKED: &str = "revoked";
/// See [`AttemptFiles::lock`].
pub const LOCK: &str = "lock";
/// See [`AttemptFiles::mismatch`].
pub const MISMATCH: &str = "mismatch";
/// See [`AttemptFiles::watch_over`].
pub const WATCH_OVER: &str = "watch-over";
/// See [`AttemptFiles::guard_log`].
pub const GUARD_LOG: &str = "guard.jsonl";
/// See [`AttemptFiles::refused`].
pub const REFUSED: &str = "refused";
/// See [`AttemptFiles::unguarded`].
pub const UNGUARDED: &str = "unguarded";
/// See [`AttemptFiles::pinned`].
pub const PINNED: &str = "pinned";
/// See [`AttemptFiles::unsynced`].
pub const UNSYNCED: &str = "unsynced";
/// See [`AttemptFiles::early`].
pub const EARLY: &str = "early";

/// The files of one attempt.
#[derive(Debug, Clone)]
pub struct AttemptFiles {
    folder: PathBuf,
}

impl AttemptFiles {
    /// Those in a folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The frozen plan.
    #[must_use]
    pub fn plan(&self) -> PathBuf {
        self.folder.join(PLAN)
    }

    /// What is to be done.
    #[must_use]
    pub fn order(&self) -> PathBuf {
        self.folder.join(ORDER)
    }

    /// What was done.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.folder.join(JOURNAL)
    }

    /// What happened to files.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.folder.join(FILES)
    }

    /// All output of all children.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.folder.join(OUTPUT)
    }

    /// Exists when someone asked to stop.
    #[must_use]
    pub fn cancel(&self) -> PathBuf {
        self.folder.join(CANCEL)
    }

    /// Exists when a later attempt took this one's place: nothing may be done in its name any more.
    #[must_use]
    pub fn revoked(&self) -> PathBuf {
        self.folder.join(REVOKED)
    }

    /// Held by the worker for its whole life.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.folder.join(LOCK)
    }

    /// Exists when the hook found that apt is about to do something else than planned; says what.
    #[must_use]
    pub fn mismatch(&self) -> PathBuf {
        self.folder.join(MISMATCH)
    }

    /// The named pipe through which a guard hears that its watch is over.
    #[must_use]
    pub fn watch_over(&self) -> PathBuf {
        self.folder.join(WATCH_OVER)
    }

    /// Of a plain run of apt: each call of dpkg that went under a guard, and what the guard saw.
    #[must_use]
    pub fn guard_log(&self) -> PathBuf {
        self.folder.join(GUARD_LOG)
    }

    /// Exists when the guard refused a change: the error's code, and on the next line what it could not keep.
    #[must_use]
    pub fn refused(&self) -> PathBuf {
        self.folder.join(REFUSED)
    }

    /// Exists when the change ran without a guard; says why.
    #[must_use]
    pub fn unguarded(&self) -> PathBuf {
        self.folder.join(UNGUARDED)
    }

    /// Exists while somebody wants the undo material kept, whatever the limits say.
    #[must_use]
    pub fn pinned(&self) -> PathBuf {
        self.folder.join(PINNED)
    }

    /// Exists while what was unpacked is not durable yet, or stands beside what is not unpacked yet: whoever finds it
    /// after a power cut puts the captured files back before the system starts (`backstep-recover`).
    #[must_use]
    pub fn unsynced(&self) -> PathBuf {
        self.folder.join(UNSYNCED)
    }

    /// Exists when that was done; says how.
    #[must_use]
    pub fn early(&self) -> PathBuf {
        self.folder.join(EARLY)
    }
}
