//! From a request to a plan through libapt, in the order in which apt-get does it: mark what is named, resolve,
//! remove what nothing needs. Nothing here decides between packages.

use std::os::fd::OwnedFd;

use backstep_core::count::named;
use backstep_core::{ArchiveSource, ErrorCode, Failure, Kind, Method, PackageName, Plan, PlanAction, PlanItem};
use backstep_wire::planner::Question;
use rust_apt::cache::Upgrade;
use rust_apt::error::AptErrors;
use rust_apt::{Cache, DepType, Package, PkgSelectedState};

use crate::action_group::grouped;
use crate::configuration::Configuration;
use crate::explain;
use crate::intent::{self, Intent};
use crate::local::LocalArchives;
use crate::rows::{AutoMarks, Rows};
use crate::snapshot::Snapshot;
use crate::{Outcome, may_downgrade, plan_of, space};

/// The package that undoes.
const OURS: &str = "backstepd";
const MAX_NAMES: usize = 10;

/// The plan of every kind that changes packages and is no rollback.
pub(crate) fn plan(question: &Question, descriptors: Vec<OwnedFd>, configuration: &Configuration, snapshot: &Snapshot) -> Outcome<Plan> {
    let local = LocalArchives::place(&question.archives, descriptors)?;
    let cache = open(&local)?;
    let request = &question.request;
    let auto = AutoMarks::read(&cache, snapshot);
    let mut intent = grouped(&cache, || {
        let intent = intent::mark(&cache, request, configuration, &local)?;
        leave_out(&cache, &question.leave_out, configuration);
        solve(&cache, request.kind, configuration).map(|()| intent)
    })?;
    let seen = Seen::look(&cache, request.kind);
    let autoremove = request.kind == Kind::Autoremove || request.options.autoremove || configuration.always_autoremoves();
    let unused = seen.remove_unused(&cache, autoremove);
    if request.kind == Kind::Purge {
        purge(&seen.packages);
    }
    let rows =
        Rows { cache: &cache, configuration, snapshot, local: &local, auto: &auto, kind: request.kind, intent: &intent, unused: &unused };
    let items = rows.items(&seen.packages)?;
    check(question, &intent, &items, &seen.packages)?;
    let mut plan = plan_of(question, snapshot, Method::Packages, items);
    plan.marks = rows.marks(&plan.items)?;
    plan.download_bytes = rows.download_bytes(&plan.items);
    intent.warnings.extend(seen.warnings(autoremove));
    plan.warnings = intent.warnings;
    plan.warnings.extend(untrusted(&plan));
    plan.sort();
    space::check(&plan, &configuration.archives(), &configuration.root())?;
    Ok(plan)
}

/// Opens libapt's cache with these archives in it.
pub(crate) fn open(local: &LocalArchives) -> Outcome<Cache> {
    Cache::new(&local.paths()).map_err(|errors| {
        let text = explain::apt_errors(&errors);
        if local.files.iter().any(|file| text.contains(&file.path)) {
            return Failure::new(ErrorCode::ArchiveInvalid, "a local archive is not a Debian package");
        }
        Failure::new(ErrorCode::PlanFailed, format!("cannot open apt's package lists: {text}"))
    })
}

/// What is left out is offered nothing but what is installed.
fn leave_out(cache: &Cache, names: &[PackageName], configuration: &Configuration) {
    let architectures = if names.is_empty() { Vec::new() } else { configuration.architectures() };
    for (name, arch) in names.iter().flat_map(|name| architectures.iter().map(move |arch| (name, arch))) {
        if let Some(installed) = cache.get(&format!("{name}:{arch}")).and_then(|package| package.installed()) {
            installed.set_candidate();
        }
    }
}

fn solve(cache: &Cache, kind: Kind, configuration: &Configuration) -> Outcome<()> {
    let result = match kind {
        // As apt-get, not as apt: an upgrade neither removes packages nor installs new ones.
        Kind::Upgrade => cache.upgrade(Upgrade::SafeUpgrade),
        Kind::FullUpgrade => cache.upgrade(Upgrade::FullUpgrade),
        Kind::Install
        | Kind::Remove
        | Kind::Purge
        | Kind::Update
        | Kind::Autoremove
        | Kind::Downgrade
        | Kind::Reinstall
        | Kind::Hold
        | Kind::Unhold
        | Kind::Rollback => {
            if is_solved(cache, configuration) {
                return Ok(());
            }
            cache.resolve(true)
        }
    };
    match result {
        Ok(()) if cache.depcache().broken_count() == 0 => Ok(()),
        Ok(()) => Err(explain::unsatisfiable(cache)),
        Err(errors) if cache.depcache().broken_count() == 0 => Err(Failure::new(ErrorCode::PlanFailed, explain::apt_errors(&errors))),
        Err(_) => Err(explain::unsatisfiable(cache)),
    }
}

/// libapt's own solver repairs what is broken and changes nothing else. To find that nothing is, it looks through all
/// packages again and again, which takes as long as the rest of planning a removal.
fn is_solved(cache: &Cache, configuration: &Configuration) -> bool {
    configuration.solves_itself() && cache.depcache().broken_count() == 0
}

fn purge(packages: &[Package<'_>]) {
    for package in packages.iter().filter(|package| package.marked_delete() && !package.marked_purge()) {
        package.mark_delete(true);
    }
}

/// One look at the whole cache: going through it costs more than all the rest.
struct Seen<'c> {
    /// Packages that are marked, or that nothing needs.
    packages: Vec<Package<'c>>,
    /// Installed ones that stay behind their candidate in an upgrade.
    kept_back: Vec<String>,
    /// Installed ones that nothing needs and that are not going already.
    unneeded: Vec<String>,
}

