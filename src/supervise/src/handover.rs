//! How the listener gets from the process that is to be guarded to the guard, over a socket.

use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::error::SuperviseError;

/// The one byte that either side says.
const BYTE: [u8; 1] = *b"!";

pub(crate) fn send(socket: &UnixStream, listener: RawFd) -> Result<(), SuperviseError> {
    let fds = [listener];
    let bytes = [IoSlice::new(&BYTE)];
    let sent = sendmsg::<()>(socket.as_raw_fd(), &bytes, &[ControlMessage::ScmRights(&fds)], MsgFlags::MSG_NOSIGNAL, None);
    sent.map(drop).map_err(|errno| SuperviseError::Handover(errno.into()))
}

pub(crate) fn receive(socket: &UnixStream) -> Result<OwnedFd, SuperviseError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(|errno| SuperviseError::Handover(errno.into()))?;
    let listener = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    listener.ok_or_else(|| SuperviseError::Handover(std::io::ErrorKind::UnexpectedEof.into()))
}

pub(crate) fn say_ready(mut socket: &UnixStream) -> Result<(), SuperviseError> {
    socket.write_all(&BYTE).map_err(SuperviseError::Handover)
}

pub(crate) fn wait_ready(mut socket: &UnixStream) -> Result<(), SuperviseError> {
    socket.read_exact(&mut [0]).map_err(SuperviseError::Handover)
}
