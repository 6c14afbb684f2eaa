//! The gate: each message's beginning is read first, then it is passed on or read away.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use backstep_core::inflow::{Entry, Inflow};
use backstep_core::{ErrorCode, Failure};
use tokio::sync::mpsc;
use tokio::time::Instant;
use zbus::Message;
use zbus::connection::socket::ReadHalf;
use zbus::export::async_trait::async_trait;

use super::frame::{Call, PRIMARY, Primary, TurnedAway};
use super::{HEADER, Reader};
use crate::lock::lock;

/// Bytes that are read away at a time: about what the kernel keeps for a socket, so that a long message costs few calls.
const PIECE: usize = 256 << 10;

/// Who is let in, and who hears of those who are not.
#[derive(Debug)]
pub(super) struct Entrance {
    /// Bytes of arguments at most.
    pub(super) longest: usize,
    pub(super) inflow: Arc<Mutex<Inflow>>,
    pub(super) tell: mpsc::Sender<TurnedAway>,
    pub(super) ask: mpsc::UnboundedSender<String>,
    pub(super) began: Instant,
}

impl Entrance {
    /// Lets a call in, or says why not.
    fn enter(&self, call: &Call, bytes: usize, total: usize) -> Result<(), Failure> {
        if bytes > self.longest {
            return Err(Failure::new(ErrorCode::RequestTooLarge, format!("arguments of {bytes} bytes, {} at most", self.longest)));
        }
        let now_us = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        if lock(&self.inflow).enter(&call.sender, total, now_us)? == Entry::Ask {
            // Nobody asks any more when the daemon ends.
            drop(self.ask.send(call.sender.clone()));
        }
        Ok(())
    }

    /// Who is known and wants an answer waits for its turn, with everybody after it. The others are told of while there is room:
    /// to say whose they are needs a message that comes after this one.
    async fn turn_away(&self, call: Call, failure: Failure) {
        let is_known = lock(&self.inflow).knows(&call.sender);
        let Some(told) = call.turned_away(failure) else { return };
        if is_known && told.wants_reply {
            drop(self.tell.send(told).await);
        } else if is_known || told.wants_reply {
            drop(self.tell.try_send(told));
        }
    }
}

/// Reads messages that are let in.
#[derive(Debug)]
pub(super) struct Gate(Frames);

impl Gate {
    pub(super) const fn new(reader: Reader, entrance: Entrance) -> Self {
        let source = Source { reader, early: Vec::new(), descriptors: Vec::new() };
        Self(Frames { source, entrance, ahead: Vec::new(), left: 0 })
    }
}

#[async_trait]
impl ReadHalf for Gate {
    async fn receive_message(&mut self, number: u64, early: &mut Vec<u8>, descriptors: &mut Vec<OwnedFd>) -> zbus::Result<Message> {
        // What came with the handshake belongs to the first messages.
        self.0.source.early.append(early);
        self.0.source.descriptors.append(descriptors);
        self.0.receive_message(number, early, descriptors).await
    }

    /// The handshake, which is no message yet.
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.0.source.reader.recvmsg(buffer).await
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

/// The stream without what is not let in. The library reads messages out of it as out of any socket.
#[derive(Debug)]
struct Frames {
    source: Source,
    entrance: Entrance,
    /// What was read of the message to see how long it is.
    ahead: Vec<u8>,
    /// Bytes of the message that are still to be read.
    left: usize,
}

#[async_trait]
impl ReadHalf for Frames {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        while self.ahead.is_empty() && self.left == 0 {
            self.begin().await?;
        }
        if self.ahead.is_empty() {
            let most = self.left.min(buffer.len());
            let read = self.source.read(&mut buffer[..most]).await?;
            self.left -= read;
            return Ok((read, std::mem::take(&mut self.source.descriptors)));
        }
        let taken = self.ahead.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.ahead[..taken]);
        self.ahead.drain(..taken);
        Ok((taken, std::mem::take(&mut self.source.descriptors)))
    }
}

impl Frames {
    /// Looks at the next message. One that is not let in is gone when this ends.
    async fn begin(&mut self) -> io::Result<()> {
        let mut bytes = [0; PRIMARY];
        self.source.fill(&mut bytes).await?;
        self.ahead.extend_from_slice(&bytes);
        // What begins no message is passed on: the library ends the connection.
        let Some(primary) = Primary::of(bytes) else { return Ok(()) };
        self.left = primary.total() - PRIMARY;
        if primary.is_call() {
            return self.begin_call(&primary).await;
        }
        if primary.is_signal() && primary.body > self.entrance.longest {
            self.read_away().await?;
        }
        Ok(())
    }

    async fn begin_call(&mut self, primary: &Primary) -> io::Result<()> {
        if primary.fields > HEADER {
            return self.read_away().await;
        }
        self.ahead.resize(PRIMARY + primary.fields, 0);
        self.source.fill(&mut self.ahead[PRIMARY..]).await?;
        self.left -= primary.fields;
        // A call without a sender is the bus's own matter.
        let Some(call) = primary.call(&self.ahead) else { return Ok(()) };
        let Err(failure) = self.entrance.enter(&call, primary.body, primary.total()) else { return Ok(()) };
        self.read_away().await?;
        self.entrance.turn_away(call, failure).await;
        Ok(())
    }

    async fn read_away(&mut self) -> io::Result<()> {
        self.ahead.clear();
        let mut piece = vec![0; self.left.min(PIECE)];
        while self.left > 0 {
            let most = self.left.min(piece.len());
            self.left -= self.source.read(&mut piece[..most]).await?;
            self.source.descriptors.clear();
        }
        self.source.descriptors.clear();
        Ok(())
    }
}

/// Bytes of the bus, those first that came with the handshake.
#[derive(Debug)]
struct Source {
    reader: Reader,
    early: Vec<u8>,
    /// Descriptors that came with what was read and are not passed on yet.
    descriptors: Vec<OwnedFd>,
}

impl Source {
    /// At least one byte.
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.early.is_empty() {
            let taken = self.early.len().min(buffer.len());
            buffer[..taken].copy_from_slice(&self.early[..taken]);
            self.early.drain(..taken);
            return Ok(taken);
        }
        let (read, descriptors) = self.reader.recvmsg(buffer).await?;
        self.descriptors.extend(descriptors);
        if read == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(read)
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut at = 0;
        while at < buffer.len() {
            at += self.read(&mut buffer[at..]).await?;
        }
        Ok(())
    }
}
