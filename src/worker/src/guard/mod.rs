//! The guard of what apt, dpkg and their scripts do: a process that keeps each file just before it is changed.
//!
//! The worker starts the guard, then, in apt's place, this program again, which puts itself under that guard and becomes
//! apt. The guard outlives the worker: while anything of the change still runs, it is watched. The watch is over when the
//! worker says so through a named pipe, because the change is judged then and what lives on is somebody's daemon. The
//! worker that undoes a dead one's attempt says so too. The guard has a session of its own: it is no process of the
//! change, and nobody waits for its end.
//!
//! Invariants: nothing is run under a guard that is not ready; a file that cannot be kept is not changed, the call that
//! would is refused; where the kernel has no such guards, the change goes on without and the record says so.

pub mod enter;
pub mod keep;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use backstep_core::{ErrorCode, Failure};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde::{Deserialize, Serialize};

use crate::durable::remove;
use crate::machine::AttemptFiles;

/// How long the guard may take for its last word.
const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

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
    /// Changes it let go on although it could not keep what was there.
    #[serde(default)]
    pub unkept: u64,
    /// Why, of the first of these.
    #[serde(default)]
    pub first_unkept: String,
    /// What it left out, because somebody who is not root made it so that it cannot be looked at, in words.
    #[serde(default)]
    pub left_out: String,
    /// What is missing in the picture of the whole system, in words.
    #[serde(default)]
    pub unseen_before: String,
}

impl Report {
    /// Whether something is not in the undo material that belongs there.
    #[must_use]
    pub const fn is_trouble(&self) -> bool {
        self.unkept + self.refused > 0 || !self.left_out.is_empty() || !self.unseen_before.is_empty()
    }

    /// Both as one: what the guards of one change saw.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        Self {
            told: self.told + later.told,
            refused: self.refused + later.refused,
            unseen: self.unseen + later.unseen,
            links: self.links + later.links,
            copies: self.copies + later.copies,
            bytes_copied: self.bytes_copied + later.bytes_copied,
            created: self.created + later.created,
            unkept: self.unkept + later.unkept,
            first_unkept: if self.unkept > 0 { self.first_unkept } else { later.first_unkept },
            left_out: if self.left_out.is_empty() { later.left_out } else { self.left_out },
            unseen_before: if self.unseen_before.is_empty() { later.unseen_before } else { self.unseen_before },
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { told, refused, unseen, links, copies, bytes_copied, created, unkept, first_unkept, left_out, unseen_before } = self;
        write!(f, "guard: {told} changes seen, {links} files linked and {copies} copied ({bytes_copied} bytes), {created} new names")?;
        if refused + unseen > 0 {
            write!(f, "; {refused} refused, {unseen} not understood")?;
        }
        if *unkept > 0 {
            write!(f, "; {unkept} not kept, the first: {first_unkept}")?;
        }
        for missing in [left_out, unseen_before].into_iter().filter(|text| !text.is_empty()) {
            write!(f, "; {missing}")?;
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
        for old in [place.files.refused(), place.files.unguarded()] {
            remove(&old)?;
        }
        make_watch_over(&place.files)?;
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
        say_over(&self.files).map_err(|error| failure(format!("cannot be told that it is over: {error}")))?;
        let line = self.last_word().map_err(|error| failure(format!("did not report: {error}")))?;
        serde_json::from_str(&line).map_err(|error| failure(format!("reported {line:?}: {error}")))
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

/// Whether a guard listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hears {
    Yes,
    /// It has ended, or its watch is over: the pipe is gone with the watch.
    No,
}

fn say_over(files: &AttemptFiles) -> io::Result<Hears> {
    match OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(files.watch_over()) {
        Ok(mut fifo) => fifo.write_all(b".").map(|()| Hears::Yes),
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ENXIO) => Ok(Hears::No),
        Err(error) => Err(error),
    }
}

/// Ends the watch of a guard that outlived its worker, and waits until it keeps nothing any more. That takes long only
/// when nothing was changed yet: the guard then still takes its picture of the whole system.
pub fn end_orphan(files: &AttemptFiles, patience: Duration, tick: &mut dyn FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    let failure = |text: String| Failure::new(ErrorCode::WorkerFailed, format!("the guard that the lost worker left {text}"));
    let begun = Instant::now();
    while say_over(files).map_err(|error| failure(format!("cannot be told that it is over: {error}")))? == Hears::Yes {
        if begun.elapsed() >= patience {
            return Err(failure("does not end its watch".to_owned()));
        }
        tick()?;
        std::thread::sleep(BETWEEN_LOOKS);
    }
    Ok(())
}

/// Makes the named pipe through which the watch is ended, anew.
pub(crate) fn make_watch_over(files: &AttemptFiles) -> io::Result<()> {
    remove(&files.watch_over())?;
    mkfifo(&files.watch_over(), Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from)
}

/// Opens the named pipe through which the watch is ended; without waiting for the other end.
fn open_watch_over(files: &AttemptFiles) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(files.watch_over())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_guard_of_a_lost_worker_is_told_and_waited_for() {
        let end = |files: &AttemptFiles| end_orphan(files, Duration::ZERO, &mut || Ok(()));
        let folder = tempfile::tempdir().expect("folder");
        let files = AttemptFiles::in_folder(folder.path());
        assert_eq!(end(&files), Ok(()), "there never was one");
        mkfifo(&files.watch_over(), Mode::S_IRUSR | Mode::S_IWUSR).expect("fifo");
        assert_eq!(end(&files), Ok(()), "it has ended");
        let mut heard = open_watch_over(&files).expect("open");
        assert_eq!(end(&files).map_err(|failure| failure.code), Err(ErrorCode::WorkerFailed));
        let mut word = [0; 1];
        heard.read_exact(&mut word).expect("told");
        assert_eq!(word, *b".");
        // It keeps the pipe open for its whole life; the name goes with the watch.
        fs::remove_file(files.watch_over()).expect("remove");
        assert_eq!(end(&files), Ok(()), "its watch is over");
    }
}
