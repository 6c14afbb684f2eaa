//! The socket to the bus, with bounds below the bus library.
//!
//! The bus lets messages of 32 MiB through, as many as somebody sends. The library keeps each as a whole, and serves it in a
//! task of its own, before anything of ours sees it. So the beginning of a message is looked at first: a call that is too long,
//! or one too many of its sender ([`Inflow`]), is read away in small pieces and kept nowhere. What its header says is told, so
//! that the caller gets an answer ([`crate::door`]). Replies have no bound: the bus lets through only those that were asked for.
//!
//! Invariant: a message is passed on whole or not at all. Absent on purpose: what is in a message; the library reads it.

mod frame;
mod gate;

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use backstep_core::inflow::Inflow;
use backstep_core::limits::Limits;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use zbus::Address;
use zbus::address::transport::{Transport, UnixSocket};
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::export::async_trait::async_trait;

pub use frame::TurnedAway;
use gate::{Entrance, Gate};

/// Descriptors that the kernel lets one message carry.
const DESCRIPTORS: usize = 253;
/// The longest header that is looked at.
const HEADER: usize = 16 << 10;
/// Calls that were turned away and wait for their answer: as many as come before it is known who floods.
const TOLD: usize = 4096;

/// A connection to the bus, and what is not taken off it.
pub struct Connected {
    /// The connection.
    pub connection: zbus::Connection,
    /// Who sends how much. Whoever learns whose a sender is says it here.
    pub inflow: Arc<Mutex<Inflow>>,
    /// Calls that were turned away. They have to be taken, or nothing more is read.
    pub told: mpsc::Receiver<TurnedAway>,
    /// Senders of whom it has to be asked whose they are.
    pub strangers: mpsc::UnboundedReceiver<String>,
}

/// Connects to the bus of this name or address.
pub async fn connect(bus: &str, limits: &Limits) -> zbus::Result<Connected> {
    let address: Address = match bus {
        "system" => Address::system()?,
        "session" => Address::session()?,
        address => address.try_into()?,
    };
    let (tell, told) = mpsc::channel(TOLD);
    let (ask, strangers) = mpsc::unbounded_channel();
    let inflow = Arc::new(Mutex::new(Inflow::new(limits)));
    let entrance = Entrance { longest: limits.request_bytes as usize, inflow: Arc::clone(&inflow), tell, ask, began: Instant::now() };
    let builder = match file(&address) {
        Some(path) => zbus::connection::Builder::socket(Bounded { stream: Arc::new(UnixStream::connect(path).await?), entrance }),
        // Buses of other systems and of tests; Debian's is a file.
        None => zbus::connection::Builder::address(address),
    };
    Ok(Connected { connection: builder.build().await?, inflow, told, strangers })
}

fn file(address: &Address) -> Option<PathBuf> {
    match address.transport() {
        Transport::Unix(unix) => match unix.path() {
            UnixSocket::File(path) => Some(path.clone()),
            _ => None,
        },
        _ => None,
    }
}

struct Bounded {
    stream: Arc<UnixStream>,
    entrance: Entrance,
}

impl Socket for Bounded {
    type ReadHalf = Gate;
    type WriteHalf = Writer;

    fn split(self) -> Split<Gate, Writer> {
        let reader = Reader(Arc::clone(&self.stream));
        Split::new(Gate::new(reader, self.entrance), Writer(self.stream))
    }
}

/// Bytes of the bus as they come.
#[derive(Debug)]
struct Reader(Arc<UnixStream>);

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.0.async_io(Interest::READABLE, || receive(&self.0, buffer)).await
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

fn receive(socket: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let read = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut with, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for part in with.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    Ok((read.bytes, descriptors))
}

#[derive(Debug)]
struct Writer(Arc<UnixStream>);

#[async_trait]
impl WriteHalf for Writer {
    async fn sendmsg(&mut self, buffer: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.async_io(Interest::WRITABLE, || send(&self.0, buffer, descriptors)).await
    }

    async fn close(&mut self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&*self.0, Shutdown::Both)?)
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

fn send(socket: &UnixStream, buffer: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !with.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(rustix::net::sendmsg(socket, &[IoSlice::new(buffer)], &mut with, SendFlags::NOSIGNAL)?)
}
