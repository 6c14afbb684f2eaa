//! The manager of transactions: decide, record intent, let others act, record the outcome.
//!
//! Invariants: nothing acts before its intent is recorded; a state changes only through recorded events; one
//! transaction changes packages at a time; nothing here waits. What takes time (planning, asking the
//! authority, running a worker) is handed out as a value and its outcome is handed back in.

mod adopt;
mod archive;
mod attention;
mod backoffs;
mod cancel;
mod configure;
mod create;
mod execute;
mod follow;
mod ignores;
mod launch;
mod pin;
mod prepare;
mod recover;
mod redact;
mod refuse;
mod view;

#[cfg(test)]
mod tests;

pub use adopt::Adopted;
pub use attention::Verdict;
pub use cancel::CancelOutcome;
pub use create::Created;
pub use execute::Ask;
pub use ignores::Preferences;
pub use launch::Launch;
pub use prepare::Question;
pub use recover::Found;
pub use refuse::Noted;
pub use view::View;

use std::collections::BTreeMap;

use backstep_core::limits::Limits;
use backstep_core::progress::Tracker;
use backstep_core::refusal::Refusal;
use backstep_core::sources::Sources;
use backstep_core::throttle::Throttle;
use backstep_core::{
    AttemptId, Digest, Direction, ErrorCode, Event, Failure, Retention, Stamp, Status, StepKind, TransactionId, TransactionState,
};

use crate::notice::Notice;
use crate::ports::{Append, Clock, Identities, Ledger, Mirror};

/// How long a transaction may wait for preparation or authorisation, in microseconds.
const OFFER_US: i64 = 15 * 60 * 1_000_000;

/// The manager. One value owns all decisions; callers serialise access to it.
pub struct Manager {
    ledger: Box<dyn Ledger + Send>,
    mirror: Box<dyn Mirror + Send>,
    clock: Box<dyn Clock + Send>,
    ids: Box<dyn Identities + Send>,
    retention: Retention,
    running: Option<Running>,
    /// Undo attempts that are recorded as resumed and wait for their launch.
    resumed: BTreeMap<TransactionId, u32>,
    notices: Vec<Notice>,
    /// Transactions whose mirror is behind, with the reason; tried again with the next change.
    lagging: BTreeMap<TransactionId, Failure>,
    limits: Limits,
    sources: Sources,
    /// What was turned away too often to be written down one by one.
    throttle: Throttle<(Stamp, Refusal)>,
}

/// The attempt that a worker has now.
#[derive(Debug, Clone)]
struct Running {
    attempt: AttemptId,
    direction: Direction,
    step: Option<StepKind>,
    tracker: Tracker,
    captured: bool,
    /// Its journal has at least one line.
    begun: bool,
}

impl Manager {
    /// A manager over its ports. Call [`Manager::recover`] before anything else.
    #[must_use]
    pub fn new(
        ledger: Box<dyn Ledger + Send>,
        mirror: Box<dyn Mirror + Send>,
        clock: Box<dyn Clock + Send>,
        ids: Box<dyn Identities + Send>,
    ) -> Self {
        Self {
            ledger,
            mirror,
            clock,
            ids,
            retention: Retention::default(),
            running: None,
            resumed: BTreeMap::new(),
            notices: Vec::new(),
            lagging: BTreeMap::new(),
            limits: Limits::default(),
            sources: Sources::default(),
            throttle: Throttle::default(),
        }
    }

    /// The same, keeping undo material as the administrator chose.
    #[must_use]
    pub fn with_retention(self, retention: Retention) -> Self {
        Self { retention, ..self }
    }

    /// How long undo material is kept.
    #[must_use]
    pub const fn retention(&self) -> &Retention {
        &self.retention
    }

    /// The same with other limits than the built-in ones.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The same, letting packages come from where the administrator chose.
    #[must_use]
    pub fn with_sources(self, sources: Sources) -> Self {
        Self { sources, ..self }
    }

    /// The record, for reading.
    #[must_use]
    pub fn ledger(&self) -> &(dyn Ledger + Send) {
        &*self.ledger
    }

    /// What there is to tell since the last call, in order.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Transactions whose mirror is behind the record, and why.
    #[must_use]
    pub fn lagging(&self) -> &BTreeMap<TransactionId, Failure> {
        &self.lagging
    }

    /// The attempt that a worker has now.
    #[must_use]
    pub fn running(&self) -> Option<AttemptId> {
        self.running.as_ref().map(|running| running.attempt)
    }

    /// The step that a worker is at, and whether it does or undoes it.
    #[must_use]
    pub fn running_step(&self) -> Option<(StepKind, Direction)> {
        self.running.as_ref().and_then(|running| Some((running.step?, running.direction)))
    }

    /// Whether anything needs the daemon: a worker, a queue, an offer that is still open.
    pub fn is_idle(&self) -> Result<bool, Failure> {
        let waits = |state| !matches!(state, TransactionState::NeedsAttention);
        Ok(self.running.is_none() && !self.ledger.unfinished()?.iter().any(|summary| waits(summary.status.state)))
    }

