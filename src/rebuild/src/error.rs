//! Why a package cannot be made again.

use std::io;
use std::path::{Path, PathBuf};

use backstep_core::{PackageId, Version};

/// Why a package cannot be made again.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// dpkg's database of that moment has no such version, unpacked.
    #[error("cannot rebuild {package}: version {version} was not installed then")]
    Unknown {
        /// Which package.
        package: PackageId,
        /// Which version.
        version: Version,
    },
    /// The material is not there, or cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// What of the system as it was.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive would take more than there is room for.
    #[error("cannot rebuild {package}: its archive takes {bytes} bytes, and there is room for {room}")]
    NoRoom {
        /// Which package.
        package: PackageId,
        /// Bytes of its files.
        bytes: u64,
        /// Bytes that it may take.
        room: u64,
    },
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
}

/// A result of this crate.
pub(crate) type Result<T, E = RebuildError> = std::result::Result<T, E>;

/// Says of which path an error is.
pub(crate) trait Of<T> {
    /// Of this one.
    fn of(self, path: &Path) -> Result<T>;
}

impl<T> Of<T> for io::Result<T> {
    fn of(self, path: &Path) -> Result<T> {
        self.map_err(|source| RebuildError::Read { path: path.to_path_buf(), source })
    }
}
