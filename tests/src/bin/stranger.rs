//! Connects to a socket as another user and hands the connection over: `backstep-stranger SOCKET UID [namespaces]`.
//!
//! The bus asks the kernel who connected, so only a process of that user can do it. It lives until its standard input,
//! over which the connection goes out, is closed: the bus and the daemon find a living caller.

use std::io::{IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, uid, rest @ ..] = arguments.as_slice() else { anyhow::bail!("usage: backstep-stranger SOCKET UID [namespaces]") };
    become_user(uid.parse()?)?;
    if rest.iter().any(|word| word == "namespaces") {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).context("cannot leave the namespaces")?;
    }
    let connection = UnixStream::connect(socket).with_context(|| format!("cannot connect to {socket}"))?;
    let mut input = std::io::stdin();
    let rights = [connection.as_raw_fd()];
    let byte = [IoSlice::new(b"c")];
    sendmsg::<()>(input.as_fd().as_raw_fd(), &byte, &[ControlMessage::ScmRights(&rights)], MsgFlags::empty(), None)?;
    drop(connection);
    input.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn become_user(uid: u32) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
    if uid.is_root() {
        return Ok(());
    }
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid).context("cannot become another user")
}