    /// The time by which everything here is decided.
    #[must_use]
    pub fn time(&self) -> Stamp {
        self.now()
    }

    fn now(&self) -> Stamp {
        self.clock.now()
    }

    fn status(&self, id: TransactionId) -> Result<Status, Failure> {
        self.ledger.summary(id)?.map(|summary| summary.status).ok_or_else(|| unknown(id))
    }

    fn attempt_of(&self, id: TransactionId) -> Option<u32> {
        self.running.as_ref().filter(|running| running.attempt.transaction == id).map(|running| running.attempt.number)
    }

    /// Records events of one transaction in one commit, then tells.
    fn record(&mut self, id: TransactionId, events: Vec<Event>) -> Result<Status, Failure> {
        let attempt = self.attempt_of(id);
        self.record_all(Append { id, attempt, events, at: self.now(), journal_seq: None, world_after: None })
    }

    fn record_all(&mut self, append: Append) -> Result<Status, Failure> {
        let before = self.status(append.id)?;
        let after = self.ledger.append(&append)?;
        self.tell(append.id, &append.events, before, after);
        Ok(after)
    }

    fn tell(&mut self, id: TransactionId, events: &[Event], before: Status, after: Status) {
        let direction = if after.undoing { Direction::Undo } else { Direction::Forward };
        for event in events {
            self.notices.extend(notice_of(id, event, direction));
        }
        if before.state != after.state {
            self.notices.push(Notice::State { id, state: after.state });
            if after.state.is_final() || after.state == TransactionState::NeedsAttention {
                let code = self.ledger.summary(id).ok().flatten().and_then(|s| s.error).map(|e| e.code);
                self.notices.push(Notice::Finished { id, state: after.state, code });
            }
            // CRASH: a document that lags is found at the next start by that of `id`, so that one is written last.
            if after.state == TransactionState::Completed {
                self.undone_by(id).into_iter().for_each(|target| self.mirror_now(target));
            }
            self.mirror_now(id);
        }
    }

    /// What a rollback undid, and what that one had undone, and so on: their documents say whether they are undone now.
    fn undone_by(&self, id: TransactionId) -> Vec<TransactionId> {
        let target = |id: TransactionId| self.ledger.summary(id).ok().flatten().and_then(|summary| summary.reverts);
        std::iter::successors(target(id), |id| target(*id)).collect()
    }

    /// The mirror may lag the record, so its failure fails nothing; it is kept and tried again.
    fn mirror_now(&mut self, id: TransactionId) {
        let mut behind: Vec<TransactionId> = self.lagging.keys().copied().filter(|other| *other != id).collect();
        behind.push(id);
        for id in behind {
            let outcome = self.ledger.record(id).and_then(|record| record.map_or(Ok(()), |record| self.mirror.mirror(&record)));
            match outcome {
                Ok(()) => drop(self.lagging.remove(&id)),
                Err(failure) => drop(self.lagging.insert(id, failure)),
            }
        }
    }
}

fn notice_of(id: TransactionId, event: &Event, direction: Direction) -> Option<Notice> {
    match event {
        Event::StepStarted { step, direction } => {
            Some(Notice::Step { id, step: *step, direction: *direction, state: backstep_core::StepState::Running })
        }
        Event::StepEnded { step, state, .. } => Some(Notice::Step { id, step: *step, direction, state: *state }),
        Event::Failed { code, text } | Event::UndoStarted { code, text } | Event::AttentionNeeded { code, text } => {
            Some(Notice::Error { id, code: *code, text: text.clone() })
        }
        Event::Created
        | Event::Prepared { .. }
        | Event::Denied { .. }
        | Event::Queued { .. }
        | Event::Started { .. }
        | Event::ItemChanged { .. }
        | Event::Noted { .. }
        | Event::CancelRequested { .. }
        | Event::Expired
        | Event::Completed
        | Event::UndoFinished { .. }
        | Event::Interrupted { .. }
        | Event::Resumed { .. }
        | Event::Accepted
        | Event::Redacted { .. } => None,
    }
}

fn unknown(id: TransactionId) -> Failure {
    Failure::new(ErrorCode::TransactionUnknown, format!("no transaction has the id {id}"))
}

fn wrong_state(id: TransactionId, state: TransactionState, verb: &str) -> Failure {
    Failure::new(ErrorCode::TransactionState, format!("cannot {verb} transaction {id}: it is {state}"))
}

/// Only attempt 1 goes forward, so its capture is the one that every undo needs.
const fn forward_attempt(transaction: TransactionId) -> AttemptId {
    AttemptId { transaction, number: 1 }
}

fn plan_of(ledger: &(dyn Ledger + Send), id: TransactionId) -> Result<(backstep_core::Plan, Vec<u8>, Digest), Failure> {
    let bytes = ledger.plan_bytes(id)?.ok_or_else(|| Failure::new(ErrorCode::TransactionState, format!("transaction {id} has no plan")))?;
    let plan = backstep_wire::plan::from_bytes(&bytes).map_err(|error| Failure::new(ErrorCode::StoreFailed, error.to_string()))?;
    let digest = backstep_wire::digest(&bytes);
    Ok((plan, bytes, digest))
}
