//! Holding and releasing packages: dpkg's selections, without libapt.

use backstep_apt::status::{DpkgEntry, State, Want};
use backstep_core::{
    Architecture, ErrorCode, Failure, ItemAction, Method, PackageId, Plan, PlanAction, PlanItem, Reason, RequestItem, UndoQuality,
};
use backstep_wire::planner::Question;

use crate::configuration::Configuration;
use crate::snapshot::Snapshot;
use crate::{Outcome, plan_of};

/// The plan of a hold or unhold. What already is as asked is left out.
pub(crate) fn plan(question: &Question, configuration: &Configuration, snapshot: &Snapshot) -> Outcome<Plan> {
    let mut items = Vec::new();
    for asked in &question.request.items {
        let (package, entry) = find(snapshot, configuration, asked)?;
        let action = if asked.action == ItemAction::Hold { PlanAction::Hold } else { PlanAction::Unhold };
        items.extend(mark(package, entry, action, Reason::Requested));
    }
    Ok(plan_of(question, snapshot, Method::Marks, items))
}

/// One change of a selection, or none when it is already so.
pub(crate) fn mark(package: &PackageId, entry: &DpkgEntry, action: PlanAction, reason: Reason) -> Option<PlanItem> {
    let held = entry.want == Want::Hold;
    (held != (action == PlanAction::Hold)).then(|| PlanItem {
        package: package.clone(),
        action,
        reason,
        from: entry.version.clone(),
        to: entry.version.clone(),
        archive: None,
        installed_delta: 0,
        auto_before: false,
        auto_after: false,
        essential: entry.essential || entry.protected,
        leftovers: false,
        undo: UndoQuality::Exact,
    })
}

fn find<'s>(snapshot: &'s Snapshot, configuration: &Configuration, asked: &'s RequestItem) -> Outcome<(&'s PackageId, &'s DpkgEntry)> {
    let installed: Vec<_> = snapshot.status.named(asked.name.as_str()).filter(|(_, entry)| entry.state == State::Installed).collect();
    let wanted = |arch: &Architecture| asked.arch.as_ref().is_none_or(|asked| asked == arch || arch.as_str() == "all");
    let rank = |arch: &Architecture| configuration.architectures().iter().position(|known| known == arch.as_str()).unwrap_or(0);
    installed
        .into_iter()
        .filter(|(package, _)| wanted(&package.arch))
        .min_by_key(|(package, _)| rank(&package.arch))
        .ok_or_else(|| Failure::new(ErrorCode::PackageNotInstalled, format!("{} is not installed", asked.name)))
}
