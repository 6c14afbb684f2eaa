//! Where things are: the system's root and Backstep's state, as paths.
//!
//! Absent on purpose: opening anything.

use std::path::{Path, PathBuf};

use backstep_core::{AttemptId, Digest};

/// The system that is changed and the folder that keeps its record.
#[derive(Debug, Clone)]
pub struct Machine {
    root: PathBuf,
    state: PathBuf,
}

impl Machine {
    /// A system under `root` (`/` outside tests) with its state in `state`.
    #[must_use]
    pub fn new(root: &Path, state: &Path) -> Self {
        Self { root: root.to_owned(), state: state.to_owned() }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path of the system, given from its root, with or without the leading slash.
    #[must_use]
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// dpkg's database.
    #[must_use]
    pub fn admin(&self) -> PathBuf {
        self.at("var/lib/dpkg")
    }

    /// dpkg's status file.
    #[must_use]
    pub fn status(&self) -> PathBuf {
        self.at("var/lib/dpkg/status")
    }

    /// apt's marks.
    #[must_use]
    pub fn extended_states(&self) -> PathBuf {
        self.at("var/lib/apt/extended_states")
    }

    /// apt's folder of downloaded archives.
    #[must_use]
    pub fn apt_archives(&self) -> PathBuf {
        self.at("var/cache/apt/archives")
    }

    /// apt's digest of its lists and of dpkg's database, which it makes anew when it is not there.
    #[must_use]
    pub fn apt_digest(&self) -> PathBuf {
        self.at("var/cache/apt/pkgcache.bin")
    }

    /// This one: what apt calls has no other.
    #[must_use]
    pub fn this() -> Self {
        Self::new(Path::new("/"), Path::new("/var/lib/backstep"))
    }

    /// The archive of this content, kept for undo.
    #[must_use]
    pub fn kept_archive(&self, sha256: Digest) -> PathBuf {
        self.archives().join(format!("{sha256}.deb"))
    }

    /// The folder of kept archives.
    #[must_use]
    pub fn archives(&self) -> PathBuf {
        self.state.join("archives")
    }

    /// The folder of archives made ready for dpkg, in memory.
    #[must_use]
    pub fn prepared(&self) -> PathBuf {
        self.at("run/backstep-worker")
    }

    /// The capture of an attempt.
    #[must_use]
    pub fn capture(&self, attempt: AttemptId) -> PathBuf {
        self.captures().join(attempt.to_string())
    }

    /// The folder of captures.
    #[must_use]
    pub fn captures(&self) -> PathBuf {
        self.state.join("capture")
    }

    /// Held, shared, by every worker that may need undo material.
    #[must_use]
    pub fn material_lock(&self) -> PathBuf {
        self.captures().join(".lock")
    }

    /// The folders that hold all captures and all attempts.
    #[must_use]
    pub fn folders(&self) -> [PathBuf; 3] {
        [self.state.join("attempts"), self.captures(), self.archives()]
    }

    /// What dpkg's database was when it was last accounted for.
    #[must_use]
    pub fn inventory(&self) -> PathBuf {
        self.state.join("inventory")
    }

    /// The folder of plain runs of apt that are not on record yet.
    #[must_use]
    pub fn foreign(&self) -> PathBuf {
        self.state.join("foreign")
    }

    /// The folder of all attempts.
    #[must_use]
    pub fn attempts(&self) -> PathBuf {
        self.state.join("attempts")
    }

    /// The files of an attempt.
    #[must_use]
    pub fn attempt(&self, attempt: AttemptId) -> AttemptFiles {
        AttemptFiles { folder: self.state.join("attempts").join(attempt.to_string()) }
    }
}

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
        self.folder.join("plan.json")
    }

    /// What is to be done.
    #[must_use]
    pub fn order(&self) -> PathBuf {
        self.folder.join("order.json")
    }

    /// What was done.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.folder.join("attempt.jsonl")
    }

    /// What happened to files.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.folder.join("files.jsonl")
    }

    /// All output of all children.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.folder.join("output.log")
    }

    /// Exists when someone asked to stop.
    #[must_use]
    pub fn cancel(&self) -> PathBuf {
        self.folder.join("cancel")
    }

    /// Exists when a later attempt took this one's place: nothing may be done in its name any more.
    #[must_use]
    pub fn revoked(&self) -> PathBuf {
        self.folder.join("revoked")
    }

    /// Held by the worker for its whole life.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }

    /// Exists when the hook found that apt is about to do something else than planned; says what.
    #[must_use]
    pub fn mismatch(&self) -> PathBuf {
        self.folder.join("mismatch")
    }

    /// The named pipe through which a guard hears that its watch is over.
    #[must_use]
    pub fn watch_over(&self) -> PathBuf {
        self.folder.join("watch-over")
    }

    /// Exists when the guard refused a change: the error's code, and on the next line what it could not keep.
    #[must_use]
    pub fn refused(&self) -> PathBuf {
        self.folder.join("refused")
    }

    /// Exists when the change ran without a guard; says why.
    #[must_use]
    pub fn unguarded(&self) -> PathBuf {
        self.folder.join("unguarded")
    }

    /// Exists while somebody wants the undo material kept, whatever the limits say.
    #[must_use]
    pub fn pinned(&self) -> PathBuf {
        self.folder.join("pinned")
    }

    /// Exists while what was unpacked is not durable yet, or stands beside what is not unpacked yet: whoever finds it
    /// after a power cut puts the captured files back before the system starts (`backstep-recover`).
    #[must_use]
    pub fn unsynced(&self) -> PathBuf {
        self.folder.join("unsynced")
    }

    /// Exists when that was done; says how.
    #[must_use]
    pub fn early(&self) -> PathBuf {
        self.folder.join("early")
    }
}
