//! Following a worker: its journal as it grows, and whether it still lives.
//!
//! While a worker runs the daemon wakes for each change of the journal and once a second; otherwise never.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use backstep_core::{AttemptId, Failure};
use futures_core::Stream;
use inotify::{EventStream, Inotify, WatchMask};

use crate::service::Service;

const PROBE: Duration = Duration::from_secs(1);

/// How often following is tried again before the daemon gives up and lets systemd start it anew.
const TRIES: u32 = 6;

/// Follows an attempt until it has ended and its end is on record.
pub async fn follow(service: Arc<Service>, attempt: AttemptId) {
    let mut reader = Reader { service, attempt, offset: 0, told: false };
    let mut pause = PROBE;
    for _ in 0..TRIES {
        let Err(failure) = reader.run().await else { return };
        tracing::error!(TRANSACTION = %attempt.transaction, "cannot follow {attempt}: {failure}; trying again in {} s", pause.as_secs());
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    // The record cannot be written. The worker goes on; a new daemon reads its journal from the disk.
    tracing::error!(TRANSACTION = %attempt.transaction, "cannot follow {attempt}: giving up");
    std::process::exit(70);
}

struct Reader {
    service: Arc<Service>,
    attempt: AttemptId,
    offset: u64,
    /// Whether the log says already that the worker is gone before what it started.
    told: bool,
}

impl Reader {
    async fn run(&mut self) -> Result<(), Failure> {
        let mut watch = watch(&self.service, self.attempt);
        loop {
            if self.take()? {
                return Ok(());
            }
            let woken = tokio::time::timeout(PROBE, changed(watch.as_mut())).await;
            if woken.is_err() && !self.is_alive().await? {
                self.service.attempts.revoke(self.attempt)?;
                if self.service.attempts.is_locked(self.attempt)? {
                    continue;
                }
                // The last lines may have come between reading and probing.
                if !self.take()? {
                    self.service.decide(|manager| manager.worker_gone(self.attempt))?;
                }
                return Ok(());
            }
        }
    }

    /// Reads what is new; answers whether the attempt has ended.
    fn take(&mut self) -> Result<bool, Failure> {
        let (lines, offset) = self.service.attempts.read_journal(self.attempt, self.offset)?;
        let ended = if lines.is_empty() { false } else { self.service.decide(|manager| manager.follow(self.attempt, &lines))? };
        self.offset = offset;
        Ok(ended)
    }

    async fn is_alive(&mut self) -> Result<bool, Failure> {
        if self.service.attempts.is_locked(self.attempt)? {
            return Ok(true);
        }
        let alive = self.service.launcher.is_alive(self.attempt).await;
        if alive && self.offset > 0 && !std::mem::replace(&mut self.told, true) {
            let attempt = self.attempt;
            tracing::warn!(TRANSACTION = %attempt.transaction, "the worker of {attempt} is gone; waiting for what it left running");
        }
        Ok(alive)
    }
}

/// A watch on the attempt's folder.
type Watch = EventStream<[u8; 4096]>;

/// Without a watch the probe alone keeps us informed.
fn watch(service: &Service, attempt: AttemptId) -> Option<Watch> {
    let make = || {
        let inotify = Inotify::init()?;
        inotify.watches().add(service.attempts.folder(attempt), WatchMask::MODIFY | WatchMask::CREATE)?;
        inotify.into_event_stream([0; 4096])
    };
    make().inspect_err(|error: &std::io::Error| tracing::warn!("cannot watch the folder of {attempt}: {error}")).ok()
}

/// Events are hints: whatever they say, the journal is read.
async fn changed(watch: Option<&mut Watch>) {
    let Some(watch) = watch else { return std::future::pending().await };
    if poll_fn(|context| Pin::new(&mut *watch).poll_next(context)).await.is_none() {
        std::future::pending().await
    }
}
