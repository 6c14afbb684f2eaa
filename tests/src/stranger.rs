//! Another user's connection to a private bus.
//!
//! Purpose: what the daemon does for somebody who is not root, without a machine. Needs root, as all tests on a private
//! bus do. Absent on purpose: polkit; see [`crate::authority`].

use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

use anyhow::{Context, Result};
use backstep_bus::{ManagerProxy, TransactionProxy};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use zbus::OwnedObjectPath;

use crate::private_bus::PrivateBus;
use crate::programs::program;

/// A user who is not root and has no session: `bin` on every Debian. The bus lets in nobody whom the machine does not know.
pub const ANA: u32 = 2;
/// Another one: `nobody`.
pub const BEN: u32 = 65_534;

/// A connection of another user, and the process that made it.
pub struct Stranger {
    /// The connection.
    pub connection: zbus::Connection,
    /// The manager.
    pub manager: ManagerProxy<'static>,
    child: Child,
    /// The child ends when this is closed.
    _leash: UnixStream,
}

impl Stranger {
    /// Connects as this user.
    pub async fn connect(bus: &PrivateBus, uid: u32) -> Result<Self> {
        Self::connect_with(bus, uid, &[]).await
    }

    /// Connects as this user out of a user namespace and a mount namespace of its own, where it could be root.
    pub async fn connect_from_namespaces(bus: &PrivateBus, uid: u32) -> Result<Self> {
        Self::connect_with(bus, uid, &["namespaces"]).await
    }

    async fn connect_with(bus: &PrivateBus, uid: u32, more: &[&str]) -> Result<Self> {
        let (socket, child, ours) = dial(bus, uid, more)?;
        let connection = zbus::connection::Builder::unix_stream(socket).user_id(uid).build().await?;
        let manager = ManagerProxy::without_cache(&connection).await?;
        Ok(Self { connection, manager, child, _leash: ours })
    }

    /// A transaction's object.
    pub async fn transaction(&self, path: &OwnedObjectPath) -> Result<TransactionProxy<'static>> {
        Ok(TransactionProxy::at(&self.connection, path).await?)
    }
}

/// Another user's bare connection, on which the test itself says every byte, and reads none if it likes.
pub struct Silent {
    /// The connection, past the handshake and `Hello`.
    pub socket: UnixStream,
    child: Child,
    _leash: UnixStream,
}

impl Silent {
    /// Connects, and says hello.
    pub fn connect(bus: &PrivateBus, uid: u32) -> Result<Self> {
        let (mut socket, child, leash) = dial(bus, uid, &[])?;
        let name: String = uid.to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        socket.write_all(format!("\0AUTH EXTERNAL {name}\r\n").as_bytes())?;
        let mut line = [0; 256];
        let read = socket.read(&mut line)?;
        anyhow::ensure!(line[..read].starts_with(b"OK "), "the bus refused: {}", String::from_utf8_lossy(&line[..read]));
        socket.write_all(b"BEGIN\r\n")?;
        let hello = zbus::Message::method_call("/org/freedesktop/DBus", "Hello");
        let hello = hello.destination("org.freedesktop.DBus").interface("org.freedesktop.DBus").build(&())?;
        socket.write_all(hello.data())?;
        anyhow::ensure!(socket.read(&mut line)? > 0, "the bus hung up");
        socket.set_nonblocking(true)?;
        Ok(Self { socket, child, _leash: leash })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A process of that user, and the connection that it made.
fn dial(bus: &PrivateBus, uid: u32, more: &[&str]) -> Result<(UnixStream, Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(program("backstep-stranger")?);
    command.arg(bus.folder().join("socket")).arg(uid.to_string()).args(more).stdin(OwnedFd::from(theirs));
    let child = command.spawn().context("cannot start backstep-stranger")?;
    drop(command);
    Ok((receive(&ours)?, child, ours))
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn receive(socket: &UnixStream) -> Result<UnixStream> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut with, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = with.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(descriptor.context("the stranger could not connect")?.into())
}
