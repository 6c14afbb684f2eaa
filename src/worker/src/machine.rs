//! Where things are: the system's root and Backstep's state, as paths.
//!
//! Absent on purpose: opening anything.

use std::path::{Path, PathBuf};

use backstep_core::{AttemptId, Digest};
pub use backstep_wire::attempt::AttemptFiles;

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
        AttemptFiles::in_folder(&self.attempts().join(attempt.to_string()))
    }
}
