//! Going under guard: for a program with one thread that then becomes, by `exec`, the root of the guarded tree.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::error::SuperviseError;
use crate::filter::{self, Scope};
use crate::handover;

/// Starts `guard`, puts this thread and all that it starts under its guard, and returns when the guard is ready. Gives
/// the guard's process number.
///
/// The guard gets its socket as standard input (see [`prepare`](crate::prepare)) and a process group of its own.
/// Descriptors of this process stay as they are, for the program that is executed next.
///
/// The guarded process becomes the guard's parent. Who wants the guard's exit status starts it elsewhere and calls
/// [`enter_with`].
///
/// # Errors
/// The guard cannot be started: nothing has changed. Anything later: this process may already be filtered with nobody
/// to answer, and has to end.
pub fn enter(guard: &mut Command, scope: Scope) -> Result<u32, SuperviseError> {
    let (ours, theirs) = UnixStream::pair().map_err(SuperviseError::Handover)?;
    let child = guard.stdin(Stdio::from(OwnedFd::from(theirs))).process_group(0).spawn().map_err(SuperviseError::Guard)?;
    // The command keeps the guard's end open; with it a guard's death would not be seen here.
    guard.stdin(Stdio::null());
    enter_with(ours, scope)?;
    Ok(child.id())
}

/// Waits until the guard at the other end of `socket` has said that nothing is in its way
/// ([`say_prepared`](crate::say_prepared)). A guard that cannot work is found out here, before anything is filtered.
///
/// # Errors
/// It is gone, or the socket's time limit is over. Nothing has changed.
pub fn wait_prepared(socket: &UnixStream) -> Result<(), SuperviseError> {
    handover::wait_ready(socket)
}

/// The same as [`enter`], with a guard that is already there, at the other end of `socket`.
///
/// # Errors
/// As [`enter`].
pub fn enter_with(socket: UnixStream, scope: Scope) -> Result<(), SuperviseError> {
    let (filter, listener) = filter::load(scope).map_err(SuperviseError::Filter)?;
    let sent = handover::send(&socket, listener);
    // Newer versions of libseccomp close the listener with its filter, older ones never do.
    drop(filter);
    match nix::unistd::close(listener) {
        Ok(()) | Err(nix::errno::Errno::EBADF) => {}
        Err(errno) => return Err(SuperviseError::Handover(errno.into())),
    }
    sent?;
    handover::wait_ready(&socket)
}
