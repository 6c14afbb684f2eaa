//! Undoing an earlier transaction: by its captured files while the system still is as it left it, otherwise by
//! packages, each back to the version it had.
//!
//! Invariants: a rollback by packages changes the packages of the transaction it reverts and no others; whatever
//! would need more is a conflict, named. What already is as before is left alone.

use std::os::fd::OwnedFd;
use std::path::Path;

use backstep_apt::quality;
use backstep_apt::status::{State, Status};
use backstep_core::{
    ArchiveSource, Digest, ErrorCode, Failure, Method, PackageId, Plan, PlanAction, PlanItem, Reason, RequestItem, Scope, Version,
};
use backstep_wire::planner::{Question, Revert};
use rust_apt::{Cache, Package};

use crate::configuration::Configuration;
use crate::intent::Intent;
use crate::local::LocalArchives;
use crate::resolve::{forget_errors, open, untrusted};
use crate::rows::{AutoMarks, Rows, file_name, find, is_of};
use crate::series::Series;
use crate::snapshot::Snapshot;
use crate::{Outcome, explain, marks, plan_of, space};

/// Whether the files of the reverted transactions are put back: then a dpkg that the newest left interrupted is what is
/// undone.
pub(crate) fn brings_back(question: &Question, snapshot: &Snapshot) -> bool {
    is_whole(question) && Series::of(question).is_some_and(|series| series.obstacle(snapshot.world).is_none())
}

/// Files come back of whole transactions only.
fn is_whole(question: &Question) -> bool {
    question.request.scope() != Some(Scope::Part)
}

/// The plan of a rollback.
pub(crate) fn plan(question: &Question, descriptors: Vec<OwnedFd>, configuration: &Configuration, snapshot: &Snapshot) -> Outcome<Plan> {
    let nothing = || Failure::new(ErrorCode::UndoNothing, "the transaction to undo has no plan");
    let series = Series::of(question).ok_or_else(nothing)?;
    let whole = series.together();
    if !is_whole(question) {
        let part = part(&whole, &question.request.items)?;
        if part.plan.method == Method::Marks {
            return Ok(plan_of(question, snapshot, Method::Marks, inverse_marks(&part, &snapshot.status)));
        }
        let why = "only a part of the transaction is undone; packages are changed instead of files".to_owned();
        return by_packages(question, (&part, vec![why]), descriptors, configuration, snapshot);
    }
    let Some(obstacle) = series.obstacle(snapshot.world) else {
        let mut plan = restore(question, &whole, snapshot);
        plan.restores = series.later();
        return Ok(plan);
    };
    if whole.plan.method == Method::Marks {
        return Ok(plan_of(question, snapshot, Method::Marks, inverse_marks(&whole, &snapshot.status)));
    }
    let mut why = vec![format!("{obstacle}; packages are changed instead of files")];
    let holds = series.holds();
    why.extend((!holds.is_empty()).then(|| format!("holds stay as they are: {}", holds.join(", "))));
    by_packages(question, (&whole, why), descriptors, configuration, snapshot)
}

/// What a transaction did to some of its packages.
fn part(whole: &Revert, wanted: &[RequestItem]) -> Outcome<Revert> {
    let is = |item: &PlanItem, one: &RequestItem| {
        item.package.name == one.name && one.arch.as_ref().is_none_or(|arch| *arch == item.package.arch)
    };
    if let Some(other) = wanted.iter().find(|one| !whole.plan.items.iter().any(|item| is(item, one))) {
        let changed: Vec<&str> = whole.plan.items.iter().take(NAMED).map(|item| item.package.name.as_str()).collect();
        let more = if whole.plan.items.len() > NAMED { ", …" } else { "" };
        let text = format!("the transaction did not change {}; it changed {}{more}", other.name, changed.join(", "));
        return Err(Failure::new(ErrorCode::UndoNothing, text));
    }
    let items = whole.plan.items.iter().filter(|item| wanted.iter().any(|one| is(item, one))).cloned().collect();
    let plan = Plan { items, marks: Vec::new(), ..whole.plan.clone() };
    Ok(Revert { plan, world_after: None })
}

/// File by file: the plan's rows only tell what that means for packages.
fn restore(question: &Question, revert: &Revert, snapshot: &Snapshot) -> Plan {
    let items = revert.plan.items.iter().map(inverse).collect();
    let mut plan = plan_of(question, snapshot, Method::Restore(revert.plan.transaction), items);
    plan.marks = revert.plan.marks.iter().map(|(package, auto)| (package.clone(), !auto)).collect();
    plan.warnings.extend(only_configuration(&plan.items));
    plan
}

