//! Who may do what: one table of polkit actions, used by the daemon and checked against the policy file.

use crate::plan::{Plan, PlanAction};
use crate::request::Kind;

closed_enum! {
    /// A polkit action.
    pub enum Permission("polkit action") {
        /// Install packages from configured, authenticated repositories.
        Install = "org.backstep1.install",
        /// Install a local archive.
        InstallLocal = "org.backstep1.install-local",
        /// Remove packages.
        Remove = "org.backstep1.remove",
        /// Remove an essential or protected package.
        RemoveEssential = "org.backstep1.remove-essential",
        /// Bring packages to later versions.
        Upgrade = "org.backstep1.upgrade",
        /// Bring packages to earlier versions.
        Downgrade = "org.backstep1.downgrade",
        /// Set and clear holds.
        Hold = "org.backstep1.hold",
        /// Change packages on hold.
        OverrideHold = "org.backstep1.override-hold",
        /// Undo a transaction.
        Rollback = "org.backstep1.rollback",
        /// Cancel another user's transaction.
        CancelAny = "org.backstep1.cancel-any",
        /// See other users' transactions, packages, errors and logs.
        ViewAll = "org.backstep1.view-all",
        /// Decide for a transaction that waits for a person.
        ResolveAttention = "org.backstep1.resolve-attention",
        /// Repair an interrupted dpkg.
        Repair = "org.backstep1.repair",
    }
}

/// The one permission a plan needs: the strictest of those its parts need, so that people are asked once.
#[must_use]
pub fn for_plan(plan: &Plan) -> Permission {
    if plan.removes_essential() {
        return Permission::RemoveEssential;
    }
    if plan.options.override_hold {
        return Permission::OverrideHold;
    }
    if plan.has_untrusted_archive() && plan.kind != Kind::Rollback {
        return Permission::InstallLocal;
    }
    match plan.kind {
        Kind::Rollback => Permission::Rollback,
        Kind::Hold | Kind::Unhold => Permission::Hold,
        Kind::Install
        | Kind::Remove
        | Kind::Purge
        | Kind::Update
        | Kind::Upgrade
        | Kind::FullUpgrade
        | Kind::Autoremove
        | Kind::Downgrade
        | Kind::Reinstall => for_actions(plan),
    }
}

fn for_actions(plan: &Plan) -> Permission {
    let has = |action| plan.count(action) > 0;
    if has(PlanAction::Downgrade) {
        Permission::Downgrade
    } else if has(PlanAction::Remove) || has(PlanAction::Purge) {
        Permission::Remove
    } else if has(PlanAction::Install) || has(PlanAction::Reinstall) {
        Permission::Install
    } else {
        Permission::Upgrade
    }
}
