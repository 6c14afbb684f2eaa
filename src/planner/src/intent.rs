//! What the caller named, found in libapt's cache and marked as apt-get marks it.

use std::collections::BTreeSet;

use backstep_core::{ErrorCode, Failure, ItemAction, Kind, Request, RequestItem};
use rust_apt::util::cmp_versions;
use rust_apt::{Cache, Package, PkgCurrentState, Version};

use crate::Outcome;
use crate::configuration::Configuration;
use crate::explain;
use crate::local::LocalArchives;

/// What was marked, by libapt's number of the package.
#[derive(Default)]
pub(crate) struct Intent {
    /// Packages the caller named.
    pub(crate) requested: BTreeSet<usize>,
    /// Among them those that the caller wants at an earlier version.
    pub(crate) downgrades: BTreeSet<usize>,
    /// For people.
    pub(crate) warnings: Vec<String>,
}

struct Install<'c> {
    version: Version<'c>,
    action: ItemAction,
}

/// Marks everything named: removals first, then installations, then what those need, in apt-get's order.
pub(crate) fn mark(cache: &Cache, request: &Request, configuration: &Configuration, local: &LocalArchives) -> Outcome<Intent> {
    let mut intent = Intent::default();
    let (mut removals, mut installs) = (Vec::new(), Vec::new());
    for item in &request.items {
        match item.action {
            ItemAction::Remove | ItemAction::Purge => removals.push((item, removable(cache, configuration, item)?)),
            action => installs.push(Install { version: installable(cache, configuration, item, &mut intent)?, action }),
        }
    }
    for file in &local.files {
        installs.push(Install { version: of_archive(cache, configuration, &file.path)?, action: ItemAction::Install });
    }
    let was_broken = cache.depcache().broken_count() > 0;
    for (item, package) in &removals {
        let purge = item.action == ItemAction::Purge || request.kind == Kind::Purge;
        remove(cache, package, purge, &mut intent);
    }
    for install in &installs {
        install_alone(cache, install, &mut intent);
    }
    if !was_broken {
        install_needs(cache, &installs);
    }
    Ok(intent)
}

fn remove(cache: &Cache, package: &Package<'_>, purge: bool, intent: &mut Intent) {
    intent.requested.insert(package.index());
    cache.resolver().clear(package);
    package.protect();
    package.mark_delete(purge);
}

fn install_alone(cache: &Cache, install: &Install<'_>, intent: &mut Intent) {
    let package = install.version.parent();
    intent.requested.insert(package.index());
    if install.action == ItemAction::Downgrade {
        intent.downgrades.insert(package.index());
    }
    let auto = package.is_auto_installed();
    install.version.set_candidate();
    cache.resolver().clear(&package);
    package.protect();
    package.mark_install(false, true);
    match install.action {
        // libapt does this itself only while it has not yet looked for what is needed.
        ItemAction::Install if auto => {
            package.mark_auto(false);
        }
        ItemAction::Reinstall if !package.marked_install() => {
            package.mark_reinstall(true);
        }
        // Who brings a package to another version says nothing about why it is there.
        ItemAction::Update | ItemAction::Downgrade if package.is_installed() => {
            package.mark_auto(auto);
        }
        ItemAction::Install
        | ItemAction::Remove
        | ItemAction::Purge
        | ItemAction::Update
        | ItemAction::Downgrade
        | ItemAction::Reinstall
        | ItemAction::Hold
        | ItemAction::Unhold
        | ItemAction::Rollback => {}
    }
}

/// What the named packages need, in the order of libapt's numbers: apt-get keeps them in a set.
fn install_needs(cache: &Cache, installs: &[Install<'_>]) {
    let mut packages: Vec<(Package<'_>, ItemAction)> = installs.iter().map(|install| (install.version.parent(), install.action)).collect();
    packages.sort_by_key(|(package, _)| package.index());
    for (package, action) in packages {
        let auto = package.is_auto_installed();
        package.mark_install(true, true);
        if package.is_installed() && matches!(action, ItemAction::Update | ItemAction::Downgrade | ItemAction::Reinstall) {
            cache.depcache().mark_auto(&package, auto);
        }
    }
}

/// The package of an item: of its architecture, else of the native one, else of any that is configured.
fn named<'c>(cache: &'c Cache, configuration: &Configuration, item: &RequestItem) -> Option<Package<'c>> {
    let name = item.name.as_str();
    match &item.arch {
        Some(arch) if arch.as_str() != "all" => cache.get(&format!("{name}:{arch}")),
        _ => {
            let exists = |package: &Package<'_>| package.has_versions() || package.has_provides();
            let foreign = || configuration.architectures().into_iter().filter_map(|arch| cache.get(&format!("{name}:{arch}")));
            cache.get(name).filter(exists).or_else(|| foreign().find(exists))
        }
    }
}

fn spelled(item: &RequestItem) -> String {
    item.arch.as_ref().map_or_else(|| item.name.to_string(), |arch| format!("{}:{arch}", item.name))
}

fn removable<'c>(cache: &'c Cache, configuration: &Configuration, item: &RequestItem) -> Outcome<Package<'c>> {
    let not_installed = || Failure::new(ErrorCode::PackageNotInstalled, format!("{} is not installed", spelled(item)));
    let package = match named(cache, configuration, item) {
        Some(package) => package,
        None if item.arch.is_some() && cache.get(item.name.as_str()).is_some() => return Err(not_installed()),
        None => return Err(explain::unknown(cache, item.name.as_str())),
    };
    let leftovers = package.current_state() == PkgCurrentState::ConfigFiles;
    match package.is_installed() || (leftovers && item.action == ItemAction::Purge) {
        true => Ok(package),
        false => Err(not_installed()),
    }
}

