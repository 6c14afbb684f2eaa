//! Drift: what changed in dpkg's database without a transaction, package by package.

use crate::plan::PlanAction;
use crate::request::Kind;
use crate::{PackageId, Version};

/// One package that is not as it was accounted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Which.
    pub package: PackageId,
    /// What that comes to.
    pub action: PlanAction,
    /// The version before, if one was installed.
    pub from: Option<Version>,
    /// The version now, if one is installed.
    pub to: Option<Version>,
    /// dpkg's word before.
    pub before: String,
    /// dpkg's word now.
    pub after: String,
    /// Whether dpkg has nothing left to do for it.
    pub settled: bool,
}

/// What a transaction that did this would have been called.
#[must_use]
pub fn kind(drifts: &[Drift]) -> Kind {
    let all = |action| drifts.iter().all(|drift| drift.action == action);
    let table = [
        (PlanAction::Remove, Kind::Remove),
        (PlanAction::Purge, Kind::Purge),
        (PlanAction::Upgrade, Kind::Update),
        (PlanAction::Downgrade, Kind::Downgrade),
        (PlanAction::Reinstall, Kind::Reinstall),
        (PlanAction::Hold, Kind::Hold),
        (PlanAction::Unhold, Kind::Unhold),
    ];
    table.into_iter().find(|(action, _)| all(*action)).map_or(Kind::Install, |(_, kind)| kind)
}
