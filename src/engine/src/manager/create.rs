//! Create: take a request into the record.

use backstep_core::actor::Actor;
use backstep_core::scrub::scrub;
use backstep_core::{ErrorCode, Failure, Kind, Request, Scope, TransactionId, TransactionState};

use super::{Manager, unknown};
use crate::notice::Notice;
use crate::ports::{Entered, NewTransaction};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// Its identity.
    pub id: TransactionId,
    /// The same request was there already.
    pub existed: bool,
}

impl Manager {
    /// Takes a request. `id` is the caller's idempotency key; without one a new id is made.
    /// What people wrote is stored without secrets.
    pub fn create(&mut self, request: &Request, actor: Actor, id: Option<TransactionId>) -> Result<Created, Failure> {
        request.validate()?;
        let request = &Request { description: scrub(&request.description).into_owned(), ..request.clone() };
        let actor = Actor { client: scrub(&actor.client).into_owned(), ..actor };
        let id = id.unwrap_or_else(|| self.ids.next());
        let request_bytes = backstep_wire::request::to_bytes(request);
        let new = NewTransaction {
            id,
            kind: request.kind,
            request_digest: backstep_wire::digest(&request_bytes),
            request_bytes,
            description: request.description.clone(),
            tags: request.tags.clone(),
            actor,
            at: self.now(),
            priority: request.options.priority,
            reverts: request.reverts,
            scope: request.scope(),
            retries: request.retries,
        };
        match self.ledger.summary(id)? {
            None => {
                self.check_end(id)?;
                self.check_target(request)?;
                self.check_room(new.actor.uid)?;
            }
            // Whether it is the same request is nobody else's business.
            Some(there) if there.actor.uid != new.actor.uid => {
                return Err(Failure::new(ErrorCode::RequestDuplicate, format!("the id {id} was used before")));
            }
            // Asked again: what was true of its target then need not be true now.
            Some(_) => {}
        }
        let existed = self.ledger.enter(&new)? == Entered::AlreadyThere;
        if !existed {
            self.notices.push(Notice::Added(id));
            self.notices.push(Notice::State { id, state: TransactionState::Created });
        }
        Ok(Created { id, existed })
    }

    /// The request of a transaction, as it was taken.
    pub(super) fn request(&self, id: TransactionId) -> Result<Request, Failure> {
        let bytes = self.ledger.request_bytes(id)?.ok_or_else(|| unknown(id))?;
        backstep_wire::request::from_bytes(&bytes).map_err(|error| Failure::new(ErrorCode::StoreFailed, error.to_string()))
    }

    /// The request of an ended transaction, to be created again.
    pub fn request_for_retry(&self, id: TransactionId) -> Result<Request, Failure> {
        let summary = self.ledger.summary(id)?.ok_or_else(|| unknown(id))?;
        if !summary.status.state.actions().contains(&backstep_core::state::Action::Retry) {
            return Err(super::wrong_state(id, summary.status.state, "retry"));
        }
        Ok(Request { retries: Some(id), ..self.request(id)? })
    }

    /// What `last` means: the newest transaction that can be undone.
    pub fn last_undoable(&self) -> Result<TransactionId, Failure> {
        self.ledger.last_undoable()?.ok_or_else(|| Failure::new(ErrorCode::UndoNothing, "no transaction can be undone"))
    }

    /// What a time means: the first transaction that began then or later.
    pub fn first_since(&self, at_us: i64) -> Result<TransactionId, Failure> {
        self.ledger.first_since(at_us)?.ok_or_else(|| Failure::new(ErrorCode::UndoNothing, "no transaction changed the system since then"))
    }

    /// What `last-failed` means: the newest transaction that failed and left something to undo.
    pub fn last_failed(&self) -> Result<TransactionId, Failure> {
        if let Some(summary) = self.undecided()? {
            let text =
                format!("transaction {} waits for a decision: undo it with 'backstep repair {} --undo'", summary.id, summary.id.short());
            return Err(Failure::new(ErrorCode::TransactionState, text));
        }
        let nothing = || Failure::new(ErrorCode::UndoNothing, "no failed transaction left anything to undo");
        self.ledger.last_failed()?.ok_or_else(nothing)
    }

    /// People name transactions by the ends of their ids, and the whole id is the caller's choice: an end that is on record
    /// would mean two of them for ever.
    fn check_end(&self, id: TransactionId) -> Result<(), Failure> {
        if self.ledger.find(&id.short())?.is_empty() {
            return Ok(());
        }
        Err(Failure::new(ErrorCode::RequestDuplicate, format!("another transaction has an id that ends in {}", id.short())))
    }

    fn check_target(&self, request: &Request) -> Result<(), Failure> {
        let Some(target) = request.reverts.filter(|_| request.kind == Kind::Rollback) else { return Ok(()) };
        let summary = self.ledger.summary(target)?.ok_or_else(|| unknown(target))?;
        // What was undone already, and what undid it, are both among what came later.
        if let Some(by) = summary.reverted_by.filter(|_| request.scope() != Some(Scope::Later)) {
            return Err(Failure::new(ErrorCode::UndoNothing, format!("transaction {target} was undone already by {by}")));
        }
        match summary.status.state {
            TransactionState::Completed | TransactionState::PartiallyRolledBack => Ok(()),
            TransactionState::Created
            | TransactionState::Prepared
            | TransactionState::Queued
            | TransactionState::Cancelled
            | TransactionState::RolledBack
            | TransactionState::Failed
            | TransactionState::Expired => {
                let text = format!("transaction {target} changed nothing that is left: it is {}", summary.status.state);
                Err(Failure::new(ErrorCode::UndoNothing, text))
            }
            TransactionState::Executing
            | TransactionState::Cancelling
            | TransactionState::RollingBack
            | TransactionState::Interrupted
            | TransactionState::NeedsAttention => Err(super::wrong_state(target, summary.status.state, "roll back")),
        }
    }

    /// Whether another transaction of this user may wait.
    pub fn check_room(&self, uid: u32) -> Result<(), Failure> {
        let open = self.ledger.unfinished()?;
        let own = open.iter().filter(|summary| summary.actor.uid == uid).count();
        let full = |number: usize, whose: &str, limit: u32| {
            Failure::new(ErrorCode::QueueFull, format!("{number} transactions{whose} wait, {limit} at most"))
        };
        if own >= self.limits.open_per_user as usize {
            return Err(full(own, " of this user", self.limits.open_per_user));
        }
        if open.len() >= self.limits.open as usize {
            return Err(full(open.len(), "", self.limits.open));
        }
        Ok(())
    }
}
