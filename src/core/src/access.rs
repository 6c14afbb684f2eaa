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
        /// Keep undo material beyond the limits, or leave it to them.
        Pin = "org.backstep1.pin",
        /// Cancel another user's transaction.
        CancelAny = "org.backstep1.cancel-any",
        /// See other users' transactions, packages and errors.
        ViewAll = "org.backstep1.view-all",
        /// Read what programs and maintainer scripts wrote in other users' transactions.
        ViewLogs = "org.backstep1.view-logs",
        /// Take the whole record along: every event, or a copy.
        AuditExport = "org.backstep1.audit-export",
        /// Decide for a transaction that waits for a person.
        ResolveAttention = "org.backstep1.resolve-attention",
        /// Say which versions nobody is offered, and take that back.
        Ignore = "org.backstep1.ignore",
        /// Set and clear back-offs.
        Backoff = "org.backstep1.backoff",
        /// Take a text out of the record.
        Redact = "org.backstep1.redact",
        /// Repair an interrupted dpkg.
        Repair = "org.backstep1.repair",
    }
}

/// The permissions a plan needs, each of them: a right to one part is no right to another. Never empty.
#[must_use]
pub fn for_plan(plan: &Plan) -> Vec<Permission> {
    let mut needed = match plan.kind {
        Kind::Rollback => vec![Permission::Rollback],
        Kind::Hold | Kind::Unhold => vec![Permission::Hold],
        Kind::Install
        | Kind::Remove
        | Kind::Purge
        | Kind::Update
        | Kind::Upgrade
        | Kind::FullUpgrade
        | Kind::Autoremove
        | Kind::Downgrade
        | Kind::Reinstall => for_actions(plan),
    };
    let more = [
        (plan.removes_essential(), Permission::RemoveEssential),
        (plan.options.override_hold, Permission::OverrideHold),
        (plan.has_untrusted_archive() && plan.kind != Kind::Rollback, Permission::InstallLocal),
    ];
    needed.extend(more.into_iter().filter_map(|(needs, permission)| needs.then_some(permission)));
    needed
}

/// What comes new with an upgrade is part of the upgrade; what goes never is.
fn for_actions(plan: &Plan) -> Vec<Permission> {
    let has = |action| plan.count(action) > 0;
    let upgrades = matches!(plan.kind, Kind::Upgrade | Kind::FullUpgrade | Kind::Update);
    let installs = (has(PlanAction::Install) && !upgrades) || has(PlanAction::Reinstall);
    let removes = has(PlanAction::Remove) || has(PlanAction::Purge);
    let table = [
        (removes, Permission::Remove),
        (has(PlanAction::Downgrade), Permission::Downgrade),
        (installs, Permission::Install),
        (upgrades || (has(PlanAction::Upgrade) && !installs), Permission::Upgrade),
    ];
    let needed: Vec<Permission> = table.into_iter().filter_map(|(needs, permission)| needs.then_some(permission)).collect();
    // A plan of marks only changes what apt may remove later.
    if needed.is_empty() { vec![Permission::Install] } else { needed }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::id::Digest;
    use crate::plan::{Method, PlanItem, Reason, UndoQuality};
    use crate::request::Options;

    pub(crate) fn plan(kind: Kind, actions: &[PlanAction]) -> Plan {
        let item = |action: &PlanAction| PlanItem {
            package: "hello:amd64".parse().expect("id"),
            action: *action,
            reason: Reason::Requested,
            from: None,
            to: None,
            archive: None,
            installed_delta: 0,
            auto_before: false,
            auto_after: false,
            essential: false,
            leftovers: false,
            undo: UndoQuality::Exact,
        };
        Plan {
            transaction: "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id"),
            kind,
            request: Digest([0; 32]),
            world: Digest([0; 32]),
            method: Method::Packages,
            options: Options::default(),
            items: actions.iter().map(item).collect(),
            marks: Vec::new(),
            restores: Vec::new(),
            download_bytes: 0,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_right_to_one_part_is_no_right_to_another() {
        use Permission as P;
        use PlanAction as A;
        assert_eq!(for_plan(&plan(Kind::Install, &[A::Install, A::Remove])), [P::Remove, P::Install]);
        assert_eq!(for_plan(&plan(Kind::Install, &[A::Install, A::Downgrade])), [P::Downgrade, P::Install]);
        assert_eq!(for_plan(&plan(Kind::FullUpgrade, &[A::Upgrade, A::Install, A::Remove])), [P::Remove, P::Upgrade]);
        assert_eq!(for_plan(&plan(Kind::Upgrade, &[A::Upgrade])), [P::Upgrade]);
        assert_eq!(for_plan(&plan(Kind::Rollback, &[A::Downgrade, A::Purge])), [P::Rollback]);
        let mut held = plan(Kind::Install, &[A::Install]);
        held.options.override_hold = true;
        assert_eq!(for_plan(&held), [P::Install, P::OverrideHold]);
        held.items[0].essential = true;
        held.items[0].action = A::Purge;
        assert_eq!(for_plan(&held), [P::Remove, P::RemoveEssential, P::OverrideHold]);
    }
}
