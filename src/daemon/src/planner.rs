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
/// Descriptors that the kernel takes at a time.
const IN_A_PACKET: usize = 253;

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
    let sent = send_with(&socket, &bytes, archives)?;
    socket.write_all(&bytes[sent..])?;
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

/// Sends the length of the question, and as much of it as it takes to send all descriptors, in order; answers how much that
/// was. A byte is enough for each packet.
fn send_with(socket: &UnixStream, question: &[u8], archives: &[File]) -> io::Result<usize> {
    let length = (question.len() as u64).to_le_bytes();
    let mut packets = archives.chunks(IN_A_PACKET);
    send(socket, &length, packets.next().unwrap_or_default())?;
    let mut sent = 0;
    for packet in packets {
        let byte = question.get(sent..=sent).ok_or_else(|| io::Error::other("more archives than the question says"))?;
        send(socket, byte, packet)?;
        sent += 1;
    }
    Ok(sent)
}

fn send(socket: &UnixStream, bytes: &[u8], archives: &[File]) -> io::Result<()> {
    let descriptors: Vec<RawFd> = archives.iter().map(|file| file.as_fd().as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let control: &[ControlMessage<'_>] = if descriptors.is_empty() { &[] } else { &rights };
    let sent = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::empty(), None)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSliceMut;

    /// The kernel takes 253 descriptors at a time; a large upgrade has more archives.
    #[test]
    fn any_number_of_archives_goes_with_a_question() {
        let (ours, theirs) = UnixStream::pair().expect("pair");
        let folder = tempfile::tempdir().expect("folder");
        let write = |number: usize| {
            std::fs::write(folder.path().join("a"), number.to_string()).expect("write");
            let file = File::open(folder.path().join("a")).expect("open");
            std::fs::remove_file(folder.path().join("a")).expect("remove");
            file
        };
        let archives: Vec<File> = (0..600).map(write).collect();
        let sent = send_with(&ours, b"question", &archives).expect("send");
        (&ours).write_all(&b"question"[sent..]).expect("write");
        drop(ours);
        let (mut bytes, mut texts) = (Vec::new(), Vec::new());
        loop {
            let (count, files) = receive(&theirs);
            if count.is_empty() {
                break;
            }
            bytes.extend(count);
            texts.extend(files.into_iter().map(|file| io::read_to_string(file).expect("read")));
        }
        assert_eq!(bytes[8..], *b"question");
        assert_eq!(texts, (0..600).map(|number| number.to_string()).collect::<Vec<_>>());
    }

    fn receive(socket: &UnixStream) -> (Vec<u8>, Vec<File>) {
        use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
        let mut bytes = vec![0; 1 << 10];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(IN_A_PACKET))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::empty()).expect("receive");
        let mut files = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                files.extend(rights.map(File::from));
            }
        }
        bytes.truncate(received.bytes);
        (bytes, files)
    }
}
