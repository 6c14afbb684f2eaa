//! Emit: hints become signals, the log and the public status file.
//!
//! At most five progress messages a second for a transaction, and always the last value: a value that comes too
//! soon is kept and sent when its time has come or the state changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use backstep_bus::TransactionProperties;
use backstep_bus::names::{MANAGER_INTERFACE, MANAGER_PATH, TRANSACTION_INTERFACE, transaction_path};
use backstep_core::{ErrorCode, TransactionId, TransactionState};
use backstep_engine::Notice;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use zbus::object_server::SignalEmitter;
use zbus::{OwnedObjectPath, Variant};

use super::Registry;
use super::transaction::TransactionObject;
use crate::service::{Service, subject};
use crate::{inhibit::Inhibitor, log, status_file::StatusFile};

const PAUSE: Duration = Duration::from_millis(200);
/// Transactions whose last told properties are remembered.
const SENT: usize = 64;
/// Properties whose change is told without a value.
const PRIVATE: &[&str] = &[
    "Plan",
    "PlanDigest",
    "PlanSummary",
    "PlanWarnings",
    "Method",
    "DownloadBytes",
    "InstalledDelta",
    "Irreversible",
    "Steps",
    "Phase",
    "CurrentPackage",
    "ErrorCode",
    "ErrorText",
    "Differences",
    "WaitsFor",
    "RevertedBy",
];

/// Tells the bus what the manager has to tell, until the manager is gone.
pub async fn emit(
    service: Arc<Service>,
    registry: Arc<Registry>,
    mut notices: UnboundedReceiver<Vec<Notice>>,
    status: StatusFile,
    inhibitor: Inhibitor,
) {
    let mut emitter =
        Emitter { service, registry, status, inhibitor, sequence: 0, last: BTreeMap::new(), held: BTreeMap::new(), sent: BTreeMap::new() };
    emitter.tell_manager().await;
    emitter.follow_again().await;
    loop {
        let due = emitter.due();
        tokio::select! {
            batch = notices.recv() => match batch {
                Some(batch) => emitter.take(batch).await,
                None => return,
            },
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => emitter.release().await,
        }
    }
}

struct Emitter {
    service: Arc<Service>,
    registry: Arc<Registry>,
    status: StatusFile,
    inhibitor: Inhibitor,
    sequence: u64,
    last: BTreeMap<TransactionId, Instant>,
    held: BTreeMap<TransactionId, u16>,
    sent: BTreeMap<TransactionId, Arc<TransactionProperties>>,
}

impl Emitter {
    /// An earlier daemon's inhibitor ended with it.
    async fn follow_again(&mut self) {
        if let Some((step, direction)) = self.service.read(backstep_engine::Manager::running_step) {
            self.inhibitor.follow(&self.service.connection, step, direction).await;
        }
    }

    async fn take(&mut self, batch: Vec<Notice>) {
        let mut turned = false;
        for notice in batch {
            let id = subject(&notice);
            turned |= matches!(notice, Notice::Added(_) | Notice::State { .. });
            if let Notice::Progress { permille, .. } = notice {
                self.held.insert(id, permille);
                continue;
            }
            if let Err(error) = self.tell(&notice).await {
                tracing::warn!("cannot tell {notice:?}: {error}");
            }
        }
        if turned {
            self.tell_manager().await;
        }
        self.release().await;
    }

