//! The planner's socket: one framed message in, one out, descriptors beside the first.
//!
//! A message is its length (8 bytes, little-endian) and that many bytes. Descriptors may come with any part of
//! the message; their order is the order of sending.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

/// Bytes that no honest message exceeds.
const MAX_MESSAGE: u64 = 64 << 20;
/// The kernel's limit of descriptors in one packet.
const MAX_DESCRIPTORS: usize = 253;
const CHUNK: usize = 64 << 10;

/// Why no message could be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The socket failed.
    #[error("cannot use the socket: {0}")]
    Socket(#[from] Errno),
    /// The other side closed too early.
    #[error("the message ends after {got} of {expected} bytes")]
    Short {
        /// Bytes that came.
        got: usize,
        /// Bytes announced, the length itself included.
        expected: u64,
    },
    /// More than any message needs.
    #[error("a message of {0} bytes is too long")]
    TooLong(u64),
    /// The kernel dropped descriptors.
    #[error("descriptors were lost on the way")]
    Truncated,
}

/// Receives one message with its descriptors.
pub fn receive(socket: BorrowedFd<'_>) -> Result<(Vec<u8>, Vec<OwnedFd>), ChannelError> {
    let mut bytes = Vec::new();
    let mut descriptors = Vec::new();
    let mut expected = 8;
    while (bytes.len() as u64) < expected {
        if receive_part(socket, &mut bytes, &mut descriptors)? == 0 {
            return Err(ChannelError::Short { got: bytes.len(), expected });
        }
        expected = announced(&bytes)?;
    }
    let mut message = bytes.split_off(8);
    message.truncate(usize::try_from(expected - 8).map_err(|_| ChannelError::TooLong(expected))?);
    Ok((message, descriptors))
}

/// The whole length, as far as it is known.
fn announced(bytes: &[u8]) -> Result<u64, ChannelError> {
    let Some(head) = bytes.first_chunk::<8>() else { return Ok(8) };
    let length = u64::from_le_bytes(*head);
    if length > MAX_MESSAGE { Err(ChannelError::TooLong(length)) } else { Ok(length + 8) }
}

fn receive_part(socket: BorrowedFd<'_>, bytes: &mut Vec<u8>, descriptors: &mut Vec<OwnedFd>) -> Result<usize, ChannelError> {
    let mut chunk = vec![0; CHUNK];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut chunk)];
    let received = rustix::io::retry_on_intr(|| recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC))?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(ChannelError::Truncated);
    }
    bytes.extend_from_slice(&chunk[..received.bytes]);
    Ok(received.bytes)
}

/// Sends one message.
pub fn send(socket: BorrowedFd<'_>, message: &[u8]) -> Result<(), ChannelError> {
    let mut framed = (message.len() as u64).to_le_bytes().to_vec();
    framed.extend_from_slice(message);
    let mut rest = framed.as_slice();
    while !rest.is_empty() {
        let sent = rustix::io::retry_on_intr(|| rustix::net::send(socket, rest, rustix::net::SendFlags::NOSIGNAL))?;
        rest = &rest[sent..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{IoSlice, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn messages_pass_in_pieces_and_long() {
        let (left, right) = UnixStream::pair().expect("pair");
        let message: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = message.clone();
        let sender = std::thread::spawn(move || send(left.as_fd(), &message));
        assert_eq!(receive(right.as_fd()).expect("receives").0, expected);
        sender.join().expect("thread").expect("sends");
    }

    #[test]
    fn descriptors_come_along_in_order() {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
        let (left, right) = UnixStream::pair().expect("pair");
        let (one, two) = UnixStream::pair().expect("pair");
        let fds = [one.as_fd(), two.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(left.as_fd(), &[IoSlice::new(&2_u64.to_le_bytes())], &mut control, SendFlags::empty()).expect("sends");
        (&left).write_all(b"hi").expect("writes");
        let (message, descriptors) = receive(right.as_fd()).expect("receives");
        assert_eq!((message.as_slice(), descriptors.len()), (b"hi".as_slice(), 2));
    }

    #[test]
    fn short_and_monstrous_messages_are_refused() {
        let (left, right) = UnixStream::pair().expect("pair");
        (&left).write_all(&9_u64.to_le_bytes()).expect("writes");
        drop(left);
        assert!(matches!(receive(right.as_fd()), Err(ChannelError::Short { got: 8, expected: 17 })));
        let (left, right) = UnixStream::pair().expect("pair");
        (&left).write_all(&u64::MAX.to_le_bytes()).expect("writes");
        assert!(matches!(receive(right.as_fd()), Err(ChannelError::TooLong(_))));
    }
}
