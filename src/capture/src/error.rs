//! What can go wrong while capturing, restoring or comparing.

use std::io;
use std::path::{Path, PathBuf};

use backstep_core::ErrorCode;
use rustix::io::Errno;

/// Why files cannot be captured, restored or compared.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The system refused an operation on a path.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A selected path is no path below the root: empty, or with a `..` in it.
    #[error("cannot capture {}: the path leaves the root or is empty", path.display())]
    BadPath {
        /// The path as given.
        path: PathBuf,
    },
    /// The capture was never finished; nothing was changed after it, so there is nothing to put back.
    #[error("cannot use the capture in {}: it is incomplete", dir.display())]
    Incomplete {
        /// Where it lies.
        dir: PathBuf,
    },
    /// A capture is there and complete; it is never overwritten.
    #[error("cannot create a capture in {}: a complete one is there", dir.display())]
    Exists {
        /// Where it lies.
        dir: PathBuf,
    },
    /// A manifest is not as it was written.
    #[error("cannot trust {}: {reason}", file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No post-image was recorded, so drift cannot be told.
    #[error("cannot tell what changed since {}: no post-image was recorded", dir.display())]
    NoPostImage {
        /// Where the capture lies.
        dir: PathBuf,
    },
    /// A directory of ours is not ours: another owner, or open to others.
    #[error("cannot use {}: it is not a private directory of ours", path.display())]
    NotPrivate {
        /// Which directory.
        path: PathBuf,
    },
    /// Stopped on purpose by a test's fuse.
    #[error("cannot go on: interrupted")]
    Interrupted,
}

impl CaptureError {
    /// The code for the record.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Io { .. } | Self::BadPath { .. } | Self::Exists { .. } | Self::NotPrivate { .. } => ErrorCode::CaptureFailed,
            Self::Incomplete { .. } | Self::Damaged { .. } | Self::NoPostImage { .. } => ErrorCode::UndoMaterial,
            Self::Interrupted => ErrorCode::UndoIncomplete,
        }
    }

    /// What the system said.
    pub(crate) fn errno(&self) -> Option<Errno> {
        let Self::Io { source, .. } = self else { return None };
        Errno::from_io_error(source)
    }
}

pub(crate) type Result<T, E = CaptureError> = std::result::Result<T, E>;

/// Adds what was tried, and on what, to an error of the system.
pub(crate) trait Context<T> {
    fn cannot(self, verb: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn cannot(self, verb: &'static str, path: &Path) -> Result<T> {
        self.map_err(|error| CaptureError::Io { verb, path: path.to_path_buf(), source: error.into() })
    }
}
