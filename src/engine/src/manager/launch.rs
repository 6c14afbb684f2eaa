//! Launch: whose turn it is, and what its worker is told.

use backstep_core::progress::Tracker;
use backstep_core::queue::{self, Waiting};
use backstep_core::record::Summary;
use backstep_core::{AttemptId, Direction, ErrorCode, Event, Failure, Method, TransactionId, TransactionState};
use backstep_wire::order::Order;

use super::{Manager, Running, forward_attempt, plan_of};

/// A worker to be started. Its intent is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// What it is to do.
    pub order: Order,
    /// The frozen plan, byte for byte.
    pub plan_bytes: Vec<u8>,
}

impl Manager {
    /// The next worker to start, if any: recovery first, then the queue. Records that it starts.
    ///
    /// CRASH: a kill after the commit leaves `executing` with no attempt folder; recovery finds no journal and
    /// ends the transaction as rolled back, because nothing was changed.
    pub fn next_launch(&mut self) -> Result<Option<Launch>, Failure> {
        while self.running.is_none() {
            if let Some((id, number)) = self.resumed.pop_first() {
                return self.launch(AttemptId { transaction: id, number }, Direction::Undo).map(Some);
            }
            let Some(id) = self.next_in_queue()? else { return Ok(None) };
            let (plan, _, _) = plan_of(&*self.ledger, id)?;
            self.record(id, vec![Event::Started { attempt: 1 }])?;
            if plan.is_empty() {
                self.record(id, vec![Event::Completed])?;
                continue;
            }
            return self.launch(forward_attempt(id), Direction::Forward).map(Some);
        }
        Ok(None)
    }

    fn launch(&mut self, attempt: AttemptId, direction: Direction) -> Result<Launch, Failure> {
        let (plan, plan_bytes, digest) = plan_of(&*self.ledger, attempt.transaction)?;
        let restore = match (direction, plan.method) {
            (Direction::Undo, _) => Some(forward_attempt(attempt.transaction)),
            (Direction::Forward, Method::Restore(target)) => Some(forward_attempt(target)),
            (Direction::Forward, Method::Packages | Method::Marks) => None,
        };
        let later = match direction {
            Direction::Forward => plan.restores.iter().copied().map(forward_attempt).collect(),
            Direction::Undo => Vec::new(),
        };
        self.attach(attempt, direction, &plan);
        Ok(Launch { order: Order { attempt, plan: digest, direction, restore, later, retention: self.retention }, plan_bytes })
    }

    pub(super) fn attach(&mut self, attempt: AttemptId, direction: Direction, plan: &backstep_core::Plan) {
        let tracker = Tracker::new(plan.download_bytes, plan.items.len(), self.now().monotonic_us);
        self.running = Some(Running { attempt, direction, step: None, tracker, captured: false, begun: false });
    }

    /// The worker could not be started, so nothing was changed.
    pub fn launch_failed(&mut self, attempt: AttemptId, text: &str) -> Result<(), Failure> {
        let id = attempt.transaction;
        let undoing = self.status(id)?.undoing;
        let events = if undoing {
            vec![Event::AttentionNeeded { code: ErrorCode::WorkerFailed, text: text.to_owned() }]
        } else {
            vec![Event::UndoStarted { code: ErrorCode::WorkerFailed, text: text.to_owned() }, Event::UndoFinished { differences: 0 }]
        };
        self.record(id, events)?;
        self.running = None;
        Ok(())
    }

    /// The queue in its order.
    pub fn queue(&self) -> Result<Vec<TransactionId>, Failure> {
        let queued = |summary: &Summary| summary.status.state == TransactionState::Queued;
        let waiting = |s: Summary| Waiting { id: s.id, priority: s.priority, sequence: s.sequence };
        Ok(queue::order(self.ledger.unfinished()?.into_iter().filter(queued).map(waiting).collect()))
    }

    /// Nothing starts beside a transaction that is not settled.
    fn next_in_queue(&self) -> Result<Option<TransactionId>, Failure> {
        let unsettled = |s: &Summary| s.status.state.is_active() || s.status.state == TransactionState::NeedsAttention;
        if self.ledger.unfinished()?.iter().any(unsettled) {
            return Ok(None);
        }
        Ok(self.queue()?.first().copied())
    }
}
