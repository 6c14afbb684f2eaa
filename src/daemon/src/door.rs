//! The door: every method call passes it. Says who calls and whether there is room, and records who was turned away.
//!
//! Invariant: before a call is let in nothing was done with its arguments but decoding them.

use std::sync::Arc;
use std::time::Duration;

use backstep_bus::BusError;
use backstep_core::doors::Method;
use backstep_core::refusal::{Refusal, is_refusal};
use backstep_core::{ErrorCode, Failure, TransactionId};
use backstep_engine::manager::Noted;
use tokio::sync::{Semaphore, mpsc};
use zbus::message::Header;

use crate::callers::Caller;
use crate::log;
use crate::service::Service;
use crate::socket::TurnedAway;

/// Calls of senders of whom it is not known whose they are, that are turned away and answered at a time.
const STRANGERS: usize = 64;

/// One call that was let in.
pub struct Visit {
    service: Arc<Service>,
    caller: Caller,
    method: Method,
    about: Option<TransactionId>,
}

impl Visit {
    /// Lets a call in, or turns it away.
    pub async fn begin(service: &Arc<Service>, header: &Header<'_>, method: Method) -> Result<Self, BusError> {
        // Whom the bus does not know has no name to record.
        let caller = service.callers.of(header).await?;
        if let Err(failure) = service.let_in(caller.uid) {
            turned_away(service, &caller, method, None, &failure);
            return Err(failure.into());
        }
        let visit = Self { service: Arc::clone(service), caller, method, about: None };
        match fits(service, header) {
            Ok(()) => Ok(visit),
            Err(failure) => visit.end(Err(failure)),
        }
    }

    /// The same for a call to a transaction's object.
    pub async fn at(service: &Arc<Service>, header: &Header<'_>, method: Method, id: TransactionId) -> Result<Self, BusError> {
        let mut visit = Self::begin(service, header, method).await?;
        visit.about = Some(id);
        Ok(visit)
    }

    /// Who calls.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Says which transaction it is about from now on.
    pub fn is_about(&mut self, id: TransactionId) {
        self.about = Some(id);
    }

    /// The call's answer. One that turns the caller away is recorded.
    pub fn end<T>(self, result: Result<T, Failure>) -> Result<T, BusError> {
        if let Err(failure) = &result
            && is_refusal(failure.code)
        {
            turned_away(&self.service, &self.caller, self.method, self.about, failure);
        }
        Ok(result?)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.service.let_out(self.caller.uid);
    }
}

/// Bounds on a message as a whole: what is inside is looked at by whoever takes it.
fn fits(service: &Service, header: &Header<'_>) -> Result<(), Failure> {
    let too_large = |text: String| Err(Failure::new(ErrorCode::RequestTooLarge, text));
    let (bytes, limit) = (header.primary().body_len(), service.limits.request_bytes);
    if bytes > limit {
        return too_large(format!("arguments of {bytes} bytes, {limit} at most"));
    }
    let (descriptors, limit) = (header.unix_fds().unwrap_or(0), service.limits.archives);
    if descriptors > limit {
        return too_large(format!("{descriptors} descriptors in one call, {limit} at most"));
    }
    Ok(())
}

/// Answers calls that were not taken off the bus at all, as if they had come to the door.
///
/// The reader of the bus waits for this, so this waits for nothing that comes by the bus: what does has a task of its own.
pub async fn answer_turned_away(service: Arc<Service>, mut told: mpsc::Receiver<TurnedAway>) {
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    while let Some(away) = told.recv().await {
        let sender = away.call.header().sender().map(ToString::to_string).unwrap_or_default();
        if service.callers.knows(&sender) {
            answer(&service, away).await;
        } else if let Ok(turn) = Arc::clone(&strangers).try_acquire_owned() {
            let service = Arc::clone(&service);
            tokio::spawn(async move {
                answer(&service, away).await;
                drop(turn);
            });
        } else {
            // Nobody is left to ask whose it is, but whoever waits hears why.
            reply(&service, &away, away.failure.clone()).await;
        }
    }
}

async fn answer(service: &Arc<Service>, away: TurnedAway) {
    let header = away.call.header();
    let error = match service.callers.of(&header).await {
        Ok(caller) => {
            // What is no method of ours is not recorded when it is let in, either.
            if let Some(method) = header.member().and_then(|member| member.as_str().parse().ok()) {
                turned_away(service, &caller, method, None, &away.failure);
            }
            away.failure.clone()
        }
        Err(unknown) => unknown,
    };
    reply(service, &away, error).await;
}

async fn reply(service: &Service, away: &TurnedAway, error: Failure) {
    if away.wants_reply
        && let Err(error) = service.connection.reply_dbus_error(&away.call.header(), BusError::from(error)).await
    {
        tracing::debug!("cannot answer a call that was not taken: {error}");
    }
}

/// Learns whose senders are that called nothing for which that is asked anyway.
pub async fn learn_strangers(service: Arc<Service>, mut strangers: mpsc::UnboundedReceiver<String>) {
    while let Some(sender) = strangers.recv().await {
        let service = Arc::clone(&service);
        tokio::spawn(async move { service.callers.learn(&sender).await });
    }
}

fn turned_away(service: &Arc<Service>, caller: &Caller, method: Method, about: Option<TransactionId>, failure: &Failure) {
    let (actor, program) = service.callers.named(caller);
    let refusal = Refusal::new(method, actor, &program, about, failure);
    match service.decide(|manager| manager.refuse(refusal.clone())) {
        Ok(Noted::Written) => log::refused(&refusal),
        Ok(Noted::Counted) => settle_later(service),
        // The caller is turned away all the same.
        Err(error) => tracing::error!("cannot record that a call was turned away: {error}"),
    }
}

/// Writes down what is held back when its time has come. One task does it for all.
fn settle_later(service: &Arc<Service>) {
    let Some(turn) = service.begin_settling() else { return };
    let service = Arc::clone(service);
    tokio::spawn(async move {
        while let Some(us) = service.read(backstep_engine::Manager::refusals_due_in_us) {
            tokio::time::sleep(Duration::from_micros(us)).await;
            settle(&service, false);
        }
        drop(turn);
    });
}

/// Writes down what is held back; with `all`, because the daemon ends, everything.
pub fn settle(service: &Service, all: bool) {
    if let Err(error) = service.decide(|manager| manager.settle_refusals(all)) {
        tracing::error!("cannot record how many calls were turned away: {error}");
    }
}