fn only_configuration(items: &[PlanItem]) -> Option<String> {
    let left = |item: &&PlanItem| item.action == PlanAction::Remove && item.from.is_none();
    let names: Vec<String> = items.iter().filter(left).map(|item| item.package.name.to_string()).collect();
    (!names.is_empty()).then(|| format!("not installed before, so only configuration files come back: {}", names.join(", ")))
}

/// One row seen backwards. A reinstall stays one: its files come back although no version changes.
fn inverse(item: &PlanItem) -> PlanItem {
    let action = inverse_action(item);
    PlanItem {
        package: item.package.clone(),
        action,
        reason: Reason::Reverted,
        from: item.to.clone(),
        to: item.from.clone().filter(|_| !item.leftovers),
        archive: None,
        installed_delta: item.installed_delta.saturating_neg(),
        auto_before: item.auto_after,
        auto_after: item.auto_before,
        essential: item.essential,
        leftovers: item.action == PlanAction::Remove,
        undo: quality::judge_restore(&item.package, action),
    }
}

/// What leads back: where configuration files of a removed package were, a removed package is again.
fn inverse_action(item: &PlanItem) -> PlanAction {
    match item.action {
        _ if item.leftovers => PlanAction::Remove,
        PlanAction::Remove if item.from.is_none() => PlanAction::Purge,
        action => action.inverse().unwrap_or(action),
    }
}

fn inverse_marks(revert: &Revert, status: &Status) -> Vec<PlanItem> {
    let back = |item: &PlanItem| {
        let entry = status.get(&item.package).filter(|entry| entry.state == State::Installed)?;
        marks::mark(&item.package, entry, item.action.inverse()?, Reason::Reverted)
    };
    revert.plan.items.iter().filter_map(back).collect()
}

/// How many packages are named in an error.
const NAMED: usize = 5;

/// A package and the version it goes back to; none to go.
struct Goal<'r> {
    item: &'r PlanItem,
    version: Option<&'r Version>,
}

fn by_packages(
    question: &Question,
    (revert, why): (&Revert, Vec<String>),
    descriptors: Vec<OwnedFd>,
    configuration: &Configuration,
    snapshot: &Snapshot,
) -> Outcome<Plan> {
    let goals = goals(revert, &snapshot.status)?;
    let mut local = LocalArchives::place(&question.archives, descriptors)?;
    add_cached(&mut local, &goals, &configuration.archives());
    local.prefer_originals();
    let cache = open(&local)?;
    let auto = AutoMarks::read(&cache, snapshot);
    for goal in &goals {
        mark(&cache, goal, &local)?;
    }
    let packages: Vec<Package<'_>> = goals.iter().filter_map(|goal| find(&cache, &goal.item.package)).collect();
    if cache.depcache().broken_count() > 0 {
        return Err(Failure::new(ErrorCode::UndoConflict, explain::unsatisfiable(&cache).text));
    }
    forget_errors();
    set_marks(&cache, revert);
    let intent = Intent::default();
    let rows = Rows {
        cache: &cache,
        configuration,
        snapshot,
        local: &local,
        auto: &auto,
        kind: question.request.kind,
        intent: &intent,
        unused: &[],
    };
    let items = rows.items(&packages)?;
    let mut plan = plan_of(question, snapshot, Method::Packages, items);
    plan.marks = rows.marks(&plan.items)?;
    plan.download_bytes = rows.download_bytes(&plan.items);
    plan.warnings = why;
    plan.warnings.extend(warnings(revert));
    plan.warnings.extend(untrusted(&plan));
    plan.sort();
    space::check(&plan, &configuration.archives(), &configuration.root())?;
    Ok(plan)
}

