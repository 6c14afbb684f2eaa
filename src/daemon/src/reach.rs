//! Whose transactions a caller may have a rollback planned of.
//!
//! A plan says what a transaction changed, and making it may read its undo material: both are for its owner, for root, and for
//! those who may see everything. Asked before anything is said of the target but that it is there.

use backstep_core::access::Permission;
use backstep_core::{Failure, Kind, Request, Scope, TransactionId};
use zbus_polkit::policykit1::Subject;

use crate::authority::Interaction;
use crate::callers::Caller;
use crate::service::Service;

/// Somebody who wants something planned.
pub struct Asker<'a> {
    /// Who it is.
    pub caller: &'a Caller,
    /// The same to polkit.
    pub subject: &'a Subject,
    /// Whether people may be asked.
    pub interaction: Interaction,
}

impl Asker<'_> {
    /// Lets a rollback pass of what is the caller's own, or root's to do; else polkit is asked.
    pub async fn may_undo(&self, service: &Service, request: &Request) -> Result<(), Failure> {
        if self.caller.uid == 0 || request.kind != Kind::Rollback {
            return Ok(());
        }
        let owners = service.read(|manager| manager.owners_undone(request))?;
        if owners.iter().all(|owner| *owner == self.caller.uid) {
            return Ok(());
        }
        service.authority.check(self.caller, self.subject, Permission::ViewAll, &[], self.interaction).await
    }

    /// The same just before a plan is made, of a request whose reach may have grown since it was taken.
    pub async fn may_plan(&self, service: &Service, id: TransactionId) -> Result<(), Failure> {
        let request = service.read(|manager| manager.question(id))?.request;
        match request.scope() {
            Some(Scope::Later) => self.may_undo(service, &request).await,
            Some(Scope::One | Scope::Part) | None => Ok(()),
        }
    }
}
