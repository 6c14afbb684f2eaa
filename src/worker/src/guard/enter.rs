//! What is started in apt's place: it goes under the guard and becomes apt.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use backstep_core::causes::said;
use backstep_core::{ErrorCode, Failure};
use backstep_supervise::{Scope, SuperviseError, enter_with};

use crate::durable::replace;
use crate::machine::AttemptFiles;

/// Puts this process under the guard at the other end of standard input and becomes `program`; answers only when it
/// could not. Where the kernel has no guards for it, it becomes `program` all the same and says so in the attempt's
/// folder; nothing else is a reason to run unguarded.
pub fn enter(files: &AttemptFiles, program: &OsString, arguments: &[OsString]) -> Failure {
    let failure = |text: String| Failure::new(ErrorCode::WorkerFailed, text);
    let socket = match socket() {
        Ok(socket) => socket,
        Err(error) => return failure(format!("cannot take the guard's socket: {error}")),
    };
    match enter_with(socket, Scope::All) {
        Ok(()) => {}
        Err(error @ SuperviseError::Filter(_)) => {
            if let Err(error) = replace(&files.unguarded(), said(&error).as_bytes(), 0o600) {
                return failure(format!("cannot say that there is no guard: {error}"));
            }
        }
        Err(error) => return failure(said(&error)),
    }
    become_program(program, arguments)
}

fn socket() -> io::Result<UnixStream> {
    let socket: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    Ok(UnixStream::from(socket))
}

#[expect(clippy::disallowed_methods, reason = "the environment and the descriptors are those that the worker gave")]
fn become_program(program: &OsString, arguments: &[OsString]) -> Failure {
    let error = Command::new(program).args(arguments).stdin(Stdio::null()).exec();
    Failure::new(ErrorCode::WorkerFailed, format!("cannot run {}: {error}", program.display()))
}
