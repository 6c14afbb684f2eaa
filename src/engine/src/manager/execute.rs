//! Execute: authorise a plan by its digest and give it its place in the queue.

use backstep_core::access::{self, Permission};
use backstep_core::{Digest, ErrorCode, Event, Failure, LocalArchive, Plan, TransactionId, TransactionState, limits};

use super::{Manager, plan_of, wrong_state};

/// What the authority is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// For which transaction.
    pub id: TransactionId,
    /// The polkit actions, all of which must be granted.
    pub permissions: Vec<Permission>,
    /// The plan's digest: what is authorised is what is executed.
    pub digest: Digest,
    /// The plan in one line.
    pub summary: String,
    /// What comes from outside the repositories: each archive's digest, and its package. Empty when there is nothing.
    pub local: String,
}

impl Ask {
    /// The actions' names, separated by commas.
    #[must_use]
    pub fn actions(&self) -> String {
        self.permissions.iter().map(|permission| permission.as_str()).collect::<Vec<_>>().join(",")
    }
}

impl Manager {
    /// Checks that the plan with this digest may be asked for; changes nothing.
    pub fn ask(&self, id: TransactionId, digest: Digest) -> Result<Ask, Failure> {
        let status = self.status(id)?;
        if status.state != TransactionState::Prepared {
            return Err(wrong_state(id, status.state, "execute"));
        }
        if self.is_old(id)? {
            return Err(Failure::new(ErrorCode::Expired, format!("the plan of {id} was made too long ago")));
        }
        let (plan, _, frozen) = plan_of(&*self.ledger, id)?;
        if frozen != digest {
            return Err(Failure::new(ErrorCode::PlanMismatch, format!("the plan of {id} has the digest {frozen}, not {digest}")));
        }
        check_reversible(&plan)?;
        self.check_open()?;
        let archives = self.request(id)?.archives;
        let mut permissions = access::for_plan(&plan);
        // The planner has read them: what it answered since then is worth no more than they are.
        if !archives.is_empty() && !permissions.contains(&Permission::InstallLocal) {
            permissions.push(Permission::InstallLocal);
        }
        Ok(Ask { id, permissions, digest, summary: plan.summary(), local: local(&archives, &plan) })
    }

    /// The authority said yes to exactly this digest.
    pub fn authorised(&mut self, ask: &Ask) -> Result<(), Failure> {
        // The plan cannot have changed, but the transaction may have been cancelled meanwhile.
        let again = self.ask(ask.id, ask.digest)?;
        if again.permissions != ask.permissions {
            return Err(Failure::new(ErrorCode::Internal, "the permission asked for is not the one needed"));
        }
        self.record(ask.id, vec![Event::Queued { action: ask.actions() }])?;
        Ok(())
    }

    /// The authority said anything but yes. The offer stays open; the first denials are on its record.
    pub fn denied(&mut self, ask: &Ask, permission: Permission, reason: &str) -> Result<(), Failure> {
        if self.status(ask.id)?.state == TransactionState::Prepared && self.denials(ask.id)? < limits::MAX_DENIALS {
            self.record(ask.id, vec![Event::Denied { action: permission.as_str().to_owned(), reason: reason.to_owned() }])?;
        }
        Ok(())
    }

    fn denials(&self, id: TransactionId) -> Result<usize, Failure> {
        let record = self.ledger.record(id)?;
        let is_denial = |event: &&backstep_core::record::EventRecord| matches!(event.event, Event::Denied { .. });
        Ok(record.map_or(0, |record| record.events.iter().filter(is_denial).count()))
    }

    /// Changes wait until a person has decided what a stuck transaction becomes.
    fn check_open(&self) -> Result<(), Failure> {
        match self.undecided()? {
            Some(summary) => {
                let text = format!("transaction {} ({}) is {} and needs a decision first", summary.id, summary.kind, summary.status.state);
                Err(Failure::new(ErrorCode::QueueClosed, text))
            }
            None => Ok(()),
        }
    }
}

/// Names are in Debian's grammar, so nobody can write more into the question than what it is about.
fn local(archives: &[LocalArchive], plan: &Plan) -> String {
    let package = |sha256| plan.items.iter().find(|item| item.archive.as_ref().is_some_and(|archive| archive.sha256 == sha256));
    let one = |archive: &LocalArchive| match package(archive.sha256) {
        Some(item) => format!("{} (SHA-256 {})", item.package, archive.sha256),
        None => format!("SHA-256 {}", archive.sha256),
    };
    archives.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn check_reversible(plan: &Plan) -> Result<(), Failure> {
    if !plan.is_irreversible() || plan.options.allow_irreversible {
        return Ok(());
    }
    let names: Vec<String> = plan
        .items
        .iter()
        .filter(|item| matches!(item.undo, backstep_core::UndoQuality::Impossible(_)))
        .map(|item| format!("{} ({})", item.package, item.undo.why().unwrap_or_default()))
        .collect();
    Err(Failure::new(ErrorCode::PlanIrreversible, format!("cannot be undone: {}", names.join(", "))))
}
