//! Prepare: have a plan made and freeze it.

use backstep_core::scrub::scrub;
use backstep_core::{
    ArchiveSource, ErrorCode, Event, Failure, Method, PackageId, PackageName, Request, Scope, TransactionId, TransactionState, Version,
};
use backstep_wire::planner::{Answer, Revert};

use super::{Manager, plan_of, unknown, wrong_state};

/// What the planner is to be asked; archives are found and opened by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// For which transaction.
    pub id: TransactionId,
    /// Whose it is.
    pub owner: u32,
    /// The request.
    pub request: Request,
    /// SHA-256 of its bytes.
    pub request_digest: backstep_core::Digest,
    /// For a rollback: what it undoes.
    pub revert: Option<Revert>,
    /// Packages that a request for the whole system leaves as they are, because they are backed off; or that it is itself.
    /// Then this is the planner's answer.
    pub held: Result<Vec<PackageName>, Failure>,
    /// For a rollback that undoes later ones, too: those, the newest first.
    pub later: Vec<Revert>,
    /// Archives that may be needed to bring earlier versions back.
    pub wanted: Vec<(PackageId, Version)>,
}

impl Manager {
    /// What to ask the planner; refused unless the transaction still waits for its plan.
    pub fn question(&self, id: TransactionId) -> Result<Question, Failure> {
        let status = self.status(id)?;
        if status.state != TransactionState::Created {
            return Err(wrong_state(id, status.state, "prepare"));
        }
        let owner = self.ledger.summary(id)?.ok_or_else(|| unknown(id))?.actor.uid;
        let bytes = self.ledger.request_bytes(id)?.ok_or_else(|| unknown(id))?;
        let request =
            backstep_wire::request::from_bytes(&bytes).map_err(|error| Failure::new(ErrorCode::StoreFailed, error.to_string()))?;
        let revert = request.reverts.map(|target| self.revert(target)).transpose()?;
        let later = self.later(&request)?.into_iter().map(|id| self.revert(id)).collect::<Result<Vec<_>, _>>()?;
        let items = later.iter().chain(&revert).flat_map(|revert| &revert.plan.items);
        let wanted = items.filter_map(|item| Some((item.package.clone(), item.from.clone()?))).collect();
        let held = self.held(id).map(|held| held.leave_out);
        Ok(Question { id, owner, request, request_digest: backstep_wire::digest(&bytes), revert, later, held, wanted })
    }

    /// Whose transactions a rollback would undo.
    pub fn owners_undone(&self, request: &Request) -> Result<Vec<u32>, Failure> {
        let undone = self.later(request)?.into_iter().chain(request.reverts);
        undone.map(|id| Ok(self.ledger.summary(id)?.ok_or_else(|| unknown(id))?.actor.uid)).collect()
    }

    /// What a rollback undoes before its target.
    fn later(&self, request: &Request) -> Result<Vec<TransactionId>, Failure> {
        match (request.reverts, request.scope()) {
            (Some(target), Some(Scope::Later)) => self.changes_since(target),
            (Some(_) | None, Some(Scope::One | Scope::Part | Scope::Later) | None) => Ok(Vec::new()),
        }
    }

    /// What changed the system since; a plan of nothing is nothing to undo.
    fn changes_since(&self, target: TransactionId) -> Result<Vec<TransactionId>, Failure> {
        let mut found = Vec::new();
        for id in self.ledger.changed_since(target)? {
            if !plan_of(&*self.ledger, id)?.0.is_empty() {
                found.push(id);
            }
        }
        Ok(found)
    }

    fn revert(&self, target: TransactionId) -> Result<Revert, Failure> {
        let (plan, _, _) = plan_of(&*self.ledger, target)?;
        Ok(Revert { plan, world_after: self.ledger.world_after(target)? })
    }

    /// Takes the planner's answer: freezes the plan, or ends the transaction with the reason.
    pub fn planned(&mut self, id: TransactionId, answer: Answer) -> Result<(), Failure> {
        let before = self.status(id)?;
        if before.state != TransactionState::Created {
            // Cancelled or expired meanwhile: the answer has nobody left to hear it.
            return Ok(());
        }
        let checked = answer.and_then(|plan| self.check_plan(id, plan)).and_then(|mut plan| {
            plan.warnings.extend(self.sources.check(&plan)?);
            plan.warnings.extend(self.held(id)?.warnings);
            Ok(plan)
        });
        match checked {
            Ok(mut plan) => {
                // apt's words: they may hold an address with a password.
                plan.warnings = plan.warnings.iter().map(|text| scrub(text).into_owned()).collect();
                let bytes = backstep_wire::plan::to_bytes(&plan);
                let digest = backstep_wire::digest(&bytes);
                let after = self.ledger.freeze(&plan, &bytes, digest, self.now())?;
                self.tell(id, &[Event::Prepared { digest }], before, after);
            }
            Err(failure) => {
                self.record(id, vec![Event::Failed { code: failure.code, text: failure.text }])?;
            }
        }
        Ok(())
    }

    /// The planner has no privileges and is not trusted to answer what it was asked.
    fn check_plan(&self, id: TransactionId, plan: backstep_core::Plan) -> Result<backstep_core::Plan, Failure> {
        let bytes = self.ledger.request_bytes(id)?.ok_or_else(|| unknown(id))?;
        let request = self.request(id)?;
        let same = plan.transaction == id
            && plan.kind == request.kind
            && plan.request == backstep_wire::digest(&bytes)
            && plan.options == request.options;
        let sound = plan.items.iter().all(|item| item.action.needs_archive() == item.archive.is_some())
            || matches!(plan.method, Method::Restore(_));
        // Who may install from repositories only must not get a caller's archive under their name.
        let handed = |archive: &backstep_core::Archive| request.archives.iter().any(|local| local.sha256 == archive.sha256);
        let honest = plan.items.iter().filter_map(|item| item.archive.as_ref()).all(|a| handed(a) == (a.source == ArchiveSource::Local));
        let restored = match plan.method {
            Method::Restore(target) => request.reverts == Some(target) && plan.restores == self.later(&request)?,
            Method::Packages | Method::Marks => plan.restores.is_empty(),
        };
        let plain = plan.items.iter().filter_map(|item| item.archive.as_ref()).all(|a| is_plain_name(&a.file_name));
        if plan.kind == backstep_core::Kind::Rollback && plan.is_empty() {
            return Err(Failure::new(ErrorCode::UndoNothing, "every package is as it was before that transaction already"));
        }
        if same && sound && honest && restored && plain {
            Ok(plan)
        } else {
            Err(Failure::new(ErrorCode::PlanFailed, "the planner answered another question than it was asked"))
        }
    }
}

/// A name that stays inside its folder and is an archive's.
fn is_plain_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"+-._~%:".contains(&b);
    name.len() <= 255 && name.ends_with(".deb") && !name.starts_with(['.', '-']) && name.bytes().all(allowed)
}