    /// Sends held progress whose time has come.
    async fn release(&mut self) {
        let now = Instant::now();
        let ready: Vec<TransactionId> =
            self.held.keys().copied().filter(|id| self.last.get(id).is_none_or(|last| *last + PAUSE <= now)).collect();
        for id in ready {
            let Some(permille) = self.held.remove(&id) else { continue };
            self.last.insert(id, now);
            if let Err(error) = self.progress(id, permille).await {
                tracing::warn!("cannot tell the progress of {id}: {error}");
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        self.held.keys().filter_map(|id| self.last.get(id)).min().map(|last| *last + PAUSE)
    }

    async fn tell(&mut self, notice: &Notice) -> zbus::Result<()> {
        match notice {
            Notice::Added(id) => self.registry.export(&self.service, *id).await.map_err(|error| zbus::Error::Failure(error.text)),
            Notice::State { id, state } => self.state(*id, *state).await,
            Notice::Step { id, step, direction, state } => {
                self.inhibitor.follow(&self.service.connection, *step, *direction).await;
                TransactionObject::step_changed(&self.emitter(*id)?, &id.to_string(), step.as_str(), direction.as_str(), state.as_str())
                    .await?;
                self.changed(*id).await
            }
            Notice::Progress { .. } => Ok(()),
            Notice::Error { id, code, text } => self.error(*id, *code, text).await,
            Notice::Finished { id, state, code } => self.finished(*id, *state, *code).await,
        }
    }

    async fn state(&mut self, id: TransactionId, state: TransactionState) -> zbus::Result<()> {
        log::state(id, state);
        self.sequence += 1;
        self.changed(id).await?;
        TransactionObject::state_turned(&self.emitter(id)?, &id.to_string(), self.sequence, state.as_str()).await
    }

    async fn progress(&mut self, id: TransactionId, permille: u16) -> zbus::Result<()> {
        self.changed(id).await?;
        TransactionObject::progress(&self.emitter(id)?, &id.to_string(), u32::from(permille)).await
    }

    /// Texts name packages, so they go to the owner's connection only.
    async fn error(&self, id: TransactionId, code: ErrorCode, text: &str) -> zbus::Result<()> {
        let owner = self.service.read(|manager| manager.ledger().summary(id)).ok().flatten().map(|summary| summary.actor.sender);
        let Some(owner) = owner.filter(|owner| !owner.is_empty()) else { return Ok(()) };
        let emitter = self.emitter(id)?.set_destination(owner.try_into()?);
        TransactionObject::error_occurred(&emitter, code.as_str(), text).await
    }

    async fn finished(&mut self, id: TransactionId, state: TransactionState, code: Option<ErrorCode>) -> zbus::Result<()> {
        log::finished(id, state, code);
        self.inhibitor.release();
        self.held.remove(&id);
        self.last.remove(&id);
        if let Err(failure) = crate::requests::forget_archives(&self.service, id) {
            tracing::warn!("{failure}");
        }
        // Everybody hears it, and errors are for those who may see the transaction: they read `ErrorCode`.
        let told = TransactionObject::finished(&self.emitter(id)?, &id.to_string(), state.as_str(), "").await;
        // Who waits for the end does not wait for systemd, too.
        self.tell_hooks(id).await;
        told
    }

    /// Of what nothing was tried there is nothing to tell.
    async fn tell_hooks(&self, id: TransactionId) {
        let told = match self.service.read(|manager| manager.ledger().summary(id)) {
            Ok(summary) if summary.as_ref().is_some_and(|summary| summary.status.attempts > 0) => {
                self.service.launcher.tell_hooks(id).await
            }
            Ok(_) => Ok(()),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = told {
            tracing::warn!("no hook is told of {id}: {failure}");
        }
    }

    fn emitter(&self, id: TransactionId) -> zbus::Result<SignalEmitter<'static>> {
        SignalEmitter::new(&self.service.connection, transaction_path(id)).map(SignalEmitter::into_owned)
    }

    /// `PropertiesChanged` of one transaction: what everybody may see with its value, the rest by name.
    async fn changed(&mut self, id: TransactionId) -> zbus::Result<()> {
        let Some(now) = self.service.properties(id).map_err(|failure| zbus::Error::Failure(failure.text))? else { return Ok(()) };
        let before = self.sent.insert(id, Arc::clone(&now));
        if self.sent.len() > SENT {
            self.sent.pop_first();
        }
        let changed = changes(before.as_deref(), &now);
        let path = transaction_path(id);
        properties_changed(&self.service.connection, &path, TRANSACTION_INTERFACE, &changed, PRIVATE).await
    }

    async fn tell_manager(&mut self) {
        let paths = |wanted: fn(TransactionState) -> bool| -> Vec<OwnedObjectPath> {
            let unfinished = self.service.read(|manager| manager.ledger().unfinished()).unwrap_or_default();
            unfinished.iter().filter(|summary| wanted(summary.status.state)).map(|summary| transaction_path(summary.id)).collect()
        };
        let active = paths(TransactionState::is_active);
        let attention = paths(|state| state == TransactionState::NeedsAttention);
        let queue = self.service.read(backstep_engine::Manager::queue).unwrap_or_default();
        let queue: Vec<OwnedObjectPath> = queue.into_iter().map(transaction_path).collect();
        if let Err(error) = self.status.write(&active, &queue, &attention) {
            tracing::warn!("cannot write the public status file: {error}");
        }
        let changed =
            HashMap::from([("Active", Variant::from(active)), ("Queue", Variant::from(queue)), ("Attention", Variant::from(attention))]);
        if let Err(error) = properties_changed(&self.service.connection, MANAGER_PATH, MANAGER_INTERFACE, &changed, &[]).await {
            tracing::warn!("cannot tell the manager's properties: {error}");
        }
    }
}

/// The public properties that differ from what was told last; all of them the first time.
fn changes<'a>(before: Option<&'a TransactionProperties>, now: &'a TransactionProperties) -> HashMap<&'static str, Variant<'a>> {
    let told = before.map(public).unwrap_or_default();
    public(now).into_iter().filter(|property| !told.contains(property)).collect()
}

fn public(properties: &TransactionProperties) -> Vec<(&'static str, Variant<'_>)> {
    vec![
        ("State", Variant::from(properties.state.as_str())),
        ("Status", Variant::from(properties.status.as_str())),
        ("Attempts", Variant::from(properties.attempts)),
        ("QueuePosition", Variant::from(properties.queue_position)),
        ("Permille", Variant::from(properties.permille)),
        ("RemainingSeconds", Variant::from(properties.remaining_seconds)),
        ("QueuedAt", Variant::from(properties.queued_at)),
        ("StartedAt", Variant::from(properties.started_at)),
        ("FinishedAt", Variant::from(properties.finished_at)),
        ("Duration", Variant::from(properties.duration)),
        ("Cancellable", Variant::from(properties.cancellable)),
        ("PointOfNoReturn", Variant::from(properties.point_of_no_return)),
        ("Actions", Variant::from(properties.actions.clone())),
    ]
}

async fn properties_changed(
    connection: &zbus::Connection,
    path: &str,
    interface: &str,
    changed: &HashMap<&str, Variant<'_>>,
    invalidated: &[&str],
) -> zbus::Result<()> {
    let emitter = SignalEmitter::new(connection, path)?;
    emitter.emit("org.freedesktop.DBus.Properties", "PropertiesChanged", &(interface, changed, invalidated)).await
}
