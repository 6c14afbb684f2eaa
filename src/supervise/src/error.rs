//! What can go wrong here.

use std::io;

use libseccomp::error::SeccompError;

/// Why a process tree cannot be supervised.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// libseccomp or the kernel does not take the filter.
    #[error("cannot load a system call filter")]
    Filter(#[source] SeccompError),
    /// The guard's program does not start.
    #[error("cannot start the guard")]
    Guard(#[source] io::Error),
    /// The listener or the word that the guard is ready does not arrive.
    #[error("cannot hand the system calls over to the guard")]
    Handover(#[source] io::Error),
    /// The guard cannot arrange its own process.
    #[error("cannot prepare the guard")]
    Prepare(#[source] io::Error),
    /// Waiting for calls fails.
    #[error("cannot wait for system calls")]
    Poll(#[source] io::Error),
    /// The kernel does not deliver calls or does not take answers.
    #[error("cannot answer system calls")]
    Listen(#[source] SeccompError),
}
