//! The guard of what apt, dpkg and their scripts do: a process that keeps each file just before it is changed.
//!
//! The worker starts the guard, then, in apt's place, this program again, which puts itself under that guard and becomes
//! apt. The guard outlives the worker: while anything of the change still runs, it is watched. The watch is over when the
//! worker says so through a named pipe, because the change is judged then and what lives on is somebody's daemon.
//!
//! Invariants: nothing is run under a guard that is not ready; a file that cannot be kept is not changed, the call that
//! would is refused; where the kernel has no such guards, the change goes on without and the record says so.

pub mod enter;
pub mod keep;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use backstep_core::{ErrorCode, Failure};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde::{Deserialize, Serialize};

use crate::machine::AttemptFiles;

/// How long the guard may take for its last word.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a guard saw and kept, in its own words: one JSON object on its standard output.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Changes it was told of.
    pub told: u64,
    /// Changes it refused, because it could not keep what was there.
    pub refused: u64,
    /// Calls of which it could not find out what they change.
    pub unseen: u64,
    /// Files kept as one more hard link.
    pub links: u64,
    /// Files copied.
    pub copies: u64,
    /// Bytes copied.
    pub bytes_copied: u64,
    /// Names that were not there before.
    pub created: u64,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { told, refused, unseen, links, copies, bytes_copied, created } = self;
        write!(f, "guard: {told} changes seen, {links} files linked and {copies} copied ({bytes_copied} bytes), {created} new names")?;
        if refused + unseen > 0 {
            write!(f, "; {refused} refused, {unseen} not understood")?;
        }
        Ok(())
    }
}

/// Where a guard and those who start it find each other.
#[derive(Debug, Clone)]
pub struct Place {
    /// The worker's program.
    pub program: String,
    /// The attempt.
    pub files: AttemptFiles,
    /// Its capture, which is complete.
    pub capture: PathBuf,
}

/// A living guard.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    report: ChildStdout,
    files: AttemptFiles,
}

impl Guard {
    /// Starts one. `command` is a call of the place's program in a child's environment. The socket is for the standard
    /// input of what is to be guarded.
    pub fn start(place: &Place, mut command: Command) -> io::Result<(Self, OwnedFd)> {
        let fifo = place.files.watch_over();
        for old in [place.files.refused(), place.files.unguarded(), fifo.clone()] {
            absent(fs::remove_file(old))?;
        }
        mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let (ours, theirs) = UnixStream::pair()?;
        command.arg("guard").arg(place.files.folder()).arg(&place.capture);
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let report = child.stdout.take().ok_or_else(|| io::Error::other("the guard has no standard output"))?;
        Ok((Self { child, report, files: place.files.clone() }, OwnedFd::from(ours)))
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the watch and answers what it was. Afterwards processes that live on are answered without being watched.
    pub fn end(mut self) -> Result<Report, Failure> {
        let failure = |text: String| Failure::new(ErrorCode::WorkerFailed, format!("the guard of the change {text}"));
        self.say_over().map_err(|error| failure(format!("cannot be told that it is over: {error}")))?;
        let line = self.last_word().map_err(|error| failure(format!("did not report: {error}")))?;
        serde_json::from_str(&line).map_err(|error| failure(format!("reported {line:?}: {error}")))
    }

    /// A guard that has ended already reads no more.
    fn say_over(&self) -> io::Result<()> {
        let open = OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(self.files.watch_over());
        match open {
            Ok(mut fifo) => fifo.write_all(b"."),
            Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn last_word(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        let patience = PollTimeout::try_from(PATIENCE).map_err(io::Error::other)?;
        loop {
            if poll(&mut [PollFd::new(self.report.as_fd(), PollFlags::POLLIN)], patience)? == 0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
            }
            match self.report.read(&mut byte)? {
                0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is gone")),
                _ if byte == *b"\n" => return Ok(String::from_utf8_lossy(&line).into_owned()),
                _ => line.extend(byte),
            }
        }
    }
}

/// Opens the named pipe through which the watch is ended; without waiting for the other end.
fn open_watch_over(files: &AttemptFiles) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(files.watch_over())
}

fn absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
