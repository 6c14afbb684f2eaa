//! What every object and task of the daemon shares.
//!
//! Invariant: the manager is behind one lock that is never held across an await; whatever it tells is passed on
//! in order by the one who released it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use backstep_bus::TransactionProperties;
use backstep_core::admission::Admission;
use backstep_core::limits::Limits;
use backstep_core::{AttemptId, Failure, Options, TransactionId};
use backstep_engine::{Manager, Notice};
use tokio::sync::{Notify, mpsc};

use crate::archives::Archives;
use crate::attempts::Attempts;
use crate::authority::{Authority, Verdict};
use crate::callers::Callers;
use crate::config::Thresholds;
use crate::foreign::Runs;
use crate::inventory::InventoryFiles;
use crate::launcher::Launcher;
use crate::lock::lock;
use crate::planner::Planner;
use crate::preferences::PreferencesFile;
use crate::records::Records;
use crate::turns::Turns;

/// Messages whose sender may not see others' transactions, that are remembered.
const UNSEEING: usize = 64;
/// Transactions whose properties are kept ready.
const READY: usize = 64;

/// The parts, put together by the composition root.
pub struct Service {
    /// The bus.
    pub connection: zbus::Connection,
    /// Who calls.
    pub callers: Callers,
    /// Whether they may.
    pub authority: Authority,
    /// Makes plans.
    pub planner: Planner,
    /// Starts workers.
    pub launcher: Launcher,
    /// Attempt folders.
    pub attempts: Attempts,
    /// Plain runs of apt.
    pub runs: Runs,
    /// Archives in our keeping.
    pub archives: Archives,
    /// What dpkg's database is compared with; `None` when nothing is ever changed.
    pub inventory: Option<InventoryFiles>,
    /// What apt is told of ignores.
    pub preferences: PreferencesFile,
    /// Readers of the record.
    pub records: Records,
    /// Days after which a transaction leaves the record for an archive; 0 is never.
    pub archive_days: u32,
    /// What is said in the journal.
    pub thresholds: Thresholds,
    /// What a request gets when it does not say otherwise.
    pub defaults: Options,
    /// The machine's id, hashed for this program.
    pub host_id: String,
    /// What everybody is told of the record, when something is wrong with it.
    pub warnings: Vec<String>,
    /// Bounds on what callers may do.
    pub limits: Limits,
    /// Whose planners may work.
    pub planners: Turns,
    admission: Mutex<Admission>,
    settling: AtomicBool,
    began: tokio::time::Instant,
    planning: Mutex<BTreeSet<TransactionId>>,
    manager: Mutex<Manager>,
    shown: Mutex<BTreeMap<TransactionId, Arc<TransactionProperties>>>,
    unseeing: Mutex<VecDeque<(String, u32)>>,
    notices: mpsc::UnboundedSender<Vec<Notice>>,
    work: Notify,
    ended: Notify,
    settled: Notify,
    changed: Notify,
    calls: AtomicUsize,
    activity: AtomicUsize,
}

/// Parts of a [`Service`] that others make.
pub struct Parts {
    /// The bus.
    pub connection: zbus::Connection,
    /// Who calls.
    pub callers: Callers,
    /// Makes plans.
    pub planner: Planner,
    /// Starts workers.
    pub launcher: Launcher,
    /// Attempt folders.
    pub attempts: Attempts,
    /// Plain runs of apt.
    pub runs: Runs,
    /// Archives in our keeping.
    pub archives: Archives,
    /// What dpkg's database is compared with; `None` when nothing is ever changed.
    pub inventory: Option<InventoryFiles>,
    /// What apt is told of ignores.
    pub preferences: PreferencesFile,
    /// Readers of the record.
    pub records: Records,
    /// Days after which a transaction leaves the record for an archive; 0 is never.
    pub archive_days: u32,
    /// What is said in the journal.
    pub thresholds: Thresholds,
    /// What a request gets when it does not say otherwise.
    pub defaults: Options,
    /// The machine's id, hashed for this program.
    pub host_id: String,
    /// What everybody is told of the record, when something is wrong with it.
    pub warnings: Vec<String>,
    /// Bounds on what callers may do.
    pub limits: Limits,
    /// The manager.
    pub manager: Manager,
    /// Who decides what callers may.
    pub verdict: Verdict,
}

