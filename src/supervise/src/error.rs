//! What can go wrong here.

use libseccomp::error::SeccompError;

/// Why a process tree cannot be supervised.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// libseccomp or the kernel does not take the filter.
    #[error("cannot load a system call filter")]
    Filter(#[source] SeccompError),
}