impl<'c> Seen<'c> {
    fn look(cache: &'c Cache, kind: Kind) -> Self {
        let depcache = cache.depcache();
        let upgrades = matches!(kind, Kind::Upgrade | Kind::FullUpgrade);
        let mut seen = Self { packages: Vec::new(), kept_back: Vec::new(), unneeded: Vec::new() };
        for raw in cache.raw_pkgs() {
            let marked = !depcache.marked_keep(&raw) || depcache.marked_reinstall(&raw);
            let garbage = depcache.is_garbage(&raw);
            if marked || garbage {
                let package = Package::new(cache, raw);
                if garbage && package.is_installed() && !package.marked_delete() {
                    seen.unneeded.push(package.fullname(true));
                }
                if marked || package.is_installed() {
                    seen.packages.push(package);
                }
            } else if upgrades && depcache.is_upgradable(&raw) {
                let package = Package::new(cache, raw);
                if package.is_installed() {
                    seen.kept_back.push(package.fullname(true));
                }
            }
        }
        seen.kept_back.sort();
        seen.unneeded.sort();
        seen
    }

    /// What nothing needs goes if that is wanted; what would only be installed for nothing never comes. Answers
    /// with the numbers of the packages that go.
    fn remove_unused(&self, cache: &Cache, wanted: bool) -> Vec<usize> {
        let mut gone = Vec::new();
        let mut dropped = Vec::new();
        for package in self.packages.iter().filter(|package| cache.depcache().is_garbage(package)) {
            let installed = package.is_installed();
            if installed && wanted && !package.marked_delete() && package.selected_state() != PkgSelectedState::Hold {
                package.mark_delete(false);
                gone.push(package.index());
            } else if !installed && package.marked_install() {
                package.mark_delete(false);
                dropped.push(package);
            }
        }
        bring_back(cache, &dropped);
        gone
    }

    fn warnings(&self, autoremove: bool) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.kept_back.is_empty() {
            warnings.push(format!("kept back: {}", names(&self.kept_back)));
        }
        if !autoremove && !self.unneeded.is_empty() {
            warnings.push(format!("no longer needed: {}", names(&self.unneeded)));
        }
        warnings
    }
}

/// A package dropped as unneeded can be what another one that stays needs after all.
fn bring_back(cache: &Cache, dropped: &[&Package<'_>]) {
    let mut changed = !dropped.is_empty() && cache.depcache().broken_count() > 0;
    while changed {
        changed = false;
        for package in dropped.iter().filter(|package| !package.marked_install()) {
            if is_needed(cache, package) {
                changed |= package.mark_install(false, false);
            }
        }
    }
}

fn is_needed(cache: &Cache, package: &Package<'_>) -> bool {
    let hard = [DepType::Depends, DepType::PreDepends];
    let parents = hard.iter().filter_map(|kind| package.rdepends().get(kind)).flatten().flat_map(|group| group.iter());
    parents.into_iter().any(|dependency| cache.depcache().is_inst_broken(dependency.target_package()))
}

fn names(all: &[String]) -> String {
    named(all, MAX_NAMES)
}

/// What the request's choices do not allow.
fn check(question: &Question, intent: &Intent, items: &[PlanItem], packages: &[Package<'_>]) -> Outcome<()> {
    let request = &question.request;
    let of = |wanted: &dyn Fn(&Package<'_>) -> bool| {
        let mut found: Vec<String> = packages.iter().filter(|p| wanted(p)).map(|p| p.fullname(true)).collect();
        found.sort();
        found
    };
    let changes = |p: &Package<'_>| p.marked_install() || p.marked_delete() || p.marked_reinstall();
    let held = of(&|p| p.selected_state() == PkgSelectedState::Hold && p.is_installed() && changes(p));
    if !held.is_empty() && !request.options.override_hold {
        return Err(Failure::new(ErrorCode::PackageHeld, format!("{} would change and is on hold", names(&held))));
    }
    let goes = |item: &&PlanItem| matches!(item.action, PlanAction::Remove | PlanAction::Purge);
    let essential: Vec<String> =
        items.iter().filter(goes).filter(|item| item.essential).map(|item| item.package.name.to_string()).collect();
    if !essential.is_empty() && !request.options.allow_remove_essential {
        return Err(Failure::new(ErrorCode::PlanEssential, format!("{} would be removed and is essential", names(&essential))));
    }
    if items.iter().filter(goes).any(|item| item.package.name.as_str() == OURS && item.from.is_some()) {
        let text = format!("{OURS} would be removed by itself, and nobody be left to undo it; 'apt-get remove {OURS}' does that");
        return Err(Failure::new(ErrorCode::DepsUnsatisfiable, text));
    }
    let downgraded = of(&|p| p.marked_downgrade() && !intent.downgrades.contains(&p.index()));
    if !downgraded.is_empty() && !may_downgrade(request) {
        let text = format!("{} would go to an earlier version, which must be allowed", names(&downgraded));
        return Err(Failure::new(ErrorCode::PlanDowngrade, text));
    }
    Ok(())
}

/// A warning for archives that no trusted key vouches for.
pub(crate) fn untrusted(plan: &Plan) -> Option<String> {
    // Nobody signs what was rebuilt here; the daemon, which did it, says more.
    let bad = |item: &&PlanItem| item.archive.as_ref().is_some_and(|archive| !archive.trusted && archive.source != ArchiveSource::Rebuilt);
    let found: Vec<String> = plan.items.iter().filter(bad).map(|item| item.package.name.to_string()).collect();
    (!found.is_empty()).then(|| format!("not signed by a trusted key: {}", names(&found)))
}

/// Takes libapt's pending messages off its stack, so that they are not taken for the next call's.
pub(crate) fn forget_errors() {
    drop(AptErrors::new());
}
