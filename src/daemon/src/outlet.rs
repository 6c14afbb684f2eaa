//! Where large answers go: a pipe of the caller's.
//!
//! Only pipes are taken. Writing to another kind of file with our rights could do what its opener may not, and a pipe
//! has no such effect. A reader that stops reading is waited for with a bound, so that it costs a thread for a while
//! and no more.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use backstep_core::{ErrorCode, Failure};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

/// Longest wait for a reader.
const PATIENCE_MS: u16 = 60_000;
/// What a pipe that can be written to takes without waiting (`PIPE_BUF`).
const ATOMIC: usize = 4096;

/// What a caller is told whose descriptor is not what is needed.
pub(crate) struct Words {
    pub(crate) unusable: &'static str,
    pub(crate) of_another_kind: &'static str,
    pub(crate) opened_otherwise: &'static str,
}

/// Takes a descriptor of this kind that was not opened in the one way that is of no use.
pub(crate) fn opened(fd: OwnedFd, kind: SFlag, useless: OFlag, words: &Words) -> Result<File, Failure> {
    let malformed = |text: &str| Failure::new(ErrorCode::RequestMalformed, text);
    let status = fstat(&fd).map_err(|_| malformed(words.unusable))?;
    if SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT != kind {
        return Err(malformed(words.of_another_kind));
    }
    let flags = fcntl(&fd, FcntlArg::F_GETFL).map_err(|_| malformed(words.unusable))?;
    if OFlag::from_bits_truncate(flags) & OFlag::O_ACCMODE == useless {
        return Err(malformed(words.opened_otherwise));
    }
    Ok(File::from(fd))
}

/// The write end of a pipe.
#[derive(Debug)]
pub struct Outlet(File);

impl Outlet {
    /// Takes a descriptor, if it is the write end of a pipe.
    pub fn new(fd: OwnedFd) -> Result<Self, Failure> {
        let file = opened(
            fd,
            SFlag::S_IFIFO,
            OFlag::O_RDONLY,
            &Words {
                unusable: "the descriptor cannot be used",
                of_another_kind: "the descriptor is no pipe",
                opened_otherwise: "the descriptor is the pipe's end for reading",
            },
        )?;
        Ok(Self(file))
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut waits = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut waits, PollTimeout::from(PATIENCE_MS))? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads the pipe"));
        }
        self.0.write(&bytes[..bytes.len().min(ATOMIC)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that went away is who asked: it hears no answer, and this ends the work.
#[must_use]
pub fn gone(error: &io::Error) -> Failure {
    Failure::new(ErrorCode::Cancelled, format!("the reader of the pipe is gone: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn only_the_write_end_of_a_pipe_is_taken() {
        let (reader, writer) = io::pipe().expect("pipe");
        assert!(Outlet::new(OwnedFd::from(reader.try_clone().expect("clone"))).is_err());
        assert!(Outlet::new(OwnedFd::from(tempfile::tempfile().expect("file"))).is_err());
        let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("pair");
        assert!(Outlet::new(OwnedFd::from(socket)).is_err());
        let mut outlet = Outlet::new(OwnedFd::from(writer)).expect("taken");
        let sent = std::thread::spawn(move || outlet.write_all(&[7; 300_000]));
        let mut received = Vec::new();
        { reader }.read_to_end(&mut received).expect("read");
        sent.join().expect("thread").expect("write");
        assert_eq!(received, [7; 300_000]);
    }

    #[test]
    fn a_reader_that_went_away_is_an_error() {
        let (reader, writer) = io::pipe().expect("pipe");
        let mut outlet = Outlet::new(OwnedFd::from(writer)).expect("taken");
        drop(reader);
        assert!(outlet.write_all(b"x").is_err());
    }
}