impl Service {
    /// A service over its parts, and the stream of what it tells.
    #[must_use]
    pub fn new(parts: Parts) -> (Arc<Self>, mpsc::UnboundedReceiver<Vec<Notice>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let service = Self {
            authority: Authority::new(parts.connection.clone(), parts.verdict, Duration::from_secs(parts.limits.answer_seconds.into())),
            connection: parts.connection,
            callers: parts.callers,
            planner: parts.planner,
            launcher: parts.launcher,
            attempts: parts.attempts,
            runs: parts.runs,
            archives: parts.archives,
            inventory: parts.inventory,
            preferences: parts.preferences,
            records: parts.records,
            archive_days: parts.archive_days,
            thresholds: parts.thresholds,
            defaults: parts.defaults,
            host_id: parts.host_id,
            warnings: parts.warnings,
            admission: Mutex::new(Admission::new(parts.limits.clone())),
            limits: parts.limits,
            settling: AtomicBool::new(false),
            began: tokio::time::Instant::now(),
            planners: Turns::default(),
            planning: Mutex::new(BTreeSet::new()),
            manager: Mutex::new(parts.manager),
            shown: Mutex::new(BTreeMap::new()),
            unseeing: Mutex::new(VecDeque::new()),
            notices: sender,
            work: Notify::new(),
            ended: Notify::new(),
            settled: Notify::new(),
            changed: Notify::new(),
            calls: AtomicUsize::new(0),
            activity: AtomicUsize::new(0),
        };
        (Arc::new(service), receiver)
    }

    /// Reads through the manager.
    pub fn read<R>(&self, look: impl FnOnce(&Manager) -> R) -> R {
        look(&self.lock())
    }

    /// Lets the manager decide something, then passes on what it tells.
    pub fn decide<R>(&self, act: impl FnOnce(&mut Manager) -> R) -> R {
        let mut manager = self.lock();
        let result = act(&mut manager);
        if manager.ledger().is_broken() {
            // Nothing is promised that may not be on the disk. The worker goes on; a new start reads what there is.
            tracing::error!("the device of the record failed: ending, so that a new start reads what is on it");
            std::process::exit(70);
        }
        let notices = manager.take_notices();
        // Still under the lock: two deciders must not overtake each other.
        if !notices.is_empty() {
            self.forget(&notices);
            if self.notices.send(notices).is_err() {
                tracing::debug!("nobody listens to notices any more: shutting down");
            }
            self.work.notify_one();
            self.changed.notify_one();
        }
        result
    }

    /// Grows with every use, so that a time without use can be seen.
    pub fn activity(&self) -> usize {
        self.activity.load(Ordering::Relaxed)
    }

    /// Waits until something was decided.
    pub async fn work(&self) {
        self.work.notified().await;
    }

    /// Waits until something was told since the last wait; for one who waits.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Says that an attempt has ended and is followed no more.
    pub fn end_attempt(&self) {
        self.ended.notify_one();
        self.settled.notify_waiters();
    }

    /// Waits for that.
    pub async fn attempt_ended(&self) {
        self.ended.notified().await;
    }

    /// Waits until an attempt has ended; does not wait when it has already.
    pub async fn until_ended(&self, attempt: AttemptId) {
        loop {
            // Made before the look, so that an end between the two is not missed.
            let settled = self.settled.notified();
            if self.read(Manager::running) != Some(attempt) {
                return;
            }
            settled.await;
        }
    }

    /// Takes the turn to plan a transaction; `None` when that is done already.
    #[must_use]
    pub fn begin_plan(self: &Arc<Self>, id: TransactionId) -> Option<PlanTurn> {
        self.planning().insert(id).then(|| PlanTurn(Arc::clone(self), id))
    }

