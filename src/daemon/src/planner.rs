//! Asking the planner: a question and archives' descriptors over a socket, an answer back.
//!
//! The planner has no privileges and its answer is only a proposal; the manager checks it.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use backstep_core::{ErrorCode, Failure};
use backstep_wire::planner::{self, Answer, Question};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::simulate::Universe;

/// How long a plan may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of an answer: a plan of a thousand packages takes about half a megabyte.
const MAX_ANSWER: u64 = 16 << 20;

/// Where the planner is.
#[derive(Debug, Clone)]
pub enum Planner {
    /// Behind a socket that systemd listens on; each connection gets a planner of its own.
    Socket(PathBuf),
    /// Started as a child for each question.
    Child(PathBuf),
    /// A pretence over a made-up set of packages.
    Simulated(Universe),
}

impl Planner {
    /// Asks, and waits for the answer; call it where waiting is allowed. Archives go beside the question, in its order.
    pub fn ask(&self, question: &Question, archives: &[File]) -> Answer {
        self.exchange(question, archives)
            .unwrap_or_else(|error| Err(Failure::new(ErrorCode::PlanFailed, format!("the planner did not answer: {error}"))))
    }

    fn exchange(&self, question: &Question, archives: &[File]) -> io::Result<Answer> {
        match self {
            Self::Simulated(universe) => Ok(universe.answer(question)),
            Self::Socket(path) => converse(UnixStream::connect(path)?, question, archives),
            Self::Child(program) => {
                let (ours, theirs) = UnixStream::pair()?;
                let mut child = start(program, theirs)?;
                let answer = converse(ours, question, archives);
                child.wait()?;
                answer
            }
        }
    }
}

#[allow(clippy::disallowed_methods)] // The one place of the daemon that starts a planner itself.
fn start(program: &Path, socket: UnixStream) -> io::Result<std::process::Child> {
    let socket = std::os::fd::OwnedFd::from(socket);
    Command::new(program).env_clear().stdin(Stdio::from(socket)).stdout(Stdio::null()).spawn()
}

fn converse(mut socket: UnixStream, question: &Question, archives: &[File]) -> io::Result<Answer> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let bytes = planner::question_to_bytes(question);
    send(&socket, &(bytes.len() as u64).to_le_bytes(), archives)?;
    socket.write_all(&bytes)?;
    let mut length = [0; 8];
    socket.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_ANSWER {
        return Err(io::Error::other(format!("an answer of {length} bytes")));
    }
    let mut answer = Vec::new();
    socket.take(length).read_to_end(&mut answer)?;
    planner::answer_from_bytes(&answer).map_err(io::Error::other)
}

/// Sends the length of the question and, with it, the descriptors.
fn send(socket: &UnixStream, bytes: &[u8; 8], archives: &[File]) -> io::Result<()> {
    let descriptors: Vec<RawFd> = archives.iter().map(|file| file.as_fd().as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let control: &[ControlMessage<'_>] = if descriptors.is_empty() { &[] } else { &rights };
    let sent = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::empty(), None)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