fn installable<'c>(cache: &'c Cache, configuration: &Configuration, item: &RequestItem, intent: &mut Intent) -> Outcome<Version<'c>> {
    let package = match named(cache, configuration, item) {
        Some(package) if package.has_versions() => package,
        Some(package) if item.action == ItemAction::Install && item.version.is_none() => {
            return provided(cache, &package, item, intent);
        }
        Some(_) | None => return Err(explain::unknown(cache, item.name.as_str())),
    };
    let installed = package.installed();
    if installed.is_none() && item.action != ItemAction::Install {
        return Err(Failure::new(ErrorCode::PackageNotInstalled, format!("{} is not installed", spelled(item))));
    }
    match (&item.version, item.action) {
        (Some(version), _) => exact(&package, item, version.as_str(), installed.as_ref()),
        (None, ItemAction::Downgrade) => earlier(&package, item),
        (None, ItemAction::Reinstall) => again(&package, item),
        (None, _) => package.candidate().map_or_else(|| provided(cache, &package, item, intent), Ok),
    }
}

fn exact<'c>(package: &Package<'c>, item: &RequestItem, version: &str, installed: Option<&Version<'c>>) -> Outcome<Version<'c>> {
    let mut found: Vec<Version<'c>> = package.versions().filter(|known| known.version() == version).collect();
    if item.action == ItemAction::Downgrade && installed.is_some_and(|now| cmp_versions(version, now.version()).is_ge()) {
        let text = format!("{} {version} is not earlier than what is installed", spelled(item));
        return Err(Failure::new(ErrorCode::VersionUnknown, text));
    }
    // The same version can be known twice: as installed, and from a source with other content.
    found.sort_by_key(|known| !(known.is_installed() || known.is_downloadable()));
    let known = || package.versions().map(|known| known.version().to_owned()).collect::<Vec<_>>().join(", ");
    let unknown = || Failure::new(ErrorCode::VersionUnknown, format!("{} has no version {version}, only {}", spelled(item), known()));
    found.into_iter().next().ok_or_else(unknown)
}

fn earlier<'c>(package: &Package<'c>, item: &RequestItem) -> Outcome<Version<'c>> {
    let now = package.installed();
    let lower = |known: &Version<'c>| now.as_ref().is_some_and(|now| known < now) && known.is_downloadable();
    let none = || Failure::new(ErrorCode::VersionUnknown, format!("no source offers an earlier version of {}", spelled(item)));
    package.versions().filter(lower).max().ok_or_else(none)
}

fn again<'c>(package: &Package<'c>, item: &RequestItem) -> Outcome<Version<'c>> {
    let none = |now: &str| Failure::new(ErrorCode::VersionUnknown, format!("no source offers {} {now}, which is installed", spelled(item)));
    match package.installed() {
        Some(now) if now.is_downloadable() => Ok(now),
        Some(now) => Err(none(now.version())),
        None => Err(none("")),
    }
}

/// A name without an installable version of its own: the one package that provides it, as apt-get chooses.
fn provided<'c>(cache: &'c Cache, package: &Package<'c>, item: &RequestItem, intent: &mut Intent) -> Outcome<Version<'c>> {
    let is_candidate = |version: &Version<'c>| version.parent().candidate().is_some_and(|candidate| candidate.index() == version.index());
    let mut names = BTreeSet::new();
    let mut chosen = None;
    for provider in package.provides() {
        let name = provider.package().name().to_owned();
        let version = provider.package().candidate().filter(|candidate| provides(candidate, package.name()));
        if let Some(version) = version.filter(is_candidate) {
            names.insert(name);
            chosen = Some(version);
        }
    }
    match (names.len(), chosen) {
        (1, Some(version)) => {
            intent.warnings.push(format!("{} is provided by {}, which is taken instead", spelled(item), version.parent().name()));
            Ok(version)
        }
        (0, _) if package.has_versions() => {
            Err(Failure::new(ErrorCode::VersionUnknown, format!("no version of {} may be installed", spelled(item))))
        }
        (0, _) => Err(explain::unknown(cache, item.name.as_str())),
        _ => {
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            Err(Failure::new(ErrorCode::PackageUnknown, format!("{} is virtual; name one of {names}", spelled(item))))
        }
    }
}

fn provides(version: &Version<'_>, name: &str) -> bool {
    version.provides().any(|provided| provided.name() == name)
}

/// libapt files an archive under its path as a package that the archive's own package provides.
fn of_archive<'c>(cache: &'c Cache, configuration: &Configuration, path: &str) -> Outcome<Version<'c>> {
    let invalid = || Failure::new(ErrorCode::ArchiveInvalid, "a local archive is no package for this system");
    let pseudo = cache.get(path).ok_or_else(invalid)?;
    let provider = pseudo.provides().next().ok_or_else(invalid)?;
    let package = provider.package();
    let number = provider.version().index();
    let version = package.versions().find(|version| version.index() == number).ok_or_else(invalid)?;
    if version.arch() == "all" || configuration.architectures().iter().any(|arch| arch == version.arch()) {
        return Ok(version);
    }
    let text = format!("{} is for the architecture {}, not for this system", package.name(), version.arch());
    Err(Failure::new(ErrorCode::ArchiveInvalid, text))
}