    fn planning(&self) -> MutexGuard<'_, BTreeSet<TransactionId>> {
        lock(&self.planning)
    }

    /// Lets a call of this user in, or not. See [`Service::let_out`].
    pub fn let_in(&self, uid: u32) -> Result<(), Failure> {
        lock(&self.admission).enter(uid, self.now_us())
    }

    /// Whether this user may put one more request into the record.
    pub fn may_write(&self, uid: u32) -> Result<(), Failure> {
        lock(&self.admission).may_write(uid, self.now_us())
    }

    /// Counts what a user's request or its plan put there.
    pub fn wrote(&self, uid: u32, bytes: usize) {
        lock(&self.admission).wrote(uid, bytes as u64, self.now_us());
    }

    fn now_us(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    /// A call that was let in has its answer.
    pub fn let_out(&self, uid: u32) {
        lock(&self.admission).leave(uid);
    }

    /// Takes the turn to write down refusals that are held back; `None` when another task has it.
    #[must_use]
    pub fn begin_settling(self: &Arc<Self>) -> Option<SettleTurn> {
        (!self.settling.swap(true, Ordering::Relaxed)).then(|| SettleTurn(Arc::clone(self)))
    }

    /// Marks a call that takes its time, so that the daemon does not end under it.
    #[must_use]
    pub fn call(self: &Arc<Self>) -> Call {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Call(Arc::clone(self))
    }

    /// Whether a call is under way that takes its time.
    pub fn has_calls(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > 0
    }

    /// Whether the daemon could end without anybody noticing.
    pub fn is_idle(&self) -> bool {
        !self.has_calls() && self.read(Manager::is_idle).unwrap_or(false)
    }

    /// A transaction's properties as its owner sees them.
    pub fn properties(&self, id: TransactionId) -> Result<Option<Arc<TransactionProperties>>, Failure> {
        if let Some(ready) = self.shown().get(&id) {
            return Ok(Some(Arc::clone(ready)));
        }
        let Some(view) = self.read(|manager| manager.view(id))? else { return Ok(None) };
        let made = Arc::new(crate::objects::shown(&view));
        let mut shown = self.shown();
        if shown.len() >= READY {
            shown.pop_first();
        }
        shown.insert(id, Arc::clone(&made));
        Ok(Some(made))
    }

    /// Whether polkit said already that the sender of this message, by its name and number, may not see others'
    /// transactions. One message may ask for thousands of properties.
    pub fn is_unseeing(&self, sender: &str, serial: u32) -> bool {
        lock(&self.unseeing).iter().any(|(name, number)| name == sender && *number == serial)
    }

    /// Remembers that for a while. Only a no is remembered: who sends a number twice gets nothing by it.
    pub fn remember_unseeing(&self, sender: &str, serial: u32) {
        let mut unseeing = lock(&self.unseeing);
        if unseeing.len() >= UNSEEING {
            unseeing.pop_front();
        }
        unseeing.push_back((sender.to_owned(), serial));
    }

    /// A change of one transaction may change what others wait for, so all are made anew when asked for.
    fn forget(&self, notices: &[Notice]) {
        let only_progress = notices.iter().all(|notice| matches!(notice, Notice::Progress { .. } | Notice::Step { .. }));
        let mut shown = self.shown();
        if only_progress {
            for notice in notices {
                shown.remove(&subject(notice));
            }
        } else {
            shown.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Manager> {
        self.activity.fetch_add(1, Ordering::Relaxed);
        lock(&self.manager)
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<TransactionId, Arc<TransactionProperties>>> {
        lock(&self.shown)
    }
}

/// The transaction a notice is about.
#[must_use]
pub fn subject(notice: &Notice) -> TransactionId {
    match notice {
        Notice::Added(id)
        | Notice::State { id, .. }
        | Notice::Step { id, .. }
        | Notice::Progress { id, .. }
        | Notice::Error { id, .. }
        | Notice::Finished { id, .. } => *id,
    }
}

/// A call that takes its time.
pub struct Call(Arc<Service>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The turn to plan a transaction.
pub struct PlanTurn(Arc<Service>, TransactionId);

impl Drop for PlanTurn {
    fn drop(&mut self) {
        self.0.planning().remove(&self.1);
    }
}

/// The turn to write down refusals that are held back.
pub struct SettleTurn(Arc<Service>);

impl Drop for SettleTurn {
    fn drop(&mut self) {
        self.0.settling.store(false, Ordering::Relaxed);
    }
}
