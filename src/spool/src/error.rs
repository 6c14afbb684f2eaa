//! What can go wrong with files of the spool.

use std::io;
use std::path::{Path, PathBuf};

use backstep_core::{ErrorCode, Failure};

/// Why the spool could not be used. The document that was there before is still there, whole.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// No space or quota left.
    #[error("cannot write {}: no space left", path.display())]
    Full {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file system is read-only.
    #[error("cannot write {}: the file system is read-only", path.display())]
    ReadOnly {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The device failed.
    #[error("cannot use {}: the device failed", path.display())]
    Device {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A part of the spool is a link or a file where a directory must be.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// Any other reason.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl SpoolError {
    /// Sorts a system error by what can be done about it.
    pub(crate) fn new(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.raw_os_error() == Some(nix::errno::Errno::EIO as i32) {
            return Self::Device { path, source };
        }
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path, source },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path, source },
            _ => Self::File { path, source },
        }
    }

    /// The stable code for callers.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Full { .. } => ErrorCode::DiskFull,
            Self::ReadOnly { .. } => ErrorCode::DiskReadOnly,
            Self::Device { .. } | Self::NotADirectory(_) | Self::File { .. } => ErrorCode::StoreFailed,
        }
    }
}

impl From<&SpoolError> for Failure {
    fn from(error: &SpoolError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn system_errors_are_sorted() {
        let code = |errno: Errno| SpoolError::new(Path::new("x"), io::Error::from_raw_os_error(errno as i32)).code();
        assert_eq!([code(Errno::ENOSPC), code(Errno::EDQUOT)], [ErrorCode::DiskFull; 2]);
        assert_eq!(code(Errno::EROFS), ErrorCode::DiskReadOnly);
        assert_eq!(code(Errno::EACCES), ErrorCode::StoreFailed);
        assert!(matches!(SpoolError::new(Path::new("x"), io::Error::from_raw_os_error(Errno::EIO as i32)), SpoolError::Device { .. }));
    }
}
