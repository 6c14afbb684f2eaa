//! Following a transaction: a stream of what its object shows, across restarts of the daemon.
//!
//! Signals only say when to look; what is reported is always read from the properties, so that a missed or a
//! forged signal changes nothing.

use std::time::Duration;

use backstep_bus::names::BUS_NAME;
use backstep_bus::{CallError, TransactionProperties, TransactionProxy};
use backstep_core::{ErrorCode, TransactionState};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use zbus::{MatchRule, MessageStream, message};

use crate::error::ClientError;
use crate::session::Session;

/// Between two looks for a daemon that is away.
const RETRY: Duration = Duration::from_millis(250);
/// A call that takes longer counts as a daemon that is away.
const ANSWER: Duration = Duration::from_secs(25);
/// Between two readings when only the progress changed.
const CALM: Duration = Duration::from_millis(200);
/// A reading without any signal, in case one was missed.
const TICK: Duration = Duration::from_secs(2);

/// What is to be shown.
#[derive(Debug)]
pub(crate) enum Sight {
    /// The transaction as it is.
    Seen(Box<TransactionProperties>),
    /// The daemon went away; it is waited for.
    Away,
}

/// Follows one transaction.
pub(crate) struct Follower<'a> {
    session: &'a mut Session,
    id: String,
    /// The transaction; another object after the daemon came back.
    pub(crate) proxy: TransactionProxy<'static>,
    signals: MessageStream,
    owners: MessageStream,
    last: Option<Instant>,
    away: Option<Instant>,
    /// Whether another daemon may have come since the last time somebody asked.
    another: bool,
}

impl<'a> Follower<'a> {
    /// Begins to listen; the first sight comes at once.
    pub(crate) async fn new(session: &'a mut Session, id: String, proxy: TransactionProxy<'static>) -> Result<Self, ClientError> {
        let (signals, owners) = listen(session, &proxy).await?;
        Ok(Self { session, id, proxy, signals, owners, last: None, away: None, another: false })
    }

    /// The transaction's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The connection that it follows on.
    pub(crate) fn session(&self) -> &Session {
        self.session
    }

    /// Whether the daemon may be another one than before; asked again, it is the same. A daemon that starts quickly
    /// is never seen away.
    pub(crate) fn is_another_daemon(&mut self) -> bool {
        std::mem::take(&mut self.another)
    }

    /// The next sight. Fails when the daemon stays away, or refuses.
    ///
    /// May be dropped at any point and called again.
    pub(crate) async fn next(&mut self) -> Result<Sight, ClientError> {
        if let Some(since) = self.away {
            self.come_back(since).await?;
        } else if self.last.is_some() {
            self.wake().await;
        }
        match timeout(ANSWER, self.proxy.properties()).await {
            Ok(Ok(properties)) => {
                self.away = None;
                self.last = Some(Instant::now());
                Ok(Sight::Seen(Box::new(properties)))
            }
            Ok(Err(error)) if !lost(&error) => Err(error.into()),
            Ok(Err(_)) | Err(_) => {
                self.another = true;
                self.away.get_or_insert_with(Instant::now);
                Ok(Sight::Away)
            }
        }
    }

    /// Waits until there is something to read, and not too soon after the last time unless the state changed.
    async fn wake(&mut self) {
        let tick = Instant::now() + TICK;
        let calm = self.last.map_or_else(Instant::now, |last| last + CALM);
        let mut heard = false;
        loop {
            tokio::select! {
                signal = self.signals.next() => match signal {
                    Some(Ok(signal)) if is_progress(&signal) => heard = true,
                    Some(_) => return,
                    // The connection is gone; the reading will tell.
                    None => return sleep(RETRY).await,
                },
                _ = self.owners.next() => {
                    self.another = true;
                    return;
                }
                () = sleep_until(calm), if heard => return,
                () = sleep_until(tick) => return,
            }
        }
    }

    async fn come_back(&mut self, since: Instant) -> Result<(), ClientError> {
        loop {
            let patience = self.session.patience;
            if since.elapsed() > patience {
                return Err(ClientError::Lost { seconds: patience.as_secs(), id: self.id.clone() });
            }
            match timeout(ANSWER, self.look_again()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(ClientError::Call(error))) if lost(&error) => sleep(RETRY).await,
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
        }
    }

    async fn look_again(&mut self) -> Result<(), ClientError> {
        self.session.ensure_connected().await?;
        let path = self.session.manager.get_transaction(&self.id).await.map_err(|e| no_object_yet(e.into()))?;
        let (_, proxy) = self.session.at(&path).await?;
        let (signals, owners) = listen(self.session, &proxy).await?;
        (self.proxy, self.signals, self.owners) = (proxy, signals, owners);
        Ok(())
    }
}

/// A daemon that has the name but not yet its objects is one that is not back yet.
fn no_object_yet(error: CallError) -> CallError {
    match &error {
        CallError::Protocol(source) if is_unknown_member(source) => CallError::Away(source.clone()),
        CallError::Protocol(_) | CallError::Away(_) | CallError::Failure(_) => error,
    }
}

fn is_unknown_member(error: &zbus::Error) -> bool {
    use zbus::fdo::Error as E;
    matches!(error, zbus::Error::FDO(inner) if matches!(**inner, E::UnknownMethod(_) | E::UnknownInterface(_) | E::UnknownProperty(_)))
}

/// Whether looking again may help. An unknown object means that the daemon is a new one: it exports a
/// transaction when it is asked for it.
fn lost(error: &CallError) -> bool {
    match error {
        CallError::Away(_) => true,
        CallError::Failure(failure) => failure.code == ErrorCode::TransactionUnknown,
        CallError::Protocol(source) => is_unknown_member(source),
    }
}

async fn listen(session: &Session, proxy: &TransactionProxy<'static>) -> Result<(MessageStream, MessageStream), ClientError> {
    // Of whoever has the daemon's name: the bus keeps others' signals away, of which each would cost a reading.
    let signals = MatchRule::builder().msg_type(message::Type::Signal).sender(BUS_NAME).path(proxy.inner().path().to_owned()).build()?;
    let owners = MatchRule::builder()
        .msg_type(message::Type::Signal)
        .sender("org.freedesktop.DBus")
        .member("NameOwnerChanged")
        .add_arg(BUS_NAME)
        .build()?;
    let signals = MessageStream::for_match_rule(signals, &session.connection, Some(std::num::NonZeroUsize::new(256).expect("256"))).await?;
    let owners = MessageStream::for_match_rule(owners, &session.connection, None).await?;
    Ok((signals, owners))
}

fn is_progress(signal: &message::Message) -> bool {
    signal.header().member().is_some_and(|member| matches!(member.as_str(), "Progress" | "PropertiesChanged"))
}

/// Whether nothing more will happen without a person.
pub(crate) fn is_over(properties: &TransactionProperties) -> bool {
    properties.transaction_state().is_some_and(|state| state.is_final() || state == TransactionState::NeedsAttention)
}