/// What has to change. A package that is neither as the transaction left it nor as it was before it has been
/// changed since: that change must be undone first.
fn goals<'r>(revert: &'r Revert, status: &Status) -> Outcome<Vec<Goal<'r>>> {
    let mut goals = Vec::new();
    let mut conflicts = Vec::new();
    for item in revert.plan.items.iter().filter(|item| changes_version(item)) {
        let now = installed(status, &item.package);
        let to_purge = item.from.is_none() && !item.leftovers && leftovers(status, &item.package);
        if now == item.from.as_ref() && !to_purge {
            continue;
        }
        if now == item.to.as_ref() || (item.to.is_none() && now.is_none()) {
            goals.push(Goal { item, version: item.from.as_ref() });
        } else {
            let text = |version: Option<&Version>| version.map_or_else(|| "not installed".to_owned(), |v| format!("at {v}"));
            conflicts.push(format!("{} is {} now, the transaction left it {}", item.package.name, text(now), text(item.to.as_ref())));
        }
    }
    if conflicts.is_empty() { Ok(goals) } else { Err(Failure::new(ErrorCode::UndoConflict, conflicts.join("; "))) }
}

/// A purge of leftovers took no package away: nothing by packages brings the files back.
fn changes_version(item: &PlanItem) -> bool {
    match item.action {
        PlanAction::Install | PlanAction::Upgrade | PlanAction::Downgrade | PlanAction::Remove => true,
        PlanAction::Purge => !item.leftovers,
        PlanAction::Reinstall | PlanAction::Hold | PlanAction::Unhold => false,
    }
}

fn installed<'s>(status: &'s Status, package: &PackageId) -> Option<&'s Version> {
    let there = |state| !matches!(state, State::NotInstalled | State::ConfigFiles);
    status.get(package).filter(|entry| there(entry.state)).and_then(|entry| entry.version.as_ref())
}

fn leftovers(status: &Status, package: &PackageId) -> bool {
    status.get(package).is_some_and(|entry| entry.state == State::ConfigFiles)
}

/// Of two offers of a version, which libapt keeps apart if their control data differs, the one that is here is taken.
fn mark(cache: &Cache, goal: &Goal<'_>, local: &LocalArchives) -> Outcome<()> {
    let id = &goal.item.package;
    let missing = |version: &Version| Failure::new(ErrorCode::UndoMaterial, format!("the archive of {} {version} is gone", id.name));
    let Some(version) = goal.version else {
        if let Some(package) = find(cache, id) {
            package.protect();
            package.mark_delete(!goal.item.leftovers);
        }
        return Ok(());
    };
    let package = find(cache, id).ok_or_else(|| missing(version))?;
    let mut offers: Vec<_> = package.versions().filter(|known| known.version() == version.as_str() && known.is_downloadable()).collect();
    offers.sort_by_key(|offer| !local.files.iter().any(|file| is_of(cache, offer, &file.path)));
    let offer = offers.into_iter().next().ok_or_else(|| missing(version))?;
    offer.set_candidate();
    package.protect();
    package.mark_install(false, true);
    Ok(())
}

fn set_marks(cache: &Cache, revert: &Revert) {
    for item in &revert.plan.items {
        if let Some(package) = find(cache, &item.package).filter(|_| item.from.is_some()) {
            package.mark_auto(item.auto_before);
        }
    }
    for (id, auto) in &revert.plan.marks {
        if let Some(package) = find(cache, id).filter(Package::is_installed) {
            package.mark_auto(!auto);
        }
    }
}

/// Archives of wanted versions that lie complete in apt's folder and were not handed over; libapt takes them
/// like those. They are hashed here, because no index vouches for an old version any more.
fn add_cached(local: &mut LocalArchives, goals: &[Goal<'_>], folder: &Path) {
    for goal in goals {
        let Some(version) = goal.version else { continue };
        let id = &goal.item.package;
        let path = folder.join(file_name(id.name.as_str(), version.as_str(), id.arch.as_str()));
        let known = |digest: &Digest| local.files.iter().any(|file| file.sha256 == *digest && file.source == ArchiveSource::Kept);
        if let Ok(bytes) = std::fs::read(&path) {
            let digest = backstep_wire::digest(&bytes);
            if !known(&digest) {
                local.add_cached(&path, digest, bytes.len() as u64);
            }
        }
    }
}

fn warnings(revert: &Revert) -> impl Iterator<Item = String> {
    let of = |action: PlanAction| {
        let found: Vec<String> = revert.plan.items.iter().filter(|i| i.action == action).map(|i| i.package.name.to_string()).collect();
        (!found.is_empty()).then(|| found.join(", "))
    };
    let purged = of(PlanAction::Purge).map(|names| format!("configuration and data deleted by the purge do not come back: {names}"));
    let again = of(PlanAction::Reinstall).map(|names| format!("reinstalled packages stay as they are: {names}"));
    purged.into_iter().chain(again)
}
